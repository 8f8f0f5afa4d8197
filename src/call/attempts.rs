//! The attempts of one call: one, or several with pauses between them, within the deadline and as far as the source bears it. The
//! caller reads the last failure of the source itself.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::CallError;
use super::run::Fetch;
use crate::live::Route;
use crate::output::Reply;
use crate::policy::{Health, Refusal, RetryPlan};
use crate::source::{Attempt, Begun, CallKey, SourceError};
use crate::talk::Said;
use crate::telemetry::one_line;
use crate::telemetry::span::{self, About, Onward, OpenSpan};
use crate::units::milliseconds;

/// Why an attempt gave nothing.
enum Failed {
    /// The source was asked.
    Source(SourceError),
    /// It was not, because of the guard of the source.
    Guard(Refusal),
    /// It was not, because the route has no place.
    Places(Refusal),
}

/// What a future gives, if it is done in time. What never waits needs no timer. No `async fn`, and of a future that stands elsewhere: one
/// would hold it twice.
fn within<T>(
    deadline: Instant,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> + Unpin {
    let mut timer = None;
    poll_fn(move |cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        // It counts also where the future has used up what it may do at once.
        let timer = timer.get_or_insert_with(|| Box::pin(unconstrained(sleep_until(deadline))));
        timer.as_mut().poll(cx).map(|()| None)
    })
}

/// Ends the span of a try.
fn ended(mut span: OpenSpan, onward: &Onward, error: Option<&SourceError>) {
    let status = onward.status();
    if let Some(status) = status {
        span.note(span::number("http.response.status_code", status));
    }
    span.end(error.and_then(|error| error.kind(status)));
}

impl Fetch<'_> {
    /// Tries until there is a reply, or no further try makes sense.
    pub async fn tries(&self) -> Result<Reply, CallError> {
        if let (Some(_), Some(guard)) = (self.retry(), &self.route.guard) {
            guard.earn_retries();
        }
        let (mut last, key) = (None, CallKey::default());
        for tried in 1.. {
            let error = match self.once(&key, tried).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::Source(error)) => error,
                // What the source said before is nearer to the cause.
                Err(refused) => return Err(self.told(last.map_or(refused, Failed::Source))),
            };
            let Some(pause) = self.pause(tried, &error) else {
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
    fn pause(&self, tried: u32, error: &SourceError) -> Option<Duration> {
        let (retry, guard) = (self.retry()?, self.route.guard.as_ref()?);
        if !error.passes() {
            return None;
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        retry.pause(tried, error.after(), left).filter(|_| guard.spend_retry())
    }

    /// One attempt. The breaker is asked twice: who would be refused need not wait for a place.
    async fn once(&self, key: &CallKey, tried: u32) -> Result<Reply, Failed> {
        let Route { plan, backend, guard, places, .. } = self.route;
        let timeout = plan.policy.timeout.0;
        if let Some(guard) = guard {
            guard.check().map_err(Failed::Guard)?;
        }
        let _place = match places {
            Some(places) => Some(places.enter(self.deadline, timeout).await.map_err(Failed::Places)?),
            None => None,
        };
        let mut entered = match guard {
            Some(guard) => Some(guard.enter(self.deadline).await.map_err(Failed::Guard)?),
            None => None,
        };
        self.seen.attempt();
        let (onward, span) = self.trace.attempt(|| self.about(tried));
        let started = Instant::now();
        let begun = Begun::default();
        let attempt = Attempt {
            talk: self.talk,
            caller: self.caller,
            key,
            begun: &begun,
            onward: &onward,
            deadline: self.deadline,
            max_rows: plan.output.max_rows,
            max_bytes: plan.output.max_bytes,
        };
        let run = pin!(backend.execute(self.arguments, attempt));
        let mut run = within(self.deadline, run);
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
            None if begun.is_so() => Err(SourceError::Timeout(timeout).begun()),
            None => Err(SourceError::Timeout(timeout)),
            Some(Err(SourceError::Timeout(_))) if Instant::now() >= self.deadline => {
                Err(SourceError::Timeout(timeout))
            }
            Some(result) => result,
        };
        if let Some(span) = span {
            ended(span, &onward, result.as_ref().err());
        }
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

    /// What the span of a try says: of its source, and nothing of what it is asked.
    fn about(&self, tried: u32) -> Option<About> {
        let mut about = self.route.backend.about()?;
        let source = self.route.plan.op.source()?;
        about.attributes.push(span::text("sidegate.source", source.to_owned()));
        if tried > 1 {
            let again = self.route.backend.resent();
            about.attributes.push(span::number(again, tried - 1));
        }
        Some(about)
    }

    /// Says in the log, and to a client that listens, that it goes on.
    async fn announce(&self, tried: u32, pause: Duration, error: &SourceError) {
        let plan = &self.route.plan;
        let (source, ms) = (plan.op.source(), milliseconds(pause));
        let trace = self.trace.id().map(tracing::field::display);
        debug!(request = %self.id, trace, route = %plan.name, source, tried, pause_ms = ms, detail = %one_line(&error.to_string()), "trying again");
        let attempts = self.retry().map_or(tried, |r| r.attempts);
        // Between the stages of the call: the source is waited for, and there is no answer to shape.
        let progress = 1.0 + f64::from(tried) / f64::from(attempts);
        let message = Some(format!("trying again ({} of {attempts})", tried + 1));
        self.reports.say(Said::Progress { progress, total: Some(3.0), message }).await;
    }

    fn retry(&self) -> Option<&RetryPlan> {
        self.route.plan.policy.retry.as_ref()
    }

    fn told(&self, failed: Failed) -> CallError {
        let source = self.route.plan.op.source().unwrap_or("static");
        match failed {
            Failed::Source(error) => CallError::source(error, source, self.route.plan.repeats),
            Failed::Guard(refusal) => CallError::refused(refusal, &format!("The source `{source}`")),
            Failed::Places(refusal) => CallError::refused(refusal, &format!("`{}`", self.route.plan.name)),
        }
    }
}
