//! `auth:` after compile: who may call, and who they are then.

use serde::Serialize;

use super::config::AuthConfig;
use super::jwt::{self, JwtPlan};
use super::keys::{self, KeyPlan};
use super::resource::Resource;
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
    let AuthConfig { resource, api_keys, jwt } = match &written.value {
        TextOr::Text(text) if text.value == "none" => return Some(AuthPlan::Open),
        TextOr::Text(text) => {
            let message = format!("`{}` does not say who may call", text.value);
            let help = "`auth: none` for everybody who reaches the port, or a block with `api_keys` or `jwt`";
            diagnostics.push(Diagnostic::error("bad-auth", message).at(text.span, "").help(help));
            return None;
        }
        TextOr::Block(auth) => auth,
    };
    if api_keys.is_empty() && jwt.0.is_empty() {
        let message = "nobody could ever call: `auth` has no keys and no issuer";
        let help = "give `api_keys` or `jwt`, or say `auth: none`";
        diagnostics.push(Diagnostic::error("empty-auth", message).absence().at(written.span, "").help(help));
        return None;
    }
    let before = diagnostics.errors();
    let mark = diagnostics.len();
    let own = resource.as_ref().and_then(|written| canonical(written, diagnostics));
    let keys = keys::compile(api_keys, diagnostics);
    let issuers = jwt::compile(&jwt.0, own.as_ref(), diagnostics);
    if resource.is_some() && own.is_none() {
        // What the tokens are meant for is said, only not well.
        diagnostics.forget_absences(mark);
    }
    (diagnostics.errors() == before).then_some(AuthPlan::Known(KnownPlan { resource: own, keys, issuers }))
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
