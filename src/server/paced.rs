//! What goes over a connection: replies piece by piece, so that it is seen whether their client reads, and the bytes below them, which
//! tell how HTTP is spoken and how much the system took.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Version;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::pace::{Exchange, Pace};
use super::stream::Body;

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The body of a reply, which knows whether its client reads.
pub(super) struct Paced {
    body: Body,
    rest: Bytes,
    exchange: Arc<Exchange>,
    /// It has just begun, and it is known that it waits for its client.
    begins: bool,
}

impl Paced {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        exchange.waits();
        let begins = exchange.alone();
        Self { body, rest: Bytes::new(), exchange, begins }
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    self.begins = false;
                    self.exchange.works();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
            }
        }
        if !std::mem::take(&mut self.begins) {
            self.exchange.waits();
        }
        let piece = self.rest.len().min(self.exchange.piece);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(inner.lower() + rest);
        hint
    }
}

/// The bytes of a connection.
pub(super) struct Heard<S> {
    stream: S,
    pace: Arc<Pace>,
    /// How much of the preface came, as long as nothing else did.
    preface: Option<usize>,
    /// What came before somebody read it.
    kept: Bytes,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace, preface: Some(0), kept: Bytes::new() }
    }

    /// Bytes came.
    fn heard(&mut self, bytes: &[u8]) {
        let awaited = self.preface.take().and_then(|matched| Some((matched, PREFACE.get(matched..)?)));
        match awaited {
            Some((_, rest)) if bytes.starts_with(rest) => self.pace.multiplexes(),
            Some((matched, rest)) if rest.starts_with(bytes) => self.preface = Some(matched + bytes.len()),
            _ => self.pace.heard(),
        }
    }

    fn wrote(&self, result: Poll<std::io::Result<usize>>) -> Poll<std::io::Result<usize>> {
        match result {
            Poll::Ready(Ok(length)) => self.pace.wrote(Some(length)),
            Poll::Pending => self.pace.wrote(None),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    /// Keeps what was read of it already, for who reads it next.
    pub(super) fn keep(&mut self, read: &[u8]) {
        // A copy: what is empty would still hold the room that was read into.
        self.kept = Bytes::copy_from_slice(read);
    }
}

impl<S: AsyncRead + Unpin> Heard<S> {
    /// Waits for the first bytes, or the next, which stay to be read: which HTTP they are of, or nothing at the end of the input.
    pub(super) async fn begin(&mut self) -> std::io::Result<Option<Version>> {
        let mut bytes = [0; PREFACE.len()];
        loop {
            let length = self.stream.read(&mut bytes).await?;
            let bytes = bytes.get(..length).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(None);
            }
            let first = self.preface.is_some();
            self.heard(bytes);
            self.kept = [&self.kept, bytes].concat().into();
            match self.preface {
                Some(_) => {}
                None if first && self.kept.starts_with(PREFACE) => return Ok(Some(Version::HTTP_2)),
                None => return Ok(Some(Version::HTTP_11)),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.kept.is_empty() {
            let length = self.kept.len().min(buffer.remaining());
            buffer.put_slice(&self.kept.split_to(length));
            if self.kept.is_empty() {
                self.kept = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(bytes @ [_, ..]) = buffer.filled().get(before..) {
            self.heard(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
