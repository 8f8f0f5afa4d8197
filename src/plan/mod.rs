//! Compile: `Config` to [`Plan`]. A pure function: no clock, disk or network, so that `check` runs anywhere. Every problem is
//! recorded; a plan exists only if there is no error.

mod catalog;
mod complete;
mod jinja;
mod portable;
mod prompt;
mod route;
mod server;

pub use catalog::{Catalog, Lists};
pub use complete::CompletionPlan;
pub use prompt::{MessagePlan, PromptPlan, Role};
pub use route::{HeaderParam, Noun, ResourcePlan, RoutePlan, ToolPlan};
pub use server::{LogPlan, ServerPlan, parse_address};

use serde::Serialize;

use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics};
use crate::source::{SourcePlan, SourcePlans};
use crate::yaml::Entries;

/// Everything that runs, checked, with every default in place, comparable and free of I/O.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The server.
    pub server: ServerPlan,
    /// Sources by name.
    pub sources: Vec<(String, SourcePlan)>,
    /// Tools in written order.
    pub tools: Vec<ToolPlan>,
    /// Resources and templates in written order.
    pub resources: Vec<ResourcePlan>,
    /// Prompts in written order.
    pub prompts: Vec<PromptPlan>,
    /// The lists, serialised.
    #[serde(skip)]
    pub catalog: Catalog,
}

/// Compiles a configuration. `None` if anything in `diagnostics` is an error.
#[must_use]
pub fn compile(config: &Config, diagnostics: &mut Diagnostics) -> Option<Plan> {
    let server = server::compile(config, diagnostics);
    let sources = compile_sources(config, diagnostics);
    let tools: Vec<_> = config
        .tools
        .iter()
        .filter_map(|(name, tool)| route::compile_tool(name, tool, config, &sources, diagnostics))
        .collect();
    let resources: Vec<_> = config
        .resources
        .iter()
        .filter_map(|(uri, resource)| route::compile_resource(uri, resource, config, &sources, diagnostics))
        .collect();
    let prompts: Vec<_> = config
        .prompts
        .iter()
        .filter_map(|(name, prompt)| prompt::compile(name, prompt, config, &sources, diagnostics))
        .collect();
    portable::check_server(config, server.as_ref(), diagnostics);
    if tools.is_empty() && resources.is_empty() && prompts.is_empty() && !diagnostics.has_errors() {
        let message = "nothing is served: there are no tools, resources or prompts";
        diagnostics.push(Diagnostic::warning("empty", message));
    }
    if diagnostics.has_errors() {
        return None;
    }
    let server = server?;
    let catalog = Catalog::build(&server, &tools, &resources, &prompts);
    let sources = sources.0.into_iter().filter_map(|(name, plan)| Some((name.value, plan?))).collect();
    Some(Plan { server, sources, tools, resources, prompts, catalog })
}

fn compile_sources(config: &Config, diagnostics: &mut Diagnostics) -> SourcePlans {
    let compiled = config.sources.iter().map(|(name, source)| {
        check_name("source", name, diagnostics);
        (name.clone(), crate::source::compile(name, source, &config.base, diagnostics))
    });
    Entries(compiled.collect())
}

fn check_name(what: &str, name: &crate::diag::Spanned<String>, diagnostics: &mut Diagnostics) {
    if !crate::name::is_valid(name) {
        let message = format!("`{}` cannot be the name of a {what}", name.value);
        let help = "a letter or `_`, then letters, digits, `_`, `-`, `.`; 128 at the most";
        diagnostics.push(Diagnostic::error("bad-name", message).at(name.span, "").help(help));
    }
}
