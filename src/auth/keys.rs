//! Keys that stand in the configuration. Plain ones and digests are kept as digests only, never as they are; hashes of keys that
//! people chose cost time on purpose, so they are tried few at a time, away from the calls, and what was tried is remembered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier as _, Version};
use aws_lc_rs::{constant_time, digest};
use serde::Serialize;
use serde_json::Map;
use tokio::sync::Semaphore;

use super::config::ApiKeyConfig;
use crate::caller::{Identity, Known};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::policy::store::Store;
use crate::units::from_hex;

/// A key and who holds it.
#[derive(Clone, PartialEq, Serialize)]
pub struct KeyPlan {
    /// What tells that a key is this one.
    #[serde(skip)]
    proof: Proof,
    /// Who holds it.
    pub identity: Arc<Identity>,
}

#[derive(Clone, PartialEq)]
enum Proof {
    /// SHA-256 of the key.
    Digest(Vec<u8>),
    /// Its Argon2id hash, which has been read before.
    Argon2(Arc<str>),
}

impl KeyPlan {
    /// Whether the same key is told by both, whoever holds it.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.proof == other.proof
    }
}

impl fmt::Debug for KeyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity.fmt(f)
    }
}

/// Who holds the key with this SHA-256, in a time that says nothing about the keys there are.
pub(super) fn holder<'a>(keys: &'a [KeyPlan], given: &[u8; 32]) -> Option<&'a Arc<Identity>> {
    let mut holder = None;
    for known in keys {
        if let Proof::Digest(digest) = &known.proof
            && constant_time::verify_slices_are_equal(digest, given).is_ok()
        {
            holder = Some(&known.identity);
        }
    }
    holder
}

/// The longest key that is hashed.
const MAX_KEY: usize = 1024;
/// The most memory and rounds of a hash: what a stranger makes us spend.
const MAX_KIB: u32 = 128 << 10;
const MAX_ROUNDS: u32 = 16;
/// Keys that are remembered, good and bad ones, and how long.
const REMEMBERED: u64 = 10_000;
const KEEP: Duration = Duration::from_secs(600);
/// How long a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries keys against the hashes.
#[derive(Debug)]
pub(super) struct Slow {
    hashes: Arc<[(Arc<str>, Arc<Identity>)]>,
    /// Good keys by their SHA-256; kept as long as the hashes are.
    good: Store<Identity>,
    /// By the SHA-256 of what was given: whose it is, if anybody's.
    tried: Store<Option<Arc<Identity>>>,
    turns: Arc<Semaphore>,
}

impl Slow {
    pub(super) fn new(keys: &[KeyPlan]) -> Self {
        let hashes = keys.iter().filter_map(|key| match &key.proof {
            Proof::Argon2(hash) => Some((hash.clone(), key.identity.clone())),
            Proof::Digest(_) => None,
        });
        // Strangers with wrong keys keep a quarter of the machine busy at the most, or one core of it.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            hashes: hashes.collect(),
            good: Store::new(REMEMBERED, |_, _| 1, None),
            tried: Store::new(REMEMBERED, |_, _| 1, Some(|_| KEEP)),
            turns: Arc::new(Semaphore::new((cores / 4).max(1))),
        }
    }

    /// Who holds this key, whose SHA-256 is `given`; `Err` if there was no turn for it.
    pub(super) async fn holder(&self, key: &str, given: [u8; 32]) -> Result<Option<Arc<Identity>>, ()> {
        if self.hashes.is_empty() || key.len() > MAX_KEY {
            return Ok(None);
        }
        // Who came in once does not wait behind strangers.
        if let Some(identity) = self.good.get(&given) {
            return Ok(Some(identity));
        }
        let found = self.tried.get_or_fetch(&given, |_| true, self.attempt(key.to_owned()));
        let found = Option::clone(&*found.await.map_err(|_| ())?);
        if let Some(identity) = &found {
            self.good.insert(given.into(), identity.clone());
        }
        Ok(found)
    }

    /// Whether there are hashes at all.
    pub(super) fn is_used(&self) -> bool {
        !self.hashes.is_empty()
    }

    async fn attempt(&self, key: String) -> Result<Arc<Option<Arc<Identity>>>, ()> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| ())?.map_err(|_| ())?;
        let hashes = self.hashes.clone();
        // The turn goes along: a caller who leaves does not make room for the next one.
        let work = move || {
            let _turn = turn;
            let fits = |hash: &str| {
                PasswordHash::new(hash)
                    .is_ok_and(|hash| Argon2::default().verify_password(key.as_bytes(), &hash).is_ok())
            };
            hashes.iter().find(|(hash, _)| fits(hash)).map(|(_, identity)| identity.clone())
        };
        tokio::task::spawn_blocking(work).await.map(Arc::new).map_err(|_| ())
    }
}

/// Reads a hash.
fn argon2(text: &str) -> Result<Proof, &'static str> {
    const FORM: &str = "this is not an Argon2id hash: `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`";
    let hash = PasswordHash::new(text).map_err(|_| FORM)?;
    let params = Params::try_from(&hash).map_err(|_| FORM)?;
    let sound = hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && hash.version == Some(Version::V0x13.into())
        && hash.hash.is_some()
        && hash.salt.is_some();
    if !sound {
        return Err(FORM);
    }
    if params.m_cost() > MAX_KIB || params.t_cost() > MAX_ROUNDS || params.p_cost() > MAX_ROUNDS {
        return Err("this hash costs too much: 128 MiB, 16 rounds and 16 lanes at the most");
    }
    Ok(Proof::Argon2(text.into()))
}

/// Compiles all keys.
pub(super) fn compile(written: &[Spanned<ApiKeyConfig>], diagnostics: &mut Diagnostics) -> Vec<KeyPlan> {
    let mut keys: Vec<(Span, KeyPlan)> = Vec::new();
    for written in written {
        let Some(plan) = key(written, diagnostics) else { continue };
        for (first, other) in &keys {
            let same = match () {
                () if other.identity.sub == plan.identity.sub => "two keys have the same name",
                () if other.proof == plan.proof => "these two keys are the same",
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
    let ApiKeyConfig { name, key, sha256, argon2: hash, scopes, claims } = &written.value;
    let mut refuse = |code, message: &str, at| {
        diagnostics.push(Diagnostic::error(code, message).absence().at(at, ""));
        None
    };
    if name.trim().is_empty() {
        return refuse("bad-key", "a key has a name, which its calls are known by", name.span);
    }
    let proof = match (key, sha256, hash) {
        // A header's value begins and ends with something that can be seen.
        (Some(key), None, None) if key.expose().trim() != key.expose() || key.expose().is_empty() => {
            return refuse("bad-key", "this key is empty, or begins or ends with a space", key.span);
        }
        (Some(key), None, None) if !key.expose().bytes().all(|b| (0x20..0x7f).contains(&b)) => {
            return refuse("bad-key", "a key is made of printable ASCII characters", key.span);
        }
        (Some(key), None, None) => {
            Proof::Digest(digest::digest(&digest::SHA256, key.expose().as_bytes()).as_ref().to_vec())
        }
        (None, None, Some(text)) => match argon2(text.expose()) {
            Ok(proof) => proof,
            Err(why) => return refuse("bad-key", why, text.span),
        },
        (None, Some(text), None) => {
            match from_hex(text.expose()).filter(|digest| digest.len() == digest::SHA256_OUTPUT_LEN) {
                Some(digest) => Proof::Digest(digest),
                None => {
                    let message = "a SHA-256 is 64 hexadecimal digits: `printf %s KEY | sha256sum`";
                    return refuse("bad-key", message, text.span);
                }
            }
        }
        _ => return refuse("one-of", "a key is exactly one of `key`, `sha256`, `argon2`", name.span),
    };
    let claims: Map<_, _> =
        claims.iter().map(|(name, value)| (name.value.clone(), value.to_value())).collect();
    let identity = Identity::new(Known {
        key: format!("key:{}", name.value),
        sub: name.value.clone(),
        name: Some(name.value.clone()),
        scopes: scopes.clone(),
        claims,
    });
    Some(KeyPlan { proof, identity: Arc::new(identity) })
}
