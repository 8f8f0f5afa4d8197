//! REST: a request described in YAML, sent to a fixed destination. An argument fills its slot and nothing else.

mod client;
mod config;
mod plan;
mod reply;
mod table;
mod url;

pub use client::Rest;
pub use config::{ApiKeyConfig, BasicConfig, CredentialsConfig, RestConfig, RestOpConfig};
pub use plan::{RestOp, RestPlan};
