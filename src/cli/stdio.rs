//! `sidegate stdio`

use clap::Args;
use tokio::sync::mpsc;

use super::ConfigArg;
use crate::app::{self, AppError};
use crate::config::Environment;
use crate::reload::{Edge, Reload, Warned};
use crate::talk::News;

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
        let environment = Environment::process();
        let (mut plan, checked) = app::plan(self.config.path(), &environment)?;
        Edge::Stdio.settle(&mut plan).map_err(|d| AppError::Usage(d.message.clone()))?;
        app::install_log(&plan)?;
        let warned = Warned::of(&checked);
        let (live, news) = (app::open(plan.clone())?, News::default());
        app::install_audit(&live)?;
        app::describe(&live).await?;
        let read = (self.config.path().to_owned(), environment);
        let reload = Reload::new(read, Edge::Stdio, (plan, checked.watched), live.clone(), news.clone());
        // A hangup means what it means to a program: the terminal has gone.
        let (_nobody, asked) = mpsc::channel(1);
        let _following = app::follow(reload.after(warned), asked);
        app::serve_stdio(live, news, app::stop_signal()).await?;
        Ok(0)
    }
}
