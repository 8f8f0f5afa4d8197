//! SQL sources and statements as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::PageConfig;
use crate::diag::Spanned;
use crate::file::FileRef;
use crate::secret::Secret;
use crate::units::Period;
use crate::yaml::Entries;

/// A database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SqlSource")]
pub struct SqlConfig {
    /// `sqlite:path` (relative to this file's folder), `sqlite::memory:`, `postgres://user:password@host:port/database`, or the same with
    /// `mysql:` or `mariadb:`. Options of a server's URL: `sslmode` (`disable`, `prefer` by default, `require`, `verify-ca`,
    /// `verify-full`), `sslrootcert` (a file) and `socket` (PostgreSQL: a folder; MySQL: a file). Nothing is taken from the environment
    /// or a password file.
    pub url: Spanned<Secret>,
    /// SQLite: a script that is run once, when the file or memory database is empty.
    pub init: Option<FileRef>,
    /// The connection pool.
    #[serde(default)]
    pub pool: PoolConfig,
    /// Default `true`: no statement can write, whatever its text; the engine enforces it.
    pub read_only: Option<Spanned<bool>>,
    /// Variables that hold a part of the caller's identity while a statement runs (`app.user_id: caller.sub`), for row-level security and
    /// the like. PostgreSQL: settings (`current_setting('app.user_id')`), or `role`. MySQL: user
    /// variables (`app_user` is `@app_user`). A caller without that part is refused.
    #[serde(default)]
    pub session: Entries<Spanned<String>>,
    /// The most time one statement may take; it is then stopped in the database. Default `10s`.
    pub statement_timeout: Option<Spanned<Period>>,
}

/// Connections of a database source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Pool")]
pub struct PoolConfig {
    /// The most connections, 1 to 1000. Default 10.
    pub max: Option<Spanned<u32>>,
    /// Connections kept open when idle. Default 0.
    pub min: Option<Spanned<u32>>,
    /// How long a call waits for a free connection. Default `3s`.
    pub acquire_timeout: Option<Spanned<Period>>,
    /// A connection is closed after being idle this long. Default `10m`.
    pub idle_timeout: Option<Period>,
    /// A connection is closed at this age. Default `1h`.
    pub max_lifetime: Option<Period>,
}

/// What a statement's rows become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Row")]
pub enum RowConfig {
    /// `{ rows: [...] }`
    #[default]
    Many,
    /// The first row as an object; no row is "not found".
    One,
    /// `{ count: n }`: the rows returned, or changed by a write.
    Count,
}

/// A statement on an SQL source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SqlStatement")]
pub struct SqlOpConfig {
    /// Name of an SQL source.
    pub source: Spanned<String>,
    /// One statement; `:name` is the bound value of a parameter.
    pub query: Spanned<String>,
    /// Needed, with `read_only: false` on the source, for anything but a read.
    #[serde(default)]
    pub write: Option<Spanned<bool>>,
    /// What the rows become. Default `many`.
    pub row: Option<RowConfig>,
    /// The rows come in pages: a result says `next` while there are more, and the tool takes it as an argument.
    pub page: Option<Spanned<PageConfig>>,
}
