//! Wiring: load, compile, open, serve, follow the files, shut down. The only file that knows every room.

mod signals;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::info;

use crate::config::{AuditArgumentsConfig, Environment, LogFormatConfig};
use crate::cores::Cores;
use crate::live::{Live, LiveHandle};
use crate::online;
use crate::plan::Plan;
pub use crate::plan::{Checked, check};
use crate::reload::Reload;
use crate::server::{self, Server};
use crate::source::OpenError;
use crate::talk::News;
use crate::telemetry::audit::{Arguments, Audit, AuditOptions};
use crate::telemetry::{self, LogOptions};
pub use signals::{Stop, hangups};

/// How long the start waits for the databases to describe the statements.
const DESCRIBE: Duration = Duration::from_secs(2);

/// Why the program cannot run.
#[derive(Debug, Error)]
pub enum AppError {
    /// The configuration has errors; they are in `Checked`.
    #[error("the configuration has errors")]
    Config(Box<Checked>),
    /// A source cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        reason: std::io::Error,
    },
    /// The log cannot be opened, or the input cannot be read.
    #[error("{0}")]
    Io(String),
    /// The command line asks for what the configuration forbids.
    #[error("{0}")]
    Usage(String),
}

/// Asks the sources about what was checked, and adds what they say to its diagnostics.
///
/// # Errors
/// [`AppError::Open`] if a source cannot be made.
pub async fn check_online(checked: &mut Checked, progress: impl Fn(usize, usize)) -> Result<(), AppError> {
    let (Some(config), Some(plan)) = (&checked.config, &checked.plan) else { return Ok(()) };
    let live = open(plan.clone())?.load();
    checked.diagnostics.append(online::check(config, &live, progress).await);
    Ok(())
}

/// Asks the databases what the statements of tools give, and puts that into the lists. Gives the tools whose databases could not be asked.
///
/// # Errors
/// [`AppError::Open`] if a source cannot be made.
pub async fn describe(live: &LiveHandle) -> Result<HashSet<String>, AppError> {
    let current = live.load();
    let told = online::describe(&current, DESCRIBE, |_| true).await;
    let Some(plan) = told.plan else { return Ok(told.left) };
    let mut described = Live::open(plan, Some(&current))?;
    // The same configuration, told in more detail.
    described.generation = current.generation;
    live.store(described);
    Ok(told.left)
}

/// Loads and compiles what will run.
///
/// # Errors
/// [`AppError::Config`] if there is any error in it.
pub fn plan(path: &Path, environment: &Environment) -> Result<(Plan, Checked), AppError> {
    let mut checked = check(path, environment);
    match checked.plan.take() {
        Some(plan) => Ok((plan, checked)),
        None => Err(AppError::Config(Box::new(checked))),
    }
}

/// Opens a plan for use.
///
/// # Errors
/// [`AppError::Open`] if a source cannot be made.
pub fn open(plan: Plan) -> Result<LiveHandle, AppError> {
    // Installed by somebody else is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Ok(LiveHandle::new(Live::open(plan, None)?))
}

/// Installs the log that the plan asks for.
///
/// # Errors
/// [`AppError::Io`] if its file cannot be opened.
pub fn install_log(plan: &Plan) -> Result<(), AppError> {
    let log = &plan.server.log;
    let options = LogOptions {
        levels: log.levels(),
        json: log.format == LogFormatConfig::Json,
        file: log.file.clone(),
        max_size: log.max_size.0 as u64,
        keep: log.keep,
    };
    telemetry::install(&options).map_err(|e| match &options.file {
        Some(file) => AppError::Io(format!("cannot open the log `{}`: {e}", file.display())),
        None => AppError::Io(format!("cannot install the log: {e}")),
    })
}

/// Opens the audit that the configuration asks for, unless it is open already, and closes one that it does not.
///
/// # Errors
/// [`AppError::Io`] if its file cannot be opened; then everything stays as it was.
pub fn install_audit(live: &LiveHandle) -> Result<(), AppError> {
    let now = live.load();
    let Some(plan) = &now.plan.server.audit else {
        now.audit.store(None);
        return Ok(());
    };
    let options = AuditOptions {
        file: plan.file.clone(),
        max_size: plan.max_size.0 as u64,
        keep: plan.keep,
        arguments: match plan.arguments {
            AuditArgumentsConfig::None => Arguments::None,
            AuditArgumentsConfig::Digest => Arguments::Digest,
            AuditArgumentsConfig::Redacted => Arguments::Redacted,
        },
    };
    if now.audit.load().as_ref().is_some_and(|open| *open.options() == options) {
        return Ok(());
    }
    let file = options.file.as_ref().map_or("stderr".to_owned(), |f| f.display().to_string());
    let audit = Audit::open(options, now.metrics.audit_lost.clone())
        .map_err(|e| AppError::Io(format!("cannot open the audit `{file}`: {e}")))?;
    now.audit.store(Some(Arc::new(audit)));
    Ok(())
}

/// Waits until the audit is on the disk and the traces are sent, some seconds at most.
pub async fn flush(live: &LiveHandle) {
    let live = live.load();
    let audit = async {
        if let Some(audit) = live.audit.load_full() {
            let _ = tokio::task::spawn_blocking(move || audit.flush()).await;
        }
    };
    let traces = live.exporters.flush(live.exporter.as_deref());
    tokio::join!(audit, traces);
}

/// Binds the plan's address.
///
/// # Errors
/// [`AppError::Listen`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|reason| AppError::Listen { address, reason })
}

/// Follows the files that a configuration was read from, until the handle is dropped or the program ends.
#[must_use]
pub fn follow(reload: Reload, asked: mpsc::Receiver<()>) -> Following {
    Following(crate::tasks::spawn(reload.run(asked)).abort_handle())
}

/// Files that are being followed.
#[derive(Debug)]
pub struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves HTTP on all cores that may be used until `shutdown`, then drains. `admin` is the address of those who run it, which goes on
/// while it drains.
///
/// # Errors
/// [`AppError::Io`] if the system refuses a thread.
pub async fn serve_http(
    live: LiveHandle,
    news: News,
    listener: TcpListener,
    admin: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let cores =
        Cores::all().map_err(|e| AppError::Io(format!("cannot start a thread for each core: {e}")))?;
    let server = Arc::new(Server::with_news(live.clone(), news).on(cores.clone()));
    let running = server::run(listener, server.clone(), shutdown);
    match admin {
        None => running.await,
        Some(admin) => tokio::select! {
            () = running => {}
            () = server::admin::run(admin, server) => {}
        },
    }
    flush(&live).await;
    cores.end().await;
    info!("stopped");
    Ok(())
}

/// Serves one client over stdin and stdout until the input ends or `shutdown`.
///
/// # Errors
/// [`AppError::Io`] if the input cannot be read.
pub async fn serve_stdio(
    live: LiveHandle,
    news: News,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    let result = server::stdio::run(live.clone(), news, input, output, shutdown).await;
    flush(&live).await;
    result.map_err(|e| AppError::Io(format!("cannot read the input: {e}")))
}
