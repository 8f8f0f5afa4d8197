//! Who calls, by the key in a header: `Authorization: Bearer KEY` (RFC 6750, section 2.1) or `X-API-Key: KEY`. Never by the URL.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::http::{Reply, refuse};
use crate::caller::Caller;
use crate::mcp::Headers as _;
use crate::plan::{AuthPlan, ServerPlan};

/// The header of a key by itself.
const API_KEY: &str = "x-api-key";

/// Who sent these headers.
///
/// # Errors
/// 401 with the challenge (RFC 9110, section 11.6.1).
pub(super) fn caller(headers: &HeaderMap, plan: &ServerPlan) -> Result<Caller, Box<Reply>> {
    if !matches!(plan.auth, AuthPlan::Keys(_)) {
        return Ok(Caller::Anonymous);
    }
    let holder = given(headers).and_then(|key| plan.auth.holder(key));
    holder.map(|identity| Caller::Known(identity.clone())).ok_or_else(|| Box::new(challenge(headers)))
}

/// The one key that is given. Two could be two callers, and nobody knows who is meant.
fn given(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.one("authorization").ok()?;
    let own = headers.one(API_KEY).ok()?;
    match (bearer, own) {
        (Some(value), None) => {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim_matches(' '))
        }
        (None, Some(key)) => Some(key),
        _ => None,
    }
}

fn challenge(headers: &HeaderMap) -> Reply {
    let both = headers.contains_key(header::AUTHORIZATION) && headers.contains_key(API_KEY);
    let named = headers.contains_key(header::AUTHORIZATION) || headers.contains_key(API_KEY);
    let (message, challenge) = if both {
        ("a call has one key: `Authorization` or `X-API-Key`, not both", "Bearer error=\"invalid_request\"")
    } else if named {
        ("this key is not known here", "Bearer error=\"invalid_token\"")
    } else {
        ("calls need a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`", "Bearer")
    };
    let mut reply = refuse(StatusCode::UNAUTHORIZED, -32600, message);
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    reply
}
