//! `sidegate demo`

use std::net::SocketAddr;

use clap::Args;

use super::say;
use crate::app::AppError;
use crate::demo;

/// Run the example: a sample orders service, and the gateway in front of it.
///
/// Nothing needs to be installed, nothing is written but to a temporary folder that goes away at the end.
#[derive(Debug, Args)]
#[command(after_help = "Example: sidegate demo --listen 127.0.0.1:0")]
pub(super) struct Demo {
    /// Listen here; port 0 picks a free one. Default: 127.0.0.1:8080, or a free port if that is taken.
    #[arg(long, value_name = "ADDR", value_parser = crate::plan::parse_address)]
    listen: Option<SocketAddr>,
}

impl Demo {
    pub(super) async fn run(self) -> Result<u8, AppError> {
        demo::run(self.listen, say).await?;
        Ok(0)
    }
}
