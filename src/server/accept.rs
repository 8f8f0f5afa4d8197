//! The accept loop: connection limits, time limits before and between requests, and the drain at the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use super::http;
use super::sessions::Sessions;
use crate::live::LiveHandle;
use crate::mcp::Peers;
use crate::talk::{News, Places};
use crate::telemetry::metrics::HttpMeter;
use prometheus_client::metrics::gauge::Gauge;

/// Connections open at the same time.
const MAX_CONNECTIONS: usize = 4096;
/// How long a connection may be silent before its first byte, and a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Serves until `shutdown` is done, then lets running requests end, at most `server.http.drain` long.
pub async fn run(listener: TcpListener, server: Arc<Server>, shutdown: impl Future<Output = ()>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(32 << 10)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let builder = Arc::new(builder);
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
        let (builder, server, mut stopping) = (builder.clone(), server.clone(), stopping.clone());
        let counted = Counted::new(&server.connections);
        tokio::spawn(async move {
            let (_place, _counted) = (place, counted);
            // A connection that never spoke does not hold up the end.
            let spoke = tokio::select! {
                biased;
                spoke = speaks(&stream) => spoke,
                _ = stopping.wait_for(|stop| *stop) => false,
            };
            if !spoke {
                return;
            }
            let service = service_fn(move |request| {
                let server = server.clone();
                async move {
                    let reply = http::respond(request, peer, &server).await;
                    server.replies.count(reply.status().as_u16());
                    Ok::<_, std::convert::Infallible>(reply)
                }
            });
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                debug!(%error, "connection ended with an error");
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

/// Waits for the first byte; hyper's own time limits start only then.
async fn speaks(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(tokio::time::timeout(HEAD_TIMEOUT, stream.peek(&mut byte)).await, Ok(Ok(1)))
}
