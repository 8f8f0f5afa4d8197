//! What rehearsals announce has to be there: a client that watches a resource watches one that is served.

use super::ResourcePlan;
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::fixed::FixedConfig;

/// Checks every announced URI against the resources and templates.
pub(super) fn check(config: &Config, resources: &[ResourcePlan], diagnostics: &mut Diagnostics) {
    let data = config.prompts.iter().flat_map(|(_, p)| p.data.iter()).filter_map(|(_, d)| d.fixed.as_ref());
    let tools = config.tools.iter().filter_map(|(_, t)| t.fixed.as_ref());
    let uris = tools.chain(data).flat_map(FixedConfig::announced).filter(|what| what.value.contains(':'));
    // A resource that did not compile was complained about already.
    let lost = config.losses.lost(&["resources"]) || resources.len() < config.resources.iter().count();
    for uri in uris.filter(|_| !lost) {
        let served = |r: &ResourcePlan| r.uri == uri.value || r.template.matches(uri).is_some();
        if !resources.iter().any(served) {
            let message = format!("no resource has the URI `{}`", uri.value);
            let help = crate::name::did_you_mean(uri, config.resources.names(), "resources");
            diagnostics
                .push(Diagnostic::error("unknown-resource", message).absence().at(uri.span, "").help(help));
        }
    }
}
