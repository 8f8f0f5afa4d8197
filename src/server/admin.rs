//! What those who run the server ask it: the metrics, beside the MCP endpoint or on an address of their own with `/status` and the
//! health checks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::http::{self, Reply, refuse};
use super::peer::Peer;
use super::{Server, auth, guard, status};
use crate::live::Live;
use crate::telemetry::metrics::MEDIA_TYPE;

/// Connections open at the same time.
const MAX_CONNECTIONS: usize = 64;
/// How long a request's head may take, also the next one of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Whoever may read what names every route: a caller who is known, with the scopes that `server.admin` wants.
async fn reader(request: &Request<Incoming>, peer: Option<&Peer>, live: &Live) -> Result<(), Box<Reply>> {
    let (uri, headers) = (request.uri(), request.headers());
    let caller = auth::proven(uri, headers, peer, live).await?;
    let rule = &live.plan.server.status.auth;
    match rule.admit(&caller) {
        Err(denied) if rule.known => Err(Box::new(auth::denied(&denied, None, uri, headers, live))),
        _ => Ok(()),
    }
}

/// The metrics, for whoever may read them.
pub(super) async fn beside(request: &Request<Incoming>, peer: &Peer, server: &Server, live: &Live) -> Reply {
    let plan = &live.plan.server;
    if let Err((status, why)) = guard::host(request.uri(), request.headers(), plan) {
        return refuse(status, -32600, why);
    }
    match reader(request, Some(peer), live).await {
        Ok(()) => metrics(request.method(), server, live),
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

/// Serves the address of those who run the server, for as long as it is polled.
pub async fn run(listener: TcpListener, server: Arc<Server>) {
    let local = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropped with this future, and the connections with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok((stream, peer)) => (stream, peer.ip()),
            Err(error) => {
                warn!(%error, "a connection to the admin address could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let server = server.clone();
        connections.spawn(async move {
            let _place = place;
            let service = service_fn(move |request| {
                let server = server.clone();
                async move { Ok::<_, std::convert::Infallible>(respond(request, peer, local, &server).await) }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 << 10);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "connection ended with an error");
            }
        });
    }
}

async fn respond(request: Request<Incoming>, peer: IpAddr, local: bool, server: &Server) -> Reply {
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
    let refused = if local {
        guard::host(uri, headers, plan).err().map(|(status, why)| refuse(status, -32600, why))
    } else {
        reader(&request, None, &live).await.err().map(|refusal| *refusal)
    };
    refused.unwrap_or_else(|| metrics(request.method(), server, &live))
}
