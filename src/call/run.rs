//! The path of a call, in its order; the reason stands beside each step.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::cached::{Kept, fetched, kept};
use super::confirm::confirm;
use super::record::Seen;
use super::{CallError, Caller, Origin, Outcome, Record, RequestId};
use crate::live::Route;
use crate::output;
use crate::params::{Arguments, BadArguments};
use crate::policy::PolicyPlan;
use crate::policy::cache::Shelf;
use crate::policy::rate_limit::{Counted, RateLimit};
use crate::talk::Talk;
use crate::tasks::{self, LITTLE};
use crate::telemetry::one_line;
use crate::telemetry::span::Trace;
use crate::units::milliseconds;

/// The arguments of a call as they came.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A JSON object, or nothing.
    Json(Option<&'a RawValue>),
    /// Texts: URI variables, prompt arguments.
    Texts(Vec<(&'a str, &'a str)>),
    /// Already bound, by the prompt that fetches data.
    Bound(&'a Arguments),
}

/// Who calls, and under which id.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// From where; nowhere over stdio.
    pub ip: Option<IpAddr>,
    /// The id in the log and in messages.
    pub id: RequestId,
    /// Where it says how far it is.
    pub talk: Talk,
    /// How it came.
    pub way: Way,
    /// The trace that it is part of.
    pub trace: Trace,
}

/// How a call came.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// `http`, or `local`: over stdio or from the shell.
    pub transport: &'static str,
    /// `modern` or `legacy`.
    pub era: &'static str,
}

/// Runs one call on a route.
///
/// # Errors
/// [`CallError`]; it was logged already.
pub async fn run(route: &Route, input: Input<'_>, call: &Call<'_>) -> Result<Outcome, CallError> {
    let record = Record::begin(&route.meter, &route.audit, call);
    let result = steps(route, input, call, &record.seen).await;
    let ms = milliseconds(record.finish(result.as_ref()));
    let source = route.plan.op.source().unwrap_or("-");
    let (name, id) = (&route.plan.name, call.id);
    let trace = call.trace.id().map(tracing::field::display);
    match &result {
        Ok(_) => debug!(request = %id, trace, route = %name, source, ms, "call done"),
        Err(e) if e.code.origin() == Origin::Caller => {
            debug!(request = %id, trace, route = %name, source, ms, code = e.code.as_str(), "call refused");
        }
        Err(e) => {
            warn!(request = %id, trace, route = %name, source, ms, code = e.code.as_str(), detail = %one_line(&e.detail), "call failed");
        }
    }
    result
}

async fn steps(route: &Route, input: Input<'_>, call: &Call<'_>, seen: &Seen) -> Result<Outcome, CallError> {
    let Call { caller, talk, .. } = call;
    let plan = &*route.plan;
    // What guards each attempt is applied below, where there is one.
    let PolicyPlan { timeout, auth, cache, rate_limit: _, invalidates: _, retry: _, concurrency: _ } =
        &*plan.policy;

    // Authorize first: for whoever may not, nothing is done, told or counted.
    auth.before(caller, &plan.name).map_err(|denied| CallError::denied(&denied))?;

    // Counts what is answered from the cache too: it protects us, not only the source.
    admit(route.limit.as_deref(), call)?;

    // A rehearsal reports for itself.
    let reports = if plan.op.talks() { &Talk::silent() } else { talk };
    reports.stage(0, 3, "started").await;

    // Bind first: nothing below sees an argument that was not checked.
    let bound;
    let arguments = match input {
        Input::Bound(arguments) => arguments,
        Input::Json(raw) => {
            let result = match raw.filter(|raw| raw.get().len() > LITTLE) {
                None => plan.params.bind(raw, caller),
                Some(large) => Box::pin(bound_apart(route, large, caller)).await,
            };
            bound = result.map_err(CallError::arguments)?;
            &bound
        }
        Input::Texts(texts) => {
            bound = plan.params.bind_texts(texts, caller).map_err(CallError::arguments)?;
            &bound
        }
    };

    seen.arguments(&plan.params, arguments);

    // What depends on arguments is decided by those that are used.
    auth.after(caller, &plan.name, || plan.params.named(arguments)).map_err(|d| CallError::denied(&d))?;

    // A person is asked about checked arguments, and before anything runs.
    confirm(plan.confirm.as_ref(), arguments, talk).await?;

    // The deadline bounds everything below. A person who is asked while it runs has their own time.
    let patience = if plan.op.asks() { talk.patience() } else { Duration::ZERO };
    let deadline = Instant::now() + timeout.0 + patience + plan.op.patience();
    let fetch =
        Fetch { route, arguments, caller, talk, reports, deadline, id: call.id, seen, trace: &call.trace };
    // Answers that this call makes wrong are forgotten at its end, whatever that is: also of one that was given up, nobody knows what
    // it has done.
    let mut forgets = Forgets { shelves: &route.invalidates, settled: false, timeout: timeout.0 };
    let outcome = match cache {
        // A hit ends here; those who miss the same answer fetch it once.
        Some(policy) => match kept(policy, &fetch) {
            Kept::Answer(answer) => answer?,
            // Apart, so that calls of other routes carry none of it.
            Kept::Wanted(wanted) => Box::pin(fetched(wanted, policy, fetch)).await?,
        },
        None => fetch.run().await?,
    };
    forgets.settled = true;
    reports.stage(3, 3, "done").await;
    Ok(outcome)
}

/// Binds arguments that take more than a moment where nobody waits for it.
async fn bound_apart(route: &Route, raw: &RawValue, caller: &Caller) -> Result<Arguments, BadArguments> {
    let (plan, raw, caller) = (route.plan.clone(), raw.to_owned(), caller.clone());
    tasks::apart(move || plan.params.bind(Some(&raw), &caller)).await
}

/// Forgets kept answers when it is dropped; where the call was given up, once more when the source must be done with it.
struct Forgets<'a> {
    shelves: &'a [Arc<Shelf>],
    settled: bool,
    timeout: Duration,
}

impl Drop for Forgets<'_> {
    fn drop(&mut self) {
        let forget = |shelves: &[Arc<Shelf>]| shelves.iter().for_each(|shelf| shelf.clear());
        forget(self.shelves);
        if self.settled || self.shelves.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (shelves, timeout) = (self.shelves.to_vec(), self.timeout);
            runtime.spawn(tasks::work(async move {
                tokio::time::sleep(timeout).await;
                forget(&shelves);
            }));
        }
    }
}

/// Counts a call.
///
/// # Errors
/// If it is one too many.
pub fn admit(limit: Option<&RateLimit>, call: &Call<'_>) -> Result<(), CallError> {
    let Some(limit) = limit else { return Ok(()) };
    let caller = match call.caller {
        Caller::Anonymous => None,
        known => Some(known.key()),
    };
    limit.take(Counted { caller, ip: call.ip }).map_err(CallError::rate_limited)
}

/// Everything that fetching one answer needs.
#[derive(Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub route: &'a Route,
    pub arguments: &'a Arguments,
    pub caller: &'a Caller,
    pub talk: &'a Talk,
    /// Where it says how far it is.
    pub reports: &'a Talk,
    pub deadline: Instant,
    pub id: RequestId,
    /// What is kept of the call.
    pub seen: &'a Seen,
    /// The trace that it is part of.
    pub trace: &'a Trace,
}

impl Fetch<'_> {
    /// Asks the source and shapes what it gives.
    pub async fn run(self) -> Result<Outcome, CallError> {
        let (plan, reports) = (&*self.route.plan, self.reports);
        reports.stage(1, 3, "waiting for the source").await;
        // Retries wrap the attempts; each attempt waits for its places and asks the breaker, and then the source.
        let reply = self.tries().await?;

        // Shape last: what leaves is small and says what was left out.
        reports.stage(2, 3, "shaping the answer").await;
        let shaped = output::shape(reply, &plan.output, self.deadline).await;
        shaped.map_err(|error| CallError::shape(&error, plan.op.reads_only()))
    }
}
