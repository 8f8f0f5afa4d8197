//! Connections between two calls that follow one another. The driver's pool asks a connection whether it is alive whenever it comes
//! back, in a task of its own, and knows nothing of it; what is handed on here costs no word, and what was learnt of it is kept. What
//! nobody has wanted for a moment goes back to the pool, which sees to ages, idle times and sizes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ending::{self, CANCEL};
use crate::cores;
use crate::source::SourceError;

/// How long a connection waits here for the next call.
const WAITS: Duration = Duration::from_millis(500);
/// How long it is kept from the pool at the most, however busy it is.
const KEPT: Duration = Duration::from_secs(10);

/// The connections of a database: as many calls at a time as the pool has room for. `K` is what is known of each.
pub(in crate::source) struct Warm<D: Database, K: Send + 'static>(Arc<Inner<D, K>>);

struct Inner<D: Database, K: Send + 'static> {
    pool: Pool<D>,
    unsettled: Unsettled,
    places: Arc<Semaphore>,
    /// As many connections again may be lost to work that does not end when it is given up.
    lost: Arc<Semaphore>,
    /// How many connections are in use. A place may also be that of one that is only being made.
    in_use: AtomicUsize,
    /// The last to come is the first to go. Held for single operations only.
    idle: Mutex<Idle<D, K>>,
}

/// What becomes of a connection of which nobody knows whether it is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Unsettled {
    /// It is closed.
    Closed,
    /// It goes to the pool when nothing runs on it any more, and what was known of it is forgotten. Where that takes too long the pool
    /// makes another one in its place.
    Returned,
}

struct Idle<D: Database, K: Send + 'static> {
    links: Vec<(Link<D, K>, Instant)>,
    /// Whether somebody looks for those that wait too long.
    swept: bool,
}

/// A connection and what is known of it.
struct Link<D: Database, K: Send + 'static> {
    connection: PoolConnection<D>,
    known: Option<K>,
    /// When it came from the pool.
    since: Instant,
    /// The core that had it from the pool, and mostly the one that hears of what comes on it: there it wakes no other thread.
    home: usize,
}

/// A connection in use.
pub(in crate::source) struct Held<D: Database, K: Send + 'static> {
    /// None when it has been given back.
    link: Option<Link<D, K>>,
    warm: Warm<D, K>,
    /// Whether it is as it was, so that the next call may have it.
    pub settled: bool,
    /// Given back after the connection, so that who comes next finds that.
    _place: OwnedSemaphorePermit,
}

impl<D: Database, K: Send + 'static> Clone for Warm<D, K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<D: Database, K: Send + 'static> std::fmt::Debug for Warm<D, K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Warm").field("unsettled", &self.0.unsettled).finish_non_exhaustive()
    }
}

impl<D: Database, K: Send + 'static> Warm<D, K> {
    /// Of a pool.
    pub(in crate::source) fn of(pool: Pool<D>, unsettled: Unsettled) -> Self {
        let semaphore = || Arc::new(Semaphore::new(pool.options().get_max_connections() as usize));
        let (places, lost) = (semaphore(), semaphore());
        let idle = Mutex::new(Idle { links: Vec::new(), swept: false });
        Self(Arc::new(Inner { pool, unsettled, places, lost, in_use: AtomicUsize::new(0), idle }))
    }

    /// Connections: open, idle.
    pub(in crate::source) fn connections(&self) -> (u32, usize) {
        let waiting = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).links.len();
        (self.0.pool.size(), self.0.pool.num_idle() + waiting)
    }

    /// A connection, which may have broken while nobody used it. `fault` reads what kept one from being made.
    pub(in crate::source) async fn acquire(
        &self,
        fault: impl FnOnce(sqlx::Error) -> SourceError,
    ) -> Result<Held<D, K>, SourceError> {
        let patience = self.0.pool.options().get_acquire_timeout();
        let place = match self.0.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match tokio::time::timeout(patience, self.0.places.clone().acquire_owned()).await {
                Ok(Ok(place)) => place,
                // Never closed.
                Ok(Err(_)) | Err(_) => return Err(self.none_free(patience)),
            },
        };
        let waiting = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let link = match waiting {
            Some(link) => link,
            None => Link {
                // Seldom, and large.
                connection: Box::pin(ending::acquire(&self.0.pool, fault)).await?,
                known: None,
                since: Instant::now(),
                home: cores::here(),
            },
        };
        self.0.in_use.fetch_add(1, Ordering::Relaxed);
        Ok(Held { link: Some(link), warm: self.clone(), settled: false, _place: place })
    }

    /// What it means that no place became free: those who have one may themselves wait for a server that is down.
    fn none_free(&self, patience: Duration) -> SourceError {
        if self.0.in_use.load(Ordering::Relaxed) >= self.0.pool.options().get_max_connections() as usize {
            SourceError::Busy(patience)
        } else {
            SourceError::Unavailable("no connection could be made".to_owned())
        }
    }

    /// Takes a connection that may be used again.
    fn give_back(&self, link: Link<D, K>) {
        if link.since.elapsed() > KEPT {
            return;
        }
        let sweep = {
            let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.links.push((link, Instant::now()));
            !std::mem::replace(&mut idle.swept, true)
        };
        if sweep {
            crate::tasks::spawn(sweep_until_none_wait(Arc::downgrade(&self.0)));
        }
    }
}

impl<D: Database, K: Send + 'static> Idle<D, K> {
    /// The last that came, of this core if there is one.
    fn take(&mut self) -> Option<Link<D, K>> {
        let own = self.links.iter().rposition(|(link, _)| link.home == cores::here());
        let at = own.or(self.links.len().checked_sub(1))?;
        Some(self.links.remove(at).0)
    }
}

/// Gives back to the pool what waits too long, as long as something waits.
async fn sweep_until_none_wait<D: Database, K: Send + 'static>(warm: Weak<Inner<D, K>>) {
    loop {
        tokio::time::sleep(WAITS).await;
        let Some(inner) = warm.upgrade() else { return };
        let (late, more): (Vec<_>, bool) = {
            let mut idle = inner.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let late = idle.links.extract_if(.., |(_, left)| left.elapsed() >= WAITS).collect();
            idle.swept = !idle.links.is_empty();
            (late, idle.swept)
        };
        drop(late);
        if !more {
            return;
        }
    }
}

impl<D: Database, K: Send + 'static> Held<D, K> {
    /// The connection.
    ///
    /// # Errors
    /// If it has been given back, which nobody does who still holds it.
    pub(in crate::source) fn connection(&mut self) -> Result<&mut D::Connection, SourceError> {
        self.parts().map(|(connection, _)| connection)
    }

    /// The connection, and what is known of it until it goes back to the pool.
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub(in crate::source) fn parts(&mut self) -> Result<(&mut D::Connection, &mut Option<K>), SourceError> {
        let gone = || SourceError::Internal("the connection has been given back".to_owned());
        self.link.as_mut().map(|link| (&mut *link.connection, &mut link.known)).ok_or_else(gone)
    }

    /// What is known of it.
    pub(in crate::source) fn known(&self) -> Option<&K> {
        self.link.as_ref().and_then(|link| link.known.as_ref())
    }
}

impl<D: Database, K: Send + 'static> Drop for Held<D, K> {
    fn drop(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        self.warm.0.in_use.fetch_sub(1, Ordering::Relaxed);
        if Handle::try_current().is_ok() && self.settled {
            return self.warm.give_back(link);
        }
        match self.warm.0.unsettled {
            Unsettled::Closed => {
                link.connection.close_on_drop();
                link.let_go();
            }
            Unsettled::Returned if Handle::try_current().is_ok() => {
                crate::tasks::spawn(leave(Leaving(Some(link)), self.warm.0.lost.clone()));
            }
            Unsettled::Returned => link.let_go(),
        }
    }
}

/// A connection on which something may still run.
struct Leaving<D: Database, K: Send + 'static>(Option<Link<D, K>>);

impl<D: Database, K: Send + 'static> Drop for Leaving<D, K> {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.let_go();
        }
    }
}

/// Gives a connection to the pool when nothing runs on it any more. What goes on although it was cut off keeps its connection to itself,
/// and the pool may make another one, as long as not too many are lost in this way.
async fn leave<D: Database, K: Send + 'static>(mut leaving: Leaving<D, K>, lost: Arc<Semaphore>) {
    let Some(link) = &mut leaving.0 else { return };
    // It answers after what runs on it.
    if tokio::time::timeout(CANCEL, link.connection.ping()).await.is_ok() {
        return;
    }
    let place = tokio::select! {
        _ = link.connection.ping() => return,
        place = lost.acquire_owned() => place,
    };
    let Some(link) = leaving.0.take() else { return };
    tracing::warn!(
        "a statement goes on although it was cut off, inside a single step of the database: another connection takes the place of its own"
    );
    let mut connection = link.connection.detach();
    let _ = connection.ping().await;
    drop(connection);
    drop(place);
}

impl<D: Database, K: Send + 'static> Link<D, K> {
    /// Gives it to the pool, which does that in a task. Where there are no tasks any more the program is at its end, and the system
    /// closes it.
    fn let_go(self) {
        if Handle::try_current().is_err() {
            std::mem::forget(self);
        }
    }
}

impl<D: Database, K: Send + 'static> Drop for Inner<D, K> {
    fn drop(&mut self) {
        let idle = self.idle.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (link, _) in idle.links.drain(..) {
            link.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::pool::PoolOptions;
    use sqlx::sqlite::{Sqlite, SqliteConnectOptions};

    use super::*;

    /// A pool of one connection, on which comparing takes so long and looks at nothing meanwhile.
    fn slow(takes: Duration) -> Warm<Sqlite, ()> {
        let options = SqliteConnectOptions::new().in_memory(true).collation("slow", move |_, _| {
            std::thread::sleep(takes);
            std::cmp::Ordering::Equal
        });
        let pool = PoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(20));
        Warm::of(pool.connect_lazy_with(options), Unsettled::Returned)
    }

    /// Compares, and gives up soon.
    async fn give_up(warm: &Warm<Sqlite, ()>) {
        let mut held = warm.acquire(|e| SourceError::Internal(e.to_string())).await.unwrap();
        let slow = sqlx::query("SELECT 'a' = 'b' COLLATE slow").execute(held.connection().unwrap());
        tokio::time::timeout(Duration::from_millis(50), slow).await.unwrap_err();
    }

    async fn answers(warm: &Warm<Sqlite, ()>) -> Duration {
        let began = Instant::now();
        let mut held = warm.acquire(|e| SourceError::Internal(e.to_string())).await.unwrap();
        sqlx::query("SELECT 1").execute(held.connection().unwrap()).await.unwrap();
        began.elapsed()
    }

    #[tokio::test]
    async fn what_goes_on_when_it_is_given_up_keeps_no_place_and_as_many_as_there_are_places_do_so() {
        let takes = Duration::from_secs(9);
        let (warm, began) = (slow(takes), Instant::now());
        give_up(&warm).await;
        let waited = answers(&warm).await;
        assert!(waited >= CANCEL && waited < Duration::from_secs(5), "{waited:?}");
        // One is lost; a second one has to end.
        give_up(&warm).await;
        answers(&warm).await;
        assert!(began.elapsed() > takes, "{:?}", began.elapsed());
        assert_eq!(warm.connections().0, 1);
    }

    #[tokio::test]
    async fn what_ends_soon_keeps_its_connection() {
        let warm = slow(Duration::from_millis(300));
        give_up(&warm).await;
        let waited = answers(&warm).await;
        assert!(waited >= Duration::from_millis(200) && waited < CANCEL, "{waited:?}");
    }
}
