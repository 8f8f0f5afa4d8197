//! The schemas of results, from the databases' own descriptions of the statements.

use std::collections::HashSet;
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

/// What the databases said of tools.
#[derive(Debug, Default)]
pub struct Told {
    /// The plan with it; nothing if they said nothing new.
    pub plan: Option<Plan>,
    /// The tools that it says more of.
    pub told: Vec<String>,
    /// Those whose databases could not be asked, or not in time.
    pub left: HashSet<String>,
}

/// What the databases say, within `limit`, of the results of the tools with names that are `wanted`. What could not be asked keeps its
/// schema.
pub async fn describe(live: &Live, limit: Duration, wanted: impl Fn(&str) -> bool) -> Told {
    let until = tokio::time::Instant::now() + limit;
    let tools = live.plan.tools.iter().enumerate().filter(|(_, plan)| wanted(&plan.route.name));
    let askable: Vec<_> = tools
        .filter_map(|(index, plan)| {
            Some((index, plan.route.name.as_str(), askable(live.tool(&plan.route.name)?)?))
        })
        .collect();
    let mut left: HashSet<&str> = askable.iter().map(|(_, name, _)| *name).collect();
    // A question takes some kilobytes: only those that are asked now are there.
    let mut questions = askable.into_iter().map(|(index, name, (sql, op))| ask(index, name, sql, op, limit));
    let mut asked: FuturesUnordered<_> = questions.by_ref().take(AT_ONCE).collect();
    let mut found = Vec::new();
    while let Ok(Some((index, name, answer))) = tokio::time::timeout_at(until, asked.next()).await {
        if let Ok(schema) = answer {
            left.remove(name);
            // What is known already is no news.
            let known = live.plan.tools.get(index).and_then(|tool| tool.output_schema.as_ref());
            found.extend(schema.filter(|schema| known != Some(schema)).map(|schema| (index, schema)));
        }
        asked.extend(questions.next());
    }
    drop((asked, questions));
    let left = left.into_iter().map(str::to_owned).collect();
    if found.is_empty() {
        return Told { left, ..Told::default() };
    }
    let mut plan = Plan::clone(&live.plan);
    let mut told = Vec::with_capacity(found.len());
    for (index, schema) in found {
        if let Some(tool) = plan.tools.get_mut(index) {
            told.push(tool.route.name.clone());
            Arc::make_mut(tool).output_schema = Some(schema);
        }
    }
    Told { plan: Some(plan), told, left }
}

/// The source was not asked, or did not answer.
struct Unasked;

/// The statement of a tool whose results are what its database says.
fn askable(tool: &Tool) -> Option<(&Sql, &SqlOp)> {
    let Backend::Sql(sql, op) = &tool.route.backend else { return None };
    let plan = &tool.route.plan;
    // What was kept back is not of its column's type any more.
    let output = &plan.output;
    let as_it_is = output.select.is_none() && output.redact.is_empty() && output.schema.is_none();
    (plan.noun == Noun::Tool && as_it_is).then_some((sql, op))
}

async fn ask<'a>(
    index: usize,
    tool: &'a str,
    sql: &Sql,
    op: &SqlOp,
    limit: Duration,
) -> (usize, &'a str, Result<Option<Value>, Unasked>) {
    let answer = match sql.describe(op, limit).await {
        Ok(described) => Ok(op.described_schema(&described)),
        // What it refuses when it is asked about it, it refuses when it is called.
        Err(Undescribed::Wrong(wrong)) if !wrong.denied => {
            let problem = one_line(&wrong.message);
            tracing::warn!(tool = %tool, problem, "the database refuses the statement; `check --online` shows where");
            Ok(None)
        }
        Err(error) => {
            tracing::debug!(tool, ?error, "the statement could not be described");
            if matches!(error, Undescribed::Source(_)) { Err(Unasked) } else { Ok(None) }
        }
    };
    (index, tool, answer)
}
