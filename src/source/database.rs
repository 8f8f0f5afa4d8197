//! Databases of every engine behind one way of running a statement: values bound, caps on rows and bytes while reading, a deadline
//! that also ends the statement on the server, and a mode in which nothing can be written.

mod describe;
pub(in crate::source) mod ending;
pub(in crate::source) mod exact;
mod server;
pub(in crate::source) mod warm;

pub(in crate::source) use describe::word_at;
pub use describe::{Class, Column, Described, Fit, ParamType, Undescribed, Wrong};
pub(in crate::source) use server::{ServerPlan, Tls};

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::ConnectOptions;
use sqlx::pool::PoolOptions;

use super::mysql::Mysql;
use super::postgres::Postgres;
use super::sql::PoolConfig;
use super::sqlite::{Sqlite, SqlitePlan};
use super::{SourceCx, SourceError, time_limit};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::secret::Secret;
use crate::units::Period;

/// From when on a statement is a slow one.
const SLOW: Duration = Duration::from_secs(1);

/// Connections whose driver writes of a slow statement no louder than of any other: what takes long is told of its call, with its route.
pub(in crate::source) fn quiet<O: ConnectOptions>(options: O) -> O {
    match "debug".parse() {
        Ok(debug) => options.log_slow_statements(debug, SLOW),
        Err(_) => options,
    }
}

/// The engines, as the dialects they speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::source) enum Engine {
    #[default]
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

impl Engine {
    /// Its name in OpenTelemetry's conventions (`db.system.name`).
    pub(in crate::source) const fn system(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
            Self::Mysql => "mysql",
        }
    }

    /// The placeholder of a bind, by its number from 0.
    pub(in crate::source) fn mark(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{}", number + 1),
            Self::Postgres => format!("${}", number + 1),
            Self::Mysql => "?".to_owned(),
        }
    }

    /// A name in quotes.
    pub(in crate::source) fn quote(self, name: &str) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::Mysql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// Whether a variable of a session may hold a part of the caller's identity. PostgreSQL: names of the user's own, which all have a
    /// dot, and the role; others would change what the gateway itself has set. MySQL: user variables, which change nothing else.
    pub(in crate::source) fn may_set(self, name: &str) -> bool {
        let word = |w: &str| {
            w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && w.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match self {
            Self::Sqlite => false,
            Self::Postgres => name == "role" || name.contains('.') && name.split('.').all(word),
            Self::Mysql => name.split('.').all(word),
        }
    }
}

/// A compiled database.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::source) enum DatabasePlan {
    Sqlite(SqlitePlan),
    Postgres(ServerPlan),
    Mysql(ServerPlan),
}

/// A live database.
#[derive(Debug)]
pub(in crate::source) enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
    Mysql(Mysql),
}

/// Which of the two a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::source) enum Access {
    Read,
    Write,
}

/// A bound value.
#[derive(Clone, Debug)]
pub(in crate::source) enum Bind {
    /// A JSON value: scalars as themselves, structures as JSON text.
    Value(Value),
    /// A vector: a blob of 32-bit floats in SQLite, pgvector's own form in PostgreSQL.
    Vector(Arc<[f32]>),
}

/// A statement's text: as its engine takes it, and in parts around its binds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(in crate::source) struct SqlText {
    /// With the engine's placeholders.
    pub whole: Arc<str>,
    /// What stands before each place of a bind, with the bind's number from 0.
    #[serde(skip)]
    pub parts: Arc<[(String, usize)]>,
    /// What stands after the last.
    #[serde(skip)]
    pub tail: Arc<str>,
    /// Binds that go to PostgreSQL as themselves, not as texts that it reads.
    #[serde(skip)]
    pub binary: Vec<usize>,
}

impl SqlText {
    /// From its parts.
    pub(in crate::source) fn new(engine: Engine, parts: Vec<(String, usize)>, tail: String) -> Self {
        let mut whole = String::new();
        for (before, number) in &parts {
            whole.push_str(before);
            whole.push_str(&engine.mark(*number));
        }
        whole.push_str(&tail);
        Self { whole: whole.into(), parts: parts.into(), tail: tail.into(), binary: Vec::new() }
    }

    /// This statement inside another one: `head`, this, `more`, `tail`.
    pub(in crate::source) fn inside(
        &self,
        engine: Engine,
        head: &str,
        more: Vec<(String, usize)>,
        tail: &str,
    ) -> Self {
        let mut parts = Vec::with_capacity(self.parts.len() + more.len());
        let mut pending = head.to_owned();
        for (before, number) in self.parts.iter() {
            parts.push((format!("{pending}{before}"), *number));
            pending.clear();
        }
        pending.push_str(&self.tail);
        for (before, number) in more {
            parts.push((format!("{pending}{before}"), number));
            pending.clear();
        }
        Self::new(engine, parts, format!("{pending}{tail}"))
    }
}

impl From<Arc<str>> for SqlText {
    /// A text of our own, in the words of its engine.
    fn from(whole: Arc<str>) -> Self {
        Self { whole, ..Self::default() }
    }
}

/// One statement to run.
pub(in crate::source) struct Statement {
    pub text: SqlText,
    pub binds: Vec<Bind>,
    /// Variables that are set while it runs, for the engines that have them.
    pub session: Vec<(Arc<str>, String)>,
    /// The columns that its rows are in the order of, where pages are made by them.
    pub order: Arc<[String]>,
    pub access: Access,
    /// Only counts its rows, all of them.
    pub count: bool,
    pub max_rows: usize,
    pub max_bytes: usize,
    pub limit: Duration,
    /// Settings of the engine for this statement alone, all of our own words. PostgreSQL only.
    pub local: Vec<(&'static str, String)>,
}

/// The longest row that is read at all, unless the route's own cap says more.
const LONGEST: usize = 4 << 20;

impl Statement {
    /// A read of our own: no variables, no order, one row and the bytes of a small answer unless more is said.
    pub fn read((text, binds): (SqlText, Vec<Bind>), limit: Duration) -> Self {
        Self {
            text,
            binds,
            session: Vec::new(),
            order: Arc::default(),
            access: Access::Read,
            count: false,
            max_rows: 1,
            max_bytes: 1024,
            limit,
            local: Vec::new(),
        }
    }

    /// The longest row that is taken from the engine. A larger one would have to be held before it could be left out; one that is
    /// somewhat larger than the cap may still be made small by the route's `select`.
    pub const fn longest(&self) -> usize {
        let twice = self.max_bytes.saturating_mul(2);
        if twice > LONGEST { twice } else { LONGEST }
    }
}

/// What a statement gave.
#[derive(Debug, Default)]
pub(in crate::source) struct Answer {
    pub rows: Vec<Value>,
    /// How many rows were read, kept or not.
    pub seen: u64,
    /// Whether there were more rows than the caps let through.
    pub more: bool,
    /// Rows changed, of a write.
    pub changed: Option<u64>,
    /// Columns of [`Statement::order`] whose values the engine does not put in order by what is shown of them.
    pub unordered: Vec<String>,
}

/// Adds a column to a row. A name that occurs twice gets `_2`, `_3`, … so that no value is lost.
pub(in crate::source) fn put(row: &mut Map<String, Value>, column: &str, value: Value) {
    let name = free(column, |name| row.contains_key(name));
    row.insert(name, value);
}

/// The names of a row's columns as [`put`] gives them.
pub(in crate::source) fn unique<'a>(columns: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        names.push(free(column, |name| names.iter().any(|n| n == name)));
    }
    names
}

fn free(column: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = column.to_owned();
    let mut copy = 2;
    while taken(&name) {
        name = format!("{column}_{copy}");
        copy += 1;
    }
    name
}

/// Connections, every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source) struct PoolPlan {
    pub max: u32,
    pub min: u32,
    pub acquire_timeout: Period,
    pub idle_timeout: Period,
    pub max_lifetime: Period,
}

impl PoolPlan {
    /// The options of a pool of any engine.
    pub(in crate::source) fn options<D: sqlx::Database>(&self) -> PoolOptions<D> {
        PoolOptions::new()
            .max_connections(self.max)
            .min_connections(self.min)
            .acquire_timeout(self.acquire_timeout.0)
            .idle_timeout(self.idle_timeout.0)
            .max_lifetime(self.max_lifetime.0)
    }

    pub(in crate::source) fn compile(config: &PoolConfig, diagnostics: &mut Diagnostics) -> Option<Self> {
        let max = config.max.map_or(10, |m| m.value);
        let min = config.min.map_or(0, |m| m.value);
        if let Some(written) = config.max.filter(|m| m.value == 0 || m.value > 1000) {
            let message = "a pool has between 1 and 1000 connections";
            diagnostics.push(Diagnostic::error("bad-pool", message).at(written.span, ""));
            return None;
        }
        if let Some(written) = config.min.filter(|m| m.value > max) {
            let message = format!("`min` is larger than `max`, which is {max}");
            diagnostics.push(Diagnostic::error("bad-pool", message).at(written.span, ""));
            return None;
        }
        Some(Self {
            max,
            min,
            acquire_timeout: time_limit(config.acquire_timeout, 3, "acquire_timeout", diagnostics),
            idle_timeout: config.idle_timeout.unwrap_or(Period::seconds(600)),
            max_lifetime: config.max_lifetime.unwrap_or(Period::seconds(3600)),
        })
    }
}

impl DatabasePlan {
    /// Compiles the database of a URL; its scheme is the engine.
    pub(in crate::source) fn compile(
        url: &Spanned<Secret>,
        init: Option<&FileRef>,
        pool: PoolPlan,
        cx: &mut SourceCx<'_>,
    ) -> Option<Self> {
        let scheme = url.expose().split(':').next().unwrap_or_default();
        if scheme != "sqlite"
            && let Some(init) = init
        {
            let message = "`init` fills SQLite files only; a database server is filled by its own tools";
            cx.diagnostics.push(Diagnostic::error("init-not-sqlite", message).at(init.path.span, ""));
        }
        match scheme {
            "postgres" | "postgresql" => ServerPlan::compile(url, 5432, pool, cx).map(Self::Postgres),
            "mysql" | "mariadb" => ServerPlan::compile(url, 3306, pool, cx).map(Self::Mysql),
            _ => SqlitePlan::compile(url, init, pool, cx).map(Self::Sqlite),
        }
    }

    /// The engine.
    pub(in crate::source) const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
            Self::Mysql(_) => Engine::Mysql,
        }
    }

    /// Opens it; connections are made when they are needed.
    pub(in crate::source) fn open(&self) -> Database {
        match self {
            Self::Sqlite(plan) => Database::Sqlite(Sqlite::open(plan)),
            Self::Postgres(plan) => Database::Postgres(Postgres::open(plan)),
            Self::Mysql(plan) => Database::Mysql(Mysql::open(plan)),
        }
    }
}

impl Database {
    /// Whether a connection can be had and answers.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(in crate::source) async fn probe(&self) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(database) => database.probe().await,
            Self::Postgres(database) => database.probe().await,
            Self::Mysql(database) => database.probe().await,
        }
    }

    /// Connections that statements run on: open, and idle ones among them.
    pub(in crate::source) fn connections(&self) -> (u32, u32) {
        let (open, idle) = match self {
            Self::Sqlite(database) => database.connections(),
            Self::Postgres(database) => database.connections(),
            Self::Mysql(database) => database.connections(),
        };
        // The two are read one after the other.
        (open, u32::try_from(idle).unwrap_or(u32::MAX).min(open))
    }

    /// Describes a statement without running it.
    ///
    /// # Errors
    /// What the engine does not take in it, or why it was not asked.
    pub(in crate::source) async fn describe(
        &self,
        text: &SqlText,
        access: Access,
        limit: Duration,
    ) -> Result<Described, Undescribed> {
        let work = async {
            match self {
                Self::Sqlite(database) => database.describe(text, access).await,
                Self::Postgres(database) => database.describe(text, limit).await,
                Self::Mysql(database) => database.describe(text).await,
            }
        };
        let late = Err(Undescribed::Source(SourceError::Timeout(limit)));
        tokio::time::timeout(limit, work).await.unwrap_or(late)
    }

    /// What the role of a source that only reads may do beyond that, as a sentence.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub(in crate::source) async fn can_write(&self) -> Result<Option<&'static str>, SourceError> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(database) => database.powers().await,
            Self::Mysql(database) => database.powers().await,
        }
    }

    /// Runs one statement and reads its rows up to the caps.
    ///
    /// # Errors
    /// [`SourceError`] as described there.
    pub(in crate::source) async fn run(&self, statement: Statement) -> Result<Answer, SourceError> {
        match self {
            Self::Sqlite(database) => database.run(statement).await,
            Self::Postgres(database) => database.run(statement).await,
            Self::Mysql(database) => database.run(statement).await,
        }
    }
}
