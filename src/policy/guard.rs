//! What a source is guarded by, shared by its routes: breaker, places, and the budget of retries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::breaker::{Breaker, BreakerPlan, Health, Leave};
use super::concurrency::{self, Concurrency};
use super::retry::Budget;
use crate::units::Period;

/// What a source is guarded by after compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GuardPlan {
    /// When it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<BreakerPlan>,
    /// How many tries it gets at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// Why something was not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait for a place already.
    Crowded,
    /// There was no place within this time.
    Late(Duration),
    /// The source is left alone for this long.
    Open(Duration),
}

/// The guard of a live source. It lives as long as the source does, over reloads too.
#[derive(Debug)]
pub struct Guard {
    breaker: Option<Breaker>,
    concurrency: Option<Concurrency>,
    budget: Budget,
    /// How long a try waits for its place.
    patience: Duration,
    born: Instant,
    /// What was last seen of the source: nothing if zero, else one more than the seconds since `born`, twice, and one if it was well.
    seen: AtomicU64,
}

/// A try that was let through.
#[derive(Debug)]
pub struct Entered<'a> {
    guard: &'a Guard,
    leave: Option<Leave<'a>>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Guard {
    /// The guard of the named source, whose tries take `patience` at most.
    #[must_use]
    pub fn new(source: &str, plan: &GuardPlan, patience: Period) -> Self {
        Self {
            breaker: plan.circuit_breaker.map(|plan| Breaker::new(source, plan)),
            concurrency: plan.concurrency.map(Concurrency::new),
            budget: Budget::default(),
            patience: patience.0,
            born: Instant::now(),
            seen: AtomicU64::new(0),
        }
    }

    /// The state of its breaker as a word.
    #[must_use]
    pub fn breaker(&self) -> Option<&'static str> {
        self.breaker.as_ref().map(Breaker::state_name)
    }

    /// Its places, and those in use.
    #[must_use]
    pub fn places(&self) -> Option<(u32, u32)> {
        self.concurrency.as_ref().map(|places| (places.number(), places.used()))
    }

    /// How many wait for a place.
    #[must_use]
    pub fn waiting(&self) -> Option<usize> {
        self.concurrency.as_ref().map(Concurrency::waiting)
    }

    /// Notes that the source answered, or did not.
    pub fn note(&self, well: bool) {
        let age = self.born.elapsed().as_secs().saturating_add(1);
        self.seen.store(age << 1 | u64::from(well), Ordering::Relaxed);
    }

    /// Whether it answered when somebody last asked it, and how long ago that was, in whole seconds.
    #[must_use]
    pub fn seen(&self) -> Option<(bool, u64)> {
        let seen = self.seen.load(Ordering::Relaxed);
        let at = (seen >> 1).checked_sub(1)?;
        Some((seen & 1 == 1, self.born.elapsed().as_secs().saturating_sub(at)))
    }

    /// Whether the source is not left alone now.
    ///
    /// # Errors
    /// [`Refusal::Open`].
    pub fn check(&self) -> Result<(), Refusal> {
        self.breaker.as_ref().map_or(Ok(()), |breaker| breaker.check(Instant::now()))
    }

    /// Lets a try through, after it had to wait for its place.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub async fn enter(&self, deadline: Instant) -> Result<Entered<'_>, Refusal> {
        let place = match &self.concurrency {
            Some(places) => {
                let (until, limit) = concurrency::within(deadline, self.patience);
                Some(places.enter(until, limit).await?)
            }
            None => None,
        };
        // After the wait: the source may have been given up meanwhile.
        let leave = self.breaker.as_ref().map(|breaker| breaker.admit(Instant::now())).transpose()?;
        Ok(Entered { guard: self, leave, _place: place })
    }

    /// Counts a call that may be tried again.
    pub fn earn_retries(&self) {
        self.budget.earn(Instant::now());
    }

    /// Takes a retry, if the source bears one.
    #[must_use]
    pub fn spend_retry(&self) -> bool {
        self.check().is_ok() && self.budget.spend(Instant::now())
    }
}

impl Entered<'_> {
    /// Says what came of the try.
    pub fn report(self, health: Health) {
        match health {
            Health::Well => self.guard.note(true),
            Health::Ill => self.guard.note(false),
            Health::Unknown => {}
        }
        if let Some(leave) = self.leave {
            leave.report(health, Instant::now());
        }
    }
}
