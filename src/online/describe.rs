//! The schemas of results, from the databases' own descriptions of the statements.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;

use super::AT_ONCE;
use crate::live::{Live, Tool};
use crate::plan::{Noun, Plan};
use crate::source::{Backend, Undescribed};
use crate::telemetry::one_line;

/// The plan with what the databases say, within `limit`, of the results of its tools with names that are `wanted`; nothing if they say
/// nothing new. What could not be asked keeps its schema.
pub async fn describe(live: &Live, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<Plan> {
    let until = tokio::time::Instant::now() + limit;
    let tools = live.plan.tools.iter().enumerate().filter(|(_, plan)| wanted(&plan.route.name));
    let asked = tools.filter_map(|(index, plan)| {
        let tool = live.tool(&plan.route.name)?;
        Some(async move { Some((index, schema(tool, limit).await?)) })
    });
    let mut answers = stream::iter(asked.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let mut found = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(until, answers.next()).await {
        found.extend(answer);
    }
    drop(answers);
    if found.is_empty() {
        return None;
    }
    let mut plan = Plan::clone(&live.plan);
    for (index, schema) in found {
        if let Some(tool) = plan.tools.get_mut(index) {
            tool.output_schema = Some(schema);
        }
    }
    plan.relist();
    Some(plan)
}

async fn schema(tool: &Tool, limit: Duration) -> Option<Value> {
    let Backend::Sql(sql, op) = &tool.route.backend else { return None };
    let plan = &tool.route.plan;
    // What was kept back is not of its column's type any more.
    let output = &plan.output;
    let as_it_is = output.select.is_none() && output.redact.is_empty() && output.schema.is_none();
    if plan.noun != Noun::Tool || !as_it_is {
        return None;
    }
    let described = sql.describe(op, limit).await;
    match described {
        Ok(described) => op.described_schema(&described),
        // What it refuses when it is asked about it, it refuses when it is called.
        Err(Undescribed::Wrong(wrong)) if !wrong.denied => {
            let problem = one_line(&wrong.message);
            tracing::warn!(tool = %plan.name, problem, "the database refuses the statement; `check --online` shows where");
            None
        }
        Err(error) => {
            tracing::debug!(tool = %plan.name, ?error, "the statement could not be described");
            None
        }
    }
}
