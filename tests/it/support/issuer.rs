//! A small issuer of tokens: key pairs, discovery document and key set over HTTP on loopback, and tokens written letter by letter,
//! so that a wrong one is wrong in exactly one thing.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::upstream::{self, Seen, Step, Upstream};

/// What the tokens of the tests are meant for.
pub const AUDIENCE: &str = "https://mcp.shop.example/mcp";

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A key pair and its name.
pub struct Pair {
    pub kid: String,
    pair: Kind,
}

enum Kind {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Pair {
    pub fn rsa(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Kind::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()) }
    }

    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Kind::Ec(pair) }
    }

    pub fn ed(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Kind::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    /// The algorithm it signs with unless something is said.
    pub fn alg(&self) -> &'static str {
        match &self.pair {
            Kind::Rsa(_) => "RS256",
            Kind::Ec(_) => "ES256",
            Kind::Ed(_) => "EdDSA",
        }
    }

    /// RSAPublicKey in DER (RFC 8017, appendix A.1.1).
    pub fn public_der(&self) -> Vec<u8> {
        match &self.pair {
            Kind::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Kind::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let public = self.public_der();
        match &self.pair {
            // SEQUENCE (4) INTEGER (4 and a zero), 256 bytes, then 65537.
            Kind::Rsa(_) => {
                json!({ "kty": "RSA", "kid": self.kid, "use": "sig", "n": base64(&public[9..265]), "e": "AQAB" })
            }
            Kind::Ec(_) => {
                let (x, y) = public[1..].split_at(32);
                json!({ "kty": "EC", "kid": self.kid, "crv": "P-256", "x": base64(x), "y": base64(y) })
            }
            Kind::Ed(_) => {
                json!({ "kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": base64(public) })
            }
        }
    }

    /// Signs as `alg` says, for RSA; the others have one way only.
    fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Kind::Rsa(pair) => {
                let encoding: &dyn signature::RsaEncoding = match alg {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Kind::Ec(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Kind::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these two texts, signed as `alg` says.
    pub fn token_of(&self, alg: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64(header), base64(claims));
        let signature = base64(self.sign(alg, message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A token of these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.alg(), "kid": self.kid, "typ": "at+jwt" });
        self.token_of(self.alg(), &header.to_string(), &claims.to_string())
    }
}

/// What an issuer answers, by path.
type Answer = Arc<Mutex<Option<Vec<Step>>>>;

/// An issuer on loopback.
pub struct Issuer {
    pub upstream: Upstream,
    keys: Arc<Mutex<Value>>,
    /// Instead of the key set.
    fault: Answer,
}

impl Issuer {
    /// Serves these keys.
    pub async fn start(pairs: &[&Pair]) -> Self {
        let keys = Arc::new(Mutex::new(set(pairs)));
        let fault: Answer = Arc::default();
        let (served, broken) = (keys.clone(), fault.clone());
        let upstream = Upstream::start(move |seen: &Seen| {
            let host = seen.header("host").unwrap();
            match seen.path() {
                "/.well-known/openid-configuration" => {
                    let issuer = format!("http://{host}");
                    upstream::json(
                        &json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") }).to_string(),
                    )
                }
                "/keys" => {
                    let fault = broken.lock().unwrap().clone();
                    fault.unwrap_or_else(|| upstream::json(&served.lock().unwrap().to_string()))
                }
                _ => vec![Step::Send(upstream::reply("404 Not Found", "text/plain", b""))],
            }
        })
        .await;
        Self { upstream, keys, fault }
    }

    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// Serves other keys from now on.
    pub fn rotate(&self, pairs: &[&Pair]) {
        *self.keys.lock().unwrap() = set(pairs);
    }

    /// Does this instead of serving its keys, or serves them again.
    pub fn fail(&self, steps: Option<Vec<Step>>) {
        *self.fault.lock().unwrap() = steps;
    }

    /// How often its keys were read.
    pub fn reads(&self) -> usize {
        self.upstream.take().iter().filter(|seen| seen.path() == "/keys").count()
    }

    /// Claims of a good token.
    pub fn claims(&self) -> Value {
        json!({
            "iss": self.url(), "sub": "ada", "aud": AUDIENCE, "iat": now(), "exp": now() + 600,
            "scope": "orders.read", "name": "Ada",
        })
    }

    /// The `auth` of a gateway that takes its tokens.
    pub fn auth(&self) -> Value {
        json!({ "resource": AUDIENCE, "jwt": { "issuer": self.url() } })
    }
}

/// A key set.
pub fn set(pairs: &[&Pair]) -> Value {
    json!({ "keys": pairs.iter().map(|pair| pair.jwk()).collect::<Vec<_>>() })
}
