//! `auth:` after compile: who may call, and who they are then. Keys are kept as digests only, never as they are.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use serde::Serialize;
use serde_json::Map;

use crate::caller::Identity;
use crate::config::{ApiKeyConfig, Config};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::units::from_hex;
use crate::yaml::{Entries, TextOr};

/// Who may call over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthPlan {
    /// Nothing is said: whoever is on this machine.
    Unsaid,
    /// `auth: none`: whoever reaches the port.
    Open,
    /// Whoever has one of these keys.
    Keys(Vec<KeyPlan>),
}

/// A key and who holds it.
#[derive(Clone, PartialEq, Serialize)]
pub struct KeyPlan {
    /// SHA-256 of the key.
    #[serde(skip)]
    digest: Vec<u8>,
    /// Who holds it.
    pub identity: Arc<Identity>,
}

impl fmt::Debug for KeyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

impl AuthPlan {
    /// Who holds this key, in a time that says nothing about the keys there are.
    #[must_use]
    pub fn holder(&self, key: &str) -> Option<&Arc<Identity>> {
        let Self::Keys(keys) = self else { return None };
        let given = digest::digest(&digest::SHA256, key.as_bytes());
        let mut holder = None;
        for known in keys {
            if constant_time::verify_slices_are_equal(&known.digest, given.as_ref()).is_ok() {
                holder = Some(&known.identity);
            }
        }
        holder
    }
}

/// Compiles `auth`; nothing if it is wrong.
pub(super) fn compile(config: &Config, diagnostics: &mut Diagnostics) -> Option<AuthPlan> {
    let Some(written) = &config.auth else { return Some(AuthPlan::Unsaid) };
    let auth = match &written.value {
        TextOr::Text(text) if text.value == "none" => return Some(AuthPlan::Open),
        TextOr::Text(text) => {
            let message = format!("`{}` does not say who may call", text.value);
            let help = "`auth: none` for everybody who reaches the port, or a block with `api_keys`";
            diagnostics.push(Diagnostic::error("bad-auth", message).at(text.span, "").help(help));
            return None;
        }
        TextOr::Block(auth) => auth,
    };
    if auth.api_keys.is_empty() {
        let message = "nobody could ever call: `auth` has no keys";
        let help = "give `api_keys`, or say `auth: none`";
        diagnostics.push(Diagnostic::error("empty-auth", message).absence().at(written.span, "").help(help));
        return None;
    }
    let before = diagnostics.errors();
    let mut keys: Vec<(Span, KeyPlan)> = Vec::new();
    for written in &auth.api_keys {
        let Some(plan) = key(written, diagnostics) else { continue };
        for (first, other) in &keys {
            let same = match () {
                () if other.identity.sub == plan.identity.sub => "two keys have the same name",
                () if other.digest == plan.digest => "these two keys are the same",
                () => continue,
            };
            let problem = Diagnostic::error("key-twice", same);
            diagnostics.push(problem.at(written.name.span, "").at(*first, "the other one"));
        }
        keys.push((written.name.span, plan));
    }
    (diagnostics.errors() == before).then(|| AuthPlan::Keys(keys.into_iter().map(|(_, key)| key).collect()))
}

fn key(written: &Spanned<ApiKeyConfig>, diagnostics: &mut Diagnostics) -> Option<KeyPlan> {
    let ApiKeyConfig { name, key, sha256, scopes, claims } = &written.value;
    let mut refuse = |code, message: &str, at| {
        diagnostics.push(Diagnostic::error(code, message).absence().at(at, ""));
        None
    };
    if name.trim().is_empty() {
        return refuse("bad-key", "a key has a name, which its calls are known by", name.span);
    }
    let digest = match (key, sha256) {
        // A header's value begins and ends with something that can be seen.
        (Some(key), None) if key.expose().trim() != key.expose() || key.expose().is_empty() => {
            return refuse("bad-key", "this key is empty, or begins or ends with a space", key.span);
        }
        (Some(key), None) if !key.expose().bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            return refuse("bad-key", "a key is made of printable ASCII characters", key.span);
        }
        (Some(key), None) => digest::digest(&digest::SHA256, key.expose().as_bytes()).as_ref().to_vec(),
        (None, Some(text)) => {
            match from_hex(text.expose()).filter(|digest| digest.len() == digest::SHA256_OUTPUT_LEN) {
                Some(digest) => digest,
                None => {
                    return refuse(
                        "bad-key",
                        "a SHA-256 is 64 hexadecimal digits: `printf %s KEY | sha256sum`",
                        text.span,
                    );
                }
            }
        }
        _ => return refuse("one-of", "a key is exactly one of `key`, `sha256`", name.span),
    };
    let claims: Map<_, _> =
        claims.iter().map(|(name, value)| (name.value.clone(), value.to_value())).collect();
    let identity = Identity {
        key: format!("key:{}", name.value),
        sub: name.value.clone(),
        name: Some(name.value.clone()),
        scopes: scopes.clone(),
        claims,
    };
    Some(KeyPlan { digest, identity: Arc::new(identity) })
}

/// Says that nobody has the identity that a route is bound to.
pub(super) fn check_unknown(config: &Config, diagnostics: &mut Diagnostics) {
    let keys = config.auth.as_ref().is_some_and(|a| matches!(a.value, TextOr::Block(_)));
    if keys || config.losses.touch(&["auth"], &[]) {
        return;
    }
    let sessions = config.sources.iter().filter_map(|(_, s)| s.sql.as_ref()).flat_map(|s| s.session.iter());
    let sessions = sessions.map(|(_, value)| value);
    let params = config.tools.iter().map(|(_, t)| &t.params);
    let params = params.chain(config.resources.iter().map(|(_, r)| &r.params));
    let params = params.flat_map(Entries::iter).filter_map(|(_, p)| p.from.as_ref());
    let prompts =
        config.prompts.iter().flat_map(|(_, p)| p.params.iter()).filter_map(|(_, p)| p.from.as_ref());
    if let Some(first) = sessions.chain(params).chain(prompts).next() {
        let message = format!("`{}` is used, and nobody who calls over HTTP has an identity", first.value);
        let help = "give `auth.api_keys`; until then such calls are refused over HTTP, and over stdio the caller is `local`";
        diagnostics.push(Diagnostic::warning("no-identity", message).at(first.span, "").help(help));
    }
}
