//! The edges: Streamable HTTP on hyper, and stdio. They frame bytes, guard the door, and hand messages to `mcp`.

mod accept;
pub mod admin;
mod auth;
mod body;
mod conversation;
mod cors;
mod endpoint;
mod guard;
mod health;
mod http;
mod metadata;
mod pace;
mod paced;
mod peer;
mod sessions;
mod standing;
mod status;
pub mod stdio;
mod stream;
mod turns;
mod whole;
mod wire;

pub use accept::{Server, run};
pub use pace::Limits;
