//! The live SQL source.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::config::{RowConfig, SqlConfig, SqlOpConfig};
use super::page::{Page, PagePlan};
use super::plan::{self, SqlOp, SqlPlan};
use crate::caller::Caller;
use crate::output::{Reply, Rows};
use crate::params::Arguments;
use crate::source::database::{Access, Answer, Bind, Database, Statement};
use crate::source::{Attempt, Described, OpCx, OpenError, SourceCx, SourceError, SourceKind, Undescribed};
use crate::telemetry::span::{About, text};

/// A live database source.
#[derive(Debug)]
pub struct Sql {
    plan: SqlPlan,
    database: Database,
}

/// What statements begin with: the summary of one that holds nothing of its text (`db.query.summary`).
const VERBS: [&str; 9] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "MERGE", "REPLACE", "CALL", "VALUES"];

impl Sql {
    /// What a span of a statement says.
    pub(in crate::source) fn about(&self, op: &SqlOp) -> About {
        let system = self.plan.database.engine().system();
        let first = op.text.whole.split_whitespace().next().unwrap_or_default();
        let verb = VERBS.into_iter().find(|verb| verb.eq_ignore_ascii_case(first));
        let mut attributes = vec![text("db.system.name", system)];
        attributes.extend(verb.map(|verb| text("db.query.summary", verb)));
        About { name: verb.unwrap_or(system).into(), attributes }
    }

    /// Describes a statement without running it.
    ///
    /// # Errors
    /// What the engine does not take in it, or why it was not asked.
    pub async fn describe(&self, op: &SqlOp, limit: Duration) -> Result<Described, Undescribed> {
        let access = if op.write { Access::Write } else { Access::Read };
        match self.database.describe(&op.text, access, limit).await {
            // Callers have roles of their own, and here nobody calls.
            Err(Undescribed::Wrong(wrong)) if wrong.denied && self.roles() => Ok(Described::default()),
            described => described,
        }
    }

    /// The connections of its pool: open, and idle ones among them.
    pub(in crate::source) fn connections(&self) -> (u32, u32) {
        self.database.connections()
    }

    /// Whether each caller has a role in the database.
    fn roles(&self) -> bool {
        self.plan.session.iter().any(|(name, _)| name.eq_ignore_ascii_case("role"))
    }

    /// The variables of a call's transaction.
    fn session(&self, caller: &Caller) -> Result<Vec<(Arc<str>, String)>, SourceError> {
        let variables = self.plan.session.iter().map(|(name, field)| {
            // `none` as a role is the one that logged in.
            let fits = |value: &String| {
                !(value.is_empty() || name.eq_ignore_ascii_case("role") && value.eq_ignore_ascii_case("none"))
            };
            let value = field.text_of(caller).filter(fits);
            let value = value.ok_or_else(|| SourceError::Argument(field.missing("yours has none")));
            Ok((name.clone(), value?))
        });
        variables.collect()
    }

    /// One page of a statement's rows.
    async fn page(
        &self,
        plan: &PagePlan,
        page: Page,
        mut statement: Statement,
        attempt: Attempt<'_>,
    ) -> Result<Rows, SourceError> {
        let values = statement.binds.clone();
        statement.text = page.text;
        statement.binds.extend(page.from);
        // One more than are shown says whether there are more.
        statement.max_rows = page.size + 1;
        statement.order = plan.by.clone();
        let session = statement.session.clone();
        let rows = plan.rows(self.database.run(statement).await?, page.size)?;
        let Some(nulls) = page.nulls.filter(|_| !rows.more) else { return Ok(rows) };
        let limit = attempt.left(self.plan.statement_timeout.0);
        let nulls = Statement { session, ..Statement::read((nulls, values), limit) };
        if self.database.run(nulls).await?.rows.is_empty() { Ok(rows) } else { Err(plan.lost()) }
    }

    /// What is to be said of the rights that this source is used with.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn advice(&self) -> Result<Option<&'static str>, SourceError> {
        if self.plan.read_only { self.database.can_write().await } else { Ok(None) }
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
        let statement = Statement {
            session: self.session(attempt.caller)?,
            access: if op.write { Access::Write } else { Access::Read },
            count: op.row == RowConfig::Count,
            max_rows: if op.row == RowConfig::One { 1 } else { attempt.max_rows },
            max_bytes: attempt.max_bytes,
            ..Statement::read(
                (op.text.clone(), values.collect()),
                attempt.left(self.plan.statement_timeout.0),
            )
        };
        if let Some((plan, page)) = page {
            return Box::pin(self.page(plan, page, statement, attempt)).await.map(Reply::Rows);
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
