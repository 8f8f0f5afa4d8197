//! Trying again: how often, after which pause, and how much of it a source bears. Pauses are drawn from the whole of an interval that
//! doubles (full jitter), so that callers that failed together do not come back together.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Period;

/// More tries than this help nobody who waits for an answer.
const MOST: u32 = 10;

/// Trying again what failed for the moment: a source that cannot be reached, an answer that breaks off or does not come in time, the
/// statuses 408, 425, 429, 502, 503, 504. For operations that can be repeated without harm: reads, PUT, DELETE, and POST or PATCH
/// with an `idempotency_key`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retry")]
pub struct RetryConfig {
    /// How often it is tried in all, at most 10; 1 is once. Default 3.
    pub attempts: Option<Spanned<u32>>,
    /// The pause before the second try is drawn from zero to this; each further one from twice as much. Default `100ms`.
    pub backoff: Option<Spanned<Period>>,
    /// The most that a pause is drawn from. Default `5s`. A `Retry-After` of the source may ask for more.
    pub max_backoff: Option<Spanned<Period>>,
}

/// `retry:` with every default in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RetryPlan {
    /// All tries, the first included; two or more.
    pub attempts: u32,
    /// What the first pause is drawn from.
    pub backoff: Period,
    /// What no pause is drawn beyond.
    pub max_backoff: Period,
}

impl RetryConfig {
    /// Compiles, taking what is not written from `defaults`. `None` for a single try.
    pub fn compile(&self, defaults: Option<&Self>, diagnostics: &mut Diagnostics) -> Option<RetryPlan> {
        let attempts = self.attempts.or_else(|| defaults?.attempts);
        let backoff = self.backoff.or_else(|| defaults?.backoff);
        let max_backoff = self.max_backoff.or_else(|| defaults?.max_backoff);
        if let Some(none) = attempts.filter(|a| a.value == 0) {
            let message = "`attempts` counts every try, the first too: with none nothing could ever succeed";
            let help = "write 1 to try once";
            diagnostics.push(Diagnostic::error("too-small", message).at(none.span, "").help(help));
        }
        if let Some(many) = attempts.filter(|a| a.value > MOST) {
            let message = format!("`attempts` is at most {MOST}");
            let help =
                "somebody waits for the answer, and a source that is down gets well by being left alone";
            diagnostics.push(Diagnostic::error("too-many", message).at(many.span, "").help(help));
        }
        let plan = RetryPlan {
            attempts: attempts.map_or(3, |a| a.value),
            backoff: backoff.map_or(Period(Duration::from_millis(100)), |b| b.value),
            max_backoff: max_backoff.map_or(Period::seconds(5), |b| b.value),
        };
        (plan.attempts > 1).then_some(plan)
    }
}

impl RetryPlan {
    /// The pause after the try of this number (the first is 1), if another one fits into what is `left` of the call. `after` is how
    /// long the source itself wants to be left alone.
    #[must_use]
    pub fn pause(&self, tried: u32, after: Option<Duration>, left: Duration) -> Option<Duration> {
        let doubled = 2_u32.saturating_pow(tried.saturating_sub(1));
        let most = self.backoff.0.saturating_mul(doubled).min(self.max_backoff.0);
        let drawn = most.mul_f64(fastrand::f64());
        let pause = match after {
            // Not before it said; those who were told the same moment come one after the other where there is time.
            Some(after) => Some(after.saturating_add(drawn)).filter(|p| *p < left).unwrap_or(after),
            None => drawn,
        };
        (pause < left && tried < self.attempts).then_some(pause)
    }
}

/// What one call in this many may add as a retry.
const CALLS_PER_RETRY: usize = 5;
/// Retries that are always there, so that a source with few calls has some.
const FLOOR: usize = 10;
/// The window in which both are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// The window moves in steps of this.
const STEP: Duration = Duration::from_millis(500);

/// How many retries a source bears: within ten seconds one for five calls, and ten more. A source that is down is not buried under the
/// calls of those who do not give up.
#[derive(Debug, Default)]
pub struct Budget(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// Since when, how many calls, how many retries; the newest last.
    steps: VecDeque<(Instant, usize, usize)>,
}

impl Budget {
    /// Counts a call that may be tried again.
    pub fn earn(&self, now: Instant) {
        self.with(now, |window| {
            if let Some((_, calls, _)) = window.steps.back_mut() {
                *calls += 1;
            }
        });
    }

    /// Takes a retry, if there is one.
    #[must_use]
    pub fn spend(&self, now: Instant) -> bool {
        self.with(now, |window| {
            let (calls, retries) =
                window.steps.iter().fold((0, 0), |(c, r), (_, calls, retries)| (c + calls, r + retries));
            let free = retries < calls / CALLS_PER_RETRY + FLOOR;
            if let Some((_, _, retries)) = window.steps.back_mut().filter(|_| free) {
                *retries += 1;
            }
            free
        })
    }

    fn with<T>(&self, now: Instant, work: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while window.steps.front().is_some_and(|(since, ..)| now.duration_since(*since) >= WINDOW) {
            window.steps.pop_front();
        }
        if window.steps.back().is_none_or(|(since, ..)| now.duration_since(*since) >= STEP) {
            window.steps.push_back((now, 0, 0));
        }
        work(&mut window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: RetryPlan = RetryPlan {
        attempts: 5,
        backoff: Period(Duration::from_millis(100)),
        max_backoff: Period(Duration::from_millis(300)),
    };
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_are_drawn_from_the_whole_of_an_interval_that_doubles_up_to_its_cap() {
        for (tried, most) in [(1, 100), (2, 200), (3, 300), (4, 300)] {
            let drawn: Vec<u128> =
                (0..2000).map(|_| PLAN.pause(tried, None, LONG).unwrap().as_millis()).collect();
            assert!(drawn.iter().all(|ms| *ms <= most), "{tried}");
            assert!(drawn.iter().any(|ms| *ms < most / 10), "{tried}: nothing near zero");
            assert!(drawn.iter().any(|ms| *ms > most * 9 / 10), "{tried}: nothing near {most}");
        }
    }

    #[test]
    fn there_is_no_pause_after_the_last_try_or_where_no_try_could_follow() {
        assert_eq!(PLAN.pause(5, None, LONG), None);
        assert_eq!(PLAN.pause(1, None, Duration::ZERO), None);
        let second = Duration::from_secs(1);
        assert_eq!(PLAN.pause(1, Some(LONG), second), None);
        assert_eq!(PLAN.pause(1, Some(second), second), None);
        assert_eq!(PLAN.pause(1, Some(Duration::MAX), LONG), None);
    }

    #[test]
    fn the_source_is_left_alone_for_as_long_as_it_says() {
        let second = Duration::from_secs(1);
        for _ in 0..200 {
            let pause = PLAN.pause(1, Some(second), LONG).unwrap();
            assert!(pause >= second && pause <= second + Duration::from_millis(100), "{pause:?}");
            let tight = PLAN.pause(1, Some(second), second + Duration::from_millis(1)).unwrap();
            assert!(tight >= second && tight < second + Duration::from_millis(1), "{tight:?}");
        }
    }

    #[test]
    fn doubling_does_not_overflow() {
        let plan = RetryPlan { attempts: u32::MAX, max_backoff: Period(Duration::MAX), ..PLAN };
        for tried in [31, 32, 33, 1000, u32::MAX - 1] {
            let _ = plan.pause(tried, Some(Duration::MAX), Duration::MAX);
            assert!(plan.pause(tried, None, Duration::ZERO).is_none());
        }
    }

    #[test]
    fn a_source_bears_one_retry_for_five_calls_and_ten_more() {
        let (budget, start) = (Budget::default(), Instant::now());
        let taken = |at| (0..1000).filter(|_| budget.spend(at)).count();
        assert_eq!(taken(start), 10);
        (0..100).for_each(|_| budget.earn(start));
        assert_eq!(taken(start), 20);
        assert_eq!(taken(start + WINDOW - Duration::from_secs(1)), 0);
        assert_eq!(taken(start + WINDOW), 10);
    }

    #[test]
    fn under_a_steady_load_a_fifth_of_the_calls_is_tried_again_and_the_window_stays_small() {
        let (budget, start) = (Budget::default(), Instant::now());
        let at = |n: u32| start + Duration::from_millis(10) * n;
        let mut retries = 0;
        for n in 0..6000 {
            budget.earn(at(n));
            retries += usize::from(budget.spend(at(n)));
        }
        // A minute of a hundred calls a second: a fifth, and ten for each window.
        assert!((1150..=1300).contains(&retries), "{retries}");
        assert!(budget.0.lock().unwrap().steps.len() <= 21);
    }
}
