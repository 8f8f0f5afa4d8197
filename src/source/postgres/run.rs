//! One statement in a transaction of its own, which is undone unless it was to write and did. The task that holds the connection
//! also ends what runs on it, so that a cancel never meets another call's statement.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _};
use tokio::sync::oneshot;

use super::at_once::{Facts, UNLOCK, learn_name};
use super::known::{self, Key, Known};
use super::reader::{Next, Reader};
use super::{Shared, fault};
use crate::source::SourceError;
use crate::source::database::ending::{self, CANCEL};
use crate::source::database::warm;
use crate::source::database::{Access, Answer, Bind, Statement};

/// A connection, which is closed unless it is known to be as it was.
pub(super) type Held = warm::Held<sqlx::Postgres, Facts>;

impl Shared {
    /// A connection whose server has done `first`, and the row that it gave; `held` is tried before others. One that broke while it lay
    /// in the pool is known by that, before anything of the call ran on it, and another is taken.
    pub(super) async fn opened(
        &self,
        first: &str,
        mut held: Option<Held>,
    ) -> Result<(Held, Option<PgRow>), SourceError> {
        let mut spare = self.max;
        loop {
            let mut held = match held.take() {
                Some(held) => held,
                None => self.acquire().await?,
            };
            let done = sqlx::raw_sql(AssertSqlSafe(first)).fetch_optional(held.connection()?);
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
    pub(super) async fn acquire(&self) -> Result<Held, SourceError> {
        // One that is stopping ends in the middle of the first words, which is no fault of ours.
        let fault = |error| match fault(error) {
            SourceError::Internal(text) => SourceError::Unavailable(text),
            other => other,
        };
        self.warm.acquire(fault).await
    }

    /// Runs a statement until it ends or nobody waits for it; on `held`, if there is one.
    pub(super) async fn work(
        self: Arc<Self>,
        statement: &Statement,
        held: Option<Held>,
        mut gone: oneshot::Receiver<()>,
    ) -> Result<Answer, SourceError> {
        let begin = begin(statement);
        let (mut held, process) = tokio::select! {
            biased;
            _ = &mut gone => return Err(SourceError::Timeout(statement.limit)),
            begun = self.opened(&begin, held) => begun?,
        };
        let process: i32 = match process {
            Some(row) => row.try_get(0).map_err(fault)?,
            None => return Err(SourceError::Internal("the server named no process".to_owned())),
        };
        let again = met_again(&mut held, process)?;
        set(held.connection()?, statement).await?;
        let (result, asked) = {
            let mut running = std::pin::pin!(self.rows(&mut held, statement));
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
        if let Err(error) = &result {
            self.forget_after(error, statement);
        }
        if matches!(result, Ok(Reading { whole: false, .. })) {
            // More than the caps is still on its way: the connection ends with it.
            return result.map(|r| r.answer);
        }
        let clean = match statement.access {
            Access::Read => end_read(held.connection()?).await,
            Access::Write => end(held.connection()?, asked && result.is_ok(), statement.limit).await?,
        };
        held.settled = clean && !seeds(&statement.text.whole);
        let Reading { answer, known, .. } = result?;
        let asked = held.known().is_none_or(|facts| facts.asked(&known));
        if again && !asked && held.settled && known.at_once(statement) {
            // One that met this connection before will again.
            held.settled = false;
            crate::tasks::spawn(learn_name(held, known));
        }
        Ok(answer)
    }

    /// A table may have changed since the server was asked; the next call asks again.
    pub(super) fn forget_after(&self, error: &SourceError, statement: &Statement) {
        if matches!(error, SourceError::Internal(_) | SourceError::Argument(_)) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&Key::of(statement));
        }
    }

    /// Reads the rows up to the caps.
    async fn rows(&self, held: &mut Held, statement: &Statement) -> Result<Reading, SourceError> {
        let known = self.known(held, statement).await?;
        let (connection, facts) = held.parts()?;
        let mut query = sqlx::query(AssertSqlSafe(known.text.clone()));
        for (bind, kind) in &known.values {
            query = match statement.binds.get(*bind) {
                Some(Bind::Value(value)) => query.bind(known::text(value, *kind)),
                Some(Bind::Vector(vector)) => query.bind(pgvector::Vector::from(vector.to_vec())),
                None => query.bind(None::<String>),
            };
        }
        let mut reader = Reader::of(statement, &known);
        let mut next = Next::More;
        {
            let mut stream = (&mut *connection).fetch_many(query);
            while next == Next::More {
                let Some(item) = stream.next().await else { break };
                match item.map_err(fault)? {
                    Either::Left(done) => reader.changed(done.rows_affected()),
                    Either::Right(row) => next = reader.row(row.try_get(0).map_err(fault)?)?,
                }
            }
        }
        if let Some(facts) = facts {
            facts.outgrown(connection);
        }
        let answer = reader.answer();
        Ok(Reading { answer, known, whole: next != Next::TooMuch })
    }

    /// What the server said of this statement, asked once.
    async fn known(&self, held: &mut Held, statement: &Statement) -> Result<Arc<Known>, SourceError> {
        let key = Key::of(statement);
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let (connection, facts) = held.parts()?;
        // The driver forgets what it has prepared.
        *facts = None;
        let known = Arc::new(Known::learn(connection, statement).await?);
        lock().insert(key, known.clone());
        Ok(known)
    }
}

/// What was read.
struct Reading {
    answer: Answer,
    known: Arc<Known>,
    /// Whether the server has nothing more to send than a row or two.
    whole: bool,
}

/// Whether a statement sets the seed of `random()`: nothing undoes that, nor says that it was done.
pub(super) fn seeds(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let set = text.trim_start().starts_with("set") && text.contains("seed");
    set || text.contains("setseed") || text.contains("'seed'")
}

/// Whether this connection and its process have met in another call. Behind a pooler a connection may be another process each time, of
/// which nothing is known.
fn met_again(held: &mut Held, process: i32) -> Result<bool, SourceError> {
    let (_, facts) = held.parts()?;
    let again = facts.as_ref().is_some_and(|facts| facts.process == process);
    if !again {
        *facts = Some(Facts::of(process));
    }
    Ok(again)
}

/// Undoes a transaction that could only read. With it goes all that it set, opened, heard or declared; it could make no table and take
/// no value of a sequence, also by functions, as the server refuses that in one that only reads. Locks of a session outlive it. Says
/// whether nothing is left on the connection; a server that does not say so in time is not waited for.
pub(super) async fn end_read(connection: &mut PgConnection) -> bool {
    let end = format!("ROLLBACK; {UNLOCK}");
    let end = sqlx::raw_sql(AssertSqlSafe(end)).execute(connection);
    matches!(tokio::time::timeout(CANCEL, end).await, Ok(Ok(_)))
}

/// Ends the transaction and what outlives one: roles, settings, locks, cursors, channels, temporary tables, values of sequences. Says
/// whether nothing is left on the connection. Fails only if a write could not be kept, or if nobody knows within as long as it might run.
async fn end(connection: &mut PgConnection, keep: bool, limit: Duration) -> Result<bool, SourceError> {
    let ended = tokio::time::timeout(limit.max(CANCEL), end_all(connection, keep)).await;
    ended.unwrap_or(Err(SourceError::Timeout(limit)))
}

async fn end_all(connection: &mut PgConnection, keep: bool) -> Result<bool, SourceError> {
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
    let mut stream = sqlx::raw_sql(AssertSqlSafe(end)).fetch_many(&mut *connection);
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
