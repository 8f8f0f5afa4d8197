//! A reply that may become a stream of server-sent events: JSON if the answer comes first, a stream if a notification does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::{Either, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::Server;
use super::http::{self, Reply};
use super::sessions::Sessions;
use super::standing::Standing;
use super::whole::Whole;
use crate::mcp::{Answer, Listener as _, RpcError, Session, SessionStream};
use crate::talk::Listening;

/// How long a stream may be silent before a comment shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment.
const ALIVE: &[u8] = b": alive\n\n";

/// The body of a reply: bytes that are there, or events as they come.
pub(super) type Body = Either<Whole, StreamBody<Events>>;
type Events = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// A running request.
pub(super) type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Waits for a request that ends when its client is gone.
pub(super) fn attached(task: JoinHandle<Answer>) -> Running {
    struct AbortOnDrop(AbortHandle);
    impl Drop for AbortOnDrop {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let guard = AbortOnDrop(task.abort_handle());
    let answer = detached(task);
    Box::pin(async move {
        let _guard = guard;
        answer.await
    })
}

/// Waits for a request that goes on when its client is gone. One that was cancelled has no answer.
pub(super) fn detached(task: JoinHandle<Answer>) -> Running {
    Box::pin(async move {
        match task.await {
            Ok(answer) => answer,
            Err(error) if error.is_cancelled() => Answer::Accepted,
            Err(_) => {
                let error = RpcError::internal("this server failed on its side");
                Answer::Reply { status: 200, body: error.body(None).into(), retry_after: None }
            }
        }
    })
}

/// The stream of news of a legacy session (MCP 2025-11-25, basic/transports): until the session ends, a later stream takes its
/// place, the client goes away or is not let in any more, or this server stops.
pub(super) fn news(
    (session, own): (Arc<Session>, SessionStream),
    listening: Listening,
    standing: Standing,
    server: &Server,
) -> Reply {
    let (closing, sessions) = (server.peers.closing(), server.sessions.clone());
    let ready = VecDeque::new();
    let state = News { session, own, listening, standing, closing, sessions, begun: false, ready };
    let events = stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok(Frame::data(event)), state))
    });
    // Something at once, so that the client knows that it listens.
    let opening = stream::once(std::future::ready(Ok(Frame::data(Bytes::from_static(ALIVE)))));
    streaming(Box::pin(opening.chain(events)))
}

/// Waits for what comes first.
pub(super) async fn respond(mut running: Running, mut notifications: mpsc::Receiver<Vec<u8>>) -> Reply {
    let first = tokio::select! {
        biased;
        Some(first) = notifications.recv() => first,
        answer = &mut running => match notifications.try_recv() {
            // Everything was said and done without a pause in between: what was said still comes first.
            Ok(first) => {
                running = Box::pin(std::future::ready(answer));
                first
            }
            Err(_) => return http::reply(answer),
        },
    };
    let state = State { running: Some(running), notifications, waiting: Some(first) };
    let events = stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok(Frame::data(event)), state))
    });
    streaming(Box::pin(events))
}

/// A session's stream of news.
struct News {
    session: Arc<Session>,
    own: SessionStream,
    listening: Listening,
    standing: Standing,
    closing: watch::Receiver<bool>,
    sessions: Arc<Sessions>,
    /// Whether it was asked what the client had missed.
    begun: bool,
    ready: VecDeque<Vec<u8>>,
}

impl News {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(event(&message));
            }
            if !std::mem::replace(&mut self.begun, true)
                && let Some(hearer) = self.standing.now().await
            {
                self.ready.extend(self.session.missed(&hearer));
                continue;
            }
            let heard = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = self.own.ended() => return None,
                () = self.standing.lapsed() => None,
                heard = self.listening.next() => Some(heard?),
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(ALIVE)),
            };
            let hearer = if heard.is_some() { self.standing.now().await } else { None };
            let (Some(heard), Some(hearer)) = (heard, hearer) else {
                // It holds no place for somebody who does not come in.
                self.sessions.lapse(self.session.id(), self.standing.proof());
                return None;
            };
            self.ready.extend(self.session.notifications(&heard, &hearer));
        }
    }
}

fn streaming(events: Events) -> Reply {
    let mut reply = Response::new(Either::Right(StreamBody::new(events)));
    *reply.status_mut() = StatusCode::OK;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    reply
}

/// What of a stream is still to come.
struct State {
    /// Gone once the answer was sent.
    running: Option<Running>,
    notifications: mpsc::Receiver<Vec<u8>>,
    waiting: Option<Vec<u8>>,
}

impl State {
    /// The next event; `None` after the answer.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(message) = self.waiting.take() {
            return Some(event(&message));
        }
        let running = self.running.as_mut()?;
        let answer = tokio::select! {
            biased;
            Some(message) = self.notifications.recv() => return Some(event(&message)),
            answer = running => answer,
            () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(ALIVE)),
        };
        // What was said last goes before the answer.
        let Answer::Reply { body, .. } = answer else {
            // Cancelled: nothing more is said.
            self.running = None;
            return None;
        };
        if let Ok(message) = self.notifications.try_recv() {
            self.running =
                Some(Box::pin(std::future::ready(Answer::Reply { status: 200, body, retry_after: None })));
            return Some(event(&message));
        }
        self.running = None;
        Some(event(&body.into_vec()))
    }
}

/// One server-sent event; JSON has no line breaks of its own.
fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(message.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}
