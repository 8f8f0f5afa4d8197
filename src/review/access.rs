//! Two rules of who may use a route, and two sets of policies.

use std::cmp::Ordering::{Equal, Greater, Less};

use super::notes::{Effect, Notes};
use super::tree::apart_words;
use super::words::{apart, word};
use crate::policy::cache::{CachePlan, Vary};
use crate::policy::rate_limit::{Per, RateLimitPlan};
use crate::policy::{PolicyPlan, RouteAuthPlan};

/// Who may use a route. Whether the server knows its callers at all is told of the server.
pub(super) fn access(old: &RouteAuthPlan, new: &RouteAuthPlan, notes: &mut Notes) {
    match (old.public, new.public) {
        (false, true) if old.known && new.known => {
            notes.loosening("callers without any credentials may use it now");
        }
        (false, true) if new.known => notes.invisible("callers without any credentials may use it still"),
        (true, false) if new.known => notes.breaking("callers without credentials may no longer use it"),
        (false, true) | (true, false) => {
            notes
                .invisible("it says something else of callers without credentials, of whom nothing is asked");
        }
        _ => {}
    }
    let (gone, come) = apart_words(&old.scopes, &new.scopes);
    if let Some(scopes) = come {
        notes.breaking(format!("callers need the scopes {scopes} now"));
    }
    if let Some(scopes) = gone {
        notes.loosening(format!("callers no longer need the scopes {scopes}"));
    }
    let text = |auth: &RouteAuthPlan| auth.when.as_ref().map(condition);
    match (text(old), text(new)) {
        (None, Some(when)) => notes.breaking(format!("a condition decides who may use it: {}", word(when))),
        (Some(when), None) => notes.loosening(format!("the condition {} is gone", word(when))),
        (Some(old), Some(new)) if old != new => {
            let (old, new) = apart(&old, &new);
            let change = format!("from {old} to {new}");
            notes.breaking(format!("the condition changed {change}: it may let in fewer callers"));
            notes.loosening(format!("the condition changed {change}: it may let in other callers"));
        }
        _ => {}
    }
}

/// The condition as it is written.
pub(super) fn condition(condition: &crate::policy::Condition) -> String {
    match crate::plan::value(condition) {
        serde_json::Value::String(text) => text,
        _ => String::new(),
    }
}

pub(super) fn policies(old: &PolicyPlan, new: &PolicyPlan, notes: &mut Notes) {
    access(&old.auth, &new.auth, notes);
    if old.timeout != new.timeout {
        notes.compatible(format!(
            "its time limit changed from {} to {}",
            word(old.timeout),
            word(new.timeout)
        ));
    }
    limits("calls", old.rate_limit.as_ref(), new.rate_limit.as_ref(), notes);
    cache(old.cache.as_ref(), new.cache.as_ref(), notes);
    match (old.concurrency, new.concurrency) {
        (old, new) if old == new => {}
        (_, Some(new)) => {
            notes.compatible(format!("{} calls of it run at the same time at the most", word(new)));
        }
        (_, None) => notes.compatible("as many calls of it run at the same time as come"),
    }
    if old.retry != new.retry {
        notes.invisible("how it is tried again changed");
    }
    let (gone, come) = apart_words(&old.invalidates, &new.invalidates);
    if let Some(names) = come {
        notes.compatible(format!("it makes kept answers of {names} wrong now"));
    }
    if let Some(names) = gone {
        notes.compatible(format!("it no longer makes kept answers of {names} wrong"));
    }
}

pub(super) fn limits(
    what: &str,
    old: Option<&RateLimitPlan>,
    new: Option<&RateLimitPlan>,
    notes: &mut Notes,
) {
    match (old, new) {
        (None, Some(new)) => notes.compatible(format!("{what} are limited to {} now", limit(new))),
        (Some(old), None) => {
            notes.loosening(format!("{what} are no longer limited (they were to {})", limit(old)));
        }
        (Some(old), Some(new)) if old != new => {
            let sentence = format!("the limit of {what} changed from {} to {}", limit(old), limit(new));
            let speed =
                |plan: &RateLimitPlan| f64::from(plan.rate.count) / plan.rate.per.as_secs_f64().max(1.0);
            let (effect, told) = match (speed(new).total_cmp(&speed(old)), new.burst.cmp(&old.burst)) {
                (Equal, Equal) => (Effect::Compatible, ""),
                (Less | Equal, Less | Equal) => (Effect::Compatible, " (lowered)"),
                (Greater | Equal, Greater | Equal) => (Effect::Loosening, " (raised)"),
                (Less, Greater) => (Effect::Loosening, " (lowered, and raised for calls at once)"),
                (Greater, Less) => (Effect::Loosening, " (raised, and lowered for calls at once)"),
            };
            notes.add(effect, format!("{sentence}{told}"));
        }
        _ => {}
    }
}

pub(super) fn limit(plan: &RateLimitPlan) -> String {
    let per = match plan.per {
        Per::Caller => "for each caller",
        Per::ClientIp => "for each address",
        Per::Route => "for all callers together",
        Per::Global => "for all routes together",
    };
    format!("{} at {} a burst {per}", word(plan.rate), word(plan.burst))
}

fn cache(old: Option<&CachePlan>, new: Option<&CachePlan>, notes: &mut Notes) {
    match (old, new) {
        (None, Some(new)) => notes.compatible(format!("answers are kept for {} now", word(new.ttl))),
        (Some(_), None) => notes.compatible("answers are no longer kept"),
        (Some(old), Some(new)) if old != new => {
            for (what, old, new) in [
                ("answers are kept", old.ttl, new.ttl),
                (
                    "answers are given while a new one is fetched",
                    old.stale_while_revalidate,
                    new.stale_while_revalidate,
                ),
                ("answers are given where the source fails", old.stale_if_error, new.stale_if_error),
                ("it is remembered that nothing was found", old.negative_ttl, new.negative_ttl),
            ] {
                if old != new {
                    notes.compatible(format!("{what} for {} instead of {}", word(new), word(old)));
                }
            }
            match (old.vary, new.vary) {
                (Vary::Caller, Vary::Scopes | Vary::None) | (Vary::Scopes, Vary::None) => {
                    notes.loosening("more callers share kept answers");
                }
                (old, new) if old != new => notes.invisible("fewer callers share kept answers"),
                _ => {}
            }
        }
        _ => {}
    }
}
