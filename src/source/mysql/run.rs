//! One statement in a transaction of its own, which is undone unless it was to write and did. The task that holds the connection
//! also kills what runs on it, and a connection on which something was killed is closed, so that no other call's statement is met.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column as _, Either, Executor as _, MySql, Row as _};
use tokio::sync::oneshot;

use super::session::State;
use super::text::{bind, set};
use super::{Shared, fault, row, unreachable};
use crate::source::SourceError;
use crate::source::database::ending::{self, CANCEL};
use crate::source::database::{Access, Answer, Statement};

/// After this much more time the server ends a statement by itself: should the kill not reach it. Not at the deadline, as a function
/// like `SLEEP` takes its end for a result.
const GRACE: Duration = Duration::from_millis(500);

/// A connection that is closed unless it is known to be as it was.
struct Held<'a> {
    connection: PoolConnection<MySql>,
    shared: &'a Shared,
    /// Its number on the server.
    number: u64,
    settled: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.shared.server.forget(self.number);
            self.connection.close_on_drop();
        }
    }
}

/// What was read.
struct Reading {
    answer: Answer,
    /// Whether the server has nothing more to send.
    whole: bool,
}

impl Shared {
    /// A connection from the pool.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<MySql>, SourceError> {
        ending::acquire(&self.pool, unreachable).await
    }

    /// Runs a statement until it ends or nobody waits for it.
    pub(super) async fn work(
        &self,
        statement: &Statement,
        mut gone: oneshot::Receiver<()>,
    ) -> Result<Answer, SourceError> {
        let connection = tokio::select! {
            biased;
            _ = &mut gone => return Err(SourceError::Timeout(statement.limit)),
            connection = self.acquire() => connection?,
        };
        let mut held = Held { connection, shared: self, number: 0, settled: false };
        let number = tokio::select! {
            biased;
            _ = &mut gone => return Err(SourceError::Timeout(statement.limit)),
            number = self.begin(&mut held.connection, statement) => number?,
        };
        held.number = number;
        let result = {
            let mut running = std::pin::pin!(self.rows(&mut held.connection, statement));
            tokio::select! {
                result = &mut running => Ok(result),
                _ = &mut gone => {
                    let text: Arc<str> = format!("KILL QUERY {number}").into();
                    let kill = || sqlx::raw_sql(AssertSqlSafe(text.clone())).execute(&self.side);
                    ending::end_all_of(running, kill).await;
                    Err(())
                }
            }
        };
        let Ok(result) = result else { return Err(SourceError::Timeout(statement.limit)) };
        let keep = statement.access == Access::Write && result.is_ok();
        // More than the caps is still on its way; or it broke; or the driver knows the statement by a table that has changed. The
        // connection ends with it.
        let usable = match &result {
            Ok(reading) => reading.whole,
            Err(error) => !matches!(
                error,
                SourceError::Unavailable(_) | SourceError::Internal(_) | SourceError::TooLarge(_)
            ),
        };
        if keep || usable {
            let state = self.server.state();
            let ended = end(&mut held.connection, keep, &statement.session, &state);
            // Of a server that has fallen silent nobody is to wait for longer than for the statement.
            let ended = tokio::time::timeout(statement.limit.max(CANCEL), ended).await;
            let state = ended.unwrap_or(Err(SourceError::Timeout(statement.limit)))?;
            // MySQL tells nobody without rights which user variables there are.
            let mark = if statement.access == Access::Write { "@" } else { ":=" };
            let unseen = !self.server.mariadb() && statement.text.whole.contains(mark);
            // Of our own: the time limit, and the variables set and unset.
            let own = if statement.session.is_empty() { 1 } else { 3 };
            if let Some(state) = state.filter(|s| usable && !unseen && self.server.clean(s, own)) {
                self.server.keep(&state);
                held.settled = true;
            }
        }
        result.map(|r| r.answer)
    }

    /// Begins the transaction; gives the connection's number.
    async fn begin(
        &self,
        connection: &mut PoolConnection<MySql>,
        statement: &Statement,
    ) -> Result<u64, SourceError> {
        let mode = match statement.access {
            Access::Read => "READ ONLY",
            Access::Write => "READ WRITE",
        };
        let limit = statement.limit.saturating_add(GRACE);
        let time = if self.server.mariadb() {
            format!("max_statement_time = {}.{:03}", limit.as_secs(), limit.subsec_millis())
        } else {
            format!("max_execution_time = {}", limit.as_millis())
        };
        let begin =
            format!("SET SESSION {time}; START TRANSACTION {mode}; SELECT CAST(CONNECTION_ID() AS CHAR)");
        let rows = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(&mut **connection).await.map_err(fault)?;
        let row = rows.last().ok_or_else(|| SourceError::Internal("no connection number".to_owned()))?;
        let number: String = row.try_get(0).map_err(fault)?;
        if !statement.session.is_empty() {
            let text = AssertSqlSafe(set(&statement.session, "?"));
            let values = statement.session.iter().map(|(_, value)| value.clone());
            let query = values.fold(sqlx::query(text), Query::bind);
            // Not the caller's arguments: what the server says of them is for the log.
            query.execute(&mut **connection).await.map_err(|e| match fault(e) {
                SourceError::Argument(text) | SourceError::Refused(text) => SourceError::Internal(text),
                other => other,
            })?;
        }
        number.parse().map_err(|_| SourceError::Internal("a connection number that is none".to_owned()))
    }

    /// Reads the rows up to the caps.
    async fn rows(
        &self,
        connection: &mut PoolConnection<MySql>,
        statement: &Statement,
    ) -> Result<Reading, SourceError> {
        let (text, counts) = self.text(connection, statement).await?;
        let query = sqlx::query(AssertSqlSafe(text));
        let query = statement.binds.iter().fold(query, bind);
        let write = statement.access == Access::Write;
        let mut answer = Answer::default();
        let (mut bytes, mut whole, mut texts) = (0, true, Vec::new());
        let mut stream = connection.fetch_many(query);
        while let Some(item) = stream.next().await {
            let row = match item.map_err(fault)? {
                Either::Left(done) => {
                    // Beside rows the driver does not say how many were changed.
                    let changed = answer.seen.max(done.rows_affected()).max(answer.changed.unwrap_or(0));
                    answer.changed = write.then_some(changed);
                    continue;
                }
                Either::Right(row) => row,
            };
            if counts {
                let count: i64 = row.try_get(0).map_err(fault)?;
                answer.seen = u64::try_from(count).unwrap_or(0);
                continue;
            }
            answer.seen += 1;
            if statement.count {
                continue;
            }
            let full = answer.rows.len() >= statement.max_rows;
            // The server sends a row as a whole, of up to its `max_allowed_packet`; here it goes no further.
            let long = row::size(&row) > statement.longest();
            if full || long || bytes > statement.max_bytes {
                let first = full && !answer.more;
                answer.more = true;
                // After one row more than wanted there is mostly the end.
                if write || first {
                    continue;
                }
                if answer.rows.is_empty() {
                    return Err(SourceError::TooLarge(statement.longest()));
                }
                whole = false;
                break;
            }
            if answer.rows.is_empty() && !statement.order.is_empty() {
                let unordered = row.columns().iter().filter(|c| !row::ordered(c.type_info()));
                let by = unordered.filter(|c| statement.order.iter().any(|by| by == c.name()));
                answer.unordered = by.map(|c| c.name().to_owned()).collect();
            }
            if answer.rows.is_empty() && self.server.mariadb() {
                texts = row::texts_of_tables(&row);
            }
            let value = row::to_json(&row).map_err(fault)?;
            bytes += value.to_string().len();
            answer.rows.push(value);
        }
        drop(stream);
        self.read_json(connection, whole, texts, &mut answer.rows).await;
        if let Some(changed) = answer.changed.filter(|_| answer.seen == 0) {
            answer.seen = changed;
        }
        Ok(Reading { answer, whole })
    }

    /// Reads the texts of MariaDB's JSON columns as what they are.
    async fn read_json(
        &self,
        connection: &mut PoolConnection<MySql>,
        whole: bool,
        texts: Vec<row::Text>,
        rows: &mut [Value],
    ) {
        for text in texts {
            let names = if whole {
                self.server.json_columns(connection, &text.table).await
            } else {
                // What is still on its way is in the way.
                let Ok(mut other) = self.side.acquire().await else { return };
                self.server.json_columns(&mut other, &text.table).await
            };
            if names.contains(&*text.name) {
                for row in rows.iter_mut() {
                    row::read_json(row, text.index);
                }
            }
        }
    }
}

/// Ends the transaction, frees what outlives one, and asks what is left. Fails only if a write could not be kept.
async fn end(
    connection: &mut PoolConnection<MySql>,
    keep: bool,
    session: &[(Arc<str>, String)],
    state: &str,
) -> Result<Option<State>, SourceError> {
    let end = if keep { "COMMIT" } else { "ROLLBACK" };
    let unset = if session.is_empty() { String::new() } else { format!("{}; ", set(session, "NULL")) };
    let end = AssertSqlSafe(format!("{end}; DO RELEASE_ALL_LOCKS(), LAST_INSERT_ID(0); {unset}{state}"));
    let mut stream = sqlx::raw_sql(end).fetch_many(&mut **connection);
    match stream.next().await {
        Some(Err(error)) if keep => return Err(fault(error)),
        None | Some(Err(_)) => return Ok(None),
        Some(Ok(_)) => {}
    }
    let mut state = None;
    while let Some(item) = stream.next().await {
        match item {
            Ok(Either::Right(row)) => {
                state = row.try_get::<String, _>(0).ok().as_deref().and_then(State::read);
            }
            Ok(Either::Left(_)) => {}
            Err(_) => return Ok(None),
        }
    }
    Ok(state)
}
