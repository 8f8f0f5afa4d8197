//! The schemas of results, from the databases' own descriptions of the statements.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;

use super::AT_ONCE;
use crate::live::{Live, Tool};
use crate::plan::{Noun, Plan};
use crate::source::sql::{Sql, SqlOp};
use crate::source::{Backend, Undescribed};
use crate::telemetry::one_line;

/// The plan with what the databases say, within `limit`, of the results of its tools with names that are `wanted`; nothing if they say
/// nothing new. What could not be asked keeps its schema.
pub async fn describe(live: &Live, limit: Duration, wanted: impl Fn(&str) -> bool) -> Option<Plan> {
    let until = tokio::time::Instant::now() + limit;
    let tools = live.plan.tools.iter().enumerate().filter(|(_, plan)| wanted(&plan.route.name));
    let askable: Vec<_> = tools
        .filter_map(|(index, plan)| {
            Some((index, plan.route.name.as_str(), askable(live.tool(&plan.route.name)?)?))
        })
        .collect();
    // A question takes some kilobytes: only those that are asked now are there.
    let mut left = askable.into_iter().map(|(index, name, (sql, op))| ask(index, name, sql, op, limit));
    let mut asked: FuturesUnordered<_> = left.by_ref().take(AT_ONCE).collect();
    let mut found = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(until, asked.next()).await {
        found.extend(answer);
        asked.extend(left.next());
    }
    drop((asked, left));
    if found.is_empty() {
        return None;
    }
    let mut plan = Plan::clone(&live.plan);
    for (index, schema) in found {
        if let Some(tool) = plan.tools.get_mut(index) {
            Arc::make_mut(tool).output_schema = Some(schema);
        }
    }
    Some(plan)
}

/// The statement of a tool whose results are what its database says.
fn askable(tool: &Tool) -> Option<(&Sql, &SqlOp)> {
    let Backend::Sql(sql, op) = &tool.route.backend else { return None };
    let plan = &tool.route.plan;
    // What was kept back is not of its column's type any more.
    let output = &plan.output;
    let as_it_is = output.select.is_none() && output.redact.is_empty() && output.schema.is_none();
    (plan.noun == Noun::Tool && as_it_is).then_some((sql, op))
}

async fn ask(index: usize, tool: &str, sql: &Sql, op: &SqlOp, limit: Duration) -> Option<(usize, Value)> {
    match sql.describe(op, limit).await {
        Ok(described) => Some((index, op.described_schema(&described)?)),
        // What it refuses when it is asked about it, it refuses when it is called.
        Err(Undescribed::Wrong(wrong)) if !wrong.denied => {
            let problem = one_line(&wrong.message);
            tracing::warn!(tool = %tool, problem, "the database refuses the statement; `check --online` shows where");
            None
        }
        Err(error) => {
            tracing::debug!(tool, ?error, "the statement could not be described");
            None
        }
    }
}
