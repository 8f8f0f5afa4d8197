//! Two servers: their address, what they say of themselves, and who may call.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::access::limits;
use super::notes::{Effect, Notes};
use super::routes::value;
use super::tree::{self, apart_words};
use super::words::word;
use crate::auth::AuthPlan;
use crate::plan::ServerPlan;

/// Settings that clients read, and what they are called.
const TOLD: [&str; 7] = ["name", "title", "version", "description", "website", "icons", "instructions"];
/// Settings that are compared below, and not by their form.
const COMPARED: [&str; 7] =
    ["listen", "path", "allowed_hosts", "allowed_origins", "trusted_proxies", "lists_limit", "auth"];

pub(super) fn servers(old: &ServerPlan, new: &ServerPlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    if old.listen != new.listen {
        notes.breaking(format!("it listens on {} instead of {}", word(new.listen), word(old.listen)));
        if old.listen.ip().is_loopback() && !new.listen.ip().is_loopback() {
            notes.loosening("other machines can reach it: it listened to this one only");
        }
    }
    if old.path != new.path {
        notes.breaking(format!("its path is {} instead of {}", word(&new.path), word(&old.path)));
    }
    for (what, old, new) in [
        ("host names", &old.allowed_hosts, &new.allowed_hosts),
        ("origins", &old.allowed_origins, &new.allowed_origins),
    ] {
        lists(what, "pass", old, new, notes);
    }
    let networks = |plan: &ServerPlan| -> Vec<String> {
        value(&plan.trusted_proxies).as_array().into_iter().flatten().map(plain).collect()
    };
    let (gone, come) = apart_words(&networks(old), &networks(new));
    if let Some(networks) = come {
        notes.loosening(format!("proxies of {networks} are believed now"));
    }
    if let Some(networks) = gone {
        notes.invisible(format!("proxies of {networks} are no longer believed"));
    }
    limits("requests for lists", old.lists_limit.as_ref(), new.lists_limit.as_ref(), notes);
    if old.audit.is_some() && new.audit.is_none() {
        notes.loosening("calls are no longer recorded");
    }
    auth(&old.auth, &new.auth, notes);
    others(&value(old), &value(new), notes);
    if notes.is_empty() {
        notes.invisible("a secret in it changed");
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn lists(what: &str, verb: &str, old: &[String], new: &[String], notes: &mut Notes) {
    let (gone, come) = apart_words(old, new);
    if let Some(names) = gone {
        notes.breaking(format!("the {what} {names} no longer {verb}"));
    }
    if let Some(names) = come {
        notes.loosening(format!("the {what} {names} {verb} now"));
    }
}

/// What has no rule of its own.
fn others(old: &Value, new: &Value, notes: &mut Notes) {
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    for key in new.keys().chain(gone).filter(|key| !COMPARED.contains(&key.as_str())) {
        let (before, after) = (old.get(key).unwrap_or(&Value::Null), new.get(key).unwrap_or(&Value::Null));
        if before == after {
            continue;
        }
        let effect = if TOLD.contains(&key.as_str()) { Effect::Compatible } else { Effect::Invisible };
        let long = matches!(key.as_str(), "description" | "icons" | "instructions");
        if long {
            notes.add(effect, format!("{} changed", word(key)));
            continue;
        }
        let pair = |value: &Value| Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        notes.add(effect, tree::told(&pair(before), &pair(after)));
    }
}

fn auth(old: &AuthPlan, new: &AuthPlan, notes: &mut Notes) {
    let (old, new) = match (old, new) {
        (AuthPlan::Known(old), AuthPlan::Known(new)) => (old, new),
        (AuthPlan::Known(_), _) => {
            return notes.loosening(
                "callers no longer have to prove who they are: everybody who reaches it may call",
            );
        }
        (_, AuthPlan::Known(_)) => return notes.breaking("callers have to prove who they are now"),
        (AuthPlan::Unsaid, AuthPlan::Open) => {
            return notes.invisible("it says out loud that everybody who reaches it may call");
        }
        (AuthPlan::Open, AuthPlan::Unsaid) => {
            return notes.invisible("it no longer says out loud that everybody who reaches it may call");
        }
        _ => return,
    };
    if old == new {
        return;
    }
    if old.resource != new.resource {
        notes.breaking("the URI that it says of itself changed: tokens for the old one no longer count");
    }
    keys("key", &value(&old.keys), &value(&new.keys), notes);
    keys("certificate", &value(&old.certificates), &value(&new.certificates), notes);
    for (before, after) in old.keys.iter().filter_map(|key| {
        let same = new.keys.iter().find(|other| other.identity.sub == key.identity.sub)?;
        Some((key, same))
    }) {
        if before != after && value(before) == value(after) {
            notes.breaking(format!("the key {} is another one", word(&before.identity.sub)));
        }
    }
    issuers(&value(&old.issuers), &value(&new.issuers), notes);
}

/// Entries by what names them.
fn named<'a>(list: &'a Value, name: &str) -> HashMap<String, &'a Value> {
    let entries = list.as_array().into_iter().flatten();
    entries.map(|entry| (entry.pointer(name).map(plain).unwrap_or_default(), entry)).collect()
}

fn texts(entry: &Value, pointer: &str) -> Vec<String> {
    entry.pointer(pointer).and_then(Value::as_array).into_iter().flatten().map(plain).collect()
}

fn keys(what: &str, old: &Value, new: &Value, notes: &mut Notes) {
    let (before, after) = (named(old, "/identity/sub"), named(new, "/identity/sub"));
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|e| e.pointer("/identity/sub").map(plain)).collect()
    };
    lists(&format!("{what}s"), "count", &names(old), &names(new), notes);
    for name in names(new) {
        let (Some(old), Some(new)) = (before.get(&name), after.get(&name)) else { continue };
        let (gone, come) = apart_words(&texts(old, "/identity/scopes"), &texts(new, "/identity/scopes"));
        if let Some(scopes) = gone {
            notes.breaking(format!("the {what} {} no longer has the scopes {scopes}", word(&name)));
        }
        if let Some(scopes) = come {
            notes.loosening(format!("the {what} {} has the scopes {scopes} now", word(&name)));
        }
        if old.pointer("/identity/claims") != new.pointer("/identity/claims") {
            notes.loosening(format!("what the {what} {} says of its holder changed", word(&name)));
        }
    }
}

fn issuers(old: &Value, new: &Value, notes: &mut Notes) {
    let (before, after) = (named(old, "/issuer"), named(new, "/issuer"));
    let names = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|e| e.pointer("/issuer").map(plain)).collect()
    };
    lists("issuers", "count", &names(old), &names(new), notes);
    for name in names(new) {
        let (Some(old), Some(new)) = (before.get(&name), after.get(&name)) else { continue };
        for (what, pointer) in [("audiences", "/audience"), ("algorithms", "/algorithms")] {
            let of = format!("{what} of the issuer {}:", word(&name));
            lists(&of, "count", &texts(old, pointer), &texts(new, pointer), notes);
        }
        for key in ["/keys", "/scopes_claim", "/name_claim"] {
            if old.pointer(key) != new.pointer(key) {
                let key = word(key.trim_start_matches('/'));
                notes.breaking(format!("{key} of the issuer {} changed", word(&name)));
            }
        }
    }
}
