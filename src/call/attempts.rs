//! The attempts of one call: one, or several with pauses between them, within the deadline and as far as the source bears it. The
//! caller reads the last failure of the source itself.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::record::Seen;
use super::{CallError, RequestId};
use crate::live::Route;
use crate::output::Reply;
use crate::params::Arguments;
use crate::policy::{Health, Refusal, RetryPlan};
use crate::source::{Attempt, Begun, SourceError};
use crate::talk::{Said, Talk};
use crate::telemetry::one_line;

/// What the attempts of a call have in common.
pub(super) struct Tries<'a> {
    pub route: &'a Route,
    /// The time of the whole call, as its caller reads it.
    pub timeout: Duration,
    pub retry: Option<&'a RetryPlan>,
    pub reports: &'a Talk,
    pub id: RequestId,
    pub seen: &'a Seen,
}

/// Why an attempt gave nothing.
enum Failed {
    /// The source was asked.
    Source(SourceError),
    /// It was not, because of the guard of the source.
    Guard(Refusal),
    /// It was not, because the route has no place.
    Places(Refusal),
}

impl Tries<'_> {
    /// Tries until there is a reply, or no further try makes sense.
    pub async fn run(&self, arguments: &Arguments, attempt: Attempt<'_>) -> Result<Reply, CallError> {
        if let (Some(_), Some(guard)) = (self.retry, &self.route.guard) {
            guard.earn_retries();
        }
        let mut last = None;
        for tried in 1.. {
            let error = match self.once(arguments, attempt).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::Source(error)) => error,
                // What the source said before is nearer to the cause.
                Err(refused) => return Err(self.told(last.map_or(refused, Failed::Source))),
            };
            let Some(pause) = self.pause(tried, &error, attempt.deadline) else {
                return Err(self.told(Failed::Source(error)));
            };
            if let Some(source) = &self.route.meter.source {
                source.retries.inc();
            }
            self.announce(tried, pause, &error).await;
            last = Some(error);
            sleep(pause).await;
        }
        Err(CallError::internal("the attempts ended without a result"))
    }

    /// The pause before the next try, if there is to be one.
    fn pause(&self, tried: u32, error: &SourceError, deadline: Instant) -> Option<Duration> {
        let (retry, guard) = (self.retry?, self.route.guard.as_ref()?);
        if !error.passes() {
            return None;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        retry.pause(tried, error.after(), left).filter(|_| guard.spend_retry())
    }

    /// One attempt. The breaker is asked twice: who would be refused need not wait for a place.
    async fn once(&self, arguments: &Arguments, attempt: Attempt<'_>) -> Result<Reply, Failed> {
        let Route { backend, guard, places, .. } = self.route;
        if let Some(guard) = guard {
            guard.check().map_err(Failed::Guard)?;
        }
        let _place = match places {
            Some(places) => Some(places.enter(attempt.deadline, self.timeout).await.map_err(Failed::Places)?),
            None => None,
        };
        let mut entered = match guard {
            Some(guard) => Some(guard.enter(attempt.deadline).await.map_err(Failed::Guard)?),
            None => None,
        };
        self.seen.attempt();
        let started = Instant::now();
        let begun = Begun::default();
        let attempt = Attempt { begun: &begun, ..attempt };
        let mut run = pin!(timeout_at(attempt.deadline, backend.execute(arguments, attempt)));
        let result = tokio::select! {
            biased;
            result = &mut run => result,
            () = begun.told() => {
                // It has answered, and what it now does by itself takes no place of those who ask it.
                if let Some(entered) = entered.take() {
                    entered.report(Health::Well);
                }
                run.await
            }
        };
        let result = match result {
            // A source that was given what was left of the time names that; the caller knows the whole.
            Err(_) if begun.is_so() => Err(SourceError::Timeout(self.timeout).begun()),
            Err(_) => Err(SourceError::Timeout(self.timeout)),
            Ok(Err(SourceError::Timeout(_))) if Instant::now() >= attempt.deadline => {
                Err(SourceError::Timeout(self.timeout))
            }
            Ok(result) => result,
        };
        let health = result.as_ref().map_or_else(SourceError::health, |_| Health::Well);
        if let Some(source) = &self.route.meter.source {
            source.seconds.observe(started.elapsed().as_secs_f64());
            if health == Health::Ill {
                source.failures.inc();
            }
        }
        if let Some(entered) = entered {
            entered.report(health);
        }
        result.map_err(Failed::Source)
    }

    /// Says in the log, and to a client that listens, that it goes on.
    async fn announce(&self, tried: u32, pause: Duration, error: &SourceError) {
        let plan = &self.route.plan;
        let (source, ms) = (plan.op.source(), u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        debug!(request = %self.id, route = %plan.name, source, tried, pause_ms = ms, detail = %one_line(&error.to_string()), "trying again");
        let attempts = self.retry.map_or(tried, |r| r.attempts);
        // Between the stages of the call: the source is waited for, and there is no answer to shape.
        let progress = 1.0 + f64::from(tried) / f64::from(attempts);
        let message = Some(format!("trying again ({} of {attempts})", tried + 1));
        self.reports.say(Said::Progress { progress, total: Some(3.0), message }).await;
    }

    fn told(&self, failed: Failed) -> CallError {
        let source = self.route.plan.op.source().unwrap_or("static");
        match failed {
            Failed::Source(error) => CallError::source(error, source),
            Failed::Guard(refusal) => CallError::refused(refusal, &format!("The source `{source}`")),
            Failed::Places(refusal) => CallError::refused(refusal, &format!("`{}`", self.route.plan.name)),
        }
    }
}
