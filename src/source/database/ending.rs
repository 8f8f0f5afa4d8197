//! Connections from a pool, and statements on a server that end with those who wait for them: the work is done in a task of its own,
//! which learns when nobody waits any more and ends what runs on the server before it lets go of the connection.

use std::pin::Pin;
use std::time::{Duration, Instant};

use sqlx::Pool;
use sqlx::pool::{PoolConnection, PoolOptions};
use tokio::sync::oneshot;

use super::Answer;
use crate::source::SourceError;

/// How long a statement has to end after it was cancelled.
pub(in crate::source) const CANCEL: Duration = Duration::from_secs(2);
/// How long a cancel may take before it is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The options of the connections that end what runs on others.
pub(in crate::source) fn side<D: sqlx::Database>() -> PoolOptions<D> {
    PoolOptions::new().max_connections(2).acquire_timeout(CANCEL).idle_timeout(Duration::from_secs(30))
}

/// Does the work in a task, for as long as `limit`. It is handed what tells it that nobody waits.
pub(in crate::source) async fn in_a_task<F>(
    limit: Duration,
    work: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> Result<Answer, SourceError>
where
    F: Future<Output = Result<Answer, SourceError>> + Send + 'static,
{
    // Dropped with this future, which the work takes for the sign to stop.
    let (alive, gone) = oneshot::channel::<()>();
    let result = tokio::time::timeout(limit, crate::tasks::spawn(work(gone))).await;
    drop(alive);
    match result {
        Ok(Ok(Err(SourceError::Timeout(_)))) | Err(_) => Err(SourceError::Timeout(limit)),
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(SourceError::Internal(error.to_string())),
    }
}

/// A connection from a pool. `fault` reads what kept one from being made.
pub(in crate::source) async fn acquire<D: sqlx::Database>(
    pool: &Pool<D>,
    fault: impl FnOnce(sqlx::Error) -> SourceError,
) -> Result<PoolConnection<D>, SourceError> {
    match pool.acquire().await {
        Ok(connection) => Ok(connection),
        // The pool also waits for a server that is down; it is full only if it could grow to its size.
        Err(sqlx::Error::PoolTimedOut) if pool.size() >= pool.options().get_max_connections() => {
            Err(SourceError::Busy(pool.options().get_acquire_timeout()))
        }
        Err(sqlx::Error::PoolTimedOut) => {
            Err(SourceError::Unavailable("no connection could be made".to_owned()))
        }
        Err(error) => Err(fault(error)),
    }
}

/// Ends what runs, again and again until it has ended: an end that comes before the server has begun the statement does nothing.
pub(in crate::source) async fn end_all_of<F, E, T>(
    mut running: Pin<&mut F>,
    end: impl Fn() -> E,
) -> Option<F::Output>
where
    F: Future,
    E: Future<Output = Result<T, sqlx::Error>>,
{
    let until = Instant::now() + CANCEL;
    loop {
        match tokio::time::timeout(CANCEL, end()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a statement could not be ended"),
            Err(_) => tracing::warn!("a statement could not be ended in time"),
        }
        match tokio::time::timeout(AGAIN, running.as_mut()).await {
            Ok(result) => return Some(result),
            Err(_) if Instant::now() > until => return None,
            Err(_) => {}
        }
    }
}
