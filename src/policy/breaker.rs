//! Leaving a source alone that fails: closed lets everything through, open refuses at once, half open lets one probe through. A
//! success closes it, and before that starts the count of failures anew.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use super::Refusal;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Period;

/// What those are told who come while the probe is out.
const PROBING: Duration = Duration::from_secs(1);
/// More failures than this are not waited for.
const MOST: u32 = 1000;

/// Leaves a source alone that fails, so that calls are refused at once instead of waiting for it. What counts: it cannot be reached,
/// does not answer in time, breaks off, answers with something unusable or with 500 to 599.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CircuitBreaker")]
pub struct BreakerConfig {
    /// It opens after this many failures without a success between them, at most 1000. Default 5.
    pub failures: Option<Spanned<u32>>,
    /// The time in which they have to come. Default `30s`.
    pub within: Option<Spanned<Period>>,
    /// How long it stays open. Then one call is let through: if that succeeds it closes, else it stays open as long again. Default `15s`.
    pub open_for: Option<Spanned<Period>>,
}

/// `circuit_breaker:` with every default in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BreakerPlan {
    /// So many failures open it.
    pub failures: u32,
    /// In so much time.
    pub within: Period,
    /// For so long.
    pub open_for: Period,
}

impl BreakerConfig {
    /// Compiles.
    pub fn compile(&self, diagnostics: &mut Diagnostics) -> BreakerPlan {
        if let Some(zero) = self.failures.filter(|f| f.value == 0) {
            let message = "`failures` is zero: nothing could ever be sent";
            diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
        }
        if let Some(many) = self.failures.filter(|f| f.value > MOST) {
            let message = format!("`failures` is at most {MOST}");
            diagnostics.push(Diagnostic::error("too-many", message).at(many.span, ""));
        }
        for (key, written) in [("within", self.within), ("open_for", self.open_for)] {
            if let Some(zero) = written.filter(|w| w.value.0.is_zero()) {
                let message = format!("`{key}` is zero: the breaker could never do anything");
                diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
            }
        }
        BreakerPlan {
            failures: self.failures.map_or(5, |f| f.value),
            within: self.within.map_or(Period::seconds(30), |w| w.value),
            open_for: self.open_for.map_or(Period::seconds(15), |o| o.value),
        }
    }
}

/// What a try said of the health of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered, whatever it said.
    Well,
    /// It failed.
    Ill,
    /// Nothing: it was not asked.
    Unknown,
}

/// A breaker in use.
#[derive(Debug)]
pub struct Breaker {
    source: String,
    plan: BreakerPlan,
    /// Closed without a failure: a success has nothing to do.
    calm: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// When the failures came, the oldest first.
    Closed(VecDeque<Instant>),
    /// Until then.
    Open(Instant),
    /// A probe is out; it was open until then.
    HalfOpen(Instant),
}

/// Leave for one try. What comes of it is reported; a try that is cancelled says nothing.
#[derive(Debug)]
pub struct Leave<'a> {
    breaker: &'a Breaker,
    /// It is the one probe.
    probe: bool,
}

impl Breaker {
    /// A closed one for the named source.
    #[must_use]
    pub fn new(source: &str, plan: BreakerPlan) -> Self {
        let state = Mutex::new(State::Closed(VecDeque::new()));
        Self { source: source.to_owned(), plan, calm: AtomicBool::new(true), state }
    }

    /// Whether a try would be let through now.
    ///
    /// # Errors
    /// [`Refusal::Open`] with the time until it is worth trying.
    pub fn check(&self, now: Instant) -> Result<(), Refusal> {
        if self.calm.load(Ordering::Acquire) {
            return Ok(());
        }
        match &*self.state() {
            State::Open(until) if *until > now => Err(Refusal::Open(until.duration_since(now))),
            State::HalfOpen(_) => Err(Refusal::Open(PROBING)),
            State::Open(_) | State::Closed(_) => Ok(()),
        }
    }

    /// `closed`, `open` or `half_open`.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &*self.state() {
            State::Closed(_) => "closed",
            State::Open(_) => "open",
            State::HalfOpen(_) => "half_open",
        }
    }

    /// Asks for leave to try.
    ///
    /// # Errors
    /// [`Refusal::Open`] with the time until it is worth trying again.
    pub fn admit(&self, now: Instant) -> Result<Leave<'_>, Refusal> {
        if self.calm.load(Ordering::Acquire) {
            return Ok(Leave { breaker: self, probe: false });
        }
        let mut state = self.state();
        match &*state {
            State::Closed(_) => Ok(Leave { breaker: self, probe: false }),
            State::Open(until) if *until > now => Err(Refusal::Open(until.duration_since(now))),
            State::HalfOpen(_) => Err(Refusal::Open(PROBING)),
            State::Open(until) => {
                *state = State::HalfOpen(*until);
                drop(state);
                info!(source = %self.source, "circuit breaker half open: one call is let through");
                Ok(Leave { breaker: self, probe: true })
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeeded(&self, probe: bool) {
        if self.calm.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        match &mut *state {
            State::Closed(failures) => failures.clear(),
            State::HalfOpen(_) if probe => *state = State::Closed(VecDeque::new()),
            // One that was sent before it opened.
            State::HalfOpen(_) | State::Open(_) => return,
        }
        self.calm.store(true, Ordering::Release);
        drop(state);
        if probe {
            info!(source = %self.source, "circuit breaker closed: the source answers again");
        }
    }

    fn failed(&self, probe: bool, now: Instant) {
        let mut state = self.state();
        match &mut *state {
            State::Closed(failures) => {
                self.calm.store(false, Ordering::Release);
                while failures.front().is_some_and(|at| now.duration_since(*at) > self.plan.within.0) {
                    failures.pop_front();
                }
                failures.push_back(now);
                if failures.len() < self.plan.failures as usize {
                    return;
                }
            }
            State::HalfOpen(_) if probe => {}
            State::HalfOpen(_) | State::Open(_) => return,
        }
        *state = State::Open(now + self.plan.open_for.0);
        drop(state);
        let open_for = self.plan.open_for;
        if probe {
            warn!(source = %self.source, %open_for, "circuit breaker stays open: the source still fails");
        } else {
            let failures = self.plan.failures;
            warn!(source = %self.source, failures, %open_for, "circuit breaker opened: the source is left alone");
        }
    }

    /// The next one may probe at once.
    fn forget_probe(&self) {
        let mut state = self.state();
        if let State::HalfOpen(until) = *state {
            *state = State::Open(until);
        }
    }
}

impl Leave<'_> {
    /// Says what came of the try.
    pub fn report(mut self, health: Health, now: Instant) {
        match health {
            Health::Well => self.breaker.succeeded(self.probe),
            Health::Ill => self.breaker.failed(self.probe, now),
            Health::Unknown => return,
        }
        self.probe = false;
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.probe {
            self.breaker.forget_probe();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: BreakerPlan =
        BreakerPlan { failures: 3, within: Period::seconds(30), open_for: Period::seconds(15) };

    /// A breaker and a clock that is moved by hand.
    struct Clocked {
        breaker: Breaker,
        now: Instant,
    }

    impl Clocked {
        fn closed() -> Self {
            Self { breaker: Breaker::new("api", PLAN), now: Instant::now() }
        }

        fn opened() -> Self {
            let clocked = Self::closed();
            (0..3).for_each(|_| clocked.attempt(Health::Ill).unwrap());
            clocked
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn check(&self) -> Result<(), Refusal> {
            self.breaker.check(self.now)
        }

        fn admit(&self) -> Result<Leave<'_>, Refusal> {
            self.breaker.admit(self.now)
        }

        fn attempt(&self, health: Health) -> Result<(), Refusal> {
            self.admit().map(|leave| leave.report(health, self.now))
        }
    }

    fn refused(seconds: u64) -> Result<(), Refusal> {
        Err(Refusal::Open(Duration::from_secs(seconds)))
    }

    #[test]
    fn it_opens_after_the_failures_and_says_how_long_it_stays_so() {
        let mut api = Clocked::opened();
        assert_eq!(api.attempt(Health::Well), refused(15));
        api.pass(10);
        assert_eq!(api.check(), refused(5));
        assert_eq!(api.attempt(Health::Well), refused(5));
        api.pass(5);
        assert_eq!(api.check(), Ok(()));
    }

    #[test]
    fn a_success_or_time_between_failures_keeps_it_closed() {
        let mut api = Clocked::closed();
        for _ in 0..10 {
            api.attempt(Health::Ill).unwrap();
            api.attempt(Health::Ill).unwrap();
            api.attempt(Health::Well).unwrap();
        }
        for _ in 0..10 {
            api.attempt(Health::Ill).unwrap();
            api.pass(16);
        }
        assert_eq!(api.check(), Ok(()));
    }

    #[test]
    fn what_was_not_asked_or_was_cancelled_counts_for_nothing() {
        let api = Clocked::closed();
        for _ in 0..10 {
            api.attempt(Health::Unknown).unwrap();
            drop(api.admit().unwrap());
        }
        assert_eq!(api.check(), Ok(()));
    }

    #[test]
    fn half_open_it_lets_exactly_one_through() {
        let mut api = Clocked::opened();
        api.pass(15);
        let probe = api.admit().unwrap();
        assert_eq!(api.check(), refused(1));
        for _ in 0..10 {
            assert_eq!(api.attempt(Health::Well), refused(1));
        }
        probe.report(Health::Well, api.now);
        assert_eq!(api.attempt(Health::Ill), Ok(()));
        assert_eq!(api.attempt(Health::Ill), Ok(()), "the count began anew");
        assert_eq!(api.check(), Ok(()));
    }

    #[test]
    fn a_probe_that_fails_keeps_it_open_as_long_again() {
        let mut api = Clocked::opened();
        api.pass(20);
        assert_eq!(api.attempt(Health::Ill), Ok(()));
        assert_eq!(api.attempt(Health::Well), refused(15));
    }

    #[test]
    fn a_probe_that_is_cancelled_or_says_nothing_leaves_the_next_one_its_turn() {
        let mut api = Clocked::opened();
        api.pass(15);
        for _ in 0..3 {
            drop(api.admit().unwrap());
            api.attempt(Health::Unknown).unwrap();
        }
        api.attempt(Health::Well).unwrap();
        assert_eq!(api.check(), Ok(()));
    }

    #[test]
    fn tries_from_before_it_opened_change_nothing_when_they_end() {
        let api = Clocked::closed();
        let start = api.now;
        let leave = || api.breaker.admit(start).unwrap();
        let (well, ill, late_well, late_ill) = (leave(), leave(), leave(), leave());
        let report =
            |leave: Leave<'_>, health, after| leave.report(health, start + Duration::from_secs(after));
        (0..3).for_each(|_| api.attempt(Health::Ill).unwrap());
        report(well, Health::Well, 5);
        report(ill, Health::Ill, 5);
        assert_eq!(api.breaker.check(start + Duration::from_secs(5)), refused(10));
        let probe = api.breaker.admit(start + Duration::from_secs(15)).unwrap();
        report(late_well, Health::Well, 15);
        report(late_ill, Health::Ill, 15);
        assert_eq!(api.breaker.check(start + Duration::from_secs(15)), refused(1));
        report(probe, Health::Well, 16);
        assert_eq!(api.breaker.check(start + Duration::from_secs(16)), Ok(()));
    }
}
