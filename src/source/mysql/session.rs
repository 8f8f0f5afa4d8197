//! What a connection is set to, and whether a call has left it so. The protocol's own reset is not to be had from the driver, so a
//! connection on which anything is left (settings, user variables, temporary tables, a role) is known by the server's counts and
//! closed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use crate::source::database::Engine;

/// Once per connection. The mode is the server's strictest for values, and one in which its texts are read as `sql::statement` reads
/// them (no `ANSI_QUOTES`, no `NO_BACKSLASH_ESCAPES`).
const SETTINGS: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'; \
    SELECT VERSION()";

/// The connection's number, how many user variables have a value, and how often a command has run that can leave something, also
/// inside of stored functions.
const STATE: [(&str, &str); 2] = [
    (
        "information_schema.SESSION_STATUS",
        "(SELECT COUNT(*) FROM information_schema.USER_VARIABLES WHERE VARIABLE_VALUE IS NOT NULL)",
    ),
    ("performance_schema.session_status", "0"),
];
const COMMANDS: &str = "'COM_SET_OPTION', 'COM_SET_ROLE', 'COM_CREATE_TABLE', 'COM_CREATE_TEMPORARY_TABLE', 'COM_CHANGE_DB', \
    'COM_LOCK_TABLES', 'COM_HA_OPEN', 'COM_PREPARE_SQL', 'COM_EXECUTE_IMMEDIATE', 'COM_CALL_PROCEDURE', 'COM_XA_START', \
    'COM_COMPOUND_SQL', 'COM_BACKUP', 'COM_BACKUP_LOCK', 'COM_FLUSH'";

/// How long it is believed which columns of a table are JSON.
const FRESH: Duration = Duration::from_secs(60);
/// How many connections are known at the most; of an older one it cannot be told any more what was left on it.
const KNOWN: usize = 4096;

type Names = Arc<HashSet<String>>;

/// What is known of the server.
#[derive(Debug, Default)]
pub(super) struct Server {
    mariadb: AtomicBool,
    /// The counts of each connection when it was last as it should be. Held for single operations only, as the next.
    counts: Mutex<HashMap<u64, u64>>,
    tables: Mutex<HashMap<String, (Instant, Names)>>,
    /// Statements to which nothing can be added.
    closed: Mutex<HashSet<Arc<str>>>,
}

/// What a connection says of itself.
pub(super) struct State {
    pub connection: u64,
    pub variables: u64,
    pub commands: u64,
}

impl State {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(|n| n.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { connection: next()?, variables: next()?, commands: next()? })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Whether it is MariaDB.
    pub(super) fn mariadb(&self) -> bool {
        self.mariadb.load(Ordering::Relaxed)
    }

    /// Makes a new connection as each is to be.
    pub(super) async fn prepare(&self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        let rows = sqlx::raw_sql(SETTINGS).fetch_all(&mut *connection).await?;
        let version: String = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
        self.mariadb.store(version.to_ascii_lowercase().contains("mariadb"), Ordering::Relaxed);
        let rows = match sqlx::raw_sql(AssertSqlSafe(self.state())).fetch_all(&mut *connection).await {
            Ok(rows) => rows,
            // A server that does not say: each connection is closed after its call.
            Err(sqlx::Error::Database(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let state: String = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
        if let Some(state) = State::read(&state) {
            self.keep(&state);
        }
        Ok(())
    }

    /// The statement that asks a connection for its [`State`].
    pub(super) fn state(&self) -> String {
        let [mariadb, mysql] = STATE;
        let (table, variables) = if self.mariadb() { mariadb } else { mysql };
        format!(
            "SELECT CAST(CONCAT_WS(' ', CONNECTION_ID(), {variables}, (SELECT CAST(SUM(VARIABLE_VALUE) AS UNSIGNED) FROM {table} \
             WHERE VARIABLE_NAME IN ({COMMANDS}))) AS CHAR)"
        )
    }

    /// Whether nothing is left on a connection, when `own` commands of ours have run since.
    pub(super) fn clean(&self, state: &State, own: u64) -> bool {
        let before = lock(&self.counts).get(&state.connection).copied();
        state.variables == 0 && before.is_some_and(|b| b + own == state.commands)
    }

    /// Keeps the counts of a connection that goes back to the pool.
    pub(super) fn keep(&self, state: &State) {
        let mut counts = lock(&self.counts);
        counts.insert(state.connection, state.commands);
        // Numbers only grow, so the smallest are those of connections that are long gone.
        if counts.len() > KNOWN {
            let mut numbers: Vec<u64> = counts.keys().copied().collect();
            numbers.sort_unstable();
            let Some(middle) = numbers.get(KNOWN / 2).copied() else { return };
            counts.retain(|number, _| *number >= middle);
        }
    }

    /// Forgets a connection that is closed.
    pub(super) fn forget(&self, connection: u64) {
        lock(&self.counts).remove(&connection);
    }

    /// Whether nothing can be added to a statement, as is known of it.
    pub(super) fn is_closed(&self, text: &str) -> bool {
        lock(&self.closed).contains(text)
    }

    /// Keeps that nothing can be added to it.
    pub(super) fn close(&self, text: Arc<str>) {
        lock(&self.closed).insert(text);
    }

    /// The columns of a MariaDB table (`database.table`) that are JSON: those that it checks to be.
    pub(super) async fn json_columns(&self, connection: &mut MySqlConnection, table: &str) -> Names {
        if let Some((since, known)) = lock(&self.tables).get(table)
            && since.elapsed() < FRESH
        {
            return known.clone();
        }
        let found = Arc::new(Self::ask(connection, table).await.unwrap_or_default());
        lock(&self.tables).insert(table.to_owned(), (Instant::now(), found.clone()));
        found
    }

    /// `SHOW CREATE TABLE` needs no more than the right to read it. Of a view, or without that right, nothing is JSON.
    async fn ask(connection: &mut MySqlConnection, table: &str) -> Option<HashSet<String>> {
        let (database, table) = table.split_once('.')?;
        let show =
            format!("SHOW CREATE TABLE {}.{}", Engine::Mysql.quote(database), Engine::Mysql.quote(table));
        let rows = sqlx::raw_sql(AssertSqlSafe(show)).fetch_all(connection).await.ok()?;
        let text: String = rows.first()?.try_get(1).ok()?;
        let checks = text.split("json_valid(`").skip(1);
        Some(checks.filter_map(|rest| Some(rest.split_once("`)")?.0.replace("``", "`"))).collect())
    }
}
