//! Who calls over HTTP: keys that stand in the configuration, and tokens (JWT) of issuers. Here is what is written, what it
//! becomes, and the live part with the issuers' keys; the server only reads the headers and maps the answers.

mod config;
mod fetch;
mod issuer;
mod json;
mod jwks;
mod jwt;
mod keys;
mod live;
mod plan;
mod resource;
mod token;

pub use config::{ApiKeyConfig, AuthConfig, JwtConfig};
pub use jwt::{JwtPlan, KeysPlan};
pub use keys::KeyPlan;
pub use live::{Authentication, Refusal};
pub use plan::{AuthPlan, KnownPlan, compile};
pub use resource::{Resource, WELL_KNOWN};
