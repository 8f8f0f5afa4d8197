//! Work beside what asked for it. The runtime's code for a task is made anew for each type of work, and for each of its two kinds, so all
//! work has one type here.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

/// How much is worked on where it began, in bytes of JSON: about half a millisecond. What is larger is done [`apart`].
pub const LITTLE: usize = 64 << 10;
/// How long something waits for others that are done apart.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much is done apart at a time: more would not be done sooner.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));
/// How much is done at a time that may outlast who waits for it.
static LASTING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(cores()));

/// How many cores the process may use.
#[must_use]
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Work of any kind.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gives work the one type.
pub fn work<T>(work: impl Future<Output = T> + Send + 'static) -> Work<T> {
    Box::pin(work)
}

/// Starts work in a task of its own.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(self::work(work))
}

/// Does work that others would have to wait long for, where it began: on a thread where none wait. It waits for a place there, but not for
/// long: then all share what the cores can do. What is given up before it has begun is not done.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let place = match PLACES.try_acquire() {
        Ok(place) => Some(place),
        // Never closed.
        Err(_) => timeout(PATIENCE, PLACES.acquire()).await.ok().and_then(Result::ok),
    };
    placed(place, work).await
}

/// Does work on a thread where none wait; its place is kept until it is done, whoever waits for it.
async fn placed<T: Send + 'static>(
    place: Option<SemaphorePermit<'static>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The program is at its end.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Does work that may go on for long after nobody waits for it, on another thread: as much of it at a time as there are cores, and never
/// more. `None` if it was not done by then.
pub async fn lasting<T: Send + 'static>(
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    lasting_in(&LASTING, until, work).await
}

async fn lasting_in<T: Send + 'static>(
    places: &'static Semaphore,
    until: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let place = timeout_at(until, places.acquire()).await.ok()?.ok()?;
    timeout_at(until, placed(Some(place), work)).await.ok()
}

/// Lets nothing begin that is done apart, until it is dropped.
#[cfg(test)]
pub(crate) async fn occupied() -> SemaphorePermit<'static> {
    PLACES.acquire_many(u32::try_from(cores()).unwrap()).await.unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_waited_for_and_not_for_ever() {
        let occupied = occupied().await;
        let mut waiting = Box::pin(apart(|| 1));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(waiting.await, 1);
        drop(occupied);
        assert_eq!(apart(|| 2).await, 2);
    }

    #[tokio::test]
    async fn what_outlasts_its_caller_keeps_its_place_until_it_is_done() {
        // Of its own, as other tests use those of all.
        static PLACES: Semaphore = Semaphore::const_new(2);
        let (say, said) = std::sync::mpsc::channel::<()>();
        let said = std::sync::Arc::new(std::sync::Mutex::new(said));
        let soon = || Instant::now() + Duration::from_millis(20);
        let lasting_until = |until, work: Box<dyn FnOnce() -> i32 + Send>| lasting_in(&PLACES, until, work);
        for _ in 0..2 {
            let said = said.clone();
            let waiting = Box::new(move || i32::from(said.lock().unwrap().recv().is_ok()));
            assert_eq!(lasting_until(soon(), waiting).await, None);
        }
        assert_eq!(lasting_until(soon(), Box::new(|| 1)).await, None, "there was room for one more");
        drop(say);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(lasting_until(later, Box::new(|| 2)).await, Some(2));
    }

    #[tokio::test]
    #[should_panic(expected = "wanted here")]
    async fn a_panic_elsewhere_is_one_here() {
        apart(|| assert_eq!(1, 2, "wanted here")).await;
    }
}
