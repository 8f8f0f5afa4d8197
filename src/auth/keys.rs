//! Keys that stand in the configuration. Plain ones and digests are kept as digests only, never as they are.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use serde::Serialize;
use serde_json::Map;

use super::config::ApiKeyConfig;
use crate::caller::Identity;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::units::from_hex;

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

/// Who holds this key, in a time that says nothing about the keys there are.
pub(super) fn holder<'a>(keys: &'a [KeyPlan], key: &str) -> Option<&'a Arc<Identity>> {
    let given = digest::digest(&digest::SHA256, key.as_bytes());
    let mut holder = None;
    for known in keys {
        if constant_time::verify_slices_are_equal(&known.digest, given.as_ref()).is_ok() {
            holder = Some(&known.identity);
        }
    }
    holder
}

/// Compiles all keys.
pub(super) fn compile(written: &[Spanned<ApiKeyConfig>], diagnostics: &mut Diagnostics) -> Vec<KeyPlan> {
    let mut keys: Vec<(Span, KeyPlan)> = Vec::new();
    for written in written {
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
    keys.into_iter().map(|(_, key)| key).collect()
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
                    let message = "a SHA-256 is 64 hexadecimal digits: `printf %s KEY | sha256sum`";
                    return refuse("bad-key", message, text.span);
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
        token: None,
    };
    Some(KeyPlan { digest, identity: Arc::new(identity) })
}
