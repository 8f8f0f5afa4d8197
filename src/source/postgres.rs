//! PostgreSQL: pools, a transaction around each statement, and rows that the server itself writes as JSON, so that no type is lost.

mod at_once;
mod describe;
mod json;
mod known;
mod reader;
mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::Pool;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::SourceError;
use super::database::ending::{in_a_task, side};
use super::database::warm::{Unsettled, Warm};
use super::database::{Answer, ServerPlan, Statement, Tls, quiet};
use at_once::{AtOnce, Facts, Tags};
use known::{Key, Known};

/// A live PostgreSQL database.
#[derive(Clone, Debug)]
pub(in crate::source) struct Postgres(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    warm: Warm<sqlx::Postgres, Facts>,
    /// Cancels what runs on the other.
    side: Pool<sqlx::Postgres>,
    tags: Tags,
    max: u32,
    acquire_timeout: Duration,
    /// What the server said of each statement. Held for single operations only.
    known: Mutex<HashMap<Key, Arc<Known>>>,
}

impl Postgres {
    /// Opens nothing yet: connections are made when they are needed, so that a server that is down heals when it comes back.
    pub(in crate::source) fn open(plan: &ServerPlan) -> Self {
        let options = quiet(options(plan));
        let pool = plan
            .pool
            .options()
            // The first words of a call ask it anyway.
            .test_before_acquire(false)
            .connect_lazy_with(options.clone());
        let side = side().connect_lazy_with(options);
        Self(Arc::new(Shared {
            warm: Warm::of(pool, Unsettled::Closed),
            side,
            tags: Tags::new(),
            max: plan.pool.max,
            acquire_timeout: plan.pool.acquire_timeout.0,
            known: Mutex::default(),
        }))
    }

    /// Whether a connection can be had and answers.
    pub(in crate::source) async fn probe(&self) -> Result<(), SourceError> {
        let (mut held, _) = self.0.opened("SELECT 1", None).await?;
        held.settled = true;
        Ok(())
    }

    /// Connections of its pool: open, idle.
    pub(in crate::source) fn connections(&self) -> (u32, usize) {
        self.0.warm.connections()
    }

    /// Runs one statement. When the caller goes away or the time is up, it is ended on the server.
    pub(in crate::source) async fn run(&self, statement: Statement) -> Result<Answer, SourceError> {
        let (limit, began) = (statement.limit, Instant::now());
        // In words of its caller's limit, not of what is left of it.
        let late = |error| match error {
            SourceError::Timeout(_) => SourceError::Timeout(limit),
            other => other,
        };
        let held = match tokio::time::timeout(limit, self.0.at_once(&statement)).await {
            Ok(Ok(AtOnce::Read(answer))) => return Ok(answer),
            Ok(Ok(AtOnce::Not(held))) => held,
            Ok(Err(error)) => return Err(late(error)),
            Err(_) => return Err(SourceError::Timeout(limit)),
        };
        let shared = self.0.clone();
        let left = limit.saturating_sub(began.elapsed());
        // Seldom, and large.
        let task = in_a_task(left, |gone| async move { shared.work(&statement, held, gone).await });
        Box::pin(task).await.map_err(late)
    }
}

fn options(plan: &ServerPlan) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&plan.host)
        .port(plan.port)
        .username(&plan.user)
        .password(plan.password.as_ref().map_or("", |p| p.expose()))
        .database(&plan.database)
        .application_name("sidegate")
        .statement_cache_capacity(at_once::KEPT)
        .ssl_mode(match plan.tls {
            Tls::Disable => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyCa => PgSslMode::VerifyCa,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        })
        // One way of writing values, wherever the server stands.
        .options([
            ("TimeZone", "UTC"),
            ("IntervalStyle", "iso_8601"),
            ("DateStyle", "ISO"),
            ("extra_float_digits", "1"),
        ]);
    if let Some(socket) = &plan.socket {
        options = options.socket(socket);
    }
    match &plan.ca {
        Some(ca) => options.ssl_root_cert(ca),
        None => options,
    }
}

/// SQLSTATE classes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>. The server's own words, without those of
/// the driver, which names a line of PostgreSQL's source.
fn fault(error: sqlx::Error) -> SourceError {
    let sqlx::Error::Database(database) = &error else {
        return match error {
            sqlx::Error::Protocol(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                SourceError::Internal(error.to_string())
            }
            // Refused, broken off, no TLS, a closed pool.
            other => SourceError::Unavailable(other.to_string()),
        };
    };
    let code = database.code().unwrap_or_default().into_owned();
    let text = format!("{code}: {}", database.message());
    match code.get(..2).unwrap_or_default() {
        _ if code == "57014" => SourceError::Timeout(Duration::ZERO),
        // read_only_sql_transaction, insufficient_privilege, and integrity
        _ if matches!(code.as_str(), "25006" | "42501") => SourceError::Refused(text),
        "23" | "44" | "P0" => SourceError::Refused(text),
        // data: a text that is no number, a number out of range
        "22" => SourceError::Argument(format!(
            "The database cannot take one of these values: {}.",
            database.message()
        )),
        // connection, resources, operator intervention, deadlock
        "08" | "53" | "57" | "58" | "40" | "28" | "3D" => SourceError::Unavailable(text),
        _ => SourceError::Internal(text),
    }
}
