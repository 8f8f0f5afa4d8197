//! The live SQL source.

use std::time::Duration;

use serde_json::json;

use super::config::{RowConfig, SqlConfig, SqlOpConfig};
use super::plan::{self, SqlOp, SqlPlan};
use crate::output::{Reply, Rows};
use crate::params::Arguments;
use crate::source::database::{Access, Bind, Database, Statement};
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
        let session = self.plan.session.iter().map(|(name, field)| {
            let value = field.text_of(attempt.caller).ok_or_else(|| {
                SourceError::Argument(format!(
                    "This works for callers whose identity has a `{field}`, and yours has none. Tell the person who runs this server."
                ))
            });
            Ok((name.clone(), value?))
        });
        let statement = Statement {
            session: session.collect::<Result<_, SourceError>>()?,
            text: op.text.clone(),
            binds: op
                .binds
                .iter()
                .map(|i| Bind::Value(arguments.get(*i).cloned().unwrap_or_default()))
                .collect(),
            access: if op.write { Access::Write } else { Access::Read },
            count: op.row == RowConfig::Count,
            max_rows: if op.row == RowConfig::One { 1 } else { attempt.max_rows },
            max_bytes: attempt.max_bytes,
            limit: attempt.left(self.plan.statement_timeout.0),
        };
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
            RowConfig::Many => Reply::Rows(Rows { member: "rows", items: answer.rows, more: answer.more }),
        })
    }

    async fn probe(&self) -> Result<(), SourceError> {
        self.database.probe().await
    }
}
