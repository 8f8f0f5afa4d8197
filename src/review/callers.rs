//! Who may call, of two servers: keys, certificates and issuers of tokens, compared as they are compiled and not as they are shown, for
//! of secrets and keys nothing is shown.

use std::collections::HashMap;

use super::notes::Notes;
use super::tree::apart_words;
use super::words::word;
use crate::auth::{AuthPlan, CertificatePlan, JwtPlan, KeyPlan, KnownPlan};
use crate::caller::Identity;

pub(super) fn callers(old: &AuthPlan, new: &AuthPlan, notes: &mut Notes) {
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
    let mut own = Notes::default();
    known(old, new, &mut own);
    if own.is_empty() {
        own.breaking("what is written of those who may call changed: some may no longer");
    }
    notes.append(own);
}

fn known(old: &KnownPlan, new: &KnownPlan, notes: &mut Notes) {
    let KnownPlan { resource, keys, issuers, certificates } = old;
    if *resource != new.resource {
        notes.breaking("the URI that it says of itself changed: tokens for the old one no longer count");
    }
    holders("key", keys, &new.keys, |key| &key.identity, KeyPlan::same_key, notes);
    let same = |one: &CertificatePlan, other: &CertificatePlan| one.by == other.by;
    holders("certificate", certificates, &new.certificates, |known| &known.identity, same, notes);
    tokens(issuers, &new.issuers, notes);
    let moved = |other: &KnownPlan| {
        resource == &other.resource
            && certificates == &other.certificates
            && same_entries(keys, &other.keys)
            && same_entries(issuers, &other.issuers)
    };
    if notes.is_empty() && moved(new) {
        notes.invisible("keys or issuers come in another order");
    }
}

fn same_entries<T: PartialEq>(old: &[T], new: &[T]) -> bool {
    old.len() == new.len() && old.iter().all(|one| new.contains(one))
}

/// What counted, and what counts now.
pub(super) fn lists(what: &str, verb: &str, old: &[String], new: &[String], notes: &mut Notes) {
    let (gone, come) = apart_words(old, new);
    if let Some(names) = gone {
        notes.breaking(format!("the {what} {names} no longer {verb}"));
    }
    if let Some(names) = come {
        notes.loosening(format!("the {what} {names} {verb} now"));
    }
}

/// Those who hold something that proves who they are. `same` tells whether two are proved by the same.
fn holders<T>(
    what: &str,
    old: &[T],
    new: &[T],
    identity: impl Fn(&T) -> &Identity,
    same: impl Fn(&T, &T) -> bool,
    notes: &mut Notes,
) {
    let names = |list: &[T]| -> Vec<String> { list.iter().map(|one| identity(one).sub.clone()).collect() };
    lists(&format!("{what}s"), "count", &names(old), &names(new), notes);
    let before: HashMap<&str, &T> = old.iter().map(|one| (identity(one).sub.as_str(), one)).collect();
    for one in new {
        let after = identity(one);
        let Some(other) = before.get(after.sub.as_str()) else { continue };
        let (before, name) = (identity(other), word(&after.sub));
        if !same(other, one) {
            notes.breaking(format!("the {what} {name} is another one: the one before no longer counts"));
            notes.loosening(format!("the {what} {name} is another one: who holds it may call now"));
        }
        let (gone, come) = apart_words(&before.scopes, &after.scopes);
        if let Some(scopes) = gone {
            notes.breaking(format!("the {what} {name} no longer has the scopes {scopes}"));
        }
        if let Some(scopes) = come {
            notes.loosening(format!("the {what} {name} has the scopes {scopes} now"));
        }
        if before.claims != after.claims {
            let sentence = format!("what the {what} {name} says of its holder changed");
            notes.breaking(format!("{sentence}: conditions may refuse it"));
            notes.loosening(format!("{sentence}: conditions may let it in"));
        }
    }
}

fn tokens(old: &[JwtPlan], new: &[JwtPlan], notes: &mut Notes) {
    let names = |list: &[JwtPlan]| -> Vec<String> { list.iter().map(|one| one.issuer.clone()).collect() };
    lists("issuers", "count", &names(old), &names(new), notes);
    let before: HashMap<&str, &JwtPlan> = old.iter().map(|one| (one.issuer.as_str(), one)).collect();
    for one in new {
        let Some(other) = before.get(one.issuer.as_str()) else { continue };
        let JwtPlan { issuer, audience, keys, tls, algorithms, scopes_claim, name_claim } = *other;
        let name = word(issuer);
        lists(&format!("audiences of the issuer {name}:"), "count", audience, &one.audience, notes);
        let written = |list: &[_]| -> Vec<String> { list.iter().map(|one| format!("{one:?}")).collect() };
        let (algorithms, after) = (written(algorithms), written(&one.algorithms));
        lists(&format!("algorithms of the issuer {name}:"), "count", &algorithms, &after, notes);
        for (what, differs) in [
            ("the keys of the issuer", *keys != one.keys),
            ("whom it trusts where it fetches the keys of the issuer", *tls != one.tls),
        ] {
            if differs {
                notes.breaking(format!("{what} {name} changed: tokens that counted may not count"));
                notes.loosening(format!("{what} {name} changed: tokens that did not count may count"));
            }
        }
        for (key, differs) in [
            ("scopes_claim", *scopes_claim != one.scopes_claim),
            ("name_claim", *name_claim != one.name_claim),
        ] {
            if differs {
                notes.breaking(format!("{} of the issuer {name} changed", word(key)));
            }
        }
        if *scopes_claim != one.scopes_claim {
            notes.loosening(format!("the scopes of tokens of the issuer {name} stand in another claim"));
        }
    }
}
