//! `sidegate schema`

use clap::Args;

use super::say;

/// Print the JSON Schema of the configuration language, for editors.
#[derive(Debug, Args)]
#[command(after_help = "Example: sidegate schema > gateway.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run() -> u8 {
        say(crate::config::SCHEMA.trim_end());
        0
    }
}
