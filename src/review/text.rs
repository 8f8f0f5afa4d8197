//! What a plan exposes and what differs, for people at a terminal.

use std::fmt::{self, Display, Formatter};

use super::compare::Comparison;
use super::exposed::{Exposed, ExposedAccess, ExposedOp, ExposedParam, ExposedRoute};
use super::notes::Effect;
use super::words::shown;

impl Display for Exposed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let server = &self.server;
        writeln!(f, "{} {} at {}", shown(&server.name), shown(&server.version), server.url)?;
        if let Some(admin) = &server.admin {
            writeln!(f, "  metrics and health at {admin}")?;
        }
        for callers in &server.callers {
            writeln!(f, "  for {}", shown(callers))?;
        }
        if !self.sources.is_empty() {
            writeln!(f, "\nsources")?;
        }
        for source in &self.sources {
            let reads = if source.read_only == Some(true) { ", read only" } else { "" };
            writeln!(f, "  {}: {}{reads}", source.name, source.kind)?;
        }
        let parts = [("tools", &self.tools), ("resources", &self.resources), ("prompts", &self.prompts)];
        for (what, routes) in parts.into_iter().filter(|(_, routes)| !routes.is_empty()) {
            writeln!(f, "\n{what} ({})", routes.len())?;
            routes.iter().try_for_each(|one| route(one, f))?;
        }
        Ok(())
    }
}

fn route(route: &ExposedRoute, f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, "  {}", shown(&route.name))?;
    for op in &route.operations {
        writeln!(f, "    {}", operation(op))?;
    }
    for one in &route.params {
        writeln!(f, "    - {}", param(one))?;
    }
    if let Some(access) = access(&route.access) {
        writeln!(f, "    callers: {access}")?;
    }
    writeln!(f, "    policy: {}", route.policy.join(", "))?;
    let Some(hints) = route.annotations else { return Ok(()) };
    let words = [
        (hints.read_only, "read only"),
        (hints.destructive, "destructive"),
        (hints.idempotent, "idempotent"),
        (hints.open_world, "open world"),
    ];
    let words: Vec<&str> = words.iter().filter_map(|(yes, word)| yes.then_some(*word)).collect();
    let words = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    writeln!(f, "    hints: {words}")
}

pub(super) fn operation(op: &ExposedOp) -> String {
    let value = op.value.as_ref().map(|value| format!("{value}: ")).unwrap_or_default();
    let source = op.source.as_ref().map(|source| format!(" {source}:")).unwrap_or_default();
    let writes = if op.reads_only || op.does == "writes" { "" } else { " (may change something)" };
    format!("{value}{}{source} {}{writes}", op.kind, op.does)
}

pub(super) fn param(param: &ExposedParam) -> String {
    let types = if param.types.is_empty() { "anything".to_owned() } else { param.types.join(" or ") };
    let need = match (&param.hidden, &param.default) {
        (Some(from), _) => return shown(&format!("{} (hidden: {from})", param.name)),
        (None, Some(default)) => format!("default {default}"),
        (None, None) if param.required => "required".to_owned(),
        (None, None) => "optional".to_owned(),
    };
    shown(&format!("{}: {types}, {need}", param.name))
}

/// Who may, where that says more than the server does.
pub(super) fn access(access: &ExposedAccess) -> Option<String> {
    let ExposedAccess { public, scopes, when } = access;
    if *public {
        return Some("everybody, without credentials".to_owned());
    }
    let scopes = (!scopes.is_empty()).then(|| format!("with {}", scopes.join(" ")));
    let parts: Vec<String> =
        scopes.into_iter().chain(when.iter().map(|when| format!("when {}", shown(when)))).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let against = shown(&self.against);
        if self.items.is_empty() {
            return writeln!(f, "no change against {against}");
        }
        for item in &self.items {
            let name = if item.name.is_empty() { String::new() } else { format!(" {}", shown(&item.name)) };
            let from = item.from.as_ref().map(|from| format!(" (was {})", shown(from))).unwrap_or_default();
            writeln!(f, "{}{name}: {}{from}", item.what, item.change.as_str())?;
            for difference in &item.differences {
                writeln!(f, "  {:<10}  {}", difference.effect.as_str(), difference.sentence)?;
            }
        }
        writeln!(f)?;
        if !self.restart.is_empty() {
            writeln!(f, "needs a restart: {}", self.restart.join(", "))?;
        }
        writeln!(f, "against {against}: {}", counts(self))
    }
}

/// `2 breaking, 1 compatible`
pub(super) fn counts(comparison: &Comparison) -> String {
    let some = Effect::ALL.map(|effect| (comparison.count(effect), effect.as_str()));
    let some: Vec<String> = some
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, effect)| format!("{count} {effect}"))
        .collect();
    some.join(", ")
}
