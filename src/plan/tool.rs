//! Tools after compile: a route, its hints, and the headers that repeat its parameters.

mod headers;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::changes::same;
use super::listed::{self, ListedPlan};
use super::route::{self, Noun, RouteParts, RoutePlan};
use crate::config::{Config, ToolConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::output::NEXT;
use crate::params::{self, ParamConfig, ParamsPlan};
use crate::source::SourcePlans;
use crate::yaml::{Entries, JsonNode};

/// A compiled tool.
#[derive(Clone, Debug, Serialize)]
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

impl PartialEq for ToolPlan {
    fn eq(&self, other: &Self) -> bool {
        let Self { route, title, description, annotations, output_schema, header_params, listed } = self;
        // What tools of two generations share is large, and seen at once.
        same(route, &other.route)
            && (title, description, annotations) == (&other.title, &other.description, &other.annotations)
            && (output_schema, header_params) == (&other.output_schema, &other.header_params)
            && *listed == other.listed
    }
}

/// A parameter with `x-mcp-header` (MCP 2026-07-28, transports/streamable-http).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderParam {
    /// The header, in lower case: `mcp-param-…`.
    pub header: String,
    /// The names that lead to the value in the arguments.
    pub path: Vec<String>,
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
    let header_params = headers::compile(&params, tool, name.span, diagnostics);
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
    let mut route = route::compile_route(parts, config, sources, diagnostics)?;
    let written = &tool.annotations;
    route.repeats |= [written.read_only, written.idempotent].contains(&Some(true));
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
