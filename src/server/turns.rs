//! Whose turn it is on a connection: since when which request waits for the client, what the client took, and what follows from both.

use std::time::Duration;

use tokio::time::Instant;

use super::pace::{End, Limits, PIECE};

/// Who took much at once may take a second for each so many bytes of it before the next: a client whose window is wide shows only now
/// and then that it reads.
const RATE: u64 = 32 << 10;
/// The most time that is given for what was taken.
const CREDIT: Duration = Duration::from_secs(320);
/// After how long without a request a connection gives back what it holds for one.
const REST: Duration = Duration::from_millis(250);
/// How long a connection that ends in order may be without a request before it is cut, and how long it may take new ones after one of
/// its requests was given up.
const GOODBYE: Duration = Duration::from_secs(5);

/// Whose turn it is in all requests of a connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct State {
    /// Since when there is no request; with `head`, since when a head is awaited.
    pub(super) since: Instant,
    pub(super) head: bool,
    /// HTTP/2, where bytes come that belong to no request.
    pub(super) multiplexed: bool,
    pub(super) chosen: bool,
    /// The last request came with a body that was not read to its end.
    pub(super) unread: bool,
    /// It holds nothing for a next request.
    pub(super) rests: bool,
    /// Since when it ends in order.
    pub(super) drains: Option<Instant>,
    /// When a request of it was given up.
    given_up: Option<Instant>,
    /// Requests from this one on came too late to hold the connection.
    late: Option<u64>,
    pub(super) next: u64,
    taken: Taken,
    /// HTTP/1 has one at a time, HTTP/2 some; the place of one is found by looking at all.
    pub(super) exchanges: Vec<Turn>,
}

/// Whose turn it is in one request.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) number: u64,
    /// Since when it waits for the client; not while the gateway works on it.
    pub(super) waits: Option<Instant>,
    /// Its client was too slow, and nothing has moved since.
    pub(super) lost: bool,
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
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            head: true,
            multiplexed: false,
            chosen: false,
            unread: false,
            rests: true,
            drains: None,
            given_up: None,
            late: None,
            next: 0,
            taken: Taken { looked: now, at: now, bytes: 0, until: now },
            exchanges: Vec::new(),
        }
    }

    /// Since when everything here waits for the client.
    pub(super) fn waits_since(&self) -> Option<Instant> {
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

    /// Why the connection ends now, or when to ask again at the latest; by what the system took for the client, and whether it took
    /// less than there was.
    pub(super) fn look(
        &mut self,
        (written, blocked): (u64, bool),
        limits: &Limits,
        now: Instant,
    ) -> Result<Instant, End> {
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
        if self.may_rest() && !blocked && self.since + REST <= now {
            self.rests = true;
            return Err(End::Quiet);
        }
        // What begins after this look has none of these limits behind it.
        let rest = if self.rests || self.multiplexed { GOODBYE } else { REST };
        let soonest = limits.head.min(limits.idle).min(limits.stall).min(rest);
        Ok(deadline.min(now + soonest))
    }

    /// Whether nothing of a request or a reply is held here: what is on its way is with the system alone.
    fn may_rest(&self) -> bool {
        let busy = self.head || self.unread || self.multiplexed || !self.exchanges.is_empty();
        !busy && !self.rests && self.drains.is_none()
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

    pub(super) fn turn(&mut self, number: u64, waits: Option<Instant>) {
        if let Some(turn) = self.exchanges.iter_mut().find(|turn| turn.number == number) {
            (turn.waits, turn.lost) = (waits, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_that_waits_wants_its_piece_and_what_was_taken_at_once_gives_time() {
        let (limits, begun) = (Limits::default(), Instant::now());
        let turn = |number| Turn { number, waits: Some(begun), lost: false };
        let mut state = State { exchanges: vec![turn(0), turn(1)], ..State::new(begun) };
        let mut look = |written: usize, seconds: u64| {
            state.look((written as u64, false), &limits, begun + Duration::from_secs(seconds)).err()
        };
        assert_eq!(look(2 * PIECE, 39), None);
        assert_eq!(look(4 * PIECE - 1, 78), None);
        // Too little for two.
        assert_eq!(look(4 * PIECE - 1, 79), Some(End::Slow));
        let mut state = State { exchanges: vec![turn(0)], ..State::new(begun) };
        let mut look = |written: usize, seconds: u64| {
            state.look((written as u64, false), &limits, begun + Duration::from_secs(seconds)).err()
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
        assert_eq!(state.look((0, false), &limits, at(40)), Err(End::Part));
        assert!(state.look((0, false), &limits, at(41)).is_ok());
        assert!(state.look((0, false), &limits, at(100)).is_ok());
        state.exchanges.push(turn(state.next, None));
        state.next += 1;
        assert!(state.look((0, false), &limits, at(101)).is_ok());
        state.exchanges.retain(|turn| turn.number != 1);
        assert_eq!(state.look((0, false), &limits, at(102)), Err(End::Slow));
    }
}
