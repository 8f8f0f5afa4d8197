//! `auth:` after compile: who may call, and who they are then.

use std::sync::Arc;

use serde::Serialize;

use super::certificates::{self, CertificatePlan};
use super::config::AuthConfig;
use super::jwt::{self, JwtPlan};
use super::keys::{self, KeyPlan};
use super::resource::Resource;
use crate::caller::Identity;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::yaml::TextOr;

/// Who may call over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlan {
    /// Nothing is said: whoever is on this machine.
    Unsaid,
    /// `auth: none`: whoever reaches the port.
    Open,
    /// Whoever proves who they are.
    Known(KnownPlan),
}

/// The ways to prove who one is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KnownPlan {
    /// This server's own URI, where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// Keys.
    pub keys: Vec<KeyPlan>,
    /// Issuers of tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<JwtPlan>,
    /// Certificates of clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificatePlan>,
}

impl KnownPlan {
    /// Those whom the configuration itself knows, by keys and by certificates.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Identity>> {
        let certificates = self.certificates.iter().map(|certificate| &certificate.identity);
        self.keys.iter().map(|key| &key.identity).chain(certificates)
    }
}

impl AuthPlan {
    /// The ways to prove who one is, if callers have to.
    #[must_use]
    pub const fn known(&self) -> Option<&KnownPlan> {
        match self {
            Self::Known(known) => Some(known),
            Self::Unsaid | Self::Open => None,
        }
    }
}

/// Compiles `auth`; nothing if it is wrong.
pub fn compile(
    written: Option<&Spanned<TextOr<AuthConfig>>>,
    diagnostics: &mut Diagnostics,
) -> Option<AuthPlan> {
    let Some(written) = written else { return Some(AuthPlan::Unsaid) };
    let AuthConfig { resource, api_keys, jwt, client_certificates } = match &written.value {
        TextOr::Text(text) if text.value == "none" => return Some(AuthPlan::Open),
        TextOr::Text(text) => {
            let message = format!("`{}` does not say who may call", text.value);
            let help = "`auth: none` for everybody who reaches the port, or a block with `api_keys`, `jwt` or `client_certificates`";
            diagnostics.push(Diagnostic::error("bad-auth", message).at(text.span, "").help(help));
            return None;
        }
        TextOr::Block(auth) => auth,
    };
    if api_keys.is_empty() && jwt.0.is_empty() && client_certificates.is_empty() {
        let message = "nobody could ever call: `auth` has no keys, no issuer and no certificates";
        let help = "give `api_keys`, `jwt` or `client_certificates`, or say `auth: none`";
        diagnostics.push(Diagnostic::error("empty-auth", message).absence().at(written.span, "").help(help));
        return None;
    }
    let before = diagnostics.errors();
    let mark = diagnostics.len();
    let own = resource.as_ref().and_then(|written| canonical(written, diagnostics));
    let keys = keys::compile(api_keys, diagnostics);
    let issuers = jwt::compile(&jwt.0, own.as_ref(), diagnostics);
    let certificates = certificates::compile(client_certificates, diagnostics);
    if resource.is_some() && own.is_none() {
        // What the tokens are meant for is said, only not well.
        diagnostics.forget_absences(mark);
    }
    let known = KnownPlan { resource: own, keys, issuers, certificates };
    (diagnostics.errors() == before).then_some(AuthPlan::Known(known))
}

fn canonical(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Resource> {
    match Resource::parse(written) {
        Ok(resource) => Some(resource),
        Err(canonical) => {
            let message = format!("`{}` is not the canonical URI of a server", written.value);
            let help = match canonical {
                Some(canonical) => format!("write `{canonical}`"),
                None => "an `https` URL as clients use it, such as `https://mcp.shop.example/mcp`".to_owned(),
            };
            diagnostics.push(Diagnostic::error("bad-resource", message).at(written.span, "").help(help));
            None
        }
    }
}
