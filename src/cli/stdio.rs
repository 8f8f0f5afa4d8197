//! `sidegate stdio`

use clap::Args;

use super::{ConfigArg, show};
use crate::app::{self, AppError};
use crate::config::Environment;

/// Serve one client over stdin and stdout, for desktop clients.
///
/// stdout carries the protocol and nothing else; the log goes to stderr or to `server.log.file`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: {\"mcpServers\": {\"shop\": {\"command\": \"sidegate\", \"args\": [\"stdio\", \"-c\", \"/path/to/gateway.yaml\"]}}}"
)]
pub(super) struct Stdio {
    #[command(flatten)]
    config: ConfigArg,
}

impl Stdio {
    pub(super) async fn run(self) -> Result<u8, AppError> {
        let (plan, checked) = app::plan(self.config.path(), &Environment::process())?;
        show(&checked);
        app::install_log(&plan)?;
        let live = app::open(plan)?;
        app::install_audit(&live)?;
        app::describe(&live).await?;
        app::serve_stdio(live, app::stop_signal()).await?;
        Ok(0)
    }
}
