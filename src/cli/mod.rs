//! The command line: one file a command. Each gives an exit code: 0 done, 1 failed while running, 2 the configuration or
//! the command line is wrong.

mod call;
mod check;
mod demo;
mod plan;
mod schema;
mod serve;
mod stdio;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::app::{AppError, Checked};
use crate::diag::{self, Format};

/// One YAML file that serves REST endpoints, SQL queries and vector search as MCP tools, resources and prompts.
#[derive(Debug, Parser)]
#[command(name = "sidegate", version, about, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed while running, 2 the configuration or the command line is wrong.\n\nTry it: sidegate demo"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Stdio(stdio::Stdio),
    Demo(demo::Demo),
    Check(check::Check),
    Plan(plan::PlanCommand),
    Schema(schema::Schema),
    Call(call::Call),
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigArg {
    /// The configuration: a file, or a folder that holds `gateway.yaml`.
    #[arg(
        short = 'c',
        long = "config",
        value_name = "PATH",
        env = "SIDEGATE_CONFIG",
        default_value = "gateway.yaml"
    )]
    config: PathBuf,
}

impl ConfigArg {
    fn path(&self) -> &Path {
        &self.config
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let matches = without_empty(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let runtime = match crate::cores::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(command) => command.run().await,
            Command::Stdio(command) => Box::pin(command.run()).await,
            Command::Demo(command) => command.run().await,
            Command::Check(command) => command.run().await,
            Command::Plan(command) => command.run(),
            Command::Schema(schema::Schema {}) => Ok(schema::Schema::run()),
            Command::Call(command) => Box::pin(command.run()).await,
        }
    });
    // A read of stdin that is still waiting would hold the runtime.
    runtime.shutdown_background();
    ExitCode::from(code.unwrap_or_else(|error| report(&error)))
}

/// An environment variable that is empty stands for no option, as if it were not set.
fn without_empty(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty)
}

/// Shows an error on stderr and gives its exit code.
fn report(error: &AppError) -> u8 {
    match error {
        AppError::Config(checked) => {
            show(checked);
            let errors = checked.diagnostics.errors();
            complain(&format!("{errors} error{} in the configuration", if errors == 1 { "" } else { "s" }));
            2
        }
        AppError::Usage(_) => {
            complain(&error.to_string());
            2
        }
        _ => {
            complain(&error.to_string());
            1
        }
    }
}

/// Problems as text on stderr.
fn show(checked: &Checked) {
    let colour = coloured(&std::io::stderr());
    let text = diag::render(&checked.diagnostics, &checked.sources, Format::Text { colour });
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "sidegate: {message}");
}

/// One line to stdout; a reader that went away is no error of ours.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn coloured(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// `4 tools, 1 resource, no prompts`
fn served(plan: &crate::plan::Plan) -> String {
    let count = |n: usize, what: &str| match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    [
        count(plan.tools.len(), "tool"),
        count(plan.resources.len(), "resource"),
        count(plan.prompts.len(), "prompt"),
    ]
    .join(", ")
}
