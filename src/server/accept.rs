//! The accept loop: connections are let in, TLS is spoken, they are served at their client's pace within limits, and drained at the end.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, info, warn};

use super::body::Bodies;
use super::http::{self, Reply};
use super::pace::{Connections, End, Entered, Exchange, Heard, Limits, Paced};
use super::peer::Peer;
use super::sessions::Sessions;
use crate::live::{LiveHandle, Tls};
use crate::mcp::Peers;
use crate::talk::{News, Places};
use crate::telemetry::metrics::HttpMeter;

/// Requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 128;
/// Requests that a client took back before anybody looked at them; beyond, its connection ends (CVE-2023-44487).
const MAX_RESET: usize = 20;
/// Streams of a connection that were reset for what the client did wrong on them; beyond, it ends.
const MAX_FAULTS: usize = 100;
/// How long an answer to PING may take: it waits behind all that a slow reader has not read yet.
const ANSWER: Duration = Duration::from_secs(300);
/// What the system may hold of a connection that it has not sent yet: more would hide for long that a client does not read.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 32 << 10;

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    pub(super) live: LiveHandle,
    pub(super) calls: Places,
    pub(super) bodies: Bodies,
    pub(super) limits: Limits,
    pub(super) peers: Arc<Peers>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) probes: super::health::Probes,
    replies: HttpMeter,
    /// How many connections are open, for whoever asks.
    connections: Gauge,
}

impl Server {
    /// A server over a live configuration.
    #[must_use]
    pub fn new(live: LiveHandle) -> Self {
        Self::with_news(live, News::default())
    }

    /// The same, with news that others tell too.
    #[must_use]
    pub fn with_news(live: LiveHandle, news: News) -> Self {
        let now = live.load();
        let calls = now.plan.server.max_concurrent_calls;
        Self {
            replies: now.metrics.http(),
            live,
            calls: Places::new(calls),
            bodies: Bodies::default(),
            limits: Limits::default(),
            peers: Arc::new(Peers::with(news)),
            sessions: Arc::new(Sessions::counted(now.metrics.sessions.clone())),
            connections: now.metrics.connections.clone(),
            probes: super::health::Probes::default(),
        }
    }

    /// The same, with other limits for its clients.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

/// Serves until `shutdown` is done, then lets running requests end, at most `server.http.drain` long.
pub async fn run(listener: TcpListener, server: Arc<Server>, shutdown: impl Future<Output = ()>) {
    keep_little(&listener);
    let builder = Arc::new(builder());
    let connections = Connections::new(server.limits.connections, server.connections.clone());
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    // The first caller need not wait for them.
    server.live.load().auth.warm();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, peer, entered)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let (builder, server, stopping) = (builder.clone(), server.clone(), stopping.clone());
        tokio::spawn(async move {
            let Some(tls) = server.live.load().tls.clone() else {
                return serve(stream, Peer::new(peer, None), &entered, &builder, server, stopping).await;
            };
            if let Some(stream) = handshake(stream, &tls, &entered, &server.limits, stopping.clone()).await {
                let peer = Peer::new(peer, stream.get_ref().1.peer_certificates());
                drop(tls);
                serve(stream, peer, &entered, &builder, server, stopping).await;
            }
        });
    }
    drop(listener);
    let _ = stop.send(true);
    server.peers.close();
    let drain = server.live.load().plan.server.drain.0;
    info!("stopping: running calls have {drain:?} to end");
    let ended = tokio::time::timeout(drain, connections.ended(server.limits.connections)).await;
    if ended.is_err() && connections.busy() {
        warn!("calls that were still running after {drain:?} were cut off");
    }
}

/// Lets the system show soon whether clients read; connections have it from their listener.
pub(super) fn keep_little(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_notsent_lowat(UNSENT) {
        debug!(%error, "the system does not bound what it has not sent");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// How HTTP is spoken; how long heads may take is not its matter.
pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(32 << 10)
        .max_frame_size(16 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(64 << 10)
        .max_pending_accept_reset_streams(MAX_RESET)
        .max_local_error_reset_streams(MAX_FAULTS)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(ANSWER);
    builder
}

/// TLS over a connection, with the certificates that are in use now; nothing if the client does not do its part in time.
async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    entered: &Entered,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
) -> Option<Box<TlsStream<TcpStream>>> {
    let accepting = Box::pin(TlsAcceptor::from(tls.config()).accept(stream));
    let done = tokio::select! {
        biased;
        done = accepting => done,
        end = entered.pace.over(limits) => {
            debug!(?end, "a TLS handshake was cut off");
            return None;
        }
        _ = stopping.wait_for(|stop| *stop) => return None,
    };
    done.map(Box::new).inspect_err(|error| debug!(%error, "a TLS handshake failed")).ok()
}

/// Serves one connection of the listener to its end.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    entered: &Entered,
    builder: &auto::Builder<TokioExecutor>,
    server: Arc<Server>,
    stopping: watch::Receiver<bool>,
) {
    let (limits, peer) = (server.limits, Arc::new(peer));
    let respond = |request, exchange| {
        let (server, peer) = (server.clone(), peer.clone());
        async move {
            let reply = http::respond(request, exchange, &peer, &server).await;
            server.replies.count(reply.status().as_u16());
            reply
        }
    };
    Box::pin(converse(stream, entered, builder, &limits, stopping, respond)).await;
}

/// Answers the requests of one connection at its client's pace, until it ends or has to.
pub(super) async fn converse<R: Future<Output = Reply> + Send + 'static>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    entered: &Entered,
    builder: &auto::Builder<TokioExecutor>,
    limits: &Limits,
    mut stopping: watch::Receiver<bool>,
    respond: impl Fn(Request<Incoming>, Arc<Exchange>) -> R,
) {
    let pace = &entered.pace;
    let service = service_fn(|request: Request<Incoming>| {
        let exchange = Arc::new(Exchange::begin(pace, request.version()));
        // Apart: what stands here is moved twice for each request, and a connection without one holds room for it.
        let reply = contained(Box::pin(respond(request, exchange.clone())));
        async move { Ok::<_, std::convert::Infallible>(reply.await.map(|body| Paced::new(body, exchange))) }
    });
    let heard = Heard::new(stream, pace.clone());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(heard), service));
    let mut stops = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
            _ = stopping.wait_for(|stop| *stop), if !stops => {
                stops = true;
                if pace.drain() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            end = pace.over(limits) => {
                debug!(?end, "connection is ended");
                match end {
                    End::Idle | End::Part if pace.drain() => connection.as_mut().graceful_shutdown(),
                    // What still works may end.
                    End::Part => {}
                    End::Idle | End::Slow | End::Crowded => return,
                }
            }
        }
    }
}

/// The reply of one request, also where that panics: what else runs on the connection goes on. No `async fn`, which would hold the
/// request's work twice.
fn contained(reply: impl Future<Output = Reply>) -> impl Future<Output = Reply> {
    AssertUnwindSafe(reply).catch_unwind().map(|reply| {
        reply.unwrap_or_else(|_| {
            error!("a request ended in a panic");
            http::refuse(StatusCode::INTERNAL_SERVER_ERROR, -32603, "this server failed on its side")
        })
    })
}

/// The next connection, with its place among the open ones.
pub(super) async fn accept(
    listener: &TcpListener,
    connections: &Arc<Connections>,
) -> Option<(TcpStream, IpAddr, Entered)> {
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), connections.enter().await?)),
        Err(error) => {
            // Out of descriptors, mostly: a moment later there may be some.
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_panics_is_answered_and_nothing_is_told_of_it() {
        let failing = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "wanted here");
            http::empty(StatusCode::ACCEPTED)
        };
        let reply = contained(failing).await;
        assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = http_body_util::BodyExt::collect(reply.into_body()).await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["code"], -32603);
        assert!(!body.to_string().contains("wanted here"), "{body}");
    }
}
