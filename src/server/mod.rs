//! The edges: Streamable HTTP on hyper, and stdio. They frame bytes, guard the door, and hand messages to `mcp`.

mod accept;
mod cors;
mod guard;
mod health;
mod http;
pub mod stdio;
mod stream;

pub use accept::{Server, run};
