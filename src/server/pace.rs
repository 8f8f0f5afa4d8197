//! How long clients may take: what a connection waits for is known, a head, a body or a reader that is too slow ends it, an idle one
//! ends in order, and where there are too many connections, the one goes whose client has kept it waiting longest.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::stream::Body;

/// What of a reply is handed over at once: a client shows with each piece that it reads.
const PIECE: usize = 16 << 10;
/// How long a new connection waits for another one to go, before another one is chosen.
const MAKING_ROOM: Duration = Duration::from_millis(100);

/// What clients may take of time and connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte; for a connection's first one from the connection's begin.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For the body of a request; each 64 KiB give a second more.
    pub body: Duration,
    /// Until the next 16 KiB of a reply are read.
    pub stall: Duration,
    /// How long the proof of who listens to a stream counts, before it is looked at again.
    pub proof: Duration,
    /// Connections open at the same time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body: Duration::from_secs(30),
            stall: Duration::from_secs(40),
            proof: Duration::from_secs(10),
            connections: 4096,
        }
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is no request.
    Idle,
    /// The client is too slow with what it began.
    Slow,
    /// Others want its place.
    Crowded,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    crowded: Notify,
}

#[derive(Debug)]
struct State {
    /// Since when there is no request; with `head`, since when a head is awaited.
    since: Instant,
    head: bool,
    /// HTTP/2, where bytes come that belong to no request.
    multiplexed: bool,
    chosen: bool,
    next: u64,
    /// The requests, each with the time since which it waits for the client; none while the gateway works on it.
    exchanges: BTreeMap<u64, Option<Instant>>,
}

impl State {
    /// Since when everything here waits for the client.
    fn waits_since(&self) -> Option<Instant> {
        let mut since = self.exchanges.values().copied();
        match since.next() {
            None => Some(self.since),
            Some(first) => since.try_fold(first?, |oldest, next| Some(oldest.min(next?))),
        }
    }

    /// Why the connection ends now, or when to ask again at the latest.
    fn look(&self, limits: &Limits, now: Instant) -> Result<Instant, End> {
        let (deadline, end) = if self.exchanges.is_empty() {
            if self.head {
                (self.since + limits.head, End::Slow)
            } else {
                (self.since + limits.idle, End::Idle)
            }
        } else {
            let oldest = self.exchanges.values().flatten().min();
            (*oldest.unwrap_or(&now) + limits.stall, End::Slow)
        };
        // What begins after this look has none of these limits behind it.
        let soonest = limits.head.min(limits.idle).min(limits.stall);
        if deadline <= now { Err(end) } else { Ok(deadline.min(now + soonest)) }
    }
}

impl Pace {
    fn new() -> Self {
        let state = State {
            since: Instant::now(),
            head: true,
            multiplexed: false,
            chosen: false,
            next: 0,
            exchanges: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), crowded: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Done when the connection has to end.
    pub(super) async fn over(&self, limits: &Limits) -> End {
        loop {
            let look = self.state().look(limits, Instant::now());
            let again = match look {
                Ok(again) => again,
                Err(end) => return end,
            };
            tokio::select! {
                () = self.crowded.notified() => return End::Crowded,
                () = tokio::time::sleep_until(again) => {}
            }
        }
    }

    /// Bytes came; between two requests of HTTP/1 they begin a head.
    fn heard(&self) {
        let mut state = self.state();
        if !state.head && !state.multiplexed && state.exchanges.is_empty() {
            (state.head, state.since) = (true, Instant::now());
        }
    }
}

/// One request of a connection, from its head to the end of its reply.
#[derive(Debug)]
pub(super) struct Exchange {
    pace: Arc<Pace>,
    number: u64,
}

impl Exchange {
    pub(super) fn begin(pace: &Arc<Pace>, version: hyper::Version) -> Self {
        let mut state = pace.state();
        let number = state.next;
        state.next += 1;
        state.head = false;
        state.multiplexed = version == hyper::Version::HTTP_2;
        state.exchanges.insert(number, None);
        drop(state);
        Self { pace: pace.clone(), number }
    }

    /// From now on it is the client's turn.
    pub(super) fn waits(&self) {
        self.pace.state().exchanges.insert(self.number, Some(Instant::now()));
    }

    /// From now on it is the gateway's turn.
    pub(super) fn works(&self) {
        self.pace.state().exchanges.insert(self.number, None);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.exchanges.remove(&self.number);
        state.since = Instant::now();
    }
}

/// The body of a reply, which knows whether its client reads.
pub(super) struct Paced {
    body: Body,
    rest: Bytes,
    exchange: Arc<Exchange>,
}

impl Paced {
    pub(super) fn new(body: Body, exchange: Arc<Exchange>) -> Self {
        exchange.waits();
        Self { body, rest: Bytes::new(), exchange }
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
        self.exchange.waits();
        let piece = self.rest.len().min(PIECE);
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
    pub(super) stream: S,
    pub(super) pace: Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.heard();
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
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<(u64, BTreeMap<u64, Arc<Pace>>)>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { places: Arc::new(Semaphore::new(most)), open: Mutex::default() })
    }

    /// A place for a new connection; if there is none, that of the one whose client has kept it waiting longest.
    pub(super) async fn enter(self: &Arc<Self>) -> Option<Entered> {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => loop {
                self.make_room();
                let place = self.places.clone().acquire_owned();
                if let Ok(place) = tokio::time::timeout(MAKING_ROOM, place).await {
                    break place.ok()?;
                }
            },
        };
        let pace = Arc::new(Pace::new());
        let mut open = self.open();
        let number = open.0;
        open.0 += 1;
        open.1.insert(number, pace.clone());
        drop(open);
        Some(Entered { pace, number, connections: self.clone(), _place: place })
    }

    fn open(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Arc<Pace>>)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self) {
        let open = self.open();
        let waiting = open.1.values().filter_map(|pace| {
            let state = pace.state();
            Some((state.waits_since().filter(|_| !state.chosen)?, pace))
        });
        if let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) {
            longest.state().chosen = true;
            longest.crowded.notify_one();
        }
    }

    /// Done when the last one has ended. Nobody may come any more.
    pub(super) async fn ended(&self, most: usize) {
        let _all = self.places.acquire_many(u32::try_from(most).unwrap_or(u32::MAX)).await;
    }
}

/// A connection among the open ones, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) pace: Arc<Pace>,
    number: u64,
    connections: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open().1.remove(&self.number);
    }
}
