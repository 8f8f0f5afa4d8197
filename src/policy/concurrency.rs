//! How many calls run at the same time: a number of places, and a queue that ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::Refusal;
use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// As many times the places wait for one.
const QUEUE: usize = 4;
/// So many may wait at least.
const LEAST_QUEUE: usize = 16;

/// Checks a written number of places.
pub fn check(written: Option<Spanned<u32>>, diagnostics: &mut Diagnostics) -> Option<u32> {
    if let Some(zero) = written.filter(|w| w.value == 0) {
        let message = "`concurrency` is zero: nothing could ever run";
        diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
    }
    written.map(|w| w.value)
}

/// Places and their queue.
#[derive(Debug)]
pub struct Concurrency {
    number: u32,
    places: Semaphore,
    /// Who waits now.
    waiting: AtomicUsize,
}

/// One that waits; it leaves the queue also when it is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Concurrency {
    /// With so many places.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let places = Semaphore::new((number as usize).min(Semaphore::MAX_PERMITS));
        Self { number, places, waiting: AtomicUsize::new(0) }
    }

    /// How many places there are.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// How many are in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.number.saturating_sub(u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX))
    }

    /// How many wait for one.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place, which is free again when what is given is dropped. Who came first is first. `limit` is what the wait is told as.
    ///
    /// # Errors
    /// [`Refusal::Crowded`] at once if too many wait already, [`Refusal::Late`] if there was no place until then.
    pub async fn enter(&self, until: Instant, limit: Duration) -> Result<SemaphorePermit<'_>, Refusal> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        // Apart: calls carry nothing of what few of them do.
        Box::pin(self.wait(until, limit)).await
    }

    async fn wait(&self, until: Instant, limit: Duration) -> Result<SemaphorePermit<'_>, Refusal> {
        let queue = (self.number as usize).saturating_mul(QUEUE).max(LEAST_QUEUE);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= queue {
            return Err(Refusal::Crowded);
        }
        match tokio::time::timeout_at(until, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Refusal::Late(limit)),
        }
    }
}

/// A wait with its own limit within a deadline: until when, and how long that is.
#[must_use]
pub fn within(deadline: Instant, limit: Duration) -> (Instant, Duration) {
    let now = Instant::now();
    match now.checked_add(limit).filter(|own| *own <= deadline) {
        Some(own) => (own, limit),
        None => (deadline, deadline.saturating_duration_since(now)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn soon() -> Instant {
        Instant::now() + LIMIT
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_how_long_that_was() {
        let places = Concurrency::new(2);
        let (one, _two) =
            (places.enter(soon(), LIMIT).await.unwrap(), places.enter(soon(), LIMIT).await.unwrap());
        let limit = Duration::from_millis(40);
        assert_eq!(places.enter(Instant::now() + limit, limit).await.unwrap_err(), Refusal::Late(limit));
        drop(one);
        assert!(places.enter(soon(), LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn places_go_to_those_who_wait_in_their_order() {
        let places = Arc::new(Concurrency::new(1));
        let first = places.enter(soon(), LIMIT).await.unwrap();
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..5 {
            let (places, sender) = (places.clone(), sender.clone());
            tokio::spawn(async move {
                let _place = places.enter(soon(), LIMIT).await.unwrap();
                sender.send(number).unwrap();
            });
            tokio::task::yield_now().await;
        }
        drop((first, sender));
        let mut seen = Vec::new();
        while let Some(number) = order.recv().await {
            seen.push(number);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn the_queue_ends_and_those_who_gave_up_no_longer_stand_in_it() {
        let places = Arc::new(Concurrency::new(1));
        let _held = places.enter(soon(), LIMIT).await.unwrap();
        for _round in 0..3 {
            let waiting: Vec<_> = (0..LEAST_QUEUE)
                .map(|_| {
                    let places = places.clone();
                    tokio::spawn(async move { places.enter(soon(), LIMIT).await.map(drop) })
                })
                .collect();
            while places.waiting.load(Ordering::Relaxed) < LEAST_QUEUE {
                tokio::task::yield_now().await;
            }
            assert_eq!(places.enter(soon(), LIMIT).await.unwrap_err(), Refusal::Crowded);
            for one in waiting {
                one.abort();
                assert!(one.await.is_err());
            }
            assert_eq!(places.waiting.load(Ordering::Relaxed), 0);
        }
    }
}
