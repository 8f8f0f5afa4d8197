//! MySQL and MariaDB: a pool, a transaction around each statement, values decoded from the wire so that no type is lost, and
//! connections that are closed when a call has left something on them.

mod describe;
mod row;
mod run;
mod session;
mod text;

use std::sync::Arc;
use std::time::Duration;

use sqlx::Pool;
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};

use super::SourceError;
use super::database::ending::{in_a_task, side};
use super::database::{Answer, ServerPlan, Statement, Tls, quiet};
use session::Server;

/// A live MySQL or MariaDB database.
#[derive(Clone, Debug)]
pub(in crate::source) struct Mysql(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pool: Pool<sqlx::MySql>,
    /// Kills what runs on the other.
    side: Pool<sqlx::MySql>,
    server: Arc<Server>,
}

impl Mysql {
    /// Opens nothing yet: connections are made when they are needed, so that a server that is down heals when it comes back.
    pub(in crate::source) fn open(plan: &ServerPlan) -> Self {
        let options = quiet(options(plan));
        let server = Arc::new(Server::default());
        let of_pool = server.clone();
        let pool = plan
            .pool
            .options()
            .after_connect(move |connection, _| {
                let server = of_pool.clone();
                Box::pin(async move { server.prepare(connection).await })
            })
            .connect_lazy_with(options.clone());
        let side = side().connect_lazy_with(options);
        Self(Arc::new(Shared { pool, side, server }))
    }

    /// Whether a connection can be had and answers.
    pub(in crate::source) async fn probe(&self) -> Result<(), SourceError> {
        let mut connection = self.0.acquire().await?;
        sqlx::query("SELECT 1").execute(&mut *connection).await.map(drop).map_err(fault)
    }

    /// Connections of its pool: open, idle.
    pub(in crate::source) fn connections(&self) -> (u32, usize) {
        (self.0.pool.size(), self.0.pool.num_idle())
    }

    /// Runs one statement. When the caller goes away or the time is up, it is ended on the server.
    pub(in crate::source) async fn run(&self, statement: Statement) -> Result<Answer, SourceError> {
        let shared = self.0.clone();
        in_a_task(statement.limit, |gone| async move { shared.work(&statement, gone).await }).await
    }
}

fn options(plan: &ServerPlan) -> MySqlConnectOptions {
    let mut options = MySqlConnectOptions::new()
        .host(&plan.host)
        .port(plan.port)
        .username(&plan.user)
        .database(&plan.database)
        .ssl_mode(match plan.tls {
            Tls::Disable => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Require => MySqlSslMode::Required,
            Tls::VerifyCa => MySqlSslMode::VerifyCa,
            Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
        })
        // `session` sets the whole mode.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(Some("+00:00".to_owned()))
        .charset("utf8mb4");
    if let Some(password) = &plan.password {
        options = options.password(password.expose());
    }
    if let Some(socket) = &plan.socket {
        options = options.socket(socket);
    }
    match &plan.ca {
        Some(ca) => options.ssl_ca(ca),
        None => options,
    }
}

/// What went wrong while connecting: the server cannot be used now, whatever it says.
fn unreachable(error: sqlx::Error) -> SourceError {
    match error {
        // The driver's words name a feature that is left out for RUSTSEC-2023-0071.
        sqlx::Error::Configuration(why) if why.to_string().contains("RSA") => {
            let text = "the server wants the password of this account encrypted with RSA, which is not done: use TLS \
                (`?sslmode=require` in the URL), or an account with `mysql_native_password` or `ed25519`";
            SourceError::Unavailable(text.to_owned())
        }
        sqlx::Error::Database(error) => SourceError::Unavailable(error.to_string()),
        other => fault(other),
    }
}

/// Error numbers: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html> and
/// <https://mariadb.com/docs/server/reference/error-codes>. Where one is not named here, its SQLSTATE class decides.
fn fault(error: sqlx::Error) -> SourceError {
    let sqlx::Error::Database(database) = &error else {
        return match error {
            sqlx::Error::Protocol(text) if text.contains("unknown column type") => {
                SourceError::Internal(format!("{text}: cast this column to a text in the query"))
            }
            sqlx::Error::Protocol(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                SourceError::Internal(error.to_string())
            }
            // Refused, broken off, no TLS, a closed pool.
            other => SourceError::Unavailable(other.to_string()),
        };
    };
    let number = database.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
    let code = database.code().unwrap_or_default().into_owned();
    let text = database.to_string();
    match (number, code.get(..2).unwrap_or_default()) {
        // killed; max_statement_time; max_execution_time
        (1317 | 1969 | 3024, _) => SourceError::Timeout(Duration::ZERO),
        // lock wait, too many connections, shutdown, killed with its connection
        (1205 | 1203 | 1226 | 1053 | 1927, _) | (_, "08" | "40" | "28" | "70") => {
            SourceError::Unavailable(text)
        }
        // a value that its column cannot hold, in older and newer words; what JSON functions refuse
        (1265 | 1366 | 1367 | 1411 | 1525 | 3140 | 3141 | 4038, _) | (_, "22") => {
            SourceError::Argument(format!("The database cannot take one of these values: {}.", column(&text)))
        }
        // read-only transaction or server, no privilege, a check, no value for a column, SIGNAL
        (1792 | 1290 | 1836 | 1044 | 1142 | 1143 | 1227 | 1370 | 3819 | 1364, _) | (_, "23" | "45") => {
            SourceError::Refused(text)
        }
        _ => SourceError::Internal(text),
    }
}

/// A message without its number, and its column without the names of the database and the table.
fn column(text: &str) -> String {
    let words = text.split_once(": ").map_or(text, |(_, words)| words);
    let mark = " for column ";
    match (words.rfind(mark), words.rfind("`.`")) {
        (Some(at), Some(end)) if at < end => {
            let (before, name) = (words.get(..at + mark.len()), words.get(end + 3..));
            format!("{}`{}", before.unwrap_or_default(), name.unwrap_or_default())
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_names_the_column_but_not_where_it_is() {
        let text = "1366 (22007): Incorrect integer value: 'a: b' for column `test`.`t`.`id` at row 1";
        assert_eq!(super::column(text), "Incorrect integer value: 'a: b' for column `id` at row 1");
        let text = "1406 (22001): Data too long for column 'name' at row 1";
        assert_eq!(super::column(text), "Data too long for column 'name' at row 1");
    }
}
