//! `sidegate stdio`

use clap::Args;

use super::ConfigArg;
use crate::app::{self, AppError, Stop};
use crate::config::Environment;
use crate::reload::{Edge, Reload, Warned};
use crate::talk::News;

/// Serve one client over stdin and stdout, for desktop clients.
///
/// stdout carries the protocol and nothing else; the log goes to stderr or to `server.log.file`. A change of the configuration, or of a
/// file that it names, is put to use without a restart; SIGHUP looks for one at once.
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
        let (stop, hangups) = (Stop::hear(), app::hangups());
        let environment = Environment::process();
        let (mut plan, mut checked) = app::plan(self.config.path(), &environment)?;
        Edge::Stdio.settle(&mut plan).map_err(|d| AppError::Usage(d.message.clone()))?;
        app::install_log(&plan)?;
        let warned = Warned::of(&checked);
        // What was written is not needed any more, and takes more than what runs.
        let watched = std::mem::take(&mut checked.watched);
        drop(checked);
        let (live, news) = (app::open(plan.clone())?, News::default());
        app::install_audit(&live)?;
        let left = tokio::select! {
            left = app::describe(&live) => left?,
            () = stop.asked() => return Ok(0),
        };
        let read = (self.config.path().to_owned(), environment);
        let reload = Reload::new(read, Edge::Stdio, (plan, watched), live.clone(), news.clone());
        let _following = app::follow(reload.after(warned).describing(left), hangups);
        app::serve_stdio(live, news, stop.asked()).await?;
        Ok(0)
    }
}
