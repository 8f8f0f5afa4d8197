//! What clients read to get a token: the metadata of this server as a protected resource (RFC 9728), at the well-known place and at
//! the one with its path behind. It is for everybody, web pages included, and says nothing that a challenge does not.

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::http::{self, Reply, refuse};
use super::{auth, guard};
use crate::auth::WELL_KNOWN;
use crate::live::Live;
use crate::plan::ServerPlan;

/// Whether metadata stands at this path.
pub(super) fn is_here(path: &str, plan: &ServerPlan) -> bool {
    let Some(known) = plan.auth.known().filter(|known| !known.issuers.is_empty()) else { return false };
    let Some(rest) = path.strip_prefix(WELL_KNOWN) else { return false };
    let own = known.resource.as_ref().map(crate::auth::Resource::path);
    rest.is_empty() || rest == plan.path.trim_end_matches('/') || own == Some(rest)
}

/// Answers a request for it.
pub(super) fn respond(request: &Request<Incoming>, live: &Live) -> Reply {
    let (uri, headers) = (request.uri(), request.headers());
    // It may repeat the host, and caches keep it.
    if let Err((status, why)) = guard::host(uri, headers, &live.plan.server) {
        return refuse(status, -32600, why);
    }
    let mut reply = match *request.method() {
        Method::GET | Method::HEAD => {
            let issuers = live.auth.known().into_iter().flat_map(|known| &known.issuers);
            let issuers: Vec<&str> = issuers.map(|issuer| issuer.issuer.as_str()).collect();
            let mut metadata = json!({
                "resource": auth::resource(uri, headers, live).as_str(),
                "authorization_servers": issuers,
                "bearer_methods_supported": ["header"],
            });
            // A token that can be renewed is the client's affair (MCP 2026-07-28, basic/authorization).
            let scopes: Vec<&String> =
                live.plan.catalog.scopes.iter().filter(|scope| *scope != "offline_access").collect();
            if let (false, Some(metadata)) = (scopes.is_empty(), metadata.as_object_mut()) {
                metadata.insert("scopes_supported".to_owned(), json!(scopes));
            }
            http::json(StatusCode::OK, metadata.to_string())
        }
        Method::OPTIONS => {
            let mut reply = http::empty(StatusCode::NO_CONTENT);
            let out = reply.headers_mut();
            out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
            // Clients of this protocol send their version along.
            if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
            }
            reply
        }
        _ => {
            let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "this is read by GET");
            reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            reply
        }
    };
    reply.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    reply
}
