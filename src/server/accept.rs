//! The accept loop: connection limits, TLS, time limits before and between requests, and the drain at the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::http;
use super::peer::Peer;
use super::punctual::Punctual;
use super::sessions::Sessions;
use crate::live::{LiveHandle, Tls};
use crate::mcp::Peers;
use crate::talk::{News, Places};
use crate::telemetry::metrics::HttpMeter;
use prometheus_client::metrics::gauge::Gauge;

/// Connections open at the same time.
const MAX_CONNECTIONS: usize = 4096;
/// How long a connection may be silent before its first byte, and a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 128;
/// Requests that a client took back before anybody looked at them; beyond, its connection ends (CVE-2023-44487).
const MAX_RESET: usize = 20;
/// Streams of a connection that were reset for what the client did wrong on them; beyond, it ends.
const MAX_FAULTS: usize = 100;
/// How long a handshake may take, from the connection to its end.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bodies that are read beyond the number of calls.
const MORE_BODIES: usize = 256;

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    pub(super) live: LiveHandle,
    pub(super) calls: Places,
    /// Bodies that are read at the same time: some more than calls, for the answers that running calls wait for.
    pub(super) bodies: Semaphore,
    pub(super) peers: Arc<Peers>,
    pub(super) sessions: Sessions,
    pub(super) probes: super::health::Probes,
    replies: HttpMeter,
    connections: Gauge,
}

/// A connection that is counted as long as it is there.
struct Counted(Gauge);

impl Counted {
    fn new(number: &Gauge) -> Self {
        number.inc();
        Self(number.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
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
            bodies: Semaphore::new(calls + MORE_BODIES),
            peers: Arc::new(Peers::with(news)),
            sessions: Sessions::counted(now.metrics.sessions.clone()),
            connections: now.metrics.connections.clone(),
            probes: super::health::Probes::default(),
        }
    }
}

/// HTTP/1.1 and HTTP/2 with what a connection may take of memory and time.
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
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
        .keep_alive_interval(Some(Duration::from_secs(30)));
    builder
}

/// Serves until `shutdown` is done, then lets running requests end, at most `server.http.drain` long.
pub async fn run(listener: TcpListener, server: Arc<Server>, shutdown: impl Future<Output = ()>) {
    let builder = Arc::new(builder());
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    // The first caller need not wait for them.
    server.live.load().auth.warm();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let watcher = graceful.watcher();
        let (builder, server, stopping) = (builder.clone(), server.clone(), stopping.clone());
        let counted = Counted::new(&server.connections);
        tokio::spawn(async move {
            let (_place, _counted) = (place, counted);
            let tls = server.live.load().tls.clone();
            match tls {
                Some(tls) => {
                    if let Some(stream) = handshake(stream, &tls, stopping).await {
                        let peer = Peer::new(peer, stream.get_ref().1.peer_certificates());
                        drop(tls);
                        speak(stream, peer, server, &builder, watcher).await;
                    }
                }
                None if speaks(&stream, stopping).await => {
                    speak(stream, Peer::new(peer, None), server, &builder, watcher).await;
                }
                None => {}
            }
        });
    }
    drop(listener);
    let _ = stop.send(true);
    server.peers.close();
    let drain = server.live.load().plan.server.drain.0;
    info!("stopping: running calls have {drain:?} to end");
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        warn!("calls that were still running after {drain:?} were cut off");
    }
}

/// The next connection with its place among the open ones.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip(), place)),
        Err(error) => {
            // Out of descriptors, mostly: a moment later there may be some.
            warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Waits for the first byte; hyper's own time limits start only then. A connection that never spoke does not hold up the end.
async fn speaks(stream: &TcpStream, mut stopping: watch::Receiver<bool>) -> bool {
    let mut byte = [0];
    tokio::select! {
        biased;
        peeked = tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut byte)) => matches!(peeked, Ok(Ok(1))),
        _ = stopping.wait_for(|stop| *stop) => false,
    }
}

/// TLS over a connection, with the certificates that are in use now; nothing if the client does not do its part in time.
async fn handshake(
    stream: TcpStream,
    tls: &Tls,
    mut stopping: watch::Receiver<bool>,
) -> Option<Box<TlsStream<TcpStream>>> {
    let accepting = Box::pin(TlsAcceptor::from(tls.config()).accept(stream));
    let done = tokio::select! {
        biased;
        done = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepting) => done,
        _ = stopping.wait_for(|stop| *stop) => return None,
    };
    match done {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
        Err(_) => debug!("a TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}"),
    }
    None
}

/// Answers the requests of one connection to its end.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    server: Arc<Server>,
    builder: &auto::Builder<TokioExecutor>,
    watcher: Watcher,
) {
    let peer = Arc::new(peer);
    let service = service_fn(move |request| {
        let (server, peer) = (server.clone(), peer.clone());
        async move {
            let reply = http::respond(request, &peer, &server).await;
            server.replies.count(reply.status().as_u16());
            Ok::<_, std::convert::Infallible>(reply)
        }
    });
    let stream = TokioIo::new(Punctual::new(stream, HEAD_TIMEOUT));
    if let Err(error) = watcher.watch(builder.serve_connection(stream, service)).await {
        debug!(%error, "connection ended with an error");
    }
}
