//! The edges: Streamable HTTP on hyper, and stdio. They frame bytes, guard the door, and hand messages to `mcp`.

mod accept;
pub mod admin;
mod auth;
mod cors;
mod endpoint;
mod guard;
mod health;
mod http;
mod metadata;
mod peer;
mod punctual;
mod sessions;
mod status;
pub mod stdio;
mod stream;

pub use accept::{Server, run};
