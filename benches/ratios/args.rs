//! The command line: what a person passes after `--`, what cargo adds by itself (`--bench`), and
//! the roles of child processes.

use std::path::PathBuf;

use crate::Result;

const KNOWN: &str = "there are --seconds N, --json FILE and --only NAME";

pub enum Command {
    /// Run by `cargo test`: nothing to measure.
    Skip,
    Serve(Role, String),
    Measure(Options),
}

pub enum Role {
    FloorFixed { bytes: usize },
    FloorForward { upstream: String },
    Upstream,
}

pub struct Options {
    /// Length of one round at full load.
    pub seconds: f64,
    pub json: Option<PathBuf>,
    /// Names of works; all when empty.
    pub only: Vec<String>,
}

pub fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let mut args = args;
    let mut bench = false;
    let mut role = None;
    let mut listen = "127.0.0.1:0".to_owned();
    let mut bytes = 0;
    let mut upstream = String::new();
    let mut options = Options { seconds: 3.0, json: None, only: Vec::new() };
    while let Some(flag) = args.next() {
        if flag == "--bench" {
            bench = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value; {KNOWN}"))?;
        match flag.as_str() {
            "--seconds" => options.seconds = seconds(&value)?,
            "--json" => options.json = Some(value.into()),
            "--only" => options.only.push(value),
            "--role" => role = Some(value),
            "--listen" => listen = value,
            "--bytes" => bytes = value.parse()?,
            "--upstream" => upstream = value,
            _ => return Err(format!("{flag} is not known; {KNOWN}").into()),
        }
    }
    Ok(match role.as_deref() {
        None if bench => Command::Measure(options),
        None => Command::Skip,
        Some("floor-fixed") => Command::Serve(Role::FloorFixed { bytes }, listen),
        Some("floor-forward") => Command::Serve(Role::FloorForward { upstream }, listen),
        Some("upstream") => Command::Serve(Role::Upstream, listen),
        Some(other) => return Err(format!("no role is called {other}").into()),
    })
}

fn seconds(value: &str) -> Result<f64> {
    match value.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("--seconds takes 0.1 to 600, not {value}").into()),
    }
}
