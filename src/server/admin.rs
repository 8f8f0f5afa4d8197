//! What those who run the server ask it: the metrics, beside the MCP endpoint or on an address of their own with `/status` and the
//! health checks.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::conversation::{Door, Spoken, converse};
use super::http::{self, Reply, refuse};
use super::pace::Connections;
use super::peer::Peer;
use super::wire::Wire;
use super::{Server, accept, auth, guard, status};
use crate::live::Live;
use crate::telemetry::metrics::MEDIA_TYPE;

/// Connections open at the same time; beyond, the one goes whose client has kept it waiting longest.
const MAX_CONNECTIONS: usize = 64;

/// The metrics, for whoever may read them.
pub(super) async fn beside(request: &Request<Incoming>, peer: &Peer, server: &Server, live: &Live) -> Reply {
    let plan = &live.plan.server;
    if let Err((status, why)) = guard::host(request.uri(), request.headers(), plan) {
        return refuse(status, -32600, why);
    }
    if let Err(why) = guard::origin(request.headers(), plan) {
        return refuse(StatusCode::FORBIDDEN, -32600, &why);
    }
    match auth::operator(request.uri(), request.headers(), Some(peer), live).await {
        Ok(_) => metrics(request.method(), server, live),
        Err(refusal) => *refusal,
    }
}

fn metrics(method: &Method, server: &Server, live: &Live) -> Reply {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, -32600, "this is read by GET");
    }
    let mut figures = live.figures();
    figures.streams = server.peers.news.listening();
    let mut reply = http::json(StatusCode::OK, live.metrics.write(&figures));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    reply
}

/// Serves the address of those who run the server, for as long as it is polled. Its clients have the limits of all others.
pub async fn run(listener: TcpListener, server: Arc<Server>) {
    accept::keep_little(&listener);
    let local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let spoken = Arc::new(Spoken::one());
    let places = Connections::new(MAX_CONNECTIONS, Gauge::default());
    // Nobody stops it: it is dropped, and the connections with it.
    let (_running, stopping) = watch::channel(false);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Some((stream, peer, entered)) = accept::accept(&listener, &places).await else { continue };
        let (spoken, server, stopping) = (spoken.clone(), server.clone(), stopping.clone());
        connections.spawn(crate::tasks::work(async move {
            let door = Door::Admin { ip: peer, local };
            converse(Wire::Plain(stream), &entered, &spoken, &server, stopping, door).await;
        }));
    }
}

/// The reply of one request on that address.
pub(super) async fn respond(request: Request<Incoming>, peer: IpAddr, local: bool, server: &Server) -> Reply {
    let live = server.live.load();
    let plan = &live.plan.server;
    let (uri, headers) = (request.uri(), request.headers());
    let path = uri.path();
    if matches!(path, "/healthz" | "/readyz") {
        // Whoever reaches loopback may know the sources, but no web page through a rebound name.
        let known = if local {
            guard::host(uri, headers, plan).is_ok()
        } else {
            auth::proven(uri, headers, None, &live).await.is_ok()
        };
        return http::health(&request, known, server, &live).await;
    }
    if path == "/status" {
        let door = if local { status::Door::Loopback } else { status::Door::Apart };
        return status::respond(&request, &Peer::new(peer, None), door, server, &live).await;
    }
    if Some(path) != plan.metrics.as_deref() {
        return refuse(StatusCode::NOT_FOUND, -32600, "here are the metrics, /status, /healthz and /readyz");
    }
    if let Err(why) = guard::origin(headers, plan) {
        return refuse(StatusCode::FORBIDDEN, -32600, &why);
    }
    let refused = if local {
        guard::host(uri, headers, plan).err().map(|(status, why)| refuse(status, -32600, why))
    } else {
        auth::operator(uri, headers, None, &live).await.err().map(|refusal| *refusal)
    };
    refused.unwrap_or_else(|| metrics(request.method(), server, &live))
}
