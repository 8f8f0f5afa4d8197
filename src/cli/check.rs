//! `sidegate check`

use std::io::{IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};

use super::{ConfigArg, coloured, say, served};
use crate::app::{self, AppError};
use crate::config::Environment;
use crate::diag::{self, Format};

/// Check a configuration: every problem at once, each with its place.
///
/// Opens no connection, so that it runs in a pipeline; with `--online` it connects to every source and has every statement described.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 clean, 1 warnings under --strict, 2 errors.\n\nExample: sidegate check -c gateway.yaml --strict --format github"
)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArg,
    /// Also ask the sources: whether they answer, and what is wrong with the statements.
    #[arg(long)]
    online: bool,
    /// Warnings fail too.
    #[arg(long)]
    strict: bool,
    /// How problems are written.
    #[arg(long, value_enum, default_value_t = FormatArg::Text)]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// For people, with carets.
    Text,
    /// One JSON document.
    Json,
    /// Annotations for a pipeline.
    Github,
}

impl Check {
    pub(super) async fn run(self) -> Result<u8, AppError> {
        let mut checked = app::check(self.config.path(), &Environment::process());
        if self.online {
            let shown = std::io::stderr().is_terminal();
            app::check_online(&mut checked, |done, total| {
                if shown {
                    let end = if done == total { "\r\x1b[K" } else { "" };
                    let _ = write!(std::io::stderr(), "\rasking {done} of {total}{end}");
                }
            })
            .await?;
        }
        let format = match self.format {
            FormatArg::Text => Format::Text { colour: coloured(&std::io::stdout()) },
            FormatArg::Json => Format::Json,
            FormatArg::Github => Format::Github,
        };
        let rendered = diag::render(&checked.diagnostics, &checked.sources, format);
        if !rendered.is_empty() {
            say(rendered.trim_end());
        }
        let (errors, warnings) = (checked.diagnostics.errors(), checked.diagnostics.warnings());
        if self.format == FormatArg::Text {
            let path = self.config.path().display();
            let plural = |n: usize| if n == 1 { "" } else { "s" };
            let gap = if rendered.is_empty() { "" } else { "\n" };
            match &checked.plan {
                Some(plan) if errors == 0 && warnings == 0 => {
                    let https = if plan.server.tls.is_some() { ", over https" } else { "" };
                    say(&format!("{gap}{path}: fine ({}{https})", served(plan)));
                }
                _ => say(&format!(
                    "{gap}{path}: {errors} error{}, {warnings} warning{}",
                    plural(errors),
                    plural(warnings)
                )),
            }
        }
        Ok(match (errors, warnings) {
            (0, 0) => 0,
            (0, _) if self.strict => 1,
            (0, _) => 0,
            _ => 2,
        })
    }
}
