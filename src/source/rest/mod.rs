//! REST: a request described in YAML, sent to a fixed destination. An argument fills its slot and nothing else.

mod address;
mod body;
mod client;
mod config;
mod cookies;
mod credentials;
mod link;
mod multipart;
mod page;
mod pairs;
mod plan;
mod poll;
mod reach;
mod reply;
mod send;
mod sign;
mod table;
mod tokens;
mod url;
mod xml;

pub use body::BodyConfig;
pub use client::Rest;
pub use config::{RestConfig, RestOpConfig};
pub use credentials::{
    ApiKeyConfig, BasicConfig, ClientAuthConfig, ClientCredentialsConfig, CredentialsConfig,
    TokenExchangeConfig,
};
pub use multipart::FileConfig;
pub use page::{CursorConfig, LinkHeaderConfig, NumberConfig, OffsetConfig, PageSizeConfig, RestPageConfig};
pub use pairs::{ListConfig, ListStyle};
pub use plan::{RestOp, RestPlan};
pub use poll::PollConfig;
pub use sign::AwsSigv4Config;
