//! The accept loop: connections are let in, TLS is spoken, they are served, and drained at the end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use super::body::Bodies;
use super::conversation::{Door, Spoken, converse};
use super::pace::{Connections, Entered, Limits};
use super::peer::Peer;
use super::sessions::Sessions;
use super::wire::Wire;
use crate::cores::{Cores, Seat};
use crate::live::{LiveHandle, Tls};
use crate::mcp::Peers;
use crate::talk::{News, Places};
use crate::telemetry::metrics::HttpMeter;

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
    /// Held by each call that goes on without its client.
    pub(super) outliving: watch::Sender<()>,
    pub(super) probes: super::health::Probes,
    pub(super) replies: HttpMeter,
    /// How many connections are open, for whoever asks.
    connections: Gauge,
    /// Where they are served.
    cores: Cores,
}

impl Server {
    /// A server over a live configuration, in the runtime in which it is made.
    ///
    /// # Panics
    /// Where there is none.
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
            outliving: watch::Sender::new(()),
            connections: now.metrics.connections.clone(),
            probes: super::health::Probes::default(),
            cores: Cores::one(),
        }
    }

    /// The same, on these cores.
    #[must_use]
    pub fn on(self, cores: Cores) -> Self {
        Self { cores, ..self }
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
    let spoken = Arc::new(Spoken::both(server.cores.clone()));
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
        let seat = server.cores.seat();
        let Some(stream) = Moved::to(&seat, stream) else { continue };
        let (spoken, server, stopping) = (spoken.clone(), server.clone(), stopping.clone());
        seat.spawn(async move {
            let Some(stream) = stream.arrived() else { return };
            let Some(tls) = server.live.load().tls.clone() else {
                let (stream, peer) = (Wire::Plain(stream), Peer::new(peer, None));
                return serve(stream, peer, &entered, &spoken, server, stopping).await;
            };
            if let Some(stream) = handshake(stream, &tls, &entered, &server.limits, stopping.clone()).await {
                let peer = Peer::new(peer, stream.get_ref().1.peer_certificates());
                drop(tls);
                serve(Wire::Tls(stream), peer, &entered, &spoken, server, stopping).await;
            }
        });
    }
    drop(listener);
    let _ = stop.send(true);
    server.peers.close();
    let drain = server.live.load().plan.server.drain.0;
    info!("stopping: running calls have {drain:?} to end");
    let ended = tokio::time::timeout(drain, async {
        connections.ended(server.limits.connections).await;
        // Nothing new comes, and what began goes on without its connection.
        server.outliving.closed().await;
    });
    if ended.await.is_err() && (connections.busy() || !server.outliving.is_closed()) {
        warn!("calls that were still running after {drain:?} were cut off");
    }
}

/// A connection on its way to the core that serves it.
enum Moved {
    /// It is there.
    Not(TcpStream),
    /// No runtime knows of it.
    Out(std::net::TcpStream),
}

impl Moved {
    fn to(seat: &Seat, stream: TcpStream) -> Option<Self> {
        if seat.is_here() {
            return Some(Self::Not(stream));
        }
        stream.into_std().map(Self::Out).inspect_err(lost).ok()
    }

    /// On the core that serves it.
    fn arrived(self) -> Option<TcpStream> {
        match self {
            Self::Not(stream) => Some(stream),
            Self::Out(stream) => TcpStream::from_std(stream).inspect_err(lost).ok(),
        }
    }
}

fn lost(error: &std::io::Error) {
    warn!(%error, "a connection could not be served");
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
    stream: Wire,
    peer: Peer,
    entered: &Entered,
    spoken: &Spoken,
    server: Arc<Server>,
    stopping: watch::Receiver<bool>,
) {
    let door = Door::Server(Arc::new(peer));
    Box::pin(converse(stream, entered, spoken, &server, stopping, door)).await;
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
