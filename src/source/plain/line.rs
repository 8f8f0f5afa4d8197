//! One connection, driven by the call that uses it.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::bell::Bell;
use crate::cores;
use crate::outgoing::chain;
use crate::source::SourceError;
use crate::source::http::NOT_HTTP;

/// How often a connection and what waits for it may call each other before other tasks have their turn.
const ROUNDS: usize = 16;
/// How often a connection that nobody uses is looked at again, if it still has something to do.
const LOOKS: usize = 3;

pub(super) type Sent = Request<Full<Bytes>>;

/// Why there is no answer.
pub(super) enum Failed {
    /// The connection was closed before anything of the request was sent.
    Unsent(Sent, hyper::Error),
    Source(SourceError),
}

/// A connection, and what calls it.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    /// Nothing when it is over: then what was not sent on it comes back.
    connection: Option<Connection<Io, Full<Bytes>>>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    /// The core that hears of what comes: only there it wakes no other thread.
    home: usize,
}

impl Line {
    pub(super) async fn over(stream: TokioIo<TcpStream>) -> Result<Box<Self>, SourceError> {
        let bell = Arc::<Bell>::default();
        let io = Io { stream, bell: bell.clone() };
        let (sender, connection) = http1::handshake(io).await.map_err(|error| unanswered(&error))?;
        let waker = Waker::from(bell.clone());
        Ok(Box::new(Self { sender, connection: Some(connection), bell, waker, home: cores::here() }))
    }

    /// Sends a request and does with the response what `read` does.
    pub(super) async fn converse<T>(
        &mut self,
        request: Sent,
        read: impl AsyncFnOnce(Response<Incoming>) -> Result<T, SourceError>,
    ) -> Result<T, Failed> {
        let Self { sender, connection, bell, waker, .. } = self;
        let work = async {
            if let Err(closed) = sender.ready().await {
                return Err(Failed::Unsent(request, closed));
            }
            match sender.try_send_request(request).await {
                Ok(response) => read(response).await.map_err(Failed::Source),
                Err(mut failed) => Err(match failed.take_message() {
                    Some(unsent) => Failed::Unsent(unsent, failed.into_error()),
                    None => Failed::Source(lost(&failed.into_error())),
                }),
            }
        };
        let mut work = pin!(work);
        poll_fn(|cx| {
            bell.turn(cx.waker());
            for _ in 0..ROUNDS {
                bell.hush();
                let ours = &mut Context::from_waker(waker);
                drive(connection, ours);
                if let Poll::Ready(done) = work.as_mut().poll(ours) {
                    return Poll::Ready(done);
                }
                let rang = bell.rang();
                if bell.is_spent() {
                    break;
                }
                if !rang {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    /// Whether it is ready for another request. From here on it wakes `task` when something comes or it ends.
    pub(super) fn rests(&mut self, task: &Waker) -> bool {
        self.bell.turn(task);
        for _ in 0..LOOKS {
            self.bell.hush();
            drive(&mut self.connection, &mut Context::from_waker(&self.waker));
            if self.connection.is_none() || !self.sender.is_ready() {
                return false;
            }
            if !self.bell.rang() {
                return true;
            }
        }
        false
    }

    /// Whether this is its core.
    pub(super) fn is_home(&self) -> bool {
        self.home == cores::here()
    }

    /// Whether something happened to it since it was left.
    pub(super) fn rung(&self) -> bool {
        self.bell.rung()
    }
}

/// What ends a connection is told to the request or the body that is on it.
fn drive(connection: &mut Option<Connection<Io, Full<Bytes>>>, cx: &mut Context<'_>) {
    if connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready()) {
        *connection = None;
    }
}

/// A request that was sent and has no answer.
fn lost(error: &hyper::Error) -> SourceError {
    match unanswered(error) {
        SourceError::Unavailable(text) => SourceError::Lost(text),
        other => other,
    }
}

/// A request that has no answer.
pub(super) fn unanswered(error: &hyper::Error) -> SourceError {
    let text = format!("error sending request: client error (SendRequest): {}", chain(error));
    if error.is_parse() || error.is_parse_too_large() {
        SourceError::BadReply { reason: NOT_HTTP, detail: text }
    } else {
        SourceError::Unavailable(text)
    }
}

/// The stream of a connection, which gives no more than a turn may have. Who drives it goes on in another turn.
struct Io {
    stream: TokioIo<TcpStream>,
    bell: Arc<Bell>,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.bell.is_spent() {
            return Poll::Pending;
        }
        // What could have come counts: it is known, and the number of reads has a bound by it too.
        let most = buf.remaining();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.bell.spend(most);
        }
        read
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
