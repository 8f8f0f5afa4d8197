//! The live SQL source.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::config::{RowConfig, SqlConfig, SqlOpConfig};
use super::plan::{self, SqlOp, SqlPlan};
use crate::caller::Caller;
use crate::output::{Reply, Rows};
use crate::params::Arguments;
use crate::source::database::{Access, Answer, Bind, Database, Statement};
use crate::source::{Attempt, Described, OpCx, OpenError, SourceCx, SourceError, SourceKind, Undescribed};

/// A live database source.
#[derive(Debug)]
pub struct Sql {
    plan: SqlPlan,
    database: Database,
}

impl Sql {
    /// Describes a statement without running it.
    ///
    /// # Errors
    /// What the engine does not take in it, or why it was not asked.
    pub async fn describe(&self, op: &SqlOp, limit: Duration) -> Result<Described, Undescribed> {
        let access = if op.write { Access::Write } else { Access::Read };
        self.database.describe(&op.text, access, limit).await
    }

    /// The variables of a call's transaction.
    fn session(&self, caller: &Caller) -> Result<Vec<(Arc<str>, String)>, SourceError> {
        let variables = self.plan.session.iter().map(|(name, field)| {
            let value = field.text_of(caller).ok_or_else(|| {
                SourceError::Argument(format!(
                    "This works for callers whose identity has a `{field}`, and yours has none. Tell the person who runs this server."
                ))
            });
            Ok((name.clone(), value?))
        });
        variables.collect()
    }

    /// What is to be said of the rights that this source is used with.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn advice(&self, limit: Duration) -> Result<Option<String>, SourceError> {
        if self.plan.read_only { self.database.can_write(limit).await } else { Ok(None) }
    }
}

impl SourceKind for Sql {
    type Config = SqlConfig;
    type Plan = SqlPlan;
    type OpConfig = SqlOpConfig;
    type Op = SqlOp;

    fn compile(config: &SqlConfig, cx: &mut SourceCx<'_>) -> Option<SqlPlan> {
        plan::compile(config, cx)
    }

    fn compile_op(config: &SqlOpConfig, source: Option<&SqlPlan>, cx: &mut OpCx<'_>) -> Option<SqlOp> {
        plan::compile_op(config, source, cx)
    }

    fn open(_: &str, plan: &SqlPlan) -> Result<Self, OpenError> {
        Ok(Self { plan: plan.clone(), database: plan.database.open() })
    }

    async fn execute(
        &self,
        op: &SqlOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        let page = op.page.as_ref().map(|plan| {
            let cursor = arguments.get(plan.cursor()).filter(|c| !c.is_null());
            plan.page(cursor, attempt.max_rows).map(|page| (plan, page))
        });
        let page = page.transpose().map_err(SourceError::Argument)?;
        let values = op.binds.iter().map(|i| Bind::Value(arguments.get(*i).cloned().unwrap_or_default()));
        let mut statement = Statement {
            text: op.text.clone(),
            binds: values.collect(),
            session: self.session(attempt.caller)?,
            access: if op.write { Access::Write } else { Access::Read },
            count: op.row == RowConfig::Count,
            max_rows: if op.row == RowConfig::One { 1 } else { attempt.max_rows },
            max_bytes: attempt.max_bytes,
            limit: attempt.left(self.plan.statement_timeout.0),
            local: Vec::new(),
        };
        if let Some((plan, page)) = page {
            statement.text = page.text;
            statement.binds.extend(page.from);
            // One more than are shown says whether there are more.
            statement.max_rows = page.size + 1;
            let answer = self.database.run(statement).await?;
            return plan.rows(answer, page.size).map(Reply::Rows);
        }
        let answer = self.database.run(statement).await?;
        Ok(match op.row {
            RowConfig::Count => {
                let count = answer.changed.unwrap_or(answer.seen);
                Reply::Value(json!({ "count": count }))
            }
            // A write that gives no row back was done all the same.
            RowConfig::One if op.write && answer.rows.is_empty() && answer.changed.unwrap_or(0) > 0 => {
                Reply::Value(json!({ "count": answer.changed }))
            }
            RowConfig::One => Reply::Value(answer.rows.into_iter().next().ok_or(SourceError::NotFound)?),
            RowConfig::Many if op.write && answer.rows.is_empty() => {
                Reply::Value(json!({ "count": answer.changed.unwrap_or(0) }))
            }
            RowConfig::Many => {
                let Answer { rows, more, .. } = answer;
                Reply::Rows(Rows { member: "rows", items: rows, more, page: Vec::new() })
            }
        })
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.database.probe().await
    }
}
