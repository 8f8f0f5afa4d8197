//! Filling a database that is empty with its `init` script. The script is the operator's own: no guard stands before it.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection as _, Pool};

use super::SqlitePlan;
use super::run::{acquire, fault, options};
use crate::source::SourceError;

/// Runs the script, if there is one and the database is empty.
pub(super) async fn fill(plan: &SqlitePlan, read: &Pool<sqlx::Sqlite>) -> Result<(), SourceError> {
    let Some(script) = &plan.init else { return Ok(()) };
    match &plan.file {
        Some(file) => fill_file(file, script).await,
        None => {
            let mut connection = acquire(read).await?;
            run_script(&mut connection, script).await
        }
    }
}

/// Fills a file that is missing or empty. The script runs on a file beside it that then takes its name, so that
/// nobody ever meets a half-filled one.
async fn fill_file(file: &Path, script: &str) -> Result<(), SourceError> {
    // Two sources may name the same file: the second one waits and finds it filled.
    static FILLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _filling = FILLING.lock().await;
    let unavailable =
        |e: std::io::Error| SourceError::Unavailable(format!("cannot make {}: {e}", file.display()));
    match tokio::fs::metadata(file).await {
        Ok(meta) if meta.len() > 0 => return Ok(()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unavailable(error)),
    }
    let beside = file.with_extension(format!("init-{}", std::process::id()));
    let _ = tokio::fs::remove_file(&beside).await;
    let made = async {
        let options = options(&beside).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.map_err(fault)?;
        run_script(&mut connection, script).await?;
        connection.close().await.map_err(fault)
    };
    let result = match made.await {
        Ok(()) => tokio::fs::rename(&beside, file).await.map_err(unavailable),
        Err(error) => Err(error),
    };
    let _ = tokio::fs::remove_file(&beside).await;
    result
}

async fn run_script(connection: &mut sqlx::SqliteConnection, script: &str) -> Result<(), SourceError> {
    sqlx::raw_sql(AssertSqlSafe(script.to_owned()))
        .execute(connection)
        .await
        .map(drop)
        .map_err(|e| SourceError::Unavailable(format!("the init script failed: {e}")))
}
