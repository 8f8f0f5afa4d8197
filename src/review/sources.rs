//! Two sources of one name: what they do for each caller, where they may go, and what no client sees.

use std::collections::BTreeMap;

use serde_json::Value;

use super::notes::Notes;
use super::tree;
use super::words::word;
use crate::plan::value;
use crate::source::SourcePlan;

pub(super) fn source(old: &SourcePlan, new: &SourcePlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    let (before, after) = (inner(old), inner(new));
    per_caller(&before, &after, notes);
    if old.kind() != new.kind() {
        return notes.invisible(format!("it is {} instead of {}", word(new.kind()), word(old.kind())));
    }
    let read_only = |plan: &Value| plan.get("read_only").and_then(Value::as_bool);
    if let (Some(true), Some(false)) = (read_only(&before), read_only(&after)) {
        notes.loosening("it is no longer read only");
    }
    if before.get("public_only").is_some() && after.get("public_only").is_none() {
        notes.loosening("it may reach private networks: it was kept to the public internet");
    }
    let redirects = |plan: &Value| plan.get("follow_redirects").and_then(Value::as_u64).unwrap_or(0);
    if redirects(&before) < redirects(&after) {
        notes.loosening(format!("it follows up to {} redirects", word(redirects(&after))));
    }
    notes.invisible(tree::told(&before, &after));
}

fn inner(plan: &SourcePlan) -> Value {
    value(plan).as_object().and_then(|map| map.values().next().cloned()).unwrap_or_default()
}

/// What is different for each caller where a route goes to another source.
pub(super) fn moved(old: &SourcePlan, new: &SourcePlan, notes: &mut Notes) {
    per_caller(&inner(old), &inner(new), notes);
}

/// What a source does differently for each caller.
fn per_caller(old: &Value, new: &Value, notes: &mut Notes) {
    let session = |plan: &Value| -> BTreeMap<String, String> {
        let text =
            |value: Option<&Value>| value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        let entries = plan.get("session").and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| Some((text(entry.get(0))?, text(entry.get(1))?))).collect()
    };
    let (before, after) = (session(old), session(new));
    for (name, holds) in &before {
        match after.get(name) {
            Some(now) if now == holds => {}
            Some(now) => {
                let change =
                    format!("the session's {} is {} instead of {}", word(name), word(now), word(holds));
                notes.breaking(format!("{change}: callers may see less"));
                notes.loosening(format!("{change}: callers may see more"));
            }
            None => notes.loosening(format!(
                "the session no longer holds {}, which was {} of the caller",
                word(name),
                word(holds)
            )),
        }
    }
    for (name, holds) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        notes.breaking(format!("the session holds {}, which is {} of the caller", word(name), word(holds)));
    }
    let exchanges =
        |plan: &Value| plan.pointer("/tokens/grant").and_then(Value::as_str) == Some("token_exchange");
    match (exchanges(old), exchanges(new)) {
        (true, false) => {
            notes.loosening("it is asked in a name of its own, and no longer in that of the caller");
        }
        (false, true) => {
            notes.breaking("it is asked in the name of the caller: who came without a token is refused");
        }
        _ => {}
    }
}
