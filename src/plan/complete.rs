//! Suggestions for arguments of prompts and variables of resource templates, after compile.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::RoutePlan;
use super::route::{self, Noun, RouteParts};
use crate::config::{CompleteConfig, Config};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::params::{self, ParamConfig, ParamsPlan};
use crate::policy::PolicyConfig;
use crate::source::{OpConfigs, SourcePlans};
use crate::yaml::{Entries, JsonNode};

/// Where the suggestions for one argument come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionPlan {
    /// Fixed values.
    Values(Vec<String>),
    /// An operation; its first parameter is `value`, what was typed so far, then come the other arguments.
    Route(Arc<RoutePlan>),
}

/// What the arguments belong to.
pub(super) struct Owner<'a> {
    pub what: &'a str,
    pub params: &'a ParamsPlan,
    pub policy: &'a PolicyConfig,
}

/// The suggestions of all arguments that have some: those written, then those of an `enum`.
pub(super) fn compile(
    written: &Entries<CompleteConfig>,
    owner: &Owner<'_>,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Vec<(String, CompletionPlan)> {
    let mut found = Vec::new();
    let visible = || owner.params.params.iter().filter(|p| !p.hidden()).map(|p| p.name.as_str());
    for (name, complete) in written.iter() {
        if !visible().any(|v| v == name.value) {
            let message = format!("`{}` is not an argument of {}", name.value, owner.what);
            let help = crate::name::did_you_mean(name, visible(), "arguments");
            diagnostics.push(Diagnostic::error("unknown-param", message).at(name.span, "").help(help));
            continue;
        }
        let plan = one(name, complete, owner, config, sources, diagnostics);
        found.extend(plan.map(|plan| (name.value.clone(), plan)));
    }
    let schema = owner.params.schema.value();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        let allowed = schema.get("enum").and_then(Value::as_array);
        if let (Some(allowed), false) = (allowed, found.iter().any(|(n, _)| n == name)) {
            let values = allowed.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            found.push((name.clone(), CompletionPlan::Values(values)));
        }
    }
    found
}

fn one(
    name: &Spanned<String>,
    complete: &CompleteConfig,
    owner: &Owner<'_>,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<CompletionPlan> {
    let CompleteConfig { values, rest, sql, vector, output } = complete;
    let ops = OpConfigs { rest: rest.as_ref(), sql: sql.as_ref(), vector: vector.as_ref(), fixed: None };
    let kinds = usize::from(values.is_some())
        + usize::from(rest.is_some())
        + usize::from(sql.is_some())
        + usize::from(vector.is_some());
    if kinds != 1 {
        let message = format!(
            "the suggestions for `{}` are exactly one of `values`, `rest`, `sql`, `vector`",
            name.value
        );
        diagnostics.push(Diagnostic::error("one-of", message).absence().at(name.span, ""));
        return None;
    }
    if let Some(values) = values {
        return Some(CompletionPlan::Values(values.value.clone()));
    }
    let what = format!("the suggestions for `{}`", name.value);
    let params = params::compile(&typed(name, owner), &what, diagnostics)?;
    let parts = RouteParts {
        noun: Noun::Completion,
        name,
        at: name.span,
        owner: what,
        params,
        ops,
        output,
        policy: owner.policy,
        confirm: None,
        declared: None,
    };
    route::compile_route(parts, config, sources, diagnostics)
        .map(|route| CompletionPlan::Route(Arc::new(route)))
}

/// `value`, and the other arguments, which may not be known yet. All are texts.
fn typed(name: &Spanned<String>, owner: &Owner<'_>) -> Entries<ParamConfig> {
    let others = owner.params.params.iter().filter(|p| p.name != name.value && p.name != "value");
    let names = others.filter(|p| !p.hidden()).map(|p| (p.name.as_str(), true));
    let all = std::iter::once(("value", false)).chain(names);
    Entries(
        all.map(|(text, optional)| {
            (Spanned::new(text.to_owned(), name.span), text_param(name.span, optional))
        })
        .collect(),
    )
}

fn text_param(span: Span, optional: bool) -> ParamConfig {
    let keyword = Spanned::new("type".to_owned(), span);
    let text = Spanned::new(JsonNode::Text("string".to_owned()), span);
    ParamConfig { optional, schema: vec![(keyword, text)], ..ParamConfig::default() }
}
