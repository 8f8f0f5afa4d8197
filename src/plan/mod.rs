//! Compile: `Config` to [`Plan`]. A pure function: no clock, disk or network, so that `check` runs anywhere. Every problem is
//! recorded; a plan exists only if there is no error.

mod announced;
mod auth;
mod capabilities;
mod catalog;
mod changes;
mod checked;
mod complete;
mod confirm;
mod frozen;
mod invalidates;
mod listed;
mod otlp;
mod pages;
mod portable;
mod prompt;
mod resource;
mod route;
mod server;
mod status;
mod tls;
mod tool;
mod written;

pub use catalog::{Catalog, Lists, Member};
pub use changes::{Changes, Named, same};
pub use checked::{Checked, check, check_from};
pub use complete::CompletionPlan;
pub use confirm::{CONFIRM, ConfirmPlan};
pub use frozen::{CALL_TOOL, DEFAULT_FOUND, FIND_TOOL, Found, Index, MAX_FOUND, MAX_QUERY};
pub use listed::{IconPlan, ListedPlan};
pub use otlp::OtlpPlan;
pub use pages::{List, Page};
pub use prompt::{MessagePlan, PromptPlan, Role};
pub use resource::ResourcePlan;
pub use route::{Noun, RoutePlan};
pub use server::{AuditPlan, LogPlan, ServerPlan, parse_address};
pub use status::{STATUS_URI, StatusPlan};
pub use tls::TlsPlan;
pub use tool::{HeaderParam, ToolPlan};
pub use written::value;

use std::sync::Arc;

use serde::Serialize;

use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::OutputConfig;
use crate::policy::{PolicyConfig, Traits};
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
    pub tools: Vec<Arc<ToolPlan>>,
    /// Resources and templates in written order.
    pub resources: Vec<ResourcePlan>,
    /// Prompts in written order.
    pub prompts: Vec<PromptPlan>,
    /// The lists, serialised: empty until the plan is put to use, so that they are written once.
    #[serde(skip)]
    pub catalog: Catalog,
    /// `sha256:…` of what was compiled as JSON, with secrets masked: the same wherever the same is served, whatever the secrets are.
    /// Empty until somebody signs the plan.
    #[serde(skip)]
    pub digest: String,
}

impl Plan {
    /// The lists may change while this runs: clients are told so, also of those that are empty now.
    pub fn may_change(&mut self) {
        self.server.reloads = true;
    }

    /// Writes the lists, when nothing of what they show changes any more.
    pub fn list(&mut self) {
        self.catalog = Catalog::build(&self.server, &self.tools, &self.resources, &self.prompts);
    }

    /// Names the plan by its hash, unless it has one: what is learned of it later, and how it is served, do not count.
    pub fn sign(&mut self) {
        if self.digest.is_empty() {
            self.digest = written::digest(self);
        }
    }
}

/// Compiles a configuration. `None` if anything in `diagnostics` is an error.
#[must_use]
pub fn compile(config: &Config, diagnostics: &mut Diagnostics) -> Option<Plan> {
    let start = diagnostics.len();
    let server = server::compile(config, diagnostics);
    if config.losses.touch(&["auth"], &[]) {
        diagnostics.forget_absences(start);
    }
    check_defaults(config, diagnostics);
    let sources = compile_sources(config, diagnostics);
    let mut common = route::Common::default();
    let tools: Vec<_> = config
        .tools
        .iter()
        .filter_map(|(name, tool)| {
            part(config, &["tools", name], diagnostics, |diagnostics| {
                let mut tool = tool::compile_tool(name, tool, config, &sources, diagnostics)?;
                if let Some(route) = Arc::get_mut(&mut tool.route) {
                    common.share(route);
                }
                Some(Arc::new(tool))
            })
        })
        .collect();
    let resources: Vec<_> = config
        .resources
        .iter()
        .filter_map(|(uri, resource)| {
            part(config, &["resources", uri], diagnostics, |diagnostics| {
                resource::compile_resource(uri, resource, config, &sources, diagnostics)
            })
        })
        .collect();
    let prompts: Vec<_> = config
        .prompts
        .iter()
        .filter_map(|(name, prompt)| {
            part(config, &["prompts", name], diagnostics, |diagnostics| {
                prompt::compile(name, prompt, config, &sources, diagnostics)
            })
        })
        .collect();
    auth::check_unknown(config, diagnostics);
    auth::check_subjects(config, server.as_ref().map(|server| &server.auth), diagnostics);
    auth::check_scopes(config, server.as_ref().map(|server| &server.auth), diagnostics);
    auth::check_exchange(config, server.as_ref().map(|server| &server.auth), diagnostics);
    invalidates::check(config, &tools, &resources, diagnostics);
    announced::check(config, &resources, diagnostics);
    status::check(config, diagnostics);
    frozen::check(config, diagnostics);
    portable::check_server(config, server.as_ref(), diagnostics);
    if config.losses.lost(&["sources"]) {
        diagnostics.forget_absences(start);
    }
    if tools.is_empty() && resources.is_empty() && prompts.is_empty() && !diagnostics.has_errors() {
        let message = "nothing is served: there are no tools, resources or prompts";
        diagnostics.push(Diagnostic::warning("empty", message));
    }
    if diagnostics.has_errors() {
        return None;
    }
    let server = server?;
    let sources = sources.0.into_iter().filter_map(|(name, plan)| Some((name.value, plan?))).collect();
    let (catalog, digest) = (Catalog::default(), String::new());
    Some(Plan { server, sources, tools, resources, prompts, catalog, digest })
}

fn compile_sources(config: &Config, diagnostics: &mut Diagnostics) -> SourcePlans {
    let compiled = config.sources.iter().map(|(name, source)| {
        check_name("source", name, diagnostics);
        let plan = part(config, &["sources", name], diagnostics, |diagnostics| {
            crate::source::compile(name, source, config.base_of(name.span.file), diagnostics)
        });
        // What its operations are checked against has to be known.
        let known = ["sql", "vector"].iter().all(|kind| {
            let path = ["sources", name, kind, if *kind == "sql" { "read_only" } else { "sqlite" }];
            !config.losses.touch(&path, &[])
        });
        (name.clone(), plan.filter(|_| known))
    });
    let compiled: Vec<_> = compiled.collect();
    let lost = config.losses.children(&["sources"]);
    let lost = lost.map(|name| (Spanned::new(name.to_owned(), Span::default()), None));
    Entries(compiled.into_iter().chain(lost).collect())
}

/// Compiles the part of the configuration at `path`. Where some of it was lost, nothing is said to be missing.
fn part<T>(
    config: &Config,
    path: &[&str],
    diagnostics: &mut Diagnostics,
    compile: impl FnOnce(&mut Diagnostics) -> T,
) -> T {
    let mark = diagnostics.len();
    let compiled = compile(diagnostics);
    if config.losses.touch(path, &["title", "policy", "output", "annotations", "meta", "size"]) {
        diagnostics.forget_absences(mark);
    }
    compiled
}

/// What is wrong in `defaults` is told also where no route takes it.
fn check_defaults(config: &Config, diagnostics: &mut Diagnostics) {
    let defaults = &config.defaults;
    let reads = Traits { reads_only: true, ..Traits::default() };
    let _ = defaults.policy.compile(&PolicyConfig::default(), &reads, diagnostics);
    if let Some(first) = defaults.policy.invalidates.first() {
        let message = "`invalidates` belongs on the route that makes kept answers wrong";
        diagnostics.push(Diagnostic::error("not-in-defaults", message).at(first.span, ""));
    }
    let _ = defaults.output.compile(&OutputConfig::default(), diagnostics);
}

fn check_name(what: &str, name: &Spanned<String>, diagnostics: &mut Diagnostics) {
    if !crate::name::is_valid(name) {
        let message = format!("`{}` cannot be the name of a {what}", name.value);
        let help = "a letter or `_`, then letters, digits, `_`, `-`, `.`; 128 at the most";
        diagnostics.push(Diagnostic::error("bad-name", message).at(name.span, "").help(help));
    }
}
