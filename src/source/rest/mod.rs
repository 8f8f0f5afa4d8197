//! REST: a request described in YAML, sent to a fixed destination. An argument fills its slot and nothing else.

mod body;
mod client;
mod config;
mod cookies;
mod multipart;
mod pairs;
mod plan;
mod reply;
mod table;
mod url;
mod xml;

pub use body::BodyConfig;
pub use client::Rest;
pub use config::{ApiKeyConfig, BasicConfig, CredentialsConfig, RestConfig, RestOpConfig};
pub use multipart::FileConfig;
pub use pairs::{ListConfig, ListStyle};
pub use plan::{RestOp, RestPlan};
