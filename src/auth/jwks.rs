//! The keys of an issuer (JSON Web Key Set, RFC 7517), read with care: it comes from outside.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// The most keys of a set.
const MAX_KEYS: usize = 100;
/// The most keys that are tried for a token that does not name one.
const MAX_TRIED: usize = 8;

/// The keys of an issuer that can check a signature.
#[derive(Clone, PartialEq)]
pub struct KeySet(Vec<Key>);

#[derive(Clone)]
struct Key {
    written: Written,
    decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// A key as it is written (RFC 7517, section 4; RFC 7518, section 6; RFC 8037).
#[derive(Clone, Deserialize, PartialEq)]
struct Written {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a set. Keys that are of no use here are left out.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let set = super::json::object(bytes).ok_or("it is not a JSON object")?;
        let Some(Value::Array(all)) = set.get("keys") else { return Err("it has no list `keys`") };
        if all.len() > MAX_KEYS {
            return Err("it has more than 100 keys");
        }
        let keys: Vec<Key> = all.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err("it has no public key that can check a signature");
        }
        Ok(Self(keys))
    }

    /// The keys that may have made a signature: those of that name, else, where none is named, all that fit.
    pub(super) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &DecodingKey> {
        let named = move |key: &&Key| kid.is_none() || key.written.kid.as_deref() == kid;
        let fitting = self.0.iter().filter(named).filter(move |key| key.fits(algorithm));
        fitting.take(MAX_TRIED).map(|key| &key.decoding)
    }

    /// Whether there is a key of this name, whatever it is for.
    pub(super) fn names(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.written.kid.as_deref() == Some(kid))
    }
}

impl Key {
    /// A key for signatures; `None` for any other, and for one that is not whole.
    fn read(value: &Value) -> Option<Self> {
        let written = Written::deserialize(value).ok()?;
        let signs = written.usage.as_deref().is_none_or(|usage| usage == "sig")
            && written.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let decoding = match (written.kty.as_str(), written.crv.as_deref()) {
            ("RSA", _) => {
                DecodingKey::from_rsa_components(written.n.as_deref()?, written.e.as_deref()?).ok()?
            }
            ("EC", Some("P-256" | "P-384")) => {
                DecodingKey::from_ec_components(written.x.as_deref()?, written.y.as_deref()?).ok()?
            }
            ("OKP", Some("Ed25519")) => DecodingKey::from_ed_components(written.x.as_deref()?).ok()?,
            _ => return None,
        };
        signs.then_some(Self { written, decoding })
    }

    /// Whether it is for this algorithm: of its kind, and of its name where it says one.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let Written { kty, crv, alg, .. } = &self.written;
        let kind = match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => kty == "RSA",
            Algorithm::ES256 => kty == "EC" && crv.as_deref() == Some("P-256"),
            Algorithm::ES384 => kty == "EC" && crv.as_deref() == Some("P-384"),
            Algorithm::EdDSA => kty == "OKP",
            _ => false,
        };
        kind && alg.as_deref().is_none_or(|alg| super::jwt::algorithm(alg) == Some(algorithm))
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Serialize for KeySet {
    /// The names of its keys.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|key| key.written.kid.as_deref().unwrap_or("-")))
    }
}
