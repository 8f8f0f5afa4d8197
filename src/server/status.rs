//! `/status`: what runs, for those who run it. On an address of their own on loopback nobody is asked who they are; elsewhere a caller
//! proves it, and where callers prove nothing it is for this machine itself.

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::http::{self, Reply, refuse};
use super::peer::Peer;
use super::{Server, auth, guard};
use crate::live::{Live, Sight};

/// Where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Beside the MCP endpoint.
    Shared,
    /// On the address of those who run the server, on loopback.
    Loopback,
    /// On that address, beyond loopback.
    Apart,
}

pub(super) async fn respond(
    request: &Request<Incoming>,
    peer: &Peer,
    door: Door,
    server: &Server,
    live: &Live,
) -> Reply {
    let plan = &live.plan.server;
    let (uri, headers) = (request.uri(), request.headers());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "this is read by GET");
    }
    // No web page through a rebound name. An address apart has names that nobody has written down.
    if door != Door::Apart
        && let Err((status, why)) = guard::host(uri, headers, plan)
    {
        return refuse(status, -32600, why);
    }
    if let Err(why) = guard::origin(headers, plan) {
        return refuse(StatusCode::FORBIDDEN, -32600, &why);
    }
    let rule = &plan.status.auth;
    let caller = if door == Door::Loopback && rule.scopes.is_empty() {
        None
    } else if rule.known {
        match auth::operator(uri, headers, Some(peer), live).await {
            Ok(caller) => Some(caller),
            Err(refusal) => return *refusal,
        }
    } else if rule.scopes.is_empty() && guard::is_local(peer.ip, uri, headers) {
        None
    } else {
        let why = "callers prove nothing here, so this is for the machine itself, under a loopback name";
        return refuse(StatusCode::FORBIDDEN, -32600, why);
    };
    let sight = caller.as_ref().map_or(Sight::Whole, |caller| live.sight(caller));
    let status = live.status(sight, server.peers.news.listening());
    // Numbers and texts can always be written.
    let mut reply = http::json(StatusCode::OK, serde_json::to_vec(&status).unwrap_or_default());
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
