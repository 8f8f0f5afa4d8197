//! One token (JWT, RFC 7519; as an access token, RFC 9068): read strictly, its signature and times checked by the library, and
//! what it says of its holder. Nothing that it says leads anywhere: keys are the issuer's, wherever it points to (RFC 8725).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::jwt::{JwtPlan, algorithm};
use super::resource::comparable;
use crate::caller::{Identity, Known, claim};

/// The longest token that is read, in bytes.
const MAX_TOKEN: usize = 16 << 10;
/// How far the clocks of issuer and server may be apart, in seconds.
const LEEWAY: u64 = 30;

/// A token whose form is right and whose signature has not been looked at.
pub(super) struct Unverified<'a> {
    text: &'a str,
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    claims: Map<String, Value>,
}

/// A token that holds.
#[derive(Debug)]
pub(super) struct Verified {
    pub identity: Identity,
    /// Until when, since 1970.
    pub expires: Duration,
}

/// What one key says of a token.
pub(super) enum Verdict {
    /// It is good.
    Good(Box<Verified>),
    /// Another key may have signed it.
    OtherKey,
    /// It is bad whatever key signed it.
    Bad(&'static str),
}

/// Whether this may be a token at all, and no key: three parts with dots between them.
pub(super) fn looks_like(text: &str) -> bool {
    text.split('.').take(4).count() == 3
}

impl<'a> Unverified<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &'a str) -> Result<Self, &'static str> {
        const FORM: &str = "this is not a token";
        if text.len() > MAX_TOKEN {
            return Err("this token is too long");
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().filter(|bytes| !bytes.is_empty());
        let part = |part: &str| super::json::object(&decoded(part)?);
        let (Some(header), Some(claims), Some(_)) = (part(header), part(claims), decoded(signature)) else {
            return Err(FORM);
        };
        let (algorithm, kid) = read_header(&header)?;
        Ok(Self { text, kid, algorithm, claims })
    }

    /// Whether it has the form of one.
    pub(super) fn is_one(text: &str) -> bool {
        let header = text.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        header.and_then(|bytes| super::json::object(&bytes)).is_some_and(|header| header.contains_key("alg"))
    }

    /// Who says that they issued it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Holds it against one of its issuer's keys.
    pub(super) fn verify(&self, key: &DecodingKey, plan: &JwtPlan) -> Verdict {
        let mut validation = Validation::new(self.algorithm);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_issuer(&[&plan.issuer]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        // Compared below, as URIs are.
        validation.validate_aud = false;
        if let Err(error) = jsonwebtoken::decode::<IgnoredAny>(self.text, key, &validation) {
            return match error.kind() {
                ErrorKind::ExpiredSignature => Verdict::Bad("this token has expired"),
                ErrorKind::ImmatureSignature => Verdict::Bad("this token is not valid yet"),
                ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
                    Verdict::Bad("this token lacks one of the claims iss, sub, aud, exp")
                }
                ErrorKind::InvalidIssuer => Verdict::Bad("this token is of another issuer"),
                _ => Verdict::OtherKey,
            };
        }
        match self.holder(plan) {
            Ok(verified) => Verdict::Good(Box::new(verified)),
            Err(why) => Verdict::Bad(why),
        }
    }

    /// Whom its claims are about. The library takes several forms that only one reader would understand, so they are looked at again.
    fn holder(&self, plan: &JwtPlan) -> Result<Verified, &'static str> {
        const CLAIMS: &str = "a claim of this token is not of its form";
        let claims = &self.claims;
        let number = |name: &str| claims.get(name).is_none_or(Value::is_number);
        if !["exp", "nbf", "iat"].into_iter().all(number) {
            return Err(CLAIMS);
        }
        let sub = claims.get("sub").and_then(Value::as_str).filter(|sub| !sub.is_empty()).ok_or(CLAIMS)?;
        let issuer = self.issuer().filter(|issuer| *issuer == plan.issuer).ok_or(CLAIMS)?;
        let meant = match claims.get("aud") {
            Some(Value::String(audience)) => vec![audience.as_str()],
            Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<_>>().ok_or(CLAIMS)?,
            _ => return Err(CLAIMS),
        };
        if !meant.into_iter().any(|audience| plan.audience.iter().any(|own| *own == comparable(audience))) {
            return Err("this token is meant for another server");
        }
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        let identity = Identity::new(Known {
            // The issuer is one of the configuration's, so nobody can say where it ends; no other identity begins like this.
            key: format!("jwt:{issuer}\0{sub}"),
            sub: sub.to_owned(),
            name: claim(claims, &plan.name_claim).and_then(Value::as_str).map(str::to_owned),
            scopes: scopes(claims, plan.scopes_claim.as_deref()),
            claims: claims.clone(),
        });
        Ok(Verified { identity, expires: Duration::try_from_secs_f64(expires).unwrap_or_default() })
    }
}

/// Algorithm and name of the key.
fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), &'static str> {
    let typ = match header.get("typ") {
        None => "jwt".to_owned(),
        Some(Value::String(typ)) => typ.to_ascii_lowercase(),
        Some(_) => String::new(),
    };
    if !matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt") {
        return Err("this is a token of another type");
    }
    // Where its key or its form would have to be taken from itself.
    if ["crit", "b64", "jwk", "jku", "x5u"].into_iter().any(|name| header.contains_key(name)) {
        return Err("the header of this token has a member that is not taken here");
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(algorithm);
    let algorithm = algorithm.ok_or("this token is not signed in a way that counts here")?;
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err("the header of this token is not of its form"),
    };
    Ok((algorithm, kid))
}

/// The scopes that a token grants; none where the claim is of another form.
fn scopes(claims: &Map<String, Value>, name: Option<&str>) -> Vec<String> {
    let named = match name {
        Some(name) => vec![claim(claims, name)],
        None => vec![claims.get("scope"), claims.get("scp")],
    };
    let mut all: Vec<String> = Vec::new();
    for value in named.into_iter().flatten() {
        let texts: Vec<&str> = match value {
            Value::String(text) => text.split(' ').collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            if !all.iter().any(|known| known == text) {
                all.push(text.to_owned());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_stand_in_texts_and_lists_and_nowhere_else() {
        for (claims, name, wanted) in [
            (json!({ "scope": "a b  c", "scp": ["b", "d"] }), None, &["a", "b", "c", "d"][..]),
            (json!({ "scp": "a" }), None, &["a"]),
            (json!({ "scope": 1, "scp": { "a": 1 } }), None, &[]),
            (
                json!({ "scope": "a", "realm_access": { "roles": ["b", 1, "c"] } }),
                Some("realm_access.roles"),
                &["b", "c"],
            ),
            (json!({ "https://x.example/roles": "a b" }), Some("https://x.example/roles"), &["a", "b"]),
            (json!({ "scope": "a" }), Some("roles"), &[]),
        ] {
            assert_eq!(scopes(claims.as_object().unwrap(), name), wanted, "{claims}");
        }
    }
}
