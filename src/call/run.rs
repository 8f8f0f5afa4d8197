//! The path of a call, in its order; the reason stands beside each step.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::confirm::confirm;
use super::{CallError, Caller, Origin, Outcome, RequestId};
use crate::live::Route;
use crate::output;
use crate::params::Arguments;
use crate::policy::PolicyPlan;
use crate::source::{Attempt, SourceError};
use crate::talk::Talk;
use crate::telemetry::one_line;

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
    /// The id in the log and in messages.
    pub id: RequestId,
    /// Where it says how far it is.
    pub talk: Talk,
}

/// Runs one call on a route.
///
/// # Errors
/// [`CallError`]; it was logged already.
pub async fn run(route: &Route, input: Input<'_>, call: &Call<'_>) -> Result<Outcome, CallError> {
    let started = Instant::now();
    let result = steps(route, input, call).await;
    let source = route.plan.op.source().unwrap_or("-");
    let (name, id, ms) =
        (&route.plan.name, call.id, u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
    match &result {
        Ok(_) => debug!(request = %id, route = %name, source, ms, "call done"),
        Err(e) if e.code.origin() == Origin::Caller => {
            debug!(request = %id, route = %name, source, ms, code = e.code.as_str(), "call refused");
        }
        Err(e) => {
            warn!(request = %id, route = %name, source, ms, code = e.code.as_str(), detail = %one_line(&e.detail), "call failed");
        }
    }
    result
}

async fn steps(route: &Route, input: Input<'_>, call: &Call<'_>) -> Result<Outcome, CallError> {
    let Call { caller, talk, .. } = call;
    let plan = &*route.plan;
    // A rehearsal reports for itself.
    let reports = if plan.op.talks() { &Talk::silent() } else { talk };
    reports.stage(0, 3, "started").await;

    let PolicyPlan { timeout } = &plan.policy;
    let source = plan.op.source().unwrap_or("static");

    // Bind first: nothing below sees an argument that was not checked.
    let bound;
    let arguments = match input {
        Input::Bound(arguments) => arguments,
        Input::Json(raw) => {
            bound = plan.params.bind(raw, caller).map_err(CallError::arguments)?;
            &bound
        }
        Input::Texts(texts) => {
            bound = plan.params.bind_texts(texts, caller).map_err(CallError::arguments)?;
            &bound
        }
    };

    // A person is asked about checked arguments, and before anything runs.
    confirm(plan.confirm.as_ref(), arguments, talk).await?;

    reports.stage(1, 3, "waiting for the source").await;

    // The deadline bounds everything below. A person who is asked while it runs has their own time.
    let patience = if plan.op.asks() { talk.patience() } else { Duration::ZERO };
    let attempt = Attempt {
        talk,
        caller,
        deadline: Instant::now() + timeout.0 + patience + plan.op.patience(),
        max_rows: plan.output.max_rows,
        max_bytes: plan.output.max_bytes,
    };
    let execute = route.backend.execute(arguments, attempt);
    let reply = match tokio::time::timeout_at(attempt.deadline, execute).await {
        Ok(Ok(reply)) => reply,
        // A source that was given what was left of the time names that; the caller knows the whole.
        Ok(Err(SourceError::Timeout(_))) if Instant::now() >= attempt.deadline => {
            return Err(CallError::source(SourceError::Timeout(timeout.0), source));
        }
        Ok(Err(error)) => return Err(CallError::source(error, source)),
        Err(_) => return Err(CallError::source(SourceError::Timeout(timeout.0), source)),
    };

    // Shape last: what leaves is small and says what was left out.
    reports.stage(2, 3, "shaping the answer").await;
    let outcome = output::shape(reply, &plan.output, attempt.deadline).await.map_err(CallError::shape)?;
    reports.stage(3, 3, "done").await;
    Ok(outcome)
}
