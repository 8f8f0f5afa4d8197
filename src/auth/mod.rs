//! Who calls over HTTP: keys that stand in the configuration, tokens (JWT) of issuers, and certificates of clients. Here is what is written, what it
//! becomes, and the live part with the issuers' keys; the server only reads the headers and maps the answers.

mod certificates;
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

pub use certificates::{CertificatePlan, Mark, Shown};
pub use config::{ApiKeyConfig, AuthConfig, ClientCertificateConfig, JwtConfig};
pub use jwt::{JwtPlan, KeysPlan};
pub use keys::KeyPlan;
pub use live::{Authentication, Refusal};
pub use plan::{AuthPlan, KnownPlan, compile};
pub use resource::{Resource, WELL_KNOWN};
