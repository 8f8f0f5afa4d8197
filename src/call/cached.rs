//! Answers that are given again: from the cache where there is a good one, else fetched once for all who want the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::record::Seen;
use super::run::Fetch;
use super::{CallError, Code, Outcome};
use crate::output::{CacheState, Cached};
use crate::policy::cache::{Answer, CachePlan, Failed, Found, Key};
use crate::policy::flight::Turn;
use crate::source::SourceError;
use crate::talk::Talk;
use crate::telemetry::span::Trace;

/// What is kept for a call.
pub(super) enum Kept {
    /// Its answer.
    Answer(Result<Outcome, CallError>),
    /// Nothing, or nothing good.
    Wanted(Wanted),
}

/// An answer that has to be fetched.
pub(super) struct Wanted {
    key: Key,
    /// What was good a while ago, and how old it is.
    spare: Option<(Answer, Duration)>,
}

/// Looks for the answer of a route that keeps them. No `async fn`: most calls of such a route end here, and carry nothing of what fetches.
pub(super) fn kept(policy: &CachePlan, fetch: &Fetch<'_>) -> Kept {
    let route = fetch.route;
    let key = route.shelf.key(policy, fetch.arguments, fetch.caller);
    match route.cache.find(&key, policy) {
        Found::Hit(answer, age) => Kept::Answer(give(answer, CacheState::Hit, age)),
        Found::Stale(answer, age) => {
            refresh(&key, fetch);
            Kept::Answer(give(answer, CacheState::Stale, age))
        }
        Found::Spare(answer, age) => Kept::Wanted(Wanted { key, spare: Some((answer, age)) }),
        Found::Miss => Kept::Wanted(Wanted { key, spare: None }),
    }
}

/// Fetches an answer that is wanted, once for all who want the same.
pub(super) async fn fetched(
    Wanted { key, spare }: Wanted,
    policy: &CachePlan,
    fetch: Fetch<'_>,
) -> Result<Outcome, CallError> {
    match (fetch_once(&key, policy, fetch).await, spare) {
        // What was good a while ago is better than nothing.
        (Err(error), Some((answer, age))) if error.ill => {
            debug!(route = %fetch.route.plan.name, code = error.code.as_str(), "an older answer stands in");
            give(answer, CacheState::Stale, age)
        }
        (result, _) => result,
    }
}

/// Fetches an answer, or waits for somebody who does already.
async fn fetch_once(key: &Key, policy: &CachePlan, fetch: Fetch<'_>) -> Result<Outcome, CallError> {
    let cache = &fetch.route.cache;
    loop {
        match cache.join(key) {
            Turn::Lead(lead) => {
                // Somebody else was done between the look into the cache and now.
                if let Found::Hit(answer, age) = cache.find(key, policy) {
                    lead.tell(Ok(answer.clone()));
                    return give(answer, CacheState::Hit, age);
                }
                let result = fetch_and_keep(key, policy, fetch).await;
                let late = Instant::now() >= fetch.deadline;
                lead.tell(result.clone().map_err(|error| Failed { late, ..error.share() }));
                return give(result?, CacheState::Miss, Duration::ZERO);
            }
            Turn::Follow(follow) => match timeout_at(fetch.deadline, follow.wait()).await {
                Ok(Some(Ok(answer))) => return give(answer, CacheState::Miss, Duration::ZERO),
                // Its time was over before ours is.
                Ok(Some(Err(failed))) if failed.late => {}
                Ok(Some(Err(failed))) => return Err(CallError::shared(failed)),
                // Whoever fetched it has gone away.
                Ok(None) => {}
                Err(_) => {
                    let source = fetch.route.plan.op.source().unwrap_or("static");
                    let limit = fetch.route.plan.policy.timeout.0;
                    return Err(CallError::source(SourceError::Timeout(limit), source, true));
                }
            },
        }
    }
}

/// Fetches an answer and keeps it, if it is one to keep.
async fn fetch_and_keep(key: &Key, policy: &CachePlan, fetch: Fetch<'_>) -> Result<Answer, CallError> {
    let answer = match fetch.run().await {
        Ok(outcome) => Answer::Found(Arc::new(outcome)),
        Err(error) if error.code == Code::NotFound => Answer::Missing(error.message),
        Err(error) => return Err(error),
    };
    // A failure in words is told and forgotten, and so is a list of which a page is missing.
    if !matches!(&answer, Answer::Found(outcome) if outcome.is_error || outcome.partial) {
        fetch.route.cache.keep(key.clone(), answer.clone(), policy);
    }
    Ok(answer)
}

/// Fetches an answer anew while the old one is given.
fn refresh(key: &Key, fetch: &Fetch<'_>) {
    let Some(turn) = fetch.route.cache.refresh(key) else { return };
    let (route, key) = (fetch.route.clone(), key.clone());
    let (arguments, caller, id) = (fetch.arguments.clone(), fetch.caller.clone(), fetch.id);
    crate::tasks::spawn(async move {
        let deadline = Instant::now() + route.plan.policy.timeout.0 + route.plan.op.patience();
        let silent = Talk::silent();
        let fetch = Fetch {
            route: &route,
            arguments: &arguments,
            caller: &caller,
            talk: &silent,
            reports: &silent,
            deadline,
            id,
            seen: &Seen::default(),
            // Whoever asked has their answer.
            trace: &Trace::default(),
        };
        if let Some(policy) = &route.plan.policy.cache
            && let Err(error) = fetch_and_keep(&key, policy, fetch).await
        {
            debug!(route = %route.plan.name, code = error.code.as_str(), "an answer could not be fetched anew");
        }
        drop(turn);
    });
}

fn give(answer: Answer, state: CacheState, age: Duration) -> Result<Outcome, CallError> {
    match answer {
        Answer::Found(outcome) => {
            let outcome = Arc::try_unwrap(outcome).unwrap_or_else(|shared| (*shared).clone());
            Ok(Outcome { cached: Some(Cached { state, age }), ..outcome })
        }
        Answer::Missing(sentence) => Err(CallError::not_found(sentence)),
    }
}
