//! Tools and resources after compile: one operation each, with its parameters, policies and output.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::complete::{self, CompletionPlan};
use super::confirm::{self, ConfirmPlan};
use super::listed::{self, ListedPlan};
use crate::config::{Config, ResourceConfig, ToolConfig};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::{NEXT, OutputConfig, OutputPlan};
use crate::params::{self, ParamConfig, ParamsPlan, Scope};
use crate::policy::cache::Identifies;
use crate::policy::{PolicyConfig, PolicyPlan, RouteAuthPlan, Traits};
use crate::source::{self, OpConfigs, OpPlan, SourcePlan, SourcePlans};
use crate::template::UriTemplate;
use crate::units::Size;
use crate::yaml::{Entries, JsonNode};

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
    pub output: OutputPlan,
    /// What stands before the operation.
    pub policy: PolicyPlan,
    /// What the person is asked before it runs.
    pub confirm: Option<ConfirmPlan>,
}

impl RoutePlan {
    /// Whether it may ask the client something.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.confirm.is_some() || self.op.asks()
    }
}

/// A compiled tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToolPlan {
    /// Its route.
    pub route: Arc<RoutePlan>,
    /// A name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// Hints: read only, destructive, idempotent, open world.
    pub annotations: [bool; 4],
    /// The schema of structured results, where it is known.
    pub output_schema: Option<Value>,
    /// Parameters that clients repeat in a header.
    pub header_params: Vec<HeaderParam>,
    /// What else the list says.
    #[serde(flatten)]
    pub listed: ListedPlan,
}

/// A parameter with `x-mcp-header` (MCP 2026-07-28, transports/streamable-http).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderParam {
    /// The header, in lower case: `mcp-param-…`.
    pub header: String,
    /// The names that lead to the value in the arguments.
    pub path: Vec<String>,
}

/// A compiled resource or template.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResourcePlan {
    /// Its route.
    pub route: Arc<RoutePlan>,
    /// The URI or URI template as written.
    pub uri: String,
    /// The same, split.
    pub template: UriTemplate,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Media type of its content.
    pub mime_type: Option<String>,
    /// How large its content is, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Hints about how it is used, in the names of the protocol.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub annotations: Map<String, Value>,
    /// What else the list says.
    #[serde(flatten)]
    pub listed: ListedPlan,
    /// Suggestions for its variables.
    pub completions: Vec<(String, CompletionPlan)>,
}

impl ResourcePlan {
    /// Whether the URI has variables.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.template.variables().next().is_some()
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

pub(super) fn compile_route(
    parts: RouteParts<'_>,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<RoutePlan> {
    let RouteParts { noun, name, at, owner, params, ops, output, policy, confirm, declared } = parts;
    let mut scope = Scope::new(owner, &params);
    let before = diagnostics.errors();
    let op = source::compile_op(ops, at, sources, &mut scope, diagnostics);
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
    Some(RoutePlan {
        noun,
        name: name.to_owned(),
        params,
        op: op?,
        output: output_plan,
        policy: policy_plan,
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

pub(super) fn compile_tool(
    name: &Spanned<String>,
    tool: &ToolConfig,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<ToolPlan> {
    super::check_name("tool", name, diagnostics);
    let owner = format!("tool `{}`", name.value);
    if tool.description.as_deref().is_none_or(|d| d.trim().is_empty()) {
        let message = format!("{owner} has no description");
        let help = "the model chooses tools by their descriptions";
        diagnostics
            .push(Diagnostic::warning("no-description", message).absence().at(name.span, "").help(help));
    }
    let listed = listed::compile(&tool.icons, &tool.meta, diagnostics);
    let params = tool_params(tool, &owner, diagnostics)?;
    let header_params = header_params(&params, tool, name.span, diagnostics);
    let parts = RouteParts {
        noun: Noun::Tool,
        name,
        at: name.span,
        owner,
        params,
        ops: tool.ops(),
        output: &tool.output,
        policy: &tool.policy,
        confirm: tool.confirm.as_ref(),
        declared: tool.input_schema.is_none().then_some(&tool.params),
    };
    let route = compile_route(parts, config, sources, diagnostics)?;
    let written = &tool.annotations;
    let reads = written.read_only.unwrap_or(route.op.reads_only());
    let annotations = [
        reads,
        written.destructive.unwrap_or(!reads),
        written.idempotent.unwrap_or(route.op.idempotent()),
        written.open_world.unwrap_or(route.op.open_world()),
    ];
    let output_schema = match &route.output.schema {
        Some(schema) => Some(schema.value.clone()),
        None if route.output.select.is_none() => route.op.output_schema(),
        None => None,
    };
    let plan = ToolPlan {
        route: Arc::new(route),
        title: tool.title.clone(),
        description: tool.description.clone(),
        annotations,
        output_schema,
        header_params,
        listed,
    };
    super::portable::check_tool(name, tool, &plan, diagnostics);
    Some(plan)
}

fn tool_params(tool: &ToolConfig, owner: &str, diagnostics: &mut Diagnostics) -> Option<ParamsPlan> {
    match &tool.input_schema {
        None => params::compile(&paged_params(tool), owner, diagnostics),
        Some(schema) => {
            if let Some((first, _)) = tool.params.iter().next() {
                let message = format!("{owner} has both `params` and `input_schema`");
                let problem = Diagnostic::error("one-of", message);
                diagnostics.push(problem.at(first.span, "parameters").at(schema.span, "the schema"));
                return None;
            }
            params::compile_verbatim(schema, owner, diagnostics)
        }
    }
}

/// The parameters with the one that goes on with the pages of a result, unless it is declared.
fn paged_params(tool: &ToolConfig) -> Cow<'_, Entries<ParamConfig>> {
    let sql = tool.sql.as_ref().and_then(|sql| sql.page.as_ref().map(|page| page.span));
    let rest = tool.rest.as_ref().and_then(|rest| rest.page.as_ref().map(|page| page.span));
    let Some(at) = sql.or(rest).filter(|_| !tool.params.names().any(|name| name == NEXT)) else {
        return Cow::Borrowed(&tool.params);
    };
    let keyword = |name: &str, text: &str| {
        (Spanned::new(name.to_owned(), at), Spanned::new(JsonNode::Text(text.to_owned()), at))
    };
    let what = if rest.is_some() { "items" } else { "rows" };
    let about =
        format!("The `next` of the result before this one, for the {what} after it. Leave it out to begin.");
    let schema = vec![keyword("type", "string"), keyword("description", &about)];
    let next = ParamConfig { optional: true, schema, ..ParamConfig::default() };
    let mut params = tool.params.clone();
    params.0.push((Spanned::new(NEXT.to_owned(), at), next));
    Cow::Owned(params)
}

/// Finds `x-mcp-header` in `properties` chains, and refuses what clients must drop a tool for.
fn header_params(
    params: &ParamsPlan,
    tool: &ToolConfig,
    at: Span,
    diagnostics: &mut Diagnostics,
) -> Vec<HeaderParam> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let place = |path: &[String]| {
        let path: Vec<&str> =
            path.iter().flat_map(|name| ["properties", name]).chain(["x-mcp-header"]).collect();
        match &tool.input_schema {
            Some(schema) => schema.at(&path),
            None => params::place(&tool.params, &path).unwrap_or(at),
        }
    };
    collect_headers(&params.schema.value, &mut Vec::new(), &mut found, &mut problems);
    for (index, param) in found.iter().enumerate() {
        if found.iter().take(index).any(|p: &HeaderParam| p.header == param.header) {
            let message = format!("two parameters have the same `x-mcp-header` (`{}`)", param.header);
            problems.push((param.path.clone(), message));
        }
    }
    for (path, message) in problems {
        diagnostics.push(Diagnostic::error("bad-mcp-header", message).at(place(&path), ""));
    }
    found
}

fn collect_headers(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<HeaderParam>,
    problems: &mut Vec<(Vec<String>, String)>,
) {
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header") {
            let token = header.as_str().filter(|h| {
                !h.is_empty()
                    && h.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
            });
            let scalar = matches!(
                property.get("type").and_then(Value::as_str),
                Some("string" | "integer" | "boolean")
            );
            match token {
                Some(token) if scalar => found.push(HeaderParam {
                    header: format!("mcp-param-{}", token.to_ascii_lowercase()),
                    path: path.clone(),
                }),
                Some(_) => {
                    let why = format!("`x-mcp-header` on `{name}` needs the type string, integer or boolean");
                    problems.push((path.clone(), why));
                }
                None => {
                    let why = format!("the `x-mcp-header` of `{name}` is not a header name part");
                    problems.push((path.clone(), why));
                }
            }
        }
        collect_headers(property, path, found, problems);
        path.pop();
    }
}

pub(super) fn compile_resource(
    uri: &Spanned<String>,
    resource: &ResourceConfig,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<ResourcePlan> {
    let template = match UriTemplate::parse(uri) {
        Ok(template) => template,
        Err((why, near)) => {
            let message = format!("this URI template cannot be used: {why}");
            diagnostics.push(Diagnostic::error("bad-uri-template", message).within(uri.span, near, ""));
            return None;
        }
    };
    let scheme = uri.split(':').next().filter(|s| s.len() < uri.len());
    let scheme_fits = scheme.is_some_and(|s| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    if !scheme_fits || uri.contains(char::is_whitespace) {
        let message = format!("`{}` is not a URI", uri.value);
        let help = "a scheme, `:`, and the rest: `shop://orders/{id}`";
        diagnostics.push(Diagnostic::error("bad-uri", message).at(uri.span, "").help(help));
        return None;
    }
    let owner = format!("resource `{}`", uri.value);
    let listed = listed::compile(&resource.icons, &resource.meta, diagnostics);
    let annotations = listed::annotations(&resource.annotations, diagnostics);
    let params = params::compile(&uri_params(uri, &template, resource, diagnostics)?, &owner, diagnostics)?;
    let of = complete::Owner { what: &owner, params: &params, policy: &resource.policy };
    let completions = complete::compile(&resource.complete, &of, config, sources, diagnostics);
    let parts = RouteParts {
        noun: Noun::Resource,
        name: uri,
        at: uri.span,
        owner,
        params,
        ops: resource.ops(),
        output: &resource.output,
        policy: &resource.policy,
        confirm: None,
        declared: Some(&resource.params),
    };
    let route = compile_route(parts, config, sources, diagnostics)?;
    Some(ResourcePlan {
        size: listed::size(resource, &template, &route.output, diagnostics),
        annotations,
        listed,
        route: Arc::new(route),
        uri: uri.value.clone(),
        name: resource.name.clone().unwrap_or_else(|| uri.value.clone()),
        title: resource.title.clone(),
        description: resource.description.clone(),
        completions,
        mime_type: resource
            .mime_type
            .clone()
            .or_else(|| resource.fixed.as_ref().and_then(|f| f.mime_type.clone())),
        template,
    })
}

/// The URI's variables as parameters: texts, unless `params` says more of them.
fn uri_params(
    uri: &Spanned<String>,
    template: &UriTemplate,
    resource: &ResourceConfig,
    diagnostics: &mut Diagnostics,
) -> Option<Entries<ParamConfig>> {
    let mut sound = true;
    for (name, param) in resource.params.iter() {
        if param.hidden() && template.variables().any(|v| v == name.value) {
            sound = false;
            let message =
                format!("`{}` is a variable of the URI, and cannot be bound to something else", name.value);
            diagnostics.push(Diagnostic::error("bound-variable", message).at(name.span, ""));
        }
        if !param.hidden() && !template.variables().any(|v| v == name.value) {
            sound = false;
            let message = format!("`{}` is not a variable of the URI", name.value);
            let help = crate::name::did_you_mean(name, template.variables(), "variables");
            diagnostics
                .push(Diagnostic::error("unknown-param", message).absence().at(name.span, "").help(help));
        }
    }
    let variables = template.variables().map(|name| {
        let written = resource.params.iter().find(|(n, _)| n.value == name).cloned();
        written.unwrap_or_else(|| {
            let name = Spanned::new(name.to_owned(), uri.span);
            let text = Spanned::new(JsonNode::Text("string".to_owned()), uri.span);
            let kind = Spanned::new("type".to_owned(), uri.span);
            (name, ParamConfig { schema: vec![(kind, text)], ..ParamConfig::default() })
        })
    });
    let pinned = resource.params.iter().filter(|(_, p)| p.hidden()).cloned();
    let all = variables.chain(pinned).collect();
    sound.then_some(Entries(all))
}
