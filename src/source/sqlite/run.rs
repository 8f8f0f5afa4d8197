//! Running statements: two pools (reading connections cannot write), a deadline and a cancel mark that SQLite itself
//! looks at, and rows read only up to the caps.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{AssertSqlSafe, Either, Executor as _, Pool, SqliteConnection};

use super::guard::{Guard, LONGEST_PATTERN};
use super::watch::Watch;
use super::{SqlitePlan, fill, row};
use crate::output::json_len;
use crate::source::SourceError;
use crate::source::database::ending;
use crate::source::database::warm::{Held, Unsettled, Warm};
use crate::source::database::{Access, Answer, Bind, Statement, quiet};

/// Rows that are read before they are asked for: fewer than the driver's own 50, as each may be as long as the longest.
const ROWS_AHEAD: usize = 16;

/// A live SQLite database.
#[derive(Debug)]
pub(in crate::source) struct Sqlite {
    plan: SqlitePlan,
    /// For files: connections opened read-only. For memory: the only connection.
    read: Pool<sqlx::Sqlite>,
    /// For files: those of `read`, each with its watch.
    warm: Option<Warm<sqlx::Sqlite, Watch>>,
    /// For files: one connection that may write, as SQLite has one writer.
    write: Option<Pool<sqlx::Sqlite>>,
    ready: Arc<tokio::sync::OnceCell<()>>,
}

impl Sqlite {
    /// Opens nothing yet: connections are made when they are needed, so that a missing file heals when it appears.
    pub(in crate::source) fn open(plan: &SqlitePlan) -> Self {
        super::register_extensions();
        // There is no server that could have gone away, and a test would take a turn of the connection's thread.
        let many = || plan.pool.options::<sqlx::Sqlite>().test_before_acquire(false);
        let one = || {
            let pool = PoolOptions::<sqlx::Sqlite>::new().max_connections(1).test_before_acquire(false);
            pool.acquire_timeout(plan.pool.acquire_timeout.0)
        };
        let (read, write) = match &plan.file {
            Some(file) => {
                let options = options(file);
                let read = many().connect_lazy_with(options.clone().read_only(true));
                let write = one().idle_timeout(plan.pool.idle_timeout.0).connect_lazy_with(options);
                (read, Some(write))
            }
            // One connection that is never closed is the database.
            None => {
                let options = quiet(SqliteConnectOptions::new().in_memory(true).row_buffer_size(ROWS_AHEAD));
                (one().idle_timeout(None).max_lifetime(None).connect_lazy_with(options), None)
            }
        };
        // What was given up may still run for a moment.
        let warm = write.is_some().then(|| Warm::of(read.clone(), Unsettled::Returned));
        Self { plan: plan.clone(), read, warm, write, ready: Arc::default() }
    }

    /// Connections of its pools: open, idle.
    pub(in crate::source) fn connections(&self) -> (u32, usize) {
        let write = self.write.as_ref().map_or((0, 0), |pool| (pool.size(), pool.num_idle()));
        let read = || (self.read.size(), self.read.num_idle());
        let read = self.warm.as_ref().map_or_else(read, Warm::connections);
        (read.0 + write.0, read.1 + write.1)
    }

    /// Runs `init` if the database is empty; done once, tried again by the next call if it failed. It goes on in a task of its
    /// own when the call that began it has run out of time, so that a long script ends all the same.
    async fn ready(&self) -> Result<(), SourceError> {
        if self.ready.initialized() {
            return Ok(());
        }
        let (ready, plan, read) = (self.ready.clone(), self.plan.clone(), self.read.clone());
        let filling =
            crate::tasks::spawn(
                async move { ready.get_or_try_init(|| fill::fill(&plan, &read)).await.copied() },
            );
        filling.await.map_err(|e| SourceError::Internal(format!("the init script was cut off: {e}")))?
    }

    /// A connection that reads, of a database that is filled.
    pub(super) async fn reading(&self) -> Result<Reading, SourceError> {
        self.ready().await?;
        match &self.warm {
            Some(warm) => warm.acquire(fault).await.map(Reading::Warm),
            None => acquire(&self.read).await.map(Reading::Only),
        }
    }

    /// Whether a connection can be had and answers.
    pub(in crate::source) async fn probe(&self) -> Result<(), SourceError> {
        let mut connection = self.reading().await?;
        sqlx::query("SELECT 1").execute(connection.connection()?).await.map(drop).map_err(fault)
    }

    /// Runs one statement and reads its rows up to the caps.
    pub(in crate::source) async fn run(&self, statement: Statement) -> Result<Answer, SourceError> {
        let limit = statement.limit;
        let work = async {
            self.ready().await?;
            match (&self.warm, &self.write, statement.access) {
                (Some(warm), _, Access::Read) => read(warm, &statement).await,
                (_, Some(write), Access::Write) => {
                    write_one(acquire(write).await?, &statement, Closable(true)).await
                }
                _ => self.in_memory(&statement).await,
            }
        };
        match tokio::time::timeout(limit, work).await {
            Ok(Err(SourceError::Timeout(_))) | Err(_) => Err(SourceError::Timeout(limit)),
            Ok(result) => result,
        }
    }

    /// On the one connection that is the database.
    async fn in_memory(&self, statement: &Statement) -> Result<Answer, SourceError> {
        let mut connection = acquire(&self.read).await?;
        if statement.access == Access::Write {
            return write_one(connection, statement, Closable(false)).await;
        }
        let watch = Watch::of(&mut connection, statement).await?;
        let _mark = watch.begin(statement.limit);
        let_write(&mut connection, false).await?;
        watch.guard.let_route(Access::Read);
        read_rows(&mut connection, statement, true).await
    }
}

/// A connection that reads.
pub(super) enum Reading {
    /// Of a file.
    Warm(Held<sqlx::Sqlite, Watch>),
    /// Of memory.
    Only(PoolConnection<sqlx::Sqlite>),
}

impl Reading {
    /// The connection.
    pub(super) fn connection(&mut self) -> Result<&mut SqliteConnection, SourceError> {
        match self {
            Self::Warm(held) => held.connection(),
            Self::Only(connection) => Ok(connection),
        }
    }
}

/// Reads on a connection that may be the next call's as it is, if all of its rows were read.
async fn read(warm: &Warm<sqlx::Sqlite, Watch>, statement: &Statement) -> Result<Answer, SourceError> {
    let mut held = warm.acquire(fault).await?;
    let (connection, known) = held.parts()?;
    let watch = match known {
        Some(watch) if watch.fits(statement) => watch.clone(),
        _ => known.insert(Watch::of(connection, statement).await?).clone(),
    };
    let _mark = watch.begin(statement.limit);
    watch.guard.let_route(Access::Read);
    let answer = read_rows(connection, statement, true).await?;
    watch.guard.let_own();
    held.settled = !answer.more;
    Ok(answer)
}

/// Whether a connection is closed after a write of which nobody knows how it ended. Memory would be gone with it; there the next call
/// rolls back.
struct Closable(bool);

async fn write_one(
    mut connection: PoolConnection<sqlx::Sqlite>,
    statement: &Statement,
    Closable(closable): Closable,
) -> Result<Answer, SourceError> {
    let watch = Watch::of(&mut connection, statement).await?;
    let _mark = watch.begin(statement.limit);
    if !closable {
        let_write(&mut connection, true).await?;
    }
    Writing { connection, guard: watch.guard.clone(), closable, settled: false }.run(statement).await
}

/// Lets the one connection of memory write, or only read.
async fn let_write(connection: &mut SqliteConnection, writes: bool) -> Result<(), SourceError> {
    // Of a write that was given up; mostly there is none, and this fails.
    let _ = execute(connection, "ROLLBACK").await;
    let pragma = if writes { "PRAGMA query_only = 0" } else { "PRAGMA query_only = 1" };
    execute(connection, pragma).await.map_err(fault)
}

pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(3));
    quiet(options.row_buffer_size(ROWS_AHEAD))
}

pub(super) async fn acquire(pool: &Pool<sqlx::Sqlite>) -> Result<PoolConnection<sqlx::Sqlite>, SourceError> {
    ending::acquire(pool, fault).await
}

/// A writing connection. Unless it is `settled` in the end, nobody knows whether a transaction is still open on it.
struct Writing {
    connection: PoolConnection<sqlx::Sqlite>,
    guard: Guard,
    /// Memory would be gone with its connection; there the next call rolls back.
    closable: bool,
    settled: bool,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.closable && !self.settled {
            self.connection.close_on_drop();
        }
    }
}

impl Writing {
    /// Runs one statement in a transaction of its own. Not sqlx's: it loses count when SQLite itself rolls back what it
    /// stopped, and nothing could begin on the connection any more.
    async fn run(mut self, statement: &Statement) -> Result<Answer, SourceError> {
        execute(&mut self.connection, "BEGIN IMMEDIATE").await.map_err(fault)?;
        self.guard.let_route(Access::Write);
        // Memory has one connection for reads too: what was compiled for a write is not kept there, or a read of the same text
        // would find it.
        let result = read_rows(&mut self.connection, statement, self.closable).await;
        self.guard.let_own();
        let result = match result {
            Ok(answer) => execute(&mut self.connection, "COMMIT").await.map(|()| answer).map_err(fault),
            Err(error) => Err(error),
        };
        self.settled = result.is_ok() || execute(&mut self.connection, "ROLLBACK").await.is_ok();
        result
    }
}

/// Runs a statement of our own. It is not kept, so that a route of the same text does not find it.
async fn execute(connection: &mut SqliteConnection, text: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(text).persistent(false).execute(connection).await.map(drop)
}

async fn read_rows(
    connection: &mut SqliteConnection,
    statement: &Statement,
    keep: bool,
) -> Result<Answer, SourceError> {
    let query = sqlx::query(AssertSqlSafe(statement.text.whole.clone())).persistent(keep);
    let query = statement.binds.iter().try_fold(query, bind)?;
    // A write runs to its end; only what is kept of its rows is capped.
    let must_finish = statement.access == Access::Write;
    let mut stream = connection.fetch_many(query);
    let mut answer = Answer::default();
    let mut bytes = 0;
    while let Some(item) = stream.next().await {
        let item = match item.map_err(fault) {
            Err(SourceError::TooLarge(_)) if answer.rows.is_empty() => {
                return Err(SourceError::TooLarge(statement.longest()));
            }
            // Left out with all after it, as with the caps.
            Err(SourceError::TooLarge(_)) if !must_finish => {
                answer.more = true;
                break;
            }
            item => item?,
        };
        match item {
            Either::Left(done) if must_finish => {
                answer.changed = Some(answer.changed.unwrap_or(0) + done.rows_affected());
            }
            Either::Left(_) => {}
            Either::Right(_) if statement.count => answer.seen += 1,
            Either::Right(row) => {
                answer.seen += 1;
                if answer.rows.len() >= statement.max_rows || bytes > statement.max_bytes {
                    answer.more = true;
                    if must_finish {
                        continue;
                    }
                    break;
                }
                answer.unordered.extend(row::unordered(&row, &statement.order).cloned());
                let value = row::to_json(&row).map_err(fault)?;
                bytes += json_len(&value);
                answer.rows.push(value);
            }
        }
    }
    Ok(answer)
}

fn bind<'q>(
    query: Query<'q, sqlx::Sqlite, SqliteArguments>,
    bind: &Bind,
) -> Result<Query<'q, sqlx::Sqlite, SqliteArguments>, SourceError> {
    let value = match bind {
        Bind::Vector(vector) => {
            return Ok(query.bind(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()));
        }
        Bind::Value(value) => value,
    };
    Ok(match value {
        Value::Null => query.bind(None::<String>),
        Value::Bool(b) => query.bind(*b),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(whole), _) => query.bind(whole),
            (None, Some(real)) if n.is_f64() => query.bind(real),
            // As a floating-point number it would be another number.
            _ => {
                let message = format!("The number {n} is larger than this database can hold.");
                return Err(SourceError::Argument(message));
            }
        },
        Value::String(text) => query.bind(text.clone()),
        structure => query.bind(structure.to_string()),
    })
}

/// What SQLite says of a pattern that is longer than its limit.
const PATTERN_TOO_LONG: &str = "LIKE or GLOB pattern too complex";

/// SQLite's error codes: <https://www.sqlite.org/rescode.html>
#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands the error over")]
pub(super) fn fault(error: sqlx::Error) -> SourceError {
    let primary = match &error {
        sqlx::Error::Database(db) => db.code().and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff),
        sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            return SourceError::Unavailable(error.to_string());
        }
        _ => None,
    };
    let text = error.to_string();
    match primary {
        // What the guard says of functions has the code of any error.
        Some(1) if error.as_database_error().is_some_and(|e| e.message().starts_with("not authorized")) => {
            SourceError::Refused(text)
        }
        // And what LIKE says of its pattern.
        Some(1) if error.as_database_error().is_some_and(|e| e.message() == PATTERN_TOO_LONG) => {
            let message = format!(
                "The text that is searched for is too long: a pattern of LIKE or GLOB has at most {LONGEST_PATTERN} bytes."
            );
            SourceError::Argument(message)
        }
        // BUSY, LOCKED, NOMEM, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
        Some(5 | 6 | 7 | 10 | 11 | 13 | 14 | 26) => SourceError::Unavailable(text),
        // TOOBIG: the caller knows the limit
        Some(18) => SourceError::TooLarge(0),
        // INTERRUPT: the deadline passed
        Some(9) => SourceError::Timeout(Duration::ZERO),
        // READONLY, CONSTRAINT, MISMATCH, AUTH
        Some(8 | 19 | 20 | 23) => SourceError::Refused(text),
        _ => SourceError::Internal(text),
    }
}
