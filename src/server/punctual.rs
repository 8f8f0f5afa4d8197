//! A connection whose client has to begin in time. Until the first bytes say which version of HTTP is spoken, nobody else watches the
//! clock: not before the first byte, and not in the middle of the preface of HTTP/2 (RFC 9113, section 3.4).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose client has to begin in time.
pub(super) struct Punctual<T> {
    inner: T,
    /// What of the preface is still to come; the clock runs that long.
    rest: &'static [u8],
    clock: Option<Pin<Box<Sleep>>>,
}

impl<T> Punctual<T> {
    pub(super) fn new(inner: T, within: Duration) -> Self {
        Self { inner, rest: PREFACE, clock: Some(Box::pin(tokio::time::sleep(within))) }
    }

    fn note(&mut self, bytes: &[u8]) {
        let begun = self.rest.split_at_checked(bytes.len()).filter(|(due, _)| *due == bytes);
        match begun {
            Some((_, rest)) if !rest.is_empty() && !bytes.is_empty() => self.rest = rest,
            // All of it, something else, or the end.
            _ => self.clock = None,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Punctual<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        let Some(clock) = &mut self.clock else { return read };
        match read {
            Poll::Pending => {
                ready!(clock.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Ready(result) => {
                let new = buffer.filled().get(before..).unwrap_or_default();
                self.note(new);
                Poll::Ready(result)
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Punctual<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(150);

    fn pair() -> (DuplexStream, Punctual<DuplexStream>) {
        let (client, server) = tokio::io::duplex(256);
        (client, Punctual::new(server, LIMIT))
    }

    #[tokio::test]
    async fn who_does_not_begin_in_time_is_left() {
        for begun in [0, 1, 10, PREFACE.len() - 1] {
            let (mut client, mut server) = pair();
            let mut buffer = [0; 64];
            for byte in &PREFACE[..begun] {
                client.write_all(&[*byte]).await.unwrap();
                assert_eq!(server.read(&mut buffer).await.unwrap(), 1);
                tokio::time::sleep(LIMIT / 64).await;
            }
            let late = tokio::time::timeout(LIMIT * 100, server.read(&mut buffer)).await.expect("it waits");
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut, "{begun}");
        }
    }

    #[tokio::test]
    async fn who_has_begun_may_take_time() {
        let whole = [PREFACE, &b"more"[..]].concat();
        for begun in [&b"POST"[..], b"P\0", b"PRI * HTTP/1.1", PREFACE, &whole] {
            let (mut client, mut server) = pair();
            let mut buffer = [0; 64];
            client.write_all(begun).await.unwrap();
            assert_eq!(server.read(&mut buffer).await.unwrap(), begun.len());
            let more = tokio::time::timeout(LIMIT * 2, server.read(&mut buffer)).await;
            assert!(more.is_err(), "{begun:?}");
        }
        let (client, mut server) = pair();
        drop(client);
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
