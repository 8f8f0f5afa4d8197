//! What browsers ask before a page may read our answers (the Fetch standard's CORS protocol), for origins that may call anyway.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::guard;
use super::http::Reply;
use super::stream::Body;
use super::whole::Whole;
use crate::plan::ServerPlan;

/// How long a browser may keep the answer to its question.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The page's origin, if there is one and it may call: the one to name in the reply.
pub(super) fn reader(headers: &HeaderMap, plan: &ServerPlan) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    guard::origin(headers, plan).is_ok().then(|| origin.clone())
}

/// The answer to a preflight request; `None` if this is none, or its origin may not call.
pub(super) fn preflight(headers: &HeaderMap, plan: &ServerPlan) -> Option<Reply> {
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = reader(headers, plan)?;
    let mut reply = Response::new(Body::Left(Whole::default()));
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let out = reply.headers_mut();
    // The last two are for sessions of legacy clients.
    out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
    // Parameters of tools may come as headers of any name, so what is asked for is what is allowed.
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    out.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    name_origin(out, origin);
    Some(reply)
}

/// Lets a page of an origin that may call read this reply.
pub(super) fn open(mut reply: Reply, origin: Option<HeaderValue>) -> Reply {
    if let Some(origin) = origin {
        name_origin(reply.headers_mut(), origin);
    }
    reply
}

fn name_origin(out: &mut HeaderMap, origin: HeaderValue) {
    out.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // What a client in a page has to read beside the body.
    let exposed = HeaderValue::from_static("WWW-Authenticate, Mcp-Session-Id, Retry-After");
    out.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    out.insert(header::VARY, HeaderValue::from_static("Origin"));
}
