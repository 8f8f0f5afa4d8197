//! Two servers: their address, what they say of themselves, and all their settings.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::{Map, Value};

use super::access::limits;
use super::callers::{callers, lists};
use super::notes::{Effect, Notes};
use super::tree::{self, apart_words};
use super::words::word;
use crate::config::ClientsConfig;
use crate::pem::fingerprint;
use crate::plan::{ServerPlan, StatusPlan, TlsPlan, value};

pub(super) fn servers(old: &ServerPlan, new: &ServerPlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    reached(old, new, notes);
    let_in(old, new, notes);
    settings(old, new, notes);
    if notes.is_empty() {
        notes.invisible("lists of it are written in another order");
    }
}

/// Where it is reached.
fn reached(old: &ServerPlan, new: &ServerPlan, notes: &mut Notes) {
    if old.listen != new.listen {
        notes.breaking(format!("it listens on {} instead of {}", word(new.listen), word(old.listen)));
        if beyond(old.listen, new.listen) {
            notes.loosening("other machines can reach it: it listened to this one only");
        }
    }
    if old.path != new.path {
        notes.breaking(format!("its path is {} instead of {}", word(&new.path), word(&old.path)));
    }
    if old.admin != new.admin {
        let at = |plan: &ServerPlan| plan.admin.unwrap_or(plan.listen);
        notes.breaking(match (old.admin, new.admin) {
            (_, None) => "those who run it no longer have an address of their own".to_owned(),
            (None, Some(new)) => format!("those who run it ask at {} now", word(new)),
            (Some(old), Some(new)) => {
                format!("those who run it ask at {} instead of {}", word(new), word(old))
            }
        });
        if beyond(at(old), at(new)) {
            notes.loosening("other machines can ask what those who run it ask");
        }
    }
    tls(old.tls.as_ref(), new.tls.as_ref(), notes);
}

/// Whether other machines reach the new address, and not the old one.
fn beyond(old: SocketAddr, new: SocketAddr) -> bool {
    old.ip().is_loopback() && !new.ip().is_loopback()
}

fn tls(old: Option<&TlsPlan>, new: Option<&TlsPlan>, notes: &mut Notes) {
    let required = |plan: Option<&TlsPlan>| plan.is_some_and(|tls| tls.clients == ClientsConfig::Required);
    match (required(old), required(new)) {
        (false, true) => notes.breaking("clients have to show a certificate now"),
        (true, false) => notes.loosening("clients no longer have to show a certificate"),
        _ => {}
    }
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, Some(_)) => return notes.breaking("it speaks `https` now"),
        (Some(_), None) => {
            notes.breaking("it no longer speaks `https`");
            return notes.loosening("what is said to it and by it is open to read on its way");
        }
        (None, None) => return,
    };
    // Whether a certificate is required is told above.
    let TlsPlan { cert, key, client_ca: _, clients: _ } = old;
    let digests = |plan: &TlsPlan| -> Vec<String> {
        plan.client_ca.iter().map(|certificate| fingerprint(certificate)).collect()
    };
    lists("authorities of clients", "are believed", &digests(old), &digests(new), notes);
    if *cert != new.cert {
        notes.compatible("it shows another certificate");
    } else if *key != new.key {
        notes.invisible("the key of its certificate changed");
    }
}

/// What one setting was and is.
struct Told<'a>(&'a mut Notes);

impl Told<'_> {
    fn setting<T: PartialEq + Serialize>(&mut self, effect: Effect, key: &str, old: &T, new: &T) {
        if old == new {
            return;
        }
        let (before, after) = (value(old), value(new));
        if before == after {
            return self.0.add(effect, format!("a secret of {} changed", word(key)));
        }
        let pair = |value: Value| Value::Object(Map::from_iter([(key.to_owned(), value)]));
        self.0.add(effect, tree::told(&pair(before), &pair(after)));
    }

    fn text<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        if old != new {
            self.0.compatible(format!("{} changed", word(key)));
        }
    }
}

/// Whose requests pass, by names and addresses.
fn let_in(old: &ServerPlan, new: &ServerPlan, notes: &mut Notes) {
    lists("host names", "pass", &old.allowed_hosts, &new.allowed_hosts, notes);
    lists("origins", "pass", &old.allowed_origins, &new.allowed_origins, notes);
    let (before, after) = (value(&old.trusted_proxies), value(&new.trusted_proxies));
    let networks =
        |list: &Value| -> Vec<String> { list.as_array().into_iter().flatten().map(plain).collect() };
    let (gone, come) = apart_words(&networks(&before), &networks(&after));
    if let Some(networks) = come {
        notes.loosening(format!("proxies of {networks} are believed now"));
    }
    if let Some(networks) = gone {
        notes.invisible(format!("proxies of {networks} are no longer believed"));
    }
}

/// All that is not told by [`reached`] and [`let_in`]. A new setting has its place here.
fn settings(old: &ServerPlan, new: &ServerPlan, notes: &mut Notes) {
    use Effect::{Breaking, Compatible, Invisible};
    let ServerPlan {
        name,
        title,
        version,
        description,
        website,
        icons,
        instructions,
        listen: _,
        path: _,
        allowed_hosts: _,
        allowed_origins: _,
        max_body,
        max_concurrent_calls,
        drain,
        max_sessions,
        session_idle,
        list_ttl,
        list_page,
        lists_frozen,
        lists_limit,
        cache_max,
        trusted_proxies: _,
        log,
        audit,
        metrics,
        otlp,
        admin: _,
        status,
        tls: _,
        auth,
        reloads: _,
    } = old;
    limits("requests for lists", lists_limit.as_ref(), new.lists_limit.as_ref(), notes);
    if audit.is_some() && new.audit.is_none() {
        notes.loosening("calls are no longer recorded");
    }
    callers(auth, &new.auth, notes);
    seen(status, &new.status, metrics.as_deref(), new.metrics.as_deref(), notes);
    match (lists_frozen, new.lists_frozen) {
        (true, false) => {
            notes.breaking("its list of tools names all of them, and no longer two that reach the others");
        }
        (false, true) => notes.compatible("its list of tools holds two that reach the others"),
        _ => {}
    }
    let mut told = Told(notes);
    told.setting(Compatible, "name", name, &new.name);
    told.setting(Compatible, "title", title, &new.title);
    told.setting(Compatible, "version", version, &new.version);
    told.text("description", description, &new.description);
    told.setting(Compatible, "website", website, &new.website);
    told.text("icons", icons, &new.icons);
    told.text("instructions", instructions, &new.instructions);
    let lowered = new.max_body.0 < max_body.0;
    told.setting(if lowered { Breaking } else { Compatible }, "max_body", max_body, &new.max_body);
    told.setting(Compatible, "list_ttl", list_ttl, &new.list_ttl);
    told.setting(Compatible, "list_page", list_page, &new.list_page);
    told.setting(Invisible, "max_concurrent_calls", max_concurrent_calls, &new.max_concurrent_calls);
    told.setting(Invisible, "drain", drain, &new.drain);
    told.setting(Invisible, "max_sessions", max_sessions, &new.max_sessions);
    told.setting(Invisible, "session_idle", session_idle, &new.session_idle);
    told.setting(Invisible, "cache_max", cache_max, &new.cache_max);
    told.setting(Invisible, "log", log, &new.log);
    told.setting(Invisible, "audit", audit, &new.audit);
    told.setting(Invisible, "otlp", otlp, &new.otlp);
}

/// What the server says of itself, and to whom.
fn seen(old: &StatusPlan, new: &StatusPlan, before: Option<&str>, after: Option<&str>, notes: &mut Notes) {
    // Whether callers are known at all is told of `auth`; nothing else can be written of who may read it.
    let StatusPlan { auth, resource } = old;
    let (gone, come) = apart_words(&auth.scopes, &new.auth.scopes);
    if let Some(scopes) = come {
        notes.breaking(format!("who reads its status needs the scopes {scopes} now"));
    }
    if let Some(scopes) = gone {
        notes.loosening(format!("who reads its status no longer needs the scopes {scopes}"));
    }
    match (resource, new.resource) {
        (true, false) => notes.breaking("its status is no longer a resource"),
        (false, true) => notes.compatible("its status is a resource, too"),
        _ => {}
    }
    match (before, after) {
        (None, Some(path)) => notes.loosening(format!("its metrics can be read at {}", word(path))),
        (Some(path), None) => notes.breaking(format!("its metrics can no longer be read at {}", word(path))),
        (Some(old), Some(new)) if old != new => {
            notes.breaking(format!("its metrics are at {} instead of {}", word(new), word(old)));
        }
        _ => {}
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
