//! Two plans: what came, went, got another name or changed, in the order of the new one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::notes::{Difference, Effect, Notes};
use super::routes;
use super::words::{Sentence, word};
use super::{server, sources};
use crate::plan::{Changes, Plan, PromptPlan, ResourcePlan, RoutePlan, ToolPlan, value};
use crate::policy::RouteAuthPlan;
use crate::source::SourcePlan;

/// What happened to one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is the same under another name.
    Renamed,
    /// It is another one under the same name.
    Changed,
}

impl Change {
    /// The change as a word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Renamed => "renamed",
            Self::Changed => "changed",
        }
    }
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// `tool`, `resource`, `prompt`, `source`, `server` or `lists`.
    pub what: &'static str,
    /// Its name; of a resource its URI.
    pub name: String,
    /// What happened to it.
    pub change: Change,
    /// Its name before, where it has another one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The gravest of its effects.
    pub effect: Effect,
    /// What differs, the gravest first.
    pub differences: Vec<Difference>,
}

/// What differs between two plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What was compared with, as it was named.
    pub against: String,
    /// Everything that differs.
    pub items: Vec<Item>,
    /// Settings that differ and take a restart.
    pub restart: Vec<&'static str>,
}

impl Comparison {
    /// How many differences have this effect.
    #[must_use]
    pub fn count(&self, effect: Effect) -> usize {
        self.items.iter().flat_map(|item| &item.differences).filter(|d| d.effect == effect).count()
    }
}

/// What tools, resources and prompts have in common here.
trait Named: PartialEq + Serialize {
    const WHAT: &'static str;
    fn called(&self) -> &str;
    fn compare(old: &Self, new: &Self, notes: &mut Notes);
    fn writes(&self) -> bool;
    fn auth(&self) -> &RouteAuthPlan;
    /// Its form without its name.
    fn body(&self) -> Value;
    /// What asks sources for it.
    fn routes(&self) -> Vec<&RoutePlan>;
}

/// The sources of both plans, by name.
struct Both<'a> {
    old: HashMap<&'a str, &'a SourcePlan>,
    new: HashMap<&'a str, &'a SourcePlan>,
}

impl Both<'_> {
    /// What is different for each caller where something goes to other sources than before.
    fn moves<T: Named>(&self, old: &T, new: &T, notes: &mut Notes) {
        let before = old.routes();
        for route in new.routes() {
            let Some(other) = before.iter().find(|other| other.name == route.name) else { continue };
            let (Some(from), Some(to)) = (other.op.source(), route.op.source()) else { continue };
            let (Some(from), Some(to)) = (self.old.get(from), self.new.get(to)) else { continue };
            // What changed of the same source is told of the source.
            if other.op.source() != route.op.source() {
                sources::moved(from, to, notes);
            }
        }
    }
}

impl Named for ToolPlan {
    const WHAT: &'static str = "tool";
    fn called(&self) -> &str {
        &self.route.name
    }
    fn compare(old: &Self, new: &Self, notes: &mut Notes) {
        routes::tools(old, new, notes);
    }
    fn writes(&self) -> bool {
        !self.route.op.reads_only()
    }
    fn auth(&self) -> &RouteAuthPlan {
        &self.route.policy.auth
    }
    fn body(&self) -> Value {
        without(value(self), &["/route/name"])
    }
    fn routes(&self) -> Vec<&RoutePlan> {
        vec![&self.route]
    }
}

impl<T: Named> Named for Arc<T> {
    const WHAT: &'static str = T::WHAT;
    fn called(&self) -> &str {
        T::called(self)
    }
    fn compare(old: &Self, new: &Self, notes: &mut Notes) {
        T::compare(old, new, notes);
    }
    fn writes(&self) -> bool {
        T::writes(self)
    }
    fn auth(&self) -> &RouteAuthPlan {
        T::auth(self)
    }
    fn body(&self) -> Value {
        T::body(self)
    }
    fn routes(&self) -> Vec<&RoutePlan> {
        T::routes(self)
    }
}

impl Named for ResourcePlan {
    const WHAT: &'static str = "resource";
    fn called(&self) -> &str {
        &self.uri
    }
    fn compare(old: &Self, new: &Self, notes: &mut Notes) {
        routes::resources(old, new, notes);
    }
    fn writes(&self) -> bool {
        !self.route.op.reads_only()
    }
    fn auth(&self) -> &RouteAuthPlan {
        &self.route.policy.auth
    }
    fn body(&self) -> Value {
        let mut names = vec!["/route/name", "/uri", "/template"];
        if self.name == self.uri {
            names.push("/name");
        }
        without(value(self), &names)
    }
    fn routes(&self) -> Vec<&RoutePlan> {
        vec![&self.route]
    }
}

impl Named for PromptPlan {
    const WHAT: &'static str = "prompt";
    fn called(&self) -> &str {
        &self.name
    }
    fn compare(old: &Self, new: &Self, notes: &mut Notes) {
        routes::prompts(old, new, notes);
    }
    fn writes(&self) -> bool {
        self.data.iter().any(|(_, route)| !route.op.reads_only())
    }
    fn auth(&self) -> &RouteAuthPlan {
        &self.policy.auth
    }
    fn body(&self) -> Value {
        without(value(self), &["/name"])
    }
    fn routes(&self) -> Vec<&RoutePlan> {
        self.data.iter().map(|(_, route)| &**route).collect()
    }
}

fn without(mut value: Value, pointers: &[&str]) -> Value {
    for pointer in pointers {
        if let Some(place) = value.pointer_mut(pointer) {
            *place = Value::Null;
        }
    }
    value
}

pub(super) fn compare(against: &str, old: &Plan, new: &Plan) -> Comparison {
    let mut items = Vec::new();
    let mut notes = Notes::default();
    server::servers(&old.server, &new.server, &mut notes);
    push(&mut items, "server", &new.server.name, Change::Changed, None, notes);
    sources(&old.sources, &new.sources, &mut items);
    let both = Both { old: by_name(&old.sources), new: by_name(&new.sources) };
    named(&old.tools, &new.tools, &both, &mut items);
    named(&old.resources, &new.resources, &both, &mut items);
    named(&old.prompts, &new.prompts, &both, &mut items);
    let changes = Changes::between(old, new, true);
    if changes.order {
        let mut notes = Notes::default();
        notes.compatible("they come in another order");
        push(&mut items, "lists", "", Change::Changed, None, notes);
    }
    Comparison { against: against.to_owned(), items, restart: changes.fixed }
}

/// Puts in what was found, if anything was.
fn push(
    items: &mut Vec<Item>,
    what: &'static str,
    name: &str,
    change: Change,
    from: Option<&str>,
    notes: Notes,
) {
    let differences = notes.sorted();
    let Some(first) = differences.first() else { return };
    let (name, from) = (name.to_owned(), from.map(str::to_owned));
    items.push(Item { what, name, change, from, effect: first.effect, differences });
}

fn named<T: Named>(old: &[T], new: &[T], both: &Both<'_>, items: &mut Vec<Item>) {
    let before: HashMap<&str, &T> = old.iter().map(|one| (one.called(), one)).collect();
    let after: HashSet<&str> = new.iter().map(T::called).collect();
    // What may be the same under another name, by its form.
    let mut gone: HashMap<String, VecDeque<&T>> = HashMap::new();
    for one in old.iter().filter(|one| !after.contains(one.called())) {
        gone.entry(one.body().to_string()).or_default().push_back(one);
    }
    let mut renamed = HashSet::new();
    for one in new {
        let mut notes = Notes::default();
        if let Some(old) = before.get(one.called()) {
            T::compare(old, one, &mut notes);
            both.moves(*old, one, &mut notes);
            push(items, T::WHAT, one.called(), Change::Changed, None, notes);
            continue;
        }
        let from = gone.get_mut(&one.body().to_string()).and_then(VecDeque::pop_front);
        if let Some(from) = from {
            renamed.insert(from.called());
            notes.breaking(format!("who calls it {} no longer finds it", word(from.called())));
            push(items, T::WHAT, one.called(), Change::Renamed, Some(from.called()), notes);
            continue;
        }
        added(one, &mut notes);
        push(items, T::WHAT, one.called(), Change::Added, None, notes);
    }
    for one in old.iter().filter(|one| !after.contains(one.called()) && !renamed.contains(one.called())) {
        let mut notes = Notes::default();
        notes.breaking("it is gone");
        push(items, T::WHAT, one.called(), Change::Removed, None, notes);
    }
}

fn added<T: Named>(one: &T, notes: &mut Notes) {
    if one.writes() {
        notes.loosening("it is new, and may change something");
    } else {
        notes.compatible(Sentence::from("it is new"));
    }
    if one.auth().public && one.auth().known {
        notes.loosening("callers without any credentials may use it");
    }
}

fn by_name(sources: &[(String, SourcePlan)]) -> HashMap<&str, &SourcePlan> {
    sources.iter().map(|(name, plan)| (name.as_str(), plan)).collect()
}

fn sources(old: &[(String, SourcePlan)], new: &[(String, SourcePlan)], items: &mut Vec<Item>) {
    let before = by_name(old);
    for (name, plan) in new {
        let mut notes = Notes::default();
        let change = match before.get(name.as_str()) {
            None => {
                notes.invisible("it is new");
                Change::Added
            }
            Some(old) => {
                sources::source(old, plan, &mut notes);
                Change::Changed
            }
        };
        push(items, "source", name, change, None, notes);
    }
    let after: HashSet<&str> = new.iter().map(|(name, _)| name.as_str()).collect();
    for (name, _) in old.iter().filter(|(name, _)| !after.contains(name.as_str())) {
        let mut notes = Notes::default();
        notes.invisible("it is gone");
        push(items, "source", name, Change::Removed, None, notes);
    }
}
