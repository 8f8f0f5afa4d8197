//! One connection: which HTTP is spoken on it, then its requests at its client's pace. Between two requests of HTTP/1 that are not close
//! to each other it holds no room for the next one, so that thousands of idle connections take little memory.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tracing::{debug, error};

use super::http::{self, Reply};
use super::pace::{End, Entered, Exchange, Heard, Limits, Pace, Paced};
use super::peer::Peer;
use super::wire::Wire;
use super::{Server, admin};
use crate::cores::Cores;

/// Requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 128;
/// Requests that a client took back before anybody looked at them; beyond, its connection ends (CVE-2023-44487).
const MAX_RESET: usize = 20;
/// Streams of a connection that were reset for what the client did wrong on them; beyond, it ends.
const MAX_FAULTS: usize = 100;
/// How long an answer to PING may take: it waits behind all that a slow reader has not read yet.
const ANSWER: Duration = Duration::from_secs(300);

/// How HTTP is spoken; how long heads may take is not its matter.
#[derive(Clone, Debug)]
pub(super) struct Spoken {
    one: http1::Builder,
    two: Option<http2::Builder<Spread>>,
}

impl Spoken {
    /// HTTP/1 alone.
    pub(super) fn one() -> Self {
        let mut one = http1::Builder::new();
        one.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(64 << 10);
        Self { one, two: None }
    }

    /// HTTP/2 too, to clients that begin with it.
    pub(super) fn both(cores: Cores) -> Self {
        let mut two = http2::Builder::new(Spread(cores));
        two.timer(TokioTimer::new())
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
        Self { two: Some(two), ..Self::one() }
    }
}

/// Runs the requests of an HTTP/2 connection: one that carries many, as a proxy's does, is not for one core alone.
#[derive(Clone, Debug)]
pub(super) struct Spread(Cores);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spread {
    fn execute(&self, work: F) {
        self.0.spread(work);
    }
}

/// What a connection leads to.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// What the server is there for, as this client.
    Server(Arc<Peer>),
    /// What those ask who run it.
    Admin {
        /// Who asks.
        ip: IpAddr,
        /// Whether the address is one of this machine alone.
        local: bool,
    },
}

/// The reply of one request. No `async fn`, here and where the request is passed on: one holds what it is given twice.
#[allow(clippy::manual_async_fn, reason = "an `async fn` would be larger by a request")]
fn answer(
    door: Door,
    server: Arc<Server>,
    request: Request<Incoming>,
    exchange: Arc<Exchange>,
) -> impl Future<Output = Reply> + Send {
    async move {
        match &door {
            Door::Server(peer) => {
                let reply = http::respond(request, exchange, peer, &server).await;
                server.replies.count(reply.status().as_u16());
                reply
            }
            // Apart, so that the others hold no room for it.
            Door::Admin { ip, local } => Box::pin(admin::respond(request, *ip, *local, &server)).await,
        }
    }
}

/// Answers the requests of one connection at its client's pace, until it ends or has to.
pub(super) async fn converse(
    stream: Wire,
    entered: &Entered,
    spoken: &Spoken,
    server: &Arc<Server>,
    mut stopping: watch::Receiver<bool>,
    door: Door,
) {
    let (pace, limits) = (&entered.pace, &server.limits);
    let serve = |request: Request<Incoming>| {
        let exchange = Arc::new(Exchange::begin(pace, request.version(), request.body().is_end_stream()));
        // Apart: what stands here is moved twice for each request, and a connection without one holds room for it.
        let reply = contained(Box::pin(answer(door.clone(), server.clone(), request, exchange.clone())));
        async move { Ok::<_, std::convert::Infallible>(reply.await.map(|body| Paced::new(body, exchange))) }
    };
    let mut heard = Heard::new(stream, pace.clone());
    loop {
        let begun = tokio::select! {
            biased;
            begun = heard.begin() => begun,
            _ = stopping.wait_for(|stop| *stop) => return,
            end = pace.over(limits) => {
                debug!(?end, "a connection without a request is ended");
                return;
            }
        };
        let version = match begun {
            Ok(Some(version)) => version,
            Ok(None) => return,
            Err(error) => {
                debug!(%error, "connection ended with an error");
                return;
            }
        };
        if let (hyper::Version::HTTP_2, Some(two)) = (version, &spoken.two) {
            let mut connection = Box::pin(two.serve_connection(TokioIo::new(heard), service_fn(serve)));
            follow(connection.as_mut(), pace, limits, &mut stopping).await;
            return;
        }
        // Apart, so that nothing of it is held while there is no request.
        let mut connection = Box::new(spoken.one.serve_connection(TokioIo::new(heard), service_fn(serve)));
        if follow(Pin::new(&mut *connection), pace, limits, &mut stopping).await == Left::Ended {
            return;
        }
        let parts = connection.into_parts();
        heard = parts.io.into_inner();
        heard.keep(&parts.read_buf);
        entered.rests();
    }
}

/// How it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Ended,
    /// It is quiet: every request was read and answered to its end.
    Quiet,
}

/// Follows a connection on which HTTP is spoken.
async fn follow(
    mut connection: Pin<&mut impl GracefulConnection<Error = hyper::Error>>,
    pace: &Pace,
    limits: &Limits,
    stopping: &mut watch::Receiver<bool>,
) -> Left {
    let mut stops = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return Left::Ended;
            }
            _ = stopping.wait_for(|stop| *stop), if !stops => {
                stops = true;
                if pace.drain() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            end = pace.over(limits) => {
                debug!(?end, "connection is ended, or rests");
                match end {
                    End::Quiet => return Left::Quiet,
                    End::Idle | End::Part if pace.drain() => connection.as_mut().graceful_shutdown(),
                    // What still works may end.
                    End::Part => {}
                    End::Idle | End::Slow | End::Crowded => return Left::Ended,
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
