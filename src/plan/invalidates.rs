//! `invalidates:` of a route names others, which are known only when all are compiled.

use std::sync::Arc;

use super::{ResourcePlan, ToolPlan};
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// Says which names of `invalidates` are of no route, or of one that keeps no answers.
pub(super) fn check(
    config: &Config,
    tools: &[Arc<ToolPlan>],
    resources: &[ResourcePlan],
    diagnostics: &mut Diagnostics,
) {
    let written = config.tools.iter().flat_map(|(_, tool)| &tool.policy.invalidates);
    let written = written.chain(config.resources.iter().flat_map(|(_, r)| &r.policy.invalidates));
    for (_, prompt) in config.prompts.iter() {
        if let Some(first) = prompt.policy.invalidates.first() {
            let message = "a prompt changes nothing, so there is nothing to forget";
            let help = "`invalidates` belongs on a tool or resource that makes kept answers wrong";
            diagnostics.push(Diagnostic::error("not-in-prompts", message).at(first.span, "").help(help));
        }
    }
    for name in written {
        one(name, config, tools, resources, diagnostics);
    }
}

fn one(
    name: &Spanned<String>,
    config: &Config,
    tools: &[Arc<ToolPlan>],
    resources: &[ResourcePlan],
    diagnostics: &mut Diagnostics,
) {
    let names = || config.tools.names().chain(config.resources.names());
    if !names().any(|known| known == name.value) {
        let message = format!("there is no tool or resource `{}`", name.value);
        let help = crate::name::did_you_mean(&name.value, names(), "routes");
        diagnostics.push(Diagnostic::error("unknown-route", message).absence().at(name.span, "").help(help));
        return;
    }
    let routes = tools.iter().map(|t| &t.route).chain(resources.iter().map(|r| &r.route));
    // One that did not compile has been complained about already.
    let known = routes.into_iter().find(|route| route.name == name.value);
    if known.is_some_and(|route| route.policy.cache.is_none()) {
        let message = format!("`{}` keeps no answers: there is nothing to forget", name.value);
        let help = "a route keeps answers with `policy.cache`";
        diagnostics.push(Diagnostic::warning("nothing-cached", message).at(name.span, "").help(help));
    }
}
