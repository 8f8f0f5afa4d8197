//! `sidegate serve`

use std::net::SocketAddr;

use clap::Args;

use super::{ConfigArg, say, served};
use crate::app::{self, AppError, Stop};
use crate::config::Environment;
use crate::reload::{Edge, Reload, Warned};
use crate::talk::News;
use crate::telemetry::notify::Notify;

/// Serve over HTTP.
///
/// Prints one line with the address when it is ready. A change of the configuration, or of a file that it names, is put to use without
/// a restart; SIGHUP looks for one at once. SIGTERM and Ctrl-C let running calls end first. Started by systemd, it says when it is ready.
#[derive(Debug, Args)]
#[command(after_help = "Example: sidegate serve -c gateway.yaml --listen 127.0.0.1:0")]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigArg,
    /// Listen here instead of `server.http.listen`; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", value_parser = crate::plan::parse_address)]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub(super) async fn run(self) -> Result<u8, AppError> {
        let (stop, hangups) = (Stop::hear(), app::hangups());
        let environment = Environment::process();
        let (mut plan, mut checked) = app::plan(self.config.path(), &environment)?;
        let edge = Edge::Http { listen: self.listen };
        edge.settle(&mut plan)
            .map_err(|d| AppError::Usage(format!("{}; {}", d.message, d.help.join("; "))))?;
        app::install_log(&plan)?;
        let warned = Warned::of(&checked);
        // What was written is not needed any more, and takes more than what runs.
        let watched = std::mem::take(&mut checked.watched);
        drop(checked);
        let listener = app::bind(plan.server.listen).await?;
        let address = listener.local_addr().map_err(|e| AppError::Io(e.to_string()))?;
        let admin = match plan.server.admin {
            Some(address) => Some(app::bind(address).await?),
            None => None,
        };
        if let Some(address) = admin.as_ref().and_then(|admin| admin.local_addr().ok()) {
            tracing::info!(%address, "metrics and health are served");
        }
        let (name, path, scheme) = (&plan.server.name, &plan.server.path, plan.server.scheme());
        let place = format!("{name}: {scheme}://{address}{path}");
        let line = format!("{place} ({})", served(&plan));
        let (live, news) = (app::open(plan.clone())?, News::default());
        app::install_audit(&live)?;
        let left = tokio::select! {
            left = app::describe(&live) => left?,
            () = stop.asked() => return Ok(0),
        };
        let read = (self.config.path().to_owned(), environment);
        let reload = Reload::new(read, edge, (plan, watched), live.clone(), news.clone());
        let reload = reload.after(warned).describing(left);
        let manager = || Notify::to(std::env::var_os("NOTIFY_SOCKET").as_deref());
        let _following = app::follow(reload.telling(manager(), &place), hangups);
        say(&line);
        let notify = manager();
        notify.ready(&line);
        let stopping = async {
            stop.asked().await;
            notify.stopping();
        };
        app::serve_http(live, news, listener, admin, stopping).await?;
        Ok(0)
    }
}
