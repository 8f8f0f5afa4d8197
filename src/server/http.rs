//! One HTTP request: its path, and the forms of replies.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use super::pace::Exchange;
use super::peer::Peer;
use super::stream::Body;
use super::whole::Whole;
use super::{Server, admin, auth, cors, endpoint, guard, metadata, status};
use crate::live::Live;
use crate::mcp::{Answer, Headers, Malformed, Pieces, RpcError};

pub(super) type Reply = Response<Body>;

impl Headers for HeaderMap {
    fn one(&self, name: &str) -> Result<Option<&str>, Malformed> {
        let values = match known(name) {
            Some(name) => self.get_all(name),
            None => self.get_all(name),
        };
        let mut values = values.iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().map(|value| Some(trimmed(value))).map_err(|_| Malformed),
            (Some(_), Some(_)) => Err(Malformed),
        }
    }

    fn list(&self, name: &str) -> Option<String> {
        let values: Result<Vec<&str>, _> = self.get_all(name).iter().map(HeaderValue::to_str).collect();
        values.ok().filter(|values| !values.is_empty()).map(|values| values.join(","))
    }
}

/// Without the blanks around it; few have any.
fn trimmed(value: &str) -> &str {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let around = blank(value.as_bytes().first()) || blank(value.as_bytes().last());
    if around { value.trim_matches([' ', '\t']) } else { value }
}

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
static METHOD: HeaderName = HeaderName::from_static("mcp-method");
static NAME: HeaderName = HeaderName::from_static("mcp-name");
static SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The headers that every call is asked for, whose names need not be read each time.
fn known(name: &str) -> Option<&'static HeaderName> {
    Some(match name {
        "authorization" => &header::AUTHORIZATION,
        "x-api-key" => &API_KEY,
        "mcp-protocol-version" => &PROTOCOL_VERSION,
        "mcp-method" => &METHOD,
        "mcp-name" => &NAME,
        "mcp-session-id" => &SESSION_ID,
        "traceparent" => &TRACEPARENT,
        _ => return None,
    })
}

/// Answers one request.
#[allow(clippy::manual_async_fn, reason = "an `async fn` would be larger by a request")]
pub(super) fn respond<'a>(
    request: Request<Incoming>,
    exchange: Arc<Exchange>,
    peer: &'a Arc<Peer>,
    server: &'a Server,
) -> impl Future<Output = Reply> + Send + 'a {
    async move {
        let live = server.live.load();
        if !peer.holds(&live) {
            return misdirected(request.version());
        }
        let plan = &live.plan.server;
        match request.uri().path() {
            "/healthz" | "/readyz" => {
                // Probes come under any name; the sources' names are for those who know one of ours.
                let known = guard::host(request.uri(), request.headers(), plan).is_ok()
                    && auth::proven(request.uri(), request.headers(), Some(peer), &live).await.is_ok();
                health(&request, known, server, &live).await
            }
            "/status" if plan.admin.is_none() => {
                status::respond(&request, peer, status::Door::Shared, server, &live).await
            }
            path if plan.admin.is_none() && Some(path) == plan.metrics.as_deref() => {
                admin::beside(&request, peer, server, &live).await
            }
            path if metadata::is_here(path, plan) => metadata::respond(&request, &live),
            path if path == plan.path => {
                let reader = cors::reader(request.headers(), plan);
                cors::open(endpoint::respond(request, exchange, peer, server, live).await, reader)
            }
            _ => refuse(
                StatusCode::NOT_FOUND,
                -32600,
                &format!("nothing is served here; the MCP endpoint is {}", plan.path),
            ),
        }
    }
}

/// A connection that would not be taken any more (RFC 9110, section 15.5.20): its certificate has expired, or another one is needed now.
fn misdirected(version: Version) -> Reply {
    let why = "the client certificate of this connection does not hold any more; open a new connection";
    let mut reply = refuse(StatusCode::MISDIRECTED_REQUEST, -32600, why);
    // HTTP/2 has no such header.
    if version < Version::HTTP_2 {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// `/healthz`, else `/readyz`: to who is `known` with the names of the sources.
pub(super) async fn health(request: &Request<Incoming>, known: bool, server: &Server, live: &Live) -> Reply {
    if request.uri().path() == "/healthz" {
        return plain(request.method(), StatusCode::OK, "{\"alive\":true}".to_owned());
    }
    let (ready, mut report) = server.probes.ready(live).await;
    if !known {
        report = format!("{{\"ready\":{ready}}}");
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    plain(request.method(), status, report)
}

pub(super) fn json(status: StatusCode, body: impl Into<Pieces>) -> Reply {
    let mut reply = Response::new(Body::Left(Whole::from(body.into())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// An error without an id: the request was not read.
pub(super) fn refuse(status: StatusCode, code: i32, message: &str) -> Reply {
    let error = RpcError {
        code,
        message: message.to_owned(),
        data: None,
        status: status.as_u16(),
        retry_after: None,
    };
    json(status, error.body(None))
}

fn plain(method: &Method, status: StatusCode, body: String) -> Reply {
    if matches!(*method, Method::GET | Method::HEAD) {
        json(status, body)
    } else {
        refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "this is read by GET")
    }
}

pub(super) fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Reply { status, body, retry_after } => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut reply = json(status, body);
            if let Some(seconds) = retry_after {
                reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            reply
        }
        Answer::Accepted => empty(StatusCode::ACCEPTED),
    }
}

/// A reply without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Left(Whole::default()));
    *reply.status_mut() = status;
    reply
}
