//! What SQLite says of a statement without running it.

use serde_json::json;
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Executor as _, SqlSafeStr as _};

use super::Sqlite;
use super::guard::Guard;
use super::run::fault;
use crate::source::database::{Access, Column, Described, SqlText, Undescribed, Wrong};

impl Sqlite {
    /// Describes a statement.
    ///
    /// # Errors
    /// What the engine does not take in it, or why it was not asked.
    pub(in crate::source) async fn describe(
        &self,
        text: &SqlText,
        access: Access,
    ) -> Result<Described, Undescribed> {
        let mut reading = self.reading().await.map_err(Undescribed::Source)?;
        let connection = reading.connection().map_err(Undescribed::Source)?;
        let whole = AssertSqlSafe(text.whole.clone()).into_sql_str();
        let mut handle = connection.lock_handle().await.map_err(|e| Undescribed::Source(fault(e)))?;
        let guard = Guard::of(&mut handle).map_err(Undescribed::Source)?;
        drop(handle);
        guard.let_route(access);
        let prepared = (&mut *connection).prepare(whole).await;
        // The driver keeps it, but this is a connection of reads.
        let cleared = connection.clear_cached_statements().await;
        cleared.map_err(|e| Undescribed::Source(fault(e)))?;
        let prepared = match prepared {
            // What begins as a read and is refused as a whole is none.
            Err(error) if access == Access::Read && code(&error).as_deref() == Some(AUTH) => {
                return Ok(Described { writes: true, ..Described::default() });
            }
            prepared => prepared.map_err(wrong)?,
        };
        // Columns have no type that binds their values, so none is promised.
        let columns = sqlx::Statement::columns(&prepared).iter();
        let columns = columns.map(|c| Column { name: c.name().to_owned(), schema: json!({}), ordered: true });
        Ok(Described { columns: columns.collect(), ..Described::default() })
    }
}

/// SQLite's code for what the guard refuses.
const AUTH: &str = "23";

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn wrong(error: sqlx::Error) -> Undescribed {
    let sqlx::Error::Database(database) = &error else { return Undescribed::Source(fault(error)) };
    if database.code().as_deref() == Some(AUTH) {
        let message = "a route may not do what this statement does".to_owned();
        return Undescribed::Wrong(Box::new(Wrong { message, ..Wrong::default() }));
    }
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
