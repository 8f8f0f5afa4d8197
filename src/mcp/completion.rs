//! `completion/complete`: suggestions for an argument of a prompt or a variable of a resource template.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::method::admit_list;
use super::{Context, Era, Params, RpcError};
use crate::call::{self, CallError, Input, Outcome, RequestId, Talk};
use crate::live::{Completion, Live};
use crate::params::ParamsPlan;
use crate::policy::RouteAuthPlan;

/// The most suggestions of one answer (MCP 2026-07-28, server/utilities/completion).
const MAX_VALUES: usize = 100;

#[derive(Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uri: String,
}

impl Reference {
    /// Reads the `ref` of a request.
    pub(super) fn read(params: &Params<'_>) -> Option<Self> {
        member(params.reference, "ref").ok()
    }

    /// Who may use what it names, and how that is called.
    pub(super) fn rule<'a>(&self, live: &'a Live) -> Option<(&'a RouteAuthPlan, &'a str)> {
        match self.kind.as_str() {
            "ref/prompt" => live.prompt(&self.name).map(|p| (&p.plan.policy.auth, p.plan.name.as_str())),
            "ref/resource" => {
                live.template(&self.uri).map(|r| (&r.route.plan.policy.auth, r.route.plan.name.as_str()))
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
struct Known {
    #[serde(default)]
    arguments: HashMap<String, String>,
}

fn member<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &str) -> Result<T, RpcError> {
    let raw = raw.filter(|r| r.get().starts_with('{'));
    raw.and_then(|r| serde_json::from_str(r.get()).ok())
        .ok_or_else(|| RpcError::invalid_params(format!("`{name}` is missing or not of its form")))
}

pub(super) async fn complete(params: &Params<'_>, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let reference: Reference = member(params.reference, "ref")?;
    let argument: Argument = member(params.argument, "argument")?;
    let known: Known = match params.context {
        None => Known::default(),
        raw => member(raw, "context")?,
    };
    let live = &cx.live;
    let (declared, completions): (&ParamsPlan, _) = match reference.kind.as_str() {
        "ref/prompt" => live.prompt(&reference.name).map(|p| (&p.plan.params, &p.completions)),
        "ref/resource" => live.template(&reference.uri).map(|r| (&r.plan.route.params, &r.completions)),
        _ => None,
    }
    .ok_or_else(|| RpcError::invalid_params("there is nothing of this `ref`"))?;
    if let Some((auth, name)) = reference.rule(live) {
        let denied = |denied| RpcError::from_call(&CallError::denied(&denied), RequestId::fresh());
        auth.before(&cx.caller, name).map_err(denied)?;
        // As far as they are known, and what is not known yet is a no.
        let typed = known.arguments.iter().map(|(name, value)| (name.clone(), json!(value)));
        let typed = || typed.chain([(argument.name.clone(), json!(argument.value))]).collect();
        auth.after(&cx.caller, name, typed).map_err(denied)?;
    }
    if !declared.params.iter().any(|p| p.name == argument.name && !p.hidden()) {
        return Err(RpcError::invalid_params("there is no such argument"));
    }
    let found = completions.iter().find(|(name, _)| *name == argument.name).map(|(_, c)| c);
    let values = match found {
        None => Vec::new(),
        Some(Completion::Values(all)) => {
            admit_list(cx)?;
            beginning_with(all, &argument.value)
        }
        Some(Completion::Route(route)) => {
            let id = RequestId::fresh();
            let names = route.plan.params.params.iter().map(|p| p.name.as_str()).skip(1);
            let others = names.filter_map(|n| known.arguments.get_key_value(n));
            let mut texts = vec![("value", argument.value.as_str())];
            texts.extend(others.map(|(name, value)| (name.as_str(), value.as_str())));
            let this = cx.call(id, era, Talk::silent());
            let outcome = call::run(route, Input::Texts(texts), &this).await;
            suggestions(&outcome.map_err(|e| RpcError::from_call(&e, id))?)
        }
    };
    let total = values.len();
    let shown: Vec<&String> = values.iter().take(MAX_VALUES).collect();
    let completion = json!({ "values": shown, "total": total, "hasMore": total > MAX_VALUES });
    let mut out = format!("{{\"completion\":{completion}").into_bytes();
    era.close(&mut out, live);
    Ok(out)
}

fn beginning_with(all: &[String], typed: &str) -> Vec<String> {
    let typed = typed.to_lowercase();
    all.iter().filter(|v| v.to_lowercase().starts_with(&typed)).cloned().collect()
}

/// A list of texts or numbers, or of objects whose first member is taken; also as the only list of an object.
fn suggestions(outcome: &Outcome) -> Vec<String> {
    let value: Value =
        outcome.structured.as_deref().and_then(|s| serde_json::from_str(s).ok()).unwrap_or_default();
    let list = match &value {
        Value::Array(items) => Some(items),
        Value::Object(map) => map.values().find_map(Value::as_array),
        _ => None,
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let taken = list.into_iter().flatten().filter_map(|item| match item {
        Value::Object(map) => map.values().next().and_then(text),
        other => text(other),
    });
    taken.collect()
}
