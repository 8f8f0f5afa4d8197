//! Two tools, resources or prompts of one name: what differs, and what it means.

use std::sync::Arc;

use serde::Serialize;

use super::access::policies;
use super::notes::Notes;
use super::operations::{operations, outputs};
use super::schema::{Comparing, Way};
use super::tree;
use super::words::word;
use crate::params::{Param, ParamsPlan};
use crate::plan::{ListedPlan, PromptPlan, ResourcePlan, RoutePlan, ToolPlan, value};

/// The hints of a tool in their order, and what each one says of it.
const HINTS: [(&str, &str); 4] = [
    ("it only reads", "it may change something"),
    ("it may destroy something", "it destroys nothing"),
    ("a second call changes nothing more", "a second call may change more"),
    ("it reaches beyond this server", "it stays inside this server"),
];

pub(super) fn tools(old: &ToolPlan, new: &ToolPlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    text("title", old.title.as_ref(), new.title.as_ref(), notes);
    text("description", old.description.as_ref(), new.description.as_ref(), notes);
    routes(&old.route, &new.route, "the arguments", notes);
    match (&old.output_schema, &new.output_schema) {
        (Some(before), Some(after)) => {
            Comparing { way: Way::Out, whole: "the result", notes }.schemas(before, after, "");
        }
        (Some(_), None) => notes.breaking("it no longer says what its result looks like"),
        (None, Some(_)) => notes.compatible("it says what its result looks like"),
        (None, None) => {}
    }
    for ((before, after), (yes, no)) in old.annotations.iter().zip(new.annotations).zip(HINTS) {
        if *before != after {
            notes.compatible(format!("it says of itself: {}", if after { yes } else { no }));
        }
    }
    listed(&old.listed, &new.listed, notes);
    leftover(old, &ToolPlan { route: as_known(&new.route, &old.route), ..new.clone() }, notes);
}

pub(super) fn resources(old: &ResourcePlan, new: &ResourcePlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    if old.name != new.name {
        notes.compatible(format!("its name changed from {} to {}", word(&old.name), word(&new.name)));
    }
    text("title", old.title.as_ref(), new.title.as_ref(), notes);
    text("description", old.description.as_ref(), new.description.as_ref(), notes);
    if old.mime_type != new.mime_type {
        let name = |mime: &Option<String>| mime.as_ref().map_or_else(|| "nothing".to_owned(), word);
        let change = format!("from {} to {}", name(&old.mime_type), name(&new.mime_type));
        notes.breaking(format!("its media type changed {change}"));
    }
    if old.size != new.size || old.annotations != new.annotations {
        notes.compatible("what the list says of it changed");
    }
    routes(&old.route, &new.route, "the variables", notes);
    if old.completions != new.completions {
        notes.compatible("its suggestions changed");
    }
    listed(&old.listed, &new.listed, notes);
    leftover(old, &ResourcePlan { route: as_known(&new.route, &old.route), ..new.clone() }, notes);
}

pub(super) fn prompts(old: &PromptPlan, new: &PromptPlan, notes: &mut Notes) {
    if old == new {
        return;
    }
    text("title", old.title.as_ref(), new.title.as_ref(), notes);
    text("description", old.description.as_ref(), new.description.as_ref(), notes);
    params(&old.params, &new.params, "the arguments", notes);
    let title = |plan: &PromptPlan, name: &str| {
        let about = plan.params.params.iter().zip(&plan.about).find(|(param, _)| param.name == name);
        about.map(|(_, (title, _))| title.clone())
    };
    for name in new.params.params.iter().map(|param| param.name.as_str()) {
        if title(old, name).is_some_and(|before| title(new, name) != Some(before)) {
            notes.compatible(format!("the title of {} changed", word(name)));
        }
    }
    policies(&old.policy, &new.policy, notes);
    if old.messages != new.messages {
        notes.compatible("its messages changed");
    }
    if old.completions != new.completions {
        notes.compatible("its suggestions changed");
    }
    let writes = |plan: &PromptPlan| plan.data.iter().any(|(_, route)| !route.op.reads_only());
    if writes(new) && !writes(old) {
        notes.loosening("fetching its values may change something");
    }
    for (name, after) in &new.data {
        let Some((_, before)) = old.data.iter().find(|(other, _)| other == name) else { continue };
        let mut own = Notes::default();
        outputs(&before.output, &after.output, false, &mut own);
        policies(&before.policy, &after.policy, &mut own);
        notes.append_of(&format!("of {}, which is fetched for it: ", word(name)), own);
    }
    let mut like = new.clone();
    like.policy.auth.known = old.policy.auth.known;
    for (name, route) in &mut like.data {
        if let Some((_, before)) = old.data.iter().find(|(other, _)| other == name) {
            *route = as_known(route, before);
        }
    }
    if old.data != like.data {
        notes.invisible("what is fetched for it changed");
    }
    listed(&old.listed, &new.listed, notes);
    leftover(old, &like, notes);
}

fn text(what: &str, old: Option<&String>, new: Option<&String>, notes: &mut Notes) {
    if old != new {
        notes.compatible(format!("its {what} changed"));
    }
}

fn listed(old: &ListedPlan, new: &ListedPlan, notes: &mut Notes) {
    if old.icons != new.icons {
        notes.compatible("its icons changed");
    }
    if old.meta != new.meta {
        notes.compatible("its `_meta` changed");
    }
}

/// What no rule has told must not go unsaid.
fn leftover<T: Serialize + PartialEq>(old: &T, new: &T, notes: &mut Notes) {
    if notes.is_empty() && old != new {
        notes.invisible(tree::told(&value(old), &value(new)));
    }
}

/// The same under a server that knows its callers as before: what that means is said of the server.
fn as_known(new: &RoutePlan, old: &RoutePlan) -> Arc<RoutePlan> {
    let mut route = new.clone();
    Arc::make_mut(&mut route.policy).auth.known = old.policy.auth.known;
    Arc::new(route)
}

fn routes(old: &RoutePlan, new: &RoutePlan, whole: &'static str, notes: &mut Notes) {
    params(&old.params, &new.params, whole, notes);
    operations(&old.op, &new.op, notes);
    outputs(&old.output, &new.output, true, notes);
    policies(&old.policy, &new.policy, notes);
    match (&old.confirm, &new.confirm) {
        (None, Some(_)) => {
            notes.breaking("a person is asked before it runs: clients that cannot ask are refused");
        }
        (Some(_), None) => notes.loosening("nobody is asked before it runs any more"),
        (Some(before), Some(after)) if before != after => {
            notes.compatible("what a person is asked before it runs changed");
        }
        _ => {}
    }
}

fn params(old: &ParamsPlan, new: &ParamsPlan, whole: &'static str, notes: &mut Notes) {
    Comparing { way: Way::In, whole, notes }.schemas(&old.schema.value(), &new.schema.value(), "");
    for after in new.params.iter().filter(|param| param.hidden()) {
        let before = old.params.iter().find(|param| param.name == after.name && param.hidden());
        let name = word(&after.name);
        match (before, &after.from) {
            (Some(before), _) if before == after => {}
            (Some(before), None) if before.from.is_none() && before.fixed == after.fixed => {
                notes.invisible(format!("what is said of {name}, which is pinned, changed"));
            }
            (Some(before), None) if before.from.is_none() => {
                notes.loosening(format!("what {name} is pinned to changed: calls may reach something else"));
            }
            (Some(Param { from: Some(before), .. }), Some(from)) => {
                let change = if before.field == from.field {
                    format!("what {name} may be of the caller's identity changed")
                } else {
                    let (old, new) = (word(&before.field), word(&from.field));
                    format!("{name} is {new} of the caller's identity instead of {old}")
                };
                notes.breaking(format!("{change}: callers may be refused, or see less"));
                notes.loosening(format!("{change}: callers may see something else"));
            }
            (_, Some(from)) => notes.breaking(format!(
                "{name} is {} of the caller's identity now: who has none is refused",
                word(&from.field)
            )),
            (Some(before), None) => {
                let from = before.from.as_ref().map(|from| word(&from.field)).unwrap_or_default();
                notes.loosening(format!("{name} is pinned, and no longer {from} of the caller's identity"));
            }
            (None, None) => notes.invisible(format!("{name} is pinned now")),
        }
    }
    for before in old.params.iter().filter(|param| param.hidden()) {
        let name = word(&before.name);
        match (new.params.iter().find(|param| param.name == before.name), &before.from) {
            (Some(after), Some(from)) if !after.hidden() => {
                notes.loosening(format!(
                    "{name} was {} of the caller's identity, and is up to the caller now",
                    word(&from.field)
                ));
            }
            (Some(after), None) if !after.hidden() => {
                notes.loosening(format!("{name} was pinned, and is up to the caller now"));
            }
            (None, Some(from)) => notes.loosening(format!(
                "{name}, which was {} of the caller's identity, is gone",
                word(&from.field)
            )),
            (None, None) => notes.invisible(format!("{name}, which was pinned, is gone")),
            _ => {}
        }
    }
}
