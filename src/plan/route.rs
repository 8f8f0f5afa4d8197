//! What tools, resources and the values of prompts have in common after compile: one operation, with its parameters, policies and output.

use std::sync::Arc;

use serde::Serialize;

use super::confirm::{self, ConfirmPlan};
use crate::config::Config;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::{OutputConfig, OutputPlan};
use crate::params::{ParamConfig, ParamsPlan, Scope};
use crate::policy::cache::Identifies;
use crate::policy::{PolicyConfig, PolicyPlan, RouteAuthPlan, Traits};
use crate::source::{self, OpConfigs, OpPlan, SourceOf, SourcePlan, SourcePlans};
use crate::yaml::Entries;

/// What a route is exposed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    /// A tool.
    Tool,
    /// A resource or resource template.
    Resource,
    /// A value that a prompt fetches.
    PromptData,
    /// Suggestions for an argument.
    Completion,
}

impl Noun {
    /// The noun as a word, for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::PromptData => "prompt_data",
            Self::Completion => "completion",
        }
    }
}

/// The compiled way from one exposed name to one operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoutePlan {
    /// What it is exposed as.
    pub noun: Noun,
    /// The exposed name.
    pub name: String,
    /// Its parameters.
    pub params: ParamsPlan,
    /// Its operation.
    pub op: OpPlan,
    /// What of the reply reaches the caller.
    pub output: Arc<OutputPlan>,
    /// What stands before the operation.
    pub policy: Arc<PolicyPlan>,
    /// What the person is asked before it runs.
    pub confirm: Option<ConfirmPlan>,
    /// Whether the same call may be made again whatever came of it: by its operation, by the word of its author, or as it only reads.
    #[serde(skip)]
    pub repeats: bool,
}

impl RoutePlan {
    /// Whether it may ask the client something.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.confirm.is_some() || self.op.asks()
    }
}

/// What the last routes have in common with the next ones: most of what a file does not say is the same for all its routes.
#[derive(Default)]
pub(super) struct Common {
    outputs: Vec<Arc<OutputPlan>>,
    policies: Vec<Arc<PolicyPlan>>,
}

impl Common {
    /// How many of each are looked through.
    const KEPT: usize = 8;

    /// Makes `route` share what is equal.
    pub fn share(&mut self, route: &mut RoutePlan) {
        Self::one(&mut self.outputs, &mut route.output);
        Self::one(&mut self.policies, &mut route.policy);
    }

    fn one<T: PartialEq>(known: &mut Vec<Arc<T>>, own: &mut Arc<T>) {
        match known.iter().find(|known| *known == own) {
            Some(known) => *own = known.clone(),
            None => {
                known.truncate(Self::KEPT - 1);
                known.insert(0, own.clone());
            }
        }
    }
}

/// The parts of a route that all nouns have.
pub(super) struct RouteParts<'a> {
    pub noun: Noun,
    pub name: &'a str,
    pub at: Span,
    pub owner: String,
    pub params: ParamsPlan,
    pub ops: OpConfigs<'a>,
    pub output: &'a OutputConfig,
    pub policy: &'a PolicyConfig,
    pub confirm: Option<&'a Spanned<String>>,
    /// Where the parameters are declared, if one that nothing uses is a mistake.
    pub declared: Option<&'a Entries<ParamConfig>>,
}

/// The first key that works on data alone, with its place.
fn shaping(output: &OutputConfig) -> Option<(&'static str, Span)> {
    let select = output.select.as_ref().map(|select| ("select", select.span));
    let redact = output.redact.iter().flatten().map(|path| ("redact", path.span)).next();
    let schema = output.schema.as_ref().map(|schema| ("schema", schema.span));
    select.or(redact).or(schema)
}

pub(super) fn compile_route(
    parts: RouteParts<'_>,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<RoutePlan> {
    let RouteParts { noun, name, at, owner, params, ops, output, policy, confirm, declared } = parts;
    let mut scope = Scope::new(owner, &params).with_outside(&config.outside);
    // A source that is not there takes nothing from what is said of the parameters.
    let source = SourceOf::find(ops, sources, diagnostics);
    let before = diagnostics.errors();
    let op = source::compile_op(ops, at, source, &mut scope, diagnostics);
    let confirm = confirm.and_then(|c| confirm::compile(c, op.as_ref(), &mut scope, diagnostics));
    let fixed = ops.fixed.is_some();
    if let (Some(declared), true, false, true) =
        (declared, op.is_some(), fixed, diagnostics.errors() == before)
    {
        for unused in scope.unused() {
            let place = declared.iter().find(|(n, _)| n.value == unused).map_or(at, |(n, _)| n.span);
            let message = format!("the parameter `{unused}` of {} is used nowhere", scope.owner);
            let help = format!("use it as `{{{unused}}}` (in SQL `:{unused}`), or remove it");
            let word = if place == at { format!("{{{unused}}}") } else { unused.to_owned() };
            let problem = Diagnostic::error("unused-param", message).absence().help(help);
            diagnostics.push(problem.within(place, word, ""));
        }
    }
    let mut output_plan = output.compile(&config.defaults.output, diagnostics);
    // What stands in the configuration is as large as its author wanted, unless the route itself says otherwise.
    if fixed && output.max_bytes.is_none() {
        output_plan.max_bytes = usize::MAX;
    }
    // Lists that no model reads are as long as they are, too, and so is what clients know by its place.
    if (fixed || noun != Noun::Tool) && output.max_rows.is_none() {
        output_plan.max_items = usize::MAX;
    }
    let fits = match (&op, noun) {
        (Some(OpPlan::Fixed(fixed)), Noun::Resource | Noun::Completion) => fixed.fits_resource(),
        (Some(OpPlan::Fixed(fixed)), Noun::PromptData) => fixed.fits_prompt(),
        _ => true,
    };
    if !fits {
        let message = format!("the static content of {} is for tools only", scope.owner);
        let help = "give `text`, `json`, `blob` or `file`, without `steps`";
        diagnostics.push(Diagnostic::error("tool-content", message).at(at, "").help(help));
    }
    if let (Some(schema), true) = (&output.schema, op.as_ref().is_some_and(OpPlan::is_silent)) {
        let message =
            format!("{} sends `head`, whose answer has no content that could fit a schema", scope.owner);
        let help = "remove `schema`, or send `get`";
        diagnostics.push(Diagnostic::error("bad-schema", message).at(schema.span, "").help(help));
    }
    if let Some(OpPlan::Fixed(fixed)) = &op
        && !fixed.is_data()
        && let Some((key, span)) = shaping(output)
        && diagnostics.errors() == before
    {
        let message = format!("`{key}` does nothing to {}: its content is no data", scope.owner);
        let help = "give the content as `json`, or remove this";
        diagnostics.push(Diagnostic::warning("nothing-shaped", message).at(span, "").help(help));
    }
    let traits = traits(op.as_ref(), &params, sources);
    let mut policy_plan = policy.compile(&config.defaults.policy, &traits, diagnostics);
    policy_plan.auth = match noun {
        Noun::Tool | Noun::Resource => {
            super::auth::of_route(policy_plan.auth, policy, config, &params, &scope.owner, diagnostics)
        }
        // Whether the caller may use what it belongs to is asked before it.
        Noun::PromptData | Noun::Completion => RouteAuthPlan::default(),
    };
    if noun == Noun::PromptData {
        // The prompt itself is counted.
        policy_plan.rate_limit = None;
    }
    // Where the operation did not compile, enough is said already.
    if let Some(unrepeatable) = op.as_ref().and_then(OpPlan::unrepeatable) {
        // The policy of a prompt is that of all its values, whichever of them can be repeated.
        if matches!(noun, Noun::Tool | Noun::Resource) && policy_plan.retry.is_some() {
            policy.refuse_retry(&unrepeatable, diagnostics);
        }
        policy_plan.retry = None;
    }
    let op = op?;
    Some(RoutePlan {
        noun,
        name: name.to_owned(),
        params,
        repeats: noun != Noun::Tool || op.idempotent(),
        op,
        output: Arc::new(output_plan),
        policy: Arc::new(policy_plan),
        confirm,
    })
}

/// What the policies of a route have to know of its operation. One that did not compile is taken for whatever its policies need.
fn traits(op: Option<&OpPlan>, params: &ParamsPlan, sources: &SourcePlans) -> Traits {
    let Some(op) = op else { return Traits { reads_only: true, ..Traits::default() } };
    let source = sources.iter().find(|(name, _)| Some(name.value.as_str()) == op.source());
    let source = source.and_then(|(_, plan)| plan.as_ref());
    let bound = params.params.iter().filter_map(|p| p.from.as_ref()).map(|from| from.field.clone());
    let mut fields = source.map(SourcePlan::identity).unwrap_or_default();
    fields.extend(bound);
    Traits {
        reads_only: op.reads_only(),
        personal: op.talks() || op.asks(),
        identifies: Identifies { fields, whole: source.is_some_and(SourcePlan::acts_for_caller) },
    }
}
