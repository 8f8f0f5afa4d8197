//! A read in one message: the transaction that only reads, its time limit, the statement, the undoing of all. The statement has been
//! prepared on its connection by then, and its values are such as may stand in a text. Everything else goes step by step.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use futures_util::StreamExt as _;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Either, Executor as _, Row as _, SqlSafeStr as _};
use tokio::runtime::Handle;

use super::known::{Key, Known, plain};
use super::reader::{Next, Reader};
use super::run::{Held, end_read};
use super::{Shared, fault};
use crate::source::SourceError;
use crate::source::database::ending::{self, CANCEL};
use crate::source::database::{Access, Answer, Statement};

/// How many statements the driver keeps prepared on a connection; of more it closes the oldest.
pub(super) const KEPT: usize = 100;
/// Lets go of the locks that outlive a transaction.
pub(super) const UNLOCK: &str = "SELECT FROM pg_catalog.pg_advisory_unlock_all()";
/// What ends a statement by the tag that it begins with. Where the server does not say what runs, by its process.
const CANCEL_TAGGED: &str = "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity AS a \
    WHERE (a.state = 'active' AND pg_catalog.left(a.query, $1) = $2) OR (a.state = 'disabled' AND a.pid = $3)";

impl Known {
    /// Whether a call of it may be read in one message.
    pub(super) fn at_once(&self, statement: &Statement) -> bool {
        statement.access == Access::Read && statement.session.is_empty() && self.plain(statement).is_some()
    }

    /// The values of a call that may be read in one message.
    fn plain(&self, statement: &Statement) -> Option<String> {
        if self.rows && !self.seeds { plain(self, &statement.binds) } else { None }
    }
}

/// What comes of trying a read in one message.
pub(super) enum AtOnce {
    Read(Answer),
    /// It goes step by step, on this connection if there is one.
    Not(Option<Held>),
}

/// What is known of a connection as long as it goes from call to call.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The server's process.
    pub process: i32,
    /// The server's name of [`UNLOCK`], and of each statement by its number, if it has one.
    unlock: Option<Box<str>>,
    names: Vec<(u64, Option<Box<str>>)>,
}

impl Facts {
    /// Of a connection that is served by this process.
    pub(super) fn of(process: i32) -> Self {
        Self { process, ..Self::default() }
    }

    fn name(&self, known: &Known) -> Option<(&str, &str)> {
        let (_, name) = self.names.iter().find(|(number, _)| *number == known.number)?;
        Some((name.as_deref()?, self.unlock.as_deref()?))
    }

    /// Whether the server was asked for the name of a statement.
    pub(super) fn asked(&self, known: &Known) -> bool {
        self.names.iter().any(|(number, _)| *number == known.number)
    }

    fn name_is(&mut self, known: &Known, name: Option<Box<str>>) {
        if self.names.len() >= KEPT {
            self.names.clear();
        }
        self.names.push((known.number, name));
    }

    fn forget_names(&mut self) {
        *self = Self::of(self.process);
    }
}

/// The marks by which the messages of this database are told from all others on its server, as long as there are any.
#[derive(Debug)]
pub(super) struct Tags {
    mark: u64,
    calls: AtomicU64,
    /// Whether no read goes in one message any more.
    given_up: AtomicBool,
}

impl Tags {
    pub(super) fn new() -> Self {
        Self { mark: fastrand::u64(..), calls: AtomicU64::new(0), given_up: AtomicBool::new(false) }
    }

    fn give_up(&self) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            tracing::debug!(
                "a prepared statement was gone; reads of this source go step by step from here on"
            );
        }
    }

    fn next(&self) -> String {
        format!("/*sidegate {:016x} {}*/", self.mark, self.calls.fetch_add(1, Ordering::Relaxed))
    }
}

impl Shared {
    /// What is known of a statement that can be read in one message, with its values.
    fn fitting(&self, statement: &Statement) -> Option<(Arc<Known>, String)> {
        let gone = self.tags.given_up.load(Ordering::Relaxed);
        if gone || statement.access == Access::Write || !statement.session.is_empty() {
            return None;
        }
        let known = {
            let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(&Key::of(statement))?.clone()
        };
        let values = known.plain(statement)?;
        Some((known, values))
    }

    /// Reads in one message, if it can be done so.
    pub(super) async fn at_once(self: &Arc<Self>, statement: &Statement) -> Result<AtOnce, SourceError> {
        let Some((known, values)) = self.fitting(statement) else { return Ok(AtOnce::Not(None)) };
        let held = self.acquire().await?;
        let Some((name, unlock)) = held.known().and_then(|facts| facts.name(&known)) else {
            return Ok(AtOnce::Not(Some(held)));
        };
        let tag = self.tags.next();
        let message = message(&tag, statement, &known, (name, &values), unlock);
        let mut running = Running { held: Some(held), shared: self, tag };
        let mut reader = Reader::of(statement, &known);
        // The rows come after the begin and what is set.
        let ended = running.read(message, 2 + statement.local.len(), &mut reader).await;
        let Some(mut held) = running.held.take() else { return Ok(AtOnce::Not(None)) };
        match ended {
            Ok(whole) => {
                // What is more than the caps ends with its connection.
                held.settled = whole;
                Ok(AtOnce::Read(reader.answer()))
            }
            Err(Broken::Ours(error)) => Err(error),
            Err(Broken::Said(error)) => Box::pin(self.said(error, held, statement)).await,
            // It may have broken before anything of this ran. A read is tried once more.
            Err(Broken::Off(_)) if !reader.began() => Ok(AtOnce::Not(None)),
            Err(Broken::Off(error)) => Err(match fault(error) {
                SourceError::Internal(text) => SourceError::Unavailable(text),
                other => other,
            }),
        }
    }

    /// What the server said instead of rows, in a transaction that is still to be undone.
    async fn said(
        &self,
        error: sqlx::Error,
        mut held: Held,
        statement: &Statement,
    ) -> Result<AtOnce, SourceError> {
        held.settled = end_read(held.connection()?).await;
        if code(&error).as_deref() == Some(NOT_PREPARED) {
            // A pooler stands between, whose connections are not the server's, or a statement lets go of others.
            self.tags.give_up();
            if let (_, Some(facts)) = held.parts()? {
                facts.forget_names();
            }
            let usable = std::mem::replace(&mut held.settled, false);
            return Ok(AtOnce::Not(usable.then_some(held)));
        }
        let error = fault(error);
        self.forget_after(&error, statement);
        Err(error)
    }
}

/// Learns the server's name of a statement that ran on a connection, for the next time.
pub(super) async fn learn_name(mut held: Held, known: Arc<Known>) {
    let named = tokio::time::timeout(CANCEL, name(&mut held, &known)).await;
    if let (Ok(Err(sqlx::Error::Database(_))), Ok((_, Some(facts)))) = (&named, held.parts()) {
        // A server of another make, which cannot say it.
        facts.name_is(&known, None);
    }
    held.settled = matches!(named, Ok(Ok(()) | Err(sqlx::Error::Database(_))));
}

/// invalid_sql_statement_name
const NOT_PREPARED: &str = "26000";

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The whole message.
fn message(
    tag: &str,
    statement: &Statement,
    known: &Known,
    (name, values): (&str, &str),
    unlock: &str,
) -> String {
    let limit = statement.limit.as_millis().max(1);
    let mut text = String::with_capacity(tag.len() + known.shown.len() + values.len() + 200);
    let _ = write!(text, "{tag}BEGIN READ ONLY;SET LOCAL statement_timeout={limit};");
    for (name, value) in &statement.local {
        let _ = write!(text, "SET LOCAL {name}={value};");
    }
    let _ = write!(text, "-- {}\nEXECUTE \"{name}\"{values};ROLLBACK;EXECUTE \"{unlock}\"", known.shown);
    text
}

/// Asks for the names of what the driver has prepared, and has it prepare what lets go of locks.
async fn name(held: &mut Held, known: &Known) -> Result<(), sqlx::Error> {
    let Ok((connection, Some(facts))) = held.parts() else { return Ok(()) };
    connection.prepare(UNLOCK.into_sql_str()).await?;
    if facts.outgrown(connection) {
        return Ok(());
    }
    let text = "SELECT p.name, p.statement = $2 FROM pg_catalog.pg_prepared_statement() AS p \
        WHERE p.statement IN ($1, $2) AND NOT p.from_sql";
    let asked = sqlx::query(text).bind(&*known.text).bind(UNLOCK).persistent(false);
    let (mut name, mut unlock) = (None, None);
    for row in asked.fetch_all(connection).await? {
        let found: String = row.try_get(0)?;
        // It goes between quotes.
        if found.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            *(if row.try_get(1)? { &mut unlock } else { &mut name }) = Some(found.into_boxed_str());
        }
    }
    facts.name_is(known, name);
    facts.unlock = unlock;
    Ok(())
}

impl Facts {
    /// Whether the driver may have closed statements to make room; then no name is known any more.
    pub(super) fn outgrown(&mut self, connection: &PgConnection) -> bool {
        let full = connection.cached_statements_size() >= KEPT;
        if full {
            self.forget_names();
        }
        full
    }
}

/// Why a message did not come to its end.
enum Broken {
    /// By what we read.
    Ours(SourceError),
    /// By the server's word.
    Said(sqlx::Error),
    /// With the connection.
    Off(sqlx::Error),
}

/// A message whose statement is ended on the server if this is dropped with its connection.
struct Running<'a> {
    held: Option<Held>,
    shared: &'a Arc<Shared>,
    tag: String,
}

impl Running<'_> {
    /// Sends the message and reads its rows, which come after so many parts that give none. Says whether nothing is left to be read.
    async fn read(&mut self, message: String, first: usize, reader: &mut Reader<'_>) -> Result<bool, Broken> {
        let held = self.held.as_mut().ok_or_else(|| Broken::Ours(SourceError::Internal(String::new())))?;
        let connection = held.connection().map_err(Broken::Ours)?;
        let mut stream = sqlx::raw_sql(AssertSqlSafe(message)).fetch_many(connection);
        let (mut parts, mut next) = (0, Next::More);
        while let Some(item) = stream.next().await {
            match item.map_err(broken)? {
                Either::Left(_) => parts += 1,
                Either::Right(row) if parts == first && next == Next::More => {
                    let text = row.try_get(0).map_err(|e| Broken::Ours(fault(e)))?;
                    next = reader.row(text).map_err(Broken::Ours)?;
                    if next == Next::TooMuch {
                        return Ok(false);
                    }
                }
                Either::Right(_) => {}
            }
        }
        Ok(true)
    }
}

fn broken(error: sqlx::Error) -> Broken {
    // A server that stops says so to those who wait for nothing, too.
    match code(&error) {
        Some(code) if !code.starts_with("57P") => Broken::Said(error),
        _ => Broken::Off(error),
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let (Some(held), Ok(tasks)) = (self.held.take(), Handle::try_current()) {
            let end = end_on_the_server(self.shared.clone(), held, std::mem::take(&mut self.tag));
            tasks.spawn(crate::tasks::work(end));
        }
    }
}

/// Ends what runs on a connection, and closes it.
async fn end_on_the_server(shared: Arc<Shared>, mut held: Held, tag: String) {
    let process = held.known().map_or(0, |facts| facts.process);
    let Ok(connection) = held.connection() else { return };
    let running = pin!(connection.ping());
    let length = i32::try_from(tag.len()).unwrap_or(i32::MAX);
    let cancel =
        || sqlx::query(CANCEL_TAGGED).bind(length).bind(tag.as_str()).bind(process).execute(&shared.side);
    ending::end_all_of(running, cancel).await;
}
