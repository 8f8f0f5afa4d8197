//! What the server says it can do (MCP 2026-07-28, server/discover): only what this configuration serves.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{PromptPlan, ResourcePlan, RoutePlan, ToolPlan};
use crate::talk::Change;

/// The `capabilities` object. Where the lists may change by a reload, it says the same of them before and after;
/// a frozen list never does.
pub(super) fn capabilities(
    (reloads, frozen): (bool, bool),
    tools: &[Arc<ToolPlan>],
    resources: &[ResourcePlan],
    prompts: &[PromptPlan],
) -> Value {
    let mut all = Map::new();
    let changes: Vec<&Change> = routes(tools, prompts).flat_map(|r| r.op.announces()).collect();
    let mut list = |name: &str, any: bool, change: &Change| {
        if any || reloads {
            let tells = (reloads || changes.contains(&change)) && !(frozen && *change == Change::Tools);
            let entry = if tells { json!({ "listChanged": true }) } else { json!({}) };
            all.insert(name.to_owned(), entry);
        }
    };
    list("tools", frozen || !tools.is_empty(), &Change::Tools);
    list("resources", !resources.is_empty(), &Change::Resources);
    list("prompts", !prompts.is_empty(), &Change::Prompts);
    // A reload tells of contents that it has changed.
    let watched = reloads || changes.iter().any(|c| matches!(c, Change::Resource(_)));
    if let (true, Some(Value::Object(entry))) = (watched, all.get_mut("resources")) {
        entry.insert("subscribe".to_owned(), json!(true));
    }
    let suggests = resources.iter().any(|r| !r.completions.is_empty())
        || prompts.iter().any(|p| !p.completions.is_empty());
    if suggests {
        all.insert("completions".to_owned(), json!({}));
    }
    if routes(tools, prompts).any(|r| r.op.logs()) {
        all.insert("logging".to_owned(), json!({}));
    }
    Value::Object(all)
}

/// The routes that may say something of their own.
fn routes<'a>(tools: &'a [Arc<ToolPlan>], prompts: &'a [PromptPlan]) -> impl Iterator<Item = &'a RoutePlan> {
    let data = prompts.iter().flat_map(|p| &p.data).map(|(_, route)| &**route);
    tools.iter().map(|t| &*t.route).chain(data)
}
