//! Who calls, by the certificate of the connection, or by the key or the token in a header, which stands above it:
//! `Authorization: Bearer …` (RFC 6750, section 2.1) or, for keys, `X-API-Key: …`. Never by the URL. And what is said to whoever is not
//! let in.

use std::borrow::Cow;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};

use super::http::{Reply, json, refuse};
use super::peer::Peer;
use crate::auth::{Refusal, Resource};
use crate::caller::Caller;
use crate::live::Live;
use crate::mcp::{Headers as _, RpcError};
use crate::policy::Denied;
use crate::secret::Secret;

/// The header of a key by itself.
const API_KEY: &str = "x-api-key";

/// What is given.
enum Given<'a> {
    Nothing,
    Key(&'a str),
    Bearer(&'a str),
    /// Credentials of a kind that is not taken here.
    Foreign,
    /// More than one, or none that can be read.
    Malformed,
}

/// What somebody proved who they are with, kept for a stream that outlives its request. Nothing, where a certificate did or nobody asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Proof {
    /// Nothing in a header.
    #[default]
    Nothing,
    /// A key.
    Key(Secret),
    /// A key or a token.
    Bearer(Secret),
}

impl Proof {
    /// What these headers, which were let in, prove it with.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match given(headers) {
            Given::Key(key) => Self::Key(Secret::new(key.to_owned())),
            Given::Bearer(text) => Self::Bearer(Secret::new(text.to_owned())),
            Given::Nothing | Given::Foreign | Given::Malformed => Self::Nothing,
        }
    }

    /// Whom it proves now, over a connection that may say something too.
    ///
    /// # Errors
    /// [`Unproven`].
    pub(super) async fn holder(&self, peer: &Peer, live: &Live) -> Result<Caller, Unproven> {
        let given = match self {
            Self::Nothing => Given::Nothing,
            Self::Key(key) => Given::Key(key.expose()),
            Self::Bearer(text) => Given::Bearer(text.expose()),
        };
        identify(&given, Some(peer), live).await
    }
}

/// Why it is not known who calls.
pub(super) enum Unproven {
    /// Nothing was given, and something has to be.
    Missing,
    /// What was given cannot be read.
    Malformed,
    /// What was given lets nobody in.
    Refused(Refusal),
}

/// Who gives this, over a connection to this peer if it may say something of them.
async fn identify(given: &Given<'_>, peer: Option<&Peer>, live: &Live) -> Result<Caller, Unproven> {
    if live.auth.known().is_none() {
        return Ok(Caller::Anonymous);
    }
    let identity = match given {
        // A key or a token says more of who calls than the connection does, which a proxy may share among many.
        Given::Nothing => match peer.and_then(|peer| peer.identity(live)) {
            Some(identity) => Ok(identity),
            None if live.plan.catalog.public => return Ok(Caller::Anonymous),
            None => return Err(Unproven::Missing),
        },
        Given::Bearer(text) => live.auth.bearer(text).await,
        Given::Key(key) => live.auth.key(key).await,
        Given::Foreign => Err(Refusal::Bad("credentials of this kind are not taken here")),
        Given::Malformed => return Err(Unproven::Malformed),
    };
    identity.map(Caller::Known).map_err(Unproven::Refused)
}

/// Who sent these headers, over a connection to this peer if it may say something of them.
///
/// # Errors
/// 401 with the challenge (RFC 9110, section 11.6.1; MCP 2026-07-28, basic/authorization); 400 for more than one credential; 503
/// while nobody can say.
pub(super) async fn caller(
    uri: &Uri,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    live: &Live,
) -> Result<Caller, Box<Reply>> {
    if live.auth.known().is_none() {
        return Ok(Caller::Anonymous);
    }
    let refuse = |status, error, why: &str| Err(Box::new(challenge(status, error, why, uri, headers, live)));
    match identify(&given(headers), peer, live).await {
        Ok(caller) => Ok(caller),
        Err(Unproven::Missing) => refuse(StatusCode::UNAUTHORIZED, None, &needs("calls need", live)),
        Err(Unproven::Malformed) => {
            let why = "a call has one key or token, in one header";
            refuse(StatusCode::BAD_REQUEST, Some("invalid_request"), why)
        }
        Err(Unproven::Refused(Refusal::Bad(why))) => {
            tracing::debug!(why, "a caller was not let in");
            refuse(StatusCode::UNAUTHORIZED, Some("invalid_token"), why)
        }
        Err(Unproven::Refused(Refusal::Unavailable)) => Err(Box::new(unavailable())),
    }
}

/// Whether these headers are of somebody who may read what is not a route: where `auth` is on, of a caller who is known, also where some
/// routes are for everybody.
///
/// # Errors
/// As [`caller`].
pub(super) async fn proven(
    uri: &Uri,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    live: &Live,
) -> Result<Caller, Box<Reply>> {
    let caller = caller(uri, headers, peer, live).await?;
    if caller == Caller::Anonymous && live.auth.known().is_some() {
        let why = needs("this needs", live);
        return Err(Box::new(challenge(StatusCode::UNAUTHORIZED, None, &why, uri, headers, live)));
    }
    Ok(caller)
}

/// Who may read what the server says of itself: [`proven`], and with the scopes that `server.admin` wants.
///
/// # Errors
/// As [`caller`]; 403 without the scopes.
pub(super) async fn operator(
    uri: &Uri,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    live: &Live,
) -> Result<Caller, Box<Reply>> {
    let caller = proven(uri, headers, peer, live).await?;
    let rule = &live.plan.server.status.auth;
    match rule.admit(&caller) {
        Err(denied) if rule.known => Err(Box::new(self::denied(&denied, None, uri, headers, live))),
        _ => Ok(caller),
    }
}

/// What is missing from a request of nobody.
fn needs(what: &str, live: &Live) -> String {
    const HEADERS: &str = "a key or a token: `Authorization: Bearer …`, or `X-API-Key: …` for a key";
    const CERTIFICATE: &str = "a client certificate that is known here";
    let known = live.auth.known();
    let headers = known.is_none_or(|known| !known.keys.is_empty() || !known.issuers.is_empty());
    match (headers, known.is_some_and(|known| !known.certificates.is_empty())) {
        (_, false) => format!("{what} {HEADERS}"),
        (false, true) => format!("{what} {CERTIFICATE}"),
        (true, true) => format!("{what} {CERTIFICATE}, or {HEADERS}"),
    }
}

/// The one key or token that is given. Two could be two callers, and nobody knows who is meant.
fn given(headers: &HeaderMap) -> Given<'_> {
    let (Ok(bearer), Ok(own)) = (headers.one("authorization"), headers.one(API_KEY)) else {
        return Given::Malformed;
    };
    match (bearer, own) {
        (None, None) => Given::Nothing,
        (Some(_), Some(_)) => Given::Malformed,
        (None, Some(key)) => Given::Key(key),
        (Some(value), None) => match value.split_once(' ') {
            Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => {
                Given::Bearer(text.trim_matches(' '))
            }
            _ => Given::Foreign,
        },
    }
}

/// This server's URI: the one that is written, else by the `Host` of the request, which has been checked.
pub(super) fn resource<'a>(uri: &Uri, headers: &HeaderMap, live: &'a Live) -> Cow<'a, Resource> {
    let written = live.auth.known().and_then(|known| known.resource.as_ref());
    written.map_or_else(
        || {
            let host = headers.one("host").ok().flatten();
            let plan = &live.plan.server;
            let named = uri.authority().map(hyper::http::uri::Authority::as_str);
            Cow::Owned(Resource::of_request(plan.scheme(), host.or(named).unwrap_or_default(), &plan.path))
        },
        Cow::Borrowed,
    )
}

/// Whether there are issuers, so that clients can get a token.
pub(super) fn issues(live: &Live) -> bool {
    live.auth.known().is_some_and(|known| !known.issuers.is_empty())
}

/// The refusal of a request that names what this caller may not use; `id` is that of a message.
pub(super) fn denied(
    denied: &Denied,
    id: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    live: &Live,
) -> Reply {
    let error = RpcError::denied(denied);
    let (code, scopes) = match denied {
        Denied::Scopes(scopes) => (Some("insufficient_scope"), scopes.as_slice()),
        Denied::Unknown | Denied::Condition => (None, named(headers, live)),
    };
    let value = value(code, &error.message, scopes, uri, headers, live);
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut reply = json(status, error.body(id));
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    reply
}

/// The scopes of the route that the headers name; of all, where they name none.
fn named<'a>(headers: &HeaderMap, live: &'a Live) -> &'a [String] {
    let Ok(Some(name)) = headers.one("mcp-name") else { return &live.plan.catalog.scopes };
    let tool = live.tool(name).map(|tool| &*tool.route.plan.policy);
    let prompt = || live.prompt(name).map(|prompt| &prompt.plan.policy);
    let resource = || live.resource(name).map(|(resource, _)| &*resource.route.plan.policy);
    tool.or_else(prompt).or_else(resource).map_or(&live.plan.catalog.scopes, |policy| &policy.auth.scopes)
}

/// A refusal that says what would let one in.
fn challenge(
    status: StatusCode,
    error: Option<&str>,
    why: &str,
    uri: &Uri,
    headers: &HeaderMap,
    live: &Live,
) -> Reply {
    let value = value(error, why, named(headers, live), uri, headers, live);
    let mut reply = refuse(status, -32600, why);
    reply.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    reply
}

/// The challenge (RFC 6750, section 3; RFC 9728, section 5.1).
fn value(
    error: Option<&str>,
    why: &str,
    scopes: &[String],
    uri: &Uri,
    headers: &HeaderMap,
    live: &Live,
) -> HeaderValue {
    let mut parts = Vec::new();
    if let Some(error) = error {
        parts.push(format!("error=\"{error}\""));
        // Without what stands around the words in the body (RFC 6750, section 3: no quotes).
        let why: String = why.chars().filter(|c| !matches!(c, '"' | '\\') && c.is_ascii()).collect();
        parts.push(format!("error_description=\"{why}\""));
    }
    if issues(live) {
        parts.push(format!("resource_metadata=\"{}\"", resource(uri, headers, live).metadata()));
    }
    // A token that can be renewed is the client's affair (MCP 2026-07-28, basic/authorization).
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).filter(|s| *s != "offline_access").collect();
    if !scopes.is_empty() && live.auth.known().is_some() {
        parts.push(format!("scope=\"{}\"", scopes.join(" ")));
    }
    let value = format!("Bearer {}", parts.join(", "));
    HeaderValue::from_str(value.trim_end()).unwrap_or(HeaderValue::from_static("Bearer"))
}

fn unavailable() -> Reply {
    let why = "who calls cannot be checked right now; try again in a few seconds";
    let mut reply = refuse(StatusCode::SERVICE_UNAVAILABLE, 1503, why);
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    reply
}
