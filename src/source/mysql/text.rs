//! The texts that really run, and the values bound to them.

use std::sync::Arc;

use serde_json::Value;
use sqlx::mysql::{MySqlArguments, MySqlDatabaseError, MySqlStatement};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Executor as _, MySql, SqlSafeStr as _};

use super::{Shared, fault};
use crate::source::SourceError;
use crate::source::database::{Access, Bind, Statement};

impl Shared {
    /// The text that runs, and whether it gives one row with the number of rows. A limit is put at the end of a read (a subquery
    /// would lose the order, and `sql_select_limit` also cuts what stored functions read), a count around it. The server is asked
    /// whether that can be (not with a limit of its own, or `SHOW`); the driver keeps what it is told with the connection.
    pub(super) async fn text(
        &self,
        connection: &mut PoolConnection<MySql>,
        statement: &Statement,
    ) -> Result<(Arc<str>, bool), SourceError> {
        let whole = statement.text.whole.clone();
        let plan = whole
            .trim_start()
            .get(..4)
            .is_some_and(|w| ["EXPL", "DESC", "SHOW"].iter().any(|k| w.eq_ignore_ascii_case(k)));
        if statement.access == Access::Write || plan || self.server.is_closed(&whole) {
            return Ok((whole, false));
        }
        // The line breaks end comments.
        let text = if statement.count {
            let asked = AssertSqlSafe(whole.clone()).into_sql_str();
            let known: MySqlStatement = (&mut **connection).prepare(asked).await.map_err(fault)?;
            // With names of its own, as columns of one name cannot stand beside each other.
            let names = (1..=sqlx::Statement::columns(&known).len()).map(|n| format!("c{n}"));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("WITH q ({names}) AS (\n{whole}\n) SELECT COUNT(*) FROM q")
        } else {
            format!("{whole}\nLIMIT {}", statement.max_rows.saturating_add(1))
        };
        let text: Arc<str> = text.into();
        match (&mut **connection).prepare(AssertSqlSafe(text.clone()).into_sql_str()).await {
            Ok(_) => Ok((text, statement.count)),
            Err(sqlx::Error::Database(error)) => {
                // A syntax error, not a table that is missing now.
                if error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|e| e.number() == 1064) {
                    self.server.close(whole.clone());
                }
                Ok((whole, false))
            }
            Err(error) => Err(fault(error)),
        }
    }
}

/// Sets user variables to what is written for each.
pub(super) fn set(session: &[(Arc<str>, String)], to: &str) -> String {
    let each = session.iter().map(|(name, _)| format!("@`{name}` = {to}"));
    format!("SET {}", each.collect::<Vec<_>>().join(", "))
}

/// Binds a value: scalars as themselves, structures as JSON text.
pub(super) fn bind<'q>(
    query: Query<'q, MySql, MySqlArguments>,
    bind: &Bind,
) -> Query<'q, MySql, MySqlArguments> {
    let value = match bind {
        // No collection is on MySQL.
        Bind::Vector(_) => return query.bind(None::<String>),
        Bind::Value(value) => value,
    };
    match value {
        Value::Null => query.bind(None::<String>),
        Value::Bool(b) => query.bind(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(whole), ..) => query.bind(whole),
            (None, Some(whole), _) => query.bind(whole),
            (None, None, Some(real)) => query.bind(real),
            (None, None, None) => query.bind(n.to_string()),
        },
        Value::String(text) => query.bind(text.clone()),
        structure => query.bind(structure.to_string()),
    }
}
