//! Connections that nobody uses, until they are used again, or closed, or old.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::line::Line;
use crate::source::http::IDLE_TIMEOUT;

/// How many of them are kept for one API.
const MOST: usize = 4096;

pub(super) struct Idle {
    resting: Mutex<Resting>,
    /// Calls the task that watches them.
    call: Waker,
    watcher: Arc<Watcher>,
}

#[derive(Default)]
struct Resting {
    /// The last used one at the end.
    lines: Vec<Kept>,
    /// Whether there is a task that watches them.
    watched: bool,
}

pub(super) struct Kept {
    pub since: Instant,
    pub line: Box<Line>,
}

#[derive(Default)]
struct Watcher(Notify);

impl Wake for Watcher {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

impl Default for Idle {
    fn default() -> Self {
        let watcher = Arc::<Watcher>::default();
        Self { resting: Mutex::default(), call: Waker::from(watcher.clone()), watcher }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.watcher.0.notify_one();
    }
}

impl Idle {
    fn with<T>(&self, work: impl FnOnce(&mut Resting) -> T) -> T {
        // Each change of it is one operation.
        work(&mut self.resting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One of this core.
    pub(super) fn take(&self) -> Option<Box<Line>> {
        let Kept { since, line } = self.with(|resting| {
            let last = resting.lines.iter().rposition(|kept| kept.line.is_home())?;
            Some(resting.lines.remove(last))
        })?;
        (since.elapsed() < IDLE_TIMEOUT).then_some(line)
    }

    /// Keeps a connection for the next call, if it is ready for one.
    pub(super) fn put(self: &Arc<Self>, mut line: Box<Line>) {
        if !line.rests(&self.call) {
            return;
        }
        let kept = Kept { since: Instant::now(), line };
        let (watched, _surplus) = self.with(|resting| {
            if resting.lines.len() >= MOST {
                return (true, Some(kept));
            }
            resting.lines.push(kept);
            (std::mem::replace(&mut resting.watched, true), None)
        });
        if !watched {
            crate::tasks::spawn(watch(Arc::downgrade(self), self.watcher.clone()));
        }
    }

    /// Takes those away that nobody has used for too long, and those that ended meanwhile; gives when that is to be done again, if there
    /// are any left.
    fn lapse(&self) -> (Vec<Kept>, Option<Instant>) {
        let now = Instant::now();
        self.with(|resting| {
            let over = |kept: &mut Kept| {
                now.duration_since(kept.since) >= IDLE_TIMEOUT
                    || (kept.line.rung() && !kept.line.rests(&self.call))
            };
            let gone = resting.lines.extract_if(.., over).collect();
            let next = resting.lines.first().map(|kept| kept.since + IDLE_TIMEOUT);
            resting.watched = next.is_some();
            (gone, next)
        })
    }
}

async fn watch(idle: Weak<Idle>, watcher: Arc<Watcher>) {
    let mut next = Some(Instant::now() + IDLE_TIMEOUT);
    while let Some(at) = next {
        tokio::select! {
            () = sleep_until(at) => {}
            () = watcher.0.notified() => {}
        }
        let Some(idle) = idle.upgrade() else { return };
        // Closed when nobody waits for the list.
        let (_gone, then) = idle.lapse();
        next = then;
    }
}

#[cfg(test)]
impl Idle {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.with(|resting| resting.lines.len())
    }

    /// Makes all of them older.
    pub(super) fn age(&self, by: std::time::Duration) {
        self.with(|resting| resting.lines.iter_mut().for_each(|kept| kept.since -= by));
    }

    /// How many are taken away, and when that is to be done again.
    pub(super) fn lapsed(&self) -> (usize, Option<Instant>) {
        let (gone, next) = self.lapse();
        (gone.len(), next)
    }
}
