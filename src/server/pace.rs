//! How long clients may take: what a connection waits for is known, a head, a body or a reader that is too slow ends it, an idle one
//! ends in order, and where there are too many connections, the one goes whose client has kept it waiting longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub(super) use super::paced::{Heard, Paced};
use super::turns::{State, Turn};
use crate::memory;

/// What of a reply is handed over at once: a client shows with each piece that it reads.
pub(super) const PIECE: usize = 16 << 10;
/// The same over HTTP/1, whose one reply goes to the system as it is, which shows what of it is taken.
const LARGE_PIECE: usize = 1 << 20;
/// How long a new connection waits for another one to go, before another one is chosen.
const MAKING_ROOM: Duration = Duration::from_millis(100);
/// How many connections have to come to rest within which time, for the system to get back what they held.
const MANY: usize = 64;
const SETTLING: Duration = Duration::from_secs(1);

/// What clients may take of time and connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, from its first byte; for a connection's first one from the connection's begin.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For the body of a request; each 64 KiB give a second more.
    pub body: Duration,
    /// Until the next 16 KiB of a reply are taken; who took more at once has a second more for each 32 KiB.
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
    /// It is too slow with some of it; the rest may end.
    Part,
    /// Others want its place.
    Crowded,
    /// Not the connection: the room that it takes, since there is no request for a while.
    Quiet,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// All bytes that the system took for the client.
    written: AtomicU64,
    /// There are bytes for the client that the system did not take yet.
    blocked: AtomicBool,
    crowded: Notify,
}

impl Pace {
    fn new() -> Self {
        let state = Mutex::new(State::new(Instant::now()));
        Self { state, written: AtomicU64::new(0), blocked: AtomicBool::new(false), crowded: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Done when the connection has to end.
    pub(super) async fn over(&self, limits: &Limits) -> End {
        loop {
            let (written, blocked) =
                (self.written.load(Ordering::Relaxed), self.blocked.load(Ordering::Relaxed));
            let look = self.state().look((written, blocked), limits, Instant::now());
            let again = match look {
                Ok(again) => again,
                Err(end) => return end,
            };
            tokio::select! {
                () = self.crowded.notified() => {
                    let mut state = self.state();
                    if state.waits_since().is_some() {
                        return End::Crowded;
                    }
                    // A request came in the meantime.
                    state.chosen = false;
                }
                () = tokio::time::sleep_until(again) => {}
            }
        }
    }

    /// From now on it ends in order; false if it did so before.
    pub(super) fn drain(&self) -> bool {
        let mut state = self.state();
        let before = state.drains;
        state.drains.get_or_insert_with(Instant::now);
        before.is_none()
    }

    /// Bytes came; between two requests of HTTP/1 they begin a head.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.rests = false;
        if !state.head && !state.multiplexed && state.exchanges.is_empty() {
            (state.head, state.since) = (true, Instant::now());
        }
    }

    /// It speaks HTTP/2, and there is no request yet.
    pub(super) fn multiplexes(&self) {
        let mut state = self.state();
        (state.multiplexed, state.head, state.since) = (true, false, Instant::now());
    }

    /// The system took bytes for the client, or could not.
    pub(super) fn wrote(&self, length: Option<usize>) {
        self.blocked.store(length.is_none(), Ordering::Relaxed);
        self.written.fetch_add(length.unwrap_or_default() as u64, Ordering::Relaxed);
    }
}

/// One request of a connection, from its head to the end of its reply.
#[derive(Debug)]
pub(super) struct Exchange {
    pace: Arc<Pace>,
    number: u64,
    /// What of its reply is handed over at once.
    pub(super) piece: usize,
}

impl Exchange {
    /// `read` if it has no body.
    pub(super) fn begin(pace: &Arc<Pace>, version: hyper::Version, read: bool) -> Self {
        let mut state = pace.state();
        let number = state.next;
        state.next += 1;
        state.head = false;
        state.unread = !read;
        state.multiplexed = version == hyper::Version::HTTP_2;
        let piece = if state.multiplexed { PIECE } else { LARGE_PIECE };
        state.exchanges.push(Turn { number, waits: None, lost: false });
        drop(state);
        Self { pace: pace.clone(), number, piece }
    }

    /// It is the only one of its connection, whose reply is asked for as soon as it is there.
    pub(super) const fn alone(&self) -> bool {
        self.piece == LARGE_PIECE
    }

    /// From now on it is the client's turn.
    pub(super) fn waits(&self) {
        self.pace.state().turn(self.number, Some(Instant::now()));
    }

    /// Its body was read to the end; from now on it is the gateway's turn.
    pub(super) fn is_read(&self) {
        let mut state = self.pace.state();
        state.unread = false;
        state.turn(self.number, None);
    }

    /// From now on it is the gateway's turn.
    pub(super) fn works(&self) {
        self.pace.state().turn(self.number, None);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.pace.state();
        state.exchanges.retain(|turn| turn.number != self.number);
        state.since = Instant::now();
    }
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<(u64, BTreeMap<u64, Arc<Pace>>)>,
    /// How many there are.
    number: Gauge,
    /// How many came to rest since what is free was given back.
    rested: AtomicUsize,
}

impl Connections {
    /// Room for this many; `number` follows how many there are.
    pub(super) fn new(most: usize, number: Gauge) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(most)),
            open: Mutex::default(),
            number,
            rested: AtomicUsize::new(0),
        })
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
        self.number.inc();
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

    /// Whether one of them has a request.
    pub(super) fn busy(&self) -> bool {
        self.open().1.values().any(|pace| !pace.state().exchanges.is_empty())
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

impl Entered {
    /// It holds nothing for a next request any more. Where many do so, the system gets their room back, once a second at the most.
    pub(super) fn rests(&self) {
        let connections = &self.connections;
        if connections.rested.fetch_add(1, Ordering::Relaxed) == 0 {
            let connections = connections.clone();
            crate::tasks::spawn(async move {
                tokio::time::sleep(SETTLING).await;
                if connections.rested.swap(0, Ordering::Relaxed) >= MANY {
                    let _ = tokio::task::spawn_blocking(memory::give_back).await;
                }
            });
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open().1.remove(&self.number);
        self.connections.number.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_begins_after_its_connection_was_chosen_to_go_is_not_cut() {
        let connections = Connections::new(1, Gauge::default());
        let entered = connections.enter().await.unwrap();
        let limits = Limits::default();
        connections.make_room();
        let call = Exchange::begin(&entered.pace, hyper::Version::HTTP_11, true);
        let over = tokio::time::timeout(MAKING_ROOM, entered.pace.over(&limits)).await;
        assert!(over.is_err(), "{over:?}");
        // It can be chosen again.
        drop(call);
        connections.make_room();
        assert_eq!(entered.pace.over(&limits).await, End::Crowded);
    }
}
