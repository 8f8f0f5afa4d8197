//! What SQLite says of a statement without running it.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _};

use super::Sqlite;
use super::run::fault;
use crate::source::SourceError;
use crate::source::database::{Column, Described, SqlText, Undescribed, Wrong};

impl Sqlite {
    /// Describes a statement.
    ///
    /// # Errors
    /// What the engine does not take in it, or why it was not asked.
    pub(in crate::source) async fn describe(
        &self,
        text: &SqlText,
        limit: Duration,
    ) -> Result<Described, Undescribed> {
        let work = async {
            let mut connection = self.reading().await.map_err(Undescribed::Source)?;
            let whole = AssertSqlSafe(text.whole.clone()).into_sql_str();
            let prepared = (&mut *connection).prepare(whole).await.map_err(wrong)?;
            // Columns have no type that binds their values, so none is promised.
            let columns = sqlx::Statement::columns(&prepared).iter();
            let columns = columns.map(|c| Column { name: c.name().to_owned(), schema: json!({}) });
            Ok(Described { columns: columns.collect(), ..Described::default() })
        };
        let late = Err(Undescribed::Source(SourceError::Timeout(limit)));
        tokio::time::timeout(limit, work).await.unwrap_or(late)
    }
}

fn wrong(error: sqlx::Error) -> Undescribed {
    let sqlx::Error::Database(database) = &error else { return Undescribed::Source(fault(error)) };
    // 1: what SQLite says of a statement itself.
    if database.code().as_deref() != Some("1") {
        return Undescribed::Source(fault(error));
    }
    let message = database.message().to_owned();
    // "no such column: x", "near "x": syntax error"
    let word = match message.strip_prefix("near \"") {
        Some(rest) => rest.split('"').next(),
        None => message.rsplit(": ").next().filter(|w| w.len() < message.len()),
    };
    let word = word.map(str::to_owned);
    Undescribed::Wrong(Box::new(Wrong { message, word, ..Wrong::default() }))
}
