//! One statement in a transaction of its own, which is undone unless it was to write and did. The task that holds the connection
//! also ends what runs on it, so that a cancel never meets another call's statement.

use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _};
use tokio::sync::oneshot;

use super::known::{self, Key, Known};
use super::{Shared, fault, json};
use crate::source::SourceError;
use crate::source::database::ending;
use crate::source::database::{Access, Answer, Bind, Statement};

/// A connection that is closed unless it is known to be as it was.
pub(super) struct Held {
    pub connection: PoolConnection<sqlx::Postgres>,
    pub settled: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled {
            self.connection.close_on_drop();
        }
    }
}

impl Shared {
    /// A connection whose server has done `first`, and the row that it gave. One that broke while it lay in the pool is known by that,
    /// before anything of the call ran on it, and another is taken.
    pub(super) async fn opened(&self, first: &str) -> Result<(Held, Option<PgRow>), SourceError> {
        let mut spare = self.max;
        loop {
            let mut held = Held { connection: self.acquire().await?, settled: false };
            let done = sqlx::raw_sql(AssertSqlSafe(first)).fetch_optional(&mut *held.connection);
            match tokio::time::timeout(self.acquire_timeout, done).await {
                Ok(Ok(row)) => return Ok((held, row)),
                Ok(Err(error)) => {
                    let said = matches!(error, sqlx::Error::Database(_));
                    match fault(error) {
                        SourceError::Unavailable(_) if spare > 0 => spare -= 1,
                        // Broken off in the middle of a word.
                        SourceError::Internal(_) if spare > 0 && !said => spare -= 1,
                        SourceError::Internal(text) if !said => return Err(SourceError::Unavailable(text)),
                        error => return Err(error),
                    }
                }
                Err(_) => return Err(SourceError::Unavailable("the server is silent".to_owned())),
            }
        }
    }

    /// A connection from the pool, which may have broken there.
    async fn acquire(&self) -> Result<PoolConnection<sqlx::Postgres>, SourceError> {
        // One that is stopping ends in the middle of the first words, which is no fault of ours.
        let fault = |error| match fault(error) {
            SourceError::Internal(text) => SourceError::Unavailable(text),
            other => other,
        };
        ending::acquire(&self.pool, fault).await
    }

    /// Runs a statement until it ends or nobody waits for it.
    pub(super) async fn work(
        &self,
        statement: &Statement,
        mut gone: oneshot::Receiver<()>,
    ) -> Result<Answer, SourceError> {
        let begin = begin(statement);
        let (mut held, process) = tokio::select! {
            biased;
            _ = &mut gone => return Err(SourceError::Timeout(statement.limit)),
            begun = self.opened(&begin) => begun?,
        };
        let process: i32 = match process {
            Some(row) => row.try_get(0).map_err(fault)?,
            None => return Err(SourceError::Internal("the server named no process".to_owned())),
        };
        set(&mut held.connection, statement).await?;
        let (result, asked) = {
            let mut running = std::pin::pin!(self.rows(&mut held.connection, statement));
            tokio::select! {
                result = &mut running => (result, true),
                _ = &mut gone => {
                    let cancel =
                        || sqlx::query("SELECT pg_cancel_backend($1)").bind(process).execute(&self.side);
                    let ended = ending::end_all_of(running, cancel).await;
                    (ended.unwrap_or(Err(SourceError::Timeout(statement.limit))), false)
                }
            }
        };
        if matches!(result, Err(SourceError::Internal(_) | SourceError::Argument(_))) {
            // A table may have changed since the server was asked; the next call asks again.
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&Key::of(statement));
        }
        if matches!(result, Ok(Reading { whole: false, .. })) {
            // More than the caps is still on its way: the connection ends with it.
            return result.map(|r| r.answer);
        }
        let keep = statement.access == Access::Write && asked && result.is_ok();
        let clean = end(&mut held.connection, keep).await?;
        held.settled = clean && !seeds(&statement.text.whole);
        result.map(|r| r.answer)
    }

    /// Reads the rows up to the caps.
    async fn rows(
        &self,
        connection: &mut PoolConnection<sqlx::Postgres>,
        statement: &Statement,
    ) -> Result<Reading, SourceError> {
        let known = self.known(connection, statement).await?;
        let mut query = sqlx::query(AssertSqlSafe(known.text.clone()));
        for (bind, kind) in &known.values {
            query = match statement.binds.get(*bind) {
                Some(Bind::Value(value)) => query.bind(known::text(value, *kind)),
                Some(Bind::Vector(vector)) => query.bind(pgvector::Vector::from(vector.to_vec())),
                None => query.bind(None::<String>),
            };
        }
        let by = statement.order.iter().filter(|by| known.unordered.contains(by)).cloned();
        let mut answer = Answer { unordered: by.collect(), ..Answer::default() };
        let mut bytes = 0;
        let mut stream = connection.fetch_many(query);
        while let Some(item) = stream.next().await {
            let row = match item.map_err(fault)? {
                Either::Left(done) => {
                    if statement.access == Access::Write {
                        answer.changed = Some(done.rows_affected());
                    }
                    continue;
                }
                Either::Right(row) => row,
            };
            let text: Option<&str> = row.try_get(0).map_err(fault)?;
            if statement.count && statement.access == Access::Read {
                answer.seen = text.and_then(|t| t.parse().ok()).unwrap_or(0);
                continue;
            }
            answer.seen += 1;
            if statement.count {
                continue;
            }
            if answer.rows.len() >= statement.max_rows || bytes > statement.max_bytes {
                answer.more = true;
                if statement.access == Access::Read {
                    let whole = answer.rows.len() >= statement.max_rows;
                    return Ok(Reading { answer, whole });
                }
                continue;
            }
            let Some(text) = text else {
                // Left out by the server, and all after it, as with the caps.
                answer.more = true;
                match statement.access {
                    Access::Write => continue,
                    Access::Read if answer.rows.is_empty() => {
                        return Err(SourceError::TooLarge(statement.longest()));
                    }
                    Access::Read => return Ok(Reading { answer, whole: false }),
                }
            };
            bytes += text.len();
            let value = json::row(text, &known.bytes).map_err(|e| SourceError::Internal(e.to_string()))?;
            answer.rows.push(value);
        }
        if !known.rows {
            answer.seen = answer.changed.unwrap_or(0);
        }
        Ok(Reading { answer, whole: true })
    }

    /// What the server said of this statement, asked once.
    async fn known(
        &self,
        connection: &mut PoolConnection<sqlx::Postgres>,
        statement: &Statement,
    ) -> Result<Arc<Known>, SourceError> {
        let key = Key::of(statement);
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let known = Arc::new(Known::learn(connection, statement).await?);
        lock().insert(key, known.clone());
        Ok(known)
    }
}

/// What was read.
struct Reading {
    answer: Answer,
    /// Whether the server has nothing more to send than a row or two.
    whole: bool,
}

/// Whether a statement sets the seed of `random()`: nothing undoes that, nor says that it was done.
fn seeds(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let set = text.trim_start().starts_with("set") && text.contains("seed");
    set || text.contains("setseed") || text.contains("'seed'")
}

/// Ends the transaction and what outlives one: roles, settings, locks, cursors, channels, temporary tables, values of sequences. Says
/// whether nothing is left on the connection. Fails only if a write could not be kept.
async fn end(connection: &mut PoolConnection<sqlx::Postgres>, keep: bool) -> Result<bool, SourceError> {
    // Statements that were prepared by `PREPARE` cannot be told to go without the driver's own. To look for them takes as long as all
    // the rest, so it is done where they are likely.
    let (end, prepared) = if keep {
        ("COMMIT", "EXISTS (SELECT FROM pg_catalog.pg_prepared_statement() AS p WHERE p.from_sql)")
    } else {
        ("ROLLBACK", "false")
    };
    // What was set goes first, so that it changes nothing of the rest.
    let end = format!(
        "{end}; RESET SESSION AUTHORIZATION; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; \
         SELECT {prepared} FROM pg_catalog.pg_advisory_unlock_all()"
    );
    let mut stream = sqlx::raw_sql(AssertSqlSafe(end)).fetch_many(&mut **connection);
    match stream.next().await {
        Some(Ok(_)) => {}
        Some(Err(error)) if keep => return Err(fault(error)),
        None | Some(Err(_)) => return Ok(false),
    }
    let mut clean = false;
    while let Some(item) = stream.next().await {
        match item {
            Ok(Either::Right(row)) => clean = row.try_get(0).is_ok_and(|left: bool| !left),
            Ok(Either::Left(_)) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(clean)
}

/// Begins the transaction and asks for the server's process.
fn begin(statement: &Statement) -> String {
    let mode = match statement.access {
        Access::Read => "READ ONLY",
        Access::Write => "READ WRITE",
    };
    let limit = statement.limit.as_millis().max(1);
    let mut begin = format!("BEGIN {mode}; SET LOCAL statement_timeout = {limit}; ");
    for (name, value) in &statement.local {
        begin.push_str(&format!("SET LOCAL {name} = {value}; "));
    }
    begin.push_str("SELECT pg_backend_pid()");
    begin
}

/// Sets the variables of the call.
async fn set(connection: &mut PgConnection, statement: &Statement) -> Result<(), SourceError> {
    if statement.session.is_empty() {
        return Ok(());
    }
    let each =
        (0..statement.session.len()).map(|i| format!("set_config(${}, ${}, true)", i * 2 + 1, i * 2 + 2));
    let text = format!("SELECT {}", each.collect::<Vec<_>>().join(", "));
    let mut set = sqlx::query(AssertSqlSafe(text));
    for (name, value) in &statement.session {
        set = set.bind(name.to_string()).bind(value.clone());
    }
    // Not the caller's arguments: what the server says of them is for the log.
    set.execute(connection).await.map(drop).map_err(|e| match fault(e) {
        SourceError::Argument(text) | SourceError::Refused(text) => SourceError::Internal(text),
        other => other,
    })
}
