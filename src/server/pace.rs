//! How long clients may take: what a connection waits for is known, a head, a body or a reader that is too slow ends it, an idle one
//! ends in order, and where there are too many connections, the one goes whose client has kept it waiting longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub(super) use super::paced::{Heard, Paced};

/// What of a reply is handed over at once: a client shows with each piece that it reads.
pub(super) const PIECE: usize = 16 << 10;
/// Who took much at once may take a second for each so many bytes of it before the next: a client whose window is wide shows only now
/// and then that it reads.
const RATE: u64 = 32 << 10;
/// The most time that is given for what was taken.
const CREDIT: Duration = Duration::from_secs(320);
/// How long a connection that ends in order may be without a request before it is cut, and how long it may take new ones after one of
/// its requests was given up.
const GOODBYE: Duration = Duration::from_secs(5);
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
}

/// One connection.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
    /// All bytes that the system took for the client.
    written: AtomicU64,
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
    /// Since when it ends in order.
    drains: Option<Instant>,
    /// When a request of it was given up.
    given_up: Option<Instant>,
    /// Requests from this one on came too late to hold the connection.
    late: Option<u64>,
    next: u64,
    taken: Taken,
    /// HTTP/1 has one at a time, HTTP/2 some; the place of one is found by looking at all.
    exchanges: Vec<Turn>,
}

/// Whose turn it is in one request.
#[derive(Debug)]
struct Turn {
    number: u64,
    /// Since when it waits for the client; not while the gateway works on it.
    waits: Option<Instant>,
    /// Its client was too slow, and nothing has moved since.
    lost: bool,
}

/// What the client has taken, as far as the system shows it.
#[derive(Debug)]
struct Taken {
    looked: Instant,
    /// When it was seen that enough was taken, and how much that was in all.
    at: Instant,
    bytes: u64,
    /// The time for which enough was taken, at least `at`.
    until: Instant,
}

impl Taken {
    /// Who has `waiting` requests has to take a piece for each of them.
    fn look(&mut self, written: u64, waiting: usize, now: Instant) {
        let more = written.saturating_sub(self.bytes);
        if more >= (PIECE * waiting.max(1)) as u64 {
            let credit = Duration::from_secs(more / RATE).min(CREDIT);
            self.until = (self.until.max(self.looked) + credit).min(now + CREDIT).max(now);
            (self.at, self.bytes) = (now, written);
        }
        self.looked = now;
    }
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            head: true,
            multiplexed: false,
            chosen: false,
            drains: None,
            given_up: None,
            late: None,
            next: 0,
            taken: Taken { looked: now, at: now, bytes: 0, until: now },
            exchanges: Vec::new(),
        }
    }

    /// Since when everything here waits for the client.
    fn waits_since(&self) -> Option<Instant> {
        let mut since = self.exchanges.iter().map(|turn| turn.waits);
        match since.next() {
            None => Some(self.since),
            Some(first) => since.try_fold(first?, |oldest, next| Some(oldest.min(next?))),
        }
    }

    /// The requests that keep the connection.
    fn held_by(&self) -> impl Iterator<Item = &Turn> {
        self.exchanges.iter().filter(|turn| !turn.lost && self.late.is_none_or(|late| turn.number < late))
    }

    /// Why the connection ends now, or when to ask again at the latest.
    fn look(&mut self, written: u64, limits: &Limits, now: Instant) -> Result<Instant, End> {
        let waiting = self.held_by().filter(|turn| turn.waits.is_some()).count();
        self.taken.look(written, waiting, now);
        if self.late.is_none() && self.given_up.is_some_and(|at| at + GOODBYE <= now) {
            self.late = Some(self.next);
        }
        let deadline = if self.exchanges.is_empty() {
            let (deadline, end) = self.without_request(limits);
            if deadline <= now { Err(end) } else { Ok(deadline) }
        } else {
            self.with_requests(limits, now)
        }?;
        // What begins after this look has none of these limits behind it.
        let soonest = limits.head.min(limits.idle).min(limits.stall).min(GOODBYE);
        Ok(deadline.min(now + soonest))
    }

    fn without_request(&self, limits: &Limits) -> (Instant, End) {
        // The end of a reply may still be on its way.
        let since = self.since.max(self.taken.at);
        let goodbye = |drains: Instant| since.max(drains) + GOODBYE;
        match (self.head, self.drains) {
            (false, None) => (since + limits.idle, End::Idle),
            (false, Some(drains)) => (goodbye(drains), End::Idle),
            (true, None) => (self.since + limits.head, End::Slow),
            (true, Some(drains)) => (goodbye(drains).min(self.since + limits.head), End::Slow),
        }
    }

    fn with_requests(&mut self, limits: &Limits, now: Instant) -> Result<Instant, End> {
        let taken = self.taken.until;
        let deadline = |turn: &Turn| Some(turn.waits?.max(taken) + limits.stall);
        let Some(next) = self.held_by().map(|turn| deadline(turn).unwrap_or(now + limits.stall)).min() else {
            return Err(End::Slow);
        };
        if next > now {
            return Ok(next);
        }
        for turn in &mut self.exchanges {
            turn.lost |= deadline(turn).is_some_and(|deadline| deadline <= now);
        }
        self.given_up.get_or_insert(now);
        Err(if self.held_by().next().is_none() { End::Slow } else { End::Part })
    }

    fn turn(&mut self, number: u64, waits: Option<Instant>) {
        if let Some(turn) = self.exchanges.iter_mut().find(|turn| turn.number == number) {
            (turn.waits, turn.lost) = (waits, false);
        }
    }
}

impl Pace {
    fn new() -> Self {
        let state = Mutex::new(State::new(Instant::now()));
        Self { state, written: AtomicU64::new(0), crowded: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Done when the connection has to end.
    pub(super) async fn over(&self, limits: &Limits) -> End {
        loop {
            let look = self.state().look(self.written.load(Ordering::Relaxed), limits, Instant::now());
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
        if !state.head && !state.multiplexed && state.exchanges.is_empty() {
            (state.head, state.since) = (true, Instant::now());
        }
    }

    /// It speaks HTTP/2, and there is no request yet.
    pub(super) fn multiplexes(&self) {
        let mut state = self.state();
        (state.multiplexed, state.head, state.since) = (true, false, Instant::now());
    }

    /// The system took bytes for the client.
    pub(super) fn wrote(&self, length: usize) {
        self.written.fetch_add(length as u64, Ordering::Relaxed);
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
        state.exchanges.push(Turn { number, waits: None, lost: false });
        drop(state);
        Self { pace: pace.clone(), number }
    }

    /// From now on it is the client's turn.
    pub(super) fn waits(&self) {
        self.pace.state().turn(self.number, Some(Instant::now()));
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

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open().1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_begins_after_its_connection_was_chosen_to_go_is_not_cut() {
        let connections = Connections::new(1);
        let entered = connections.enter().await.unwrap();
        let limits = Limits::default();
        connections.make_room();
        let call = Exchange::begin(&entered.pace, hyper::Version::HTTP_11);
        let over = tokio::time::timeout(MAKING_ROOM, entered.pace.over(&limits)).await;
        assert!(over.is_err(), "{over:?}");
        // It can be chosen again.
        drop(call);
        connections.make_room();
        assert_eq!(entered.pace.over(&limits).await, End::Crowded);
    }

    #[test]
    fn each_reply_that_waits_wants_its_piece_and_what_was_taken_at_once_gives_time() {
        let (limits, begun) = (Limits::default(), Instant::now());
        let turn = |number| Turn { number, waits: Some(begun), lost: false };
        let mut state = State { exchanges: vec![turn(0), turn(1)], ..State::new(begun) };
        let mut look = |written: usize, seconds: u64| {
            state.look(written as u64, &limits, begun + Duration::from_secs(seconds)).err()
        };
        assert_eq!(look(2 * PIECE, 39), None);
        assert_eq!(look(4 * PIECE - 1, 78), None);
        // Too little for two.
        assert_eq!(look(4 * PIECE - 1, 79), Some(End::Slow));
        let mut state = State { exchanges: vec![turn(0)], ..State::new(begun) };
        let mut look = |written: usize, seconds: u64| {
            state.look(written as u64, &limits, begun + Duration::from_secs(seconds)).err()
        };
        // 96 times 32 KiB.
        assert_eq!(look(3 << 20, 1), None);
        assert_eq!(look(3 << 20, 135), None);
        assert_eq!(look(3 << 20, 136), Some(End::Slow));
    }

    #[test]
    fn what_still_works_holds_a_connection_of_which_a_request_was_given_up_and_what_comes_late_does_not() {
        let (limits, begun) = (Limits::default(), Instant::now());
        let turn = |number, waits| Turn { number, waits, lost: false };
        let exchanges = vec![turn(0, Some(begun)), turn(1, None)];
        let mut state = State { exchanges, next: 2, ..State::new(begun) };
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(state.look(0, &limits, at(40)), Err(End::Part));
        assert!(state.look(0, &limits, at(41)).is_ok());
        assert!(state.look(0, &limits, at(100)).is_ok());
        state.exchanges.push(turn(state.next, None));
        state.next += 1;
        assert!(state.look(0, &limits, at(101)).is_ok());
        state.exchanges.retain(|turn| turn.number != 1);
        assert_eq!(state.look(0, &limits, at(102)), Err(End::Slow));
    }
}
