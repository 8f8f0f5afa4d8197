//! What SQLite looks at while it runs a statement: the deadline of the call, and whether anybody still waits for it. Set up once on a
//! connection, as each time takes a turn of the connection's thread, and told of each call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;

use super::guard::{Guard, limit_length};
use super::run::fault;
use crate::source::SourceError;
use crate::source::database::{Access, Statement};

/// Steps of SQLite between two looks.
const STEPS: i32 = 5_000;

/// The watch of a connection, and its guard.
#[derive(Clone)]
pub(super) struct Watch {
    pub guard: Guard,
    /// The longest value that it makes.
    longest: usize,
    seen: Arc<Seen>,
}

/// What SQLite sees.
struct Seen {
    from: Instant,
    /// The deadline of the call, in microseconds from `from`.
    until: AtomicU64,
    /// The number of the call, and of the last one that was given up.
    call: AtomicU64,
    given_up: AtomicU64,
}

/// Marks a call as given up when it is dropped, so that SQLite stops at its next look. One that has ended is marked for nothing.
pub(super) struct Mark {
    seen: Arc<Seen>,
    call: u64,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.seen.given_up.store(self.call, Ordering::Relaxed);
    }
}

impl Watch {
    /// Sets it up for statements such as this one, in the place of any other.
    pub(super) async fn of(
        connection: &mut SqliteConnection,
        statement: &Statement,
    ) -> Result<Self, SourceError> {
        let seen = Arc::new(Seen {
            from: Instant::now(),
            until: AtomicU64::new(0),
            call: AtomicU64::new(0),
            given_up: AtomicU64::new(0),
        });
        let longest = longest(statement);
        let mut handle = connection.lock_handle().await.map_err(fault)?;
        limit_length(&mut handle, longest);
        let looks = seen.clone();
        handle.set_progress_handler(STEPS, move || looks.goes_on());
        Ok(Self { guard: Guard::of(&mut handle)?, longest, seen })
    }

    /// Whether it is what this statement needs.
    pub(super) fn fits(&self, statement: &Statement) -> bool {
        self.longest == longest(statement)
    }

    /// Begins a call that may take so long.
    pub(super) fn begin(&self, limit: Duration) -> Mark {
        let until = self.seen.from.elapsed().saturating_add(limit).as_micros();
        self.seen.until.store(until.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        let call = self.seen.call.fetch_add(1, Ordering::Relaxed) + 1;
        Mark { seen: self.seen.clone(), call }
    }
}

impl Seen {
    fn goes_on(&self) -> bool {
        let late = self.from.elapsed().as_micros() >= u128::from(self.until.load(Ordering::Relaxed));
        !late && self.given_up.load(Ordering::Relaxed) != self.call.load(Ordering::Relaxed)
    }
}

/// The longest value of a statement: a write runs to its end, whatever it makes.
fn longest(statement: &Statement) -> usize {
    if statement.access == Access::Read { statement.longest() } else { usize::MAX }
}
