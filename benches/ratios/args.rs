//! The command line: what a person passes after `--`, what cargo adds by itself (`--bench`), and
//! the roles of child processes.

use std::path::PathBuf;

use crate::Result;
use crate::bare::Asked;

const KNOWN: &str = "there are --seconds N, --write FOLDER, --only NAME and --all yes";

pub enum Command {
    /// Run by `cargo test`: nothing to measure.
    Skip,
    Serve(Role, String),
    Repeat(Loop),
    /// Reads a YAML file into a value, and no more.
    Parse(PathBuf),
    Measure(Options),
}

pub enum Role {
    FloorFixed { bytes: usize },
    FloorForward { upstream: String },
    FloorBare { asked: Asked, file: String },
    Upstream,
}

/// The loop without HTTP.
pub struct Loop {
    pub asked: Asked,
    pub file: String,
    pub arguments: String,
    pub seconds: f64,
}

pub struct Options {
    /// Length of one round at full load.
    pub seconds: f64,
    /// Where `ratios.json` and `ratios.md` go.
    pub write: Option<PathBuf>,
    /// Names of rows; those of the goals when empty.
    pub only: Vec<String>,
    /// Everything there is.
    pub all: bool,
}

pub fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let mut args = args;
    let mut bench = false;
    let mut role = None;
    let mut listen = "127.0.0.1:0".to_owned();
    let mut bytes = 0;
    let mut upstream = String::new();
    let (mut asked, mut file, mut arguments) = (None, String::new(), String::new());
    let mut options = Options { seconds: 1.5, write: None, only: Vec::new(), all: false };
    while let Some(flag) = args.next() {
        if flag == "--bench" {
            bench = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value; {KNOWN}"))?;
        match flag.as_str() {
            "--seconds" => options.seconds = seconds(&value)?,
            "--write" => options.write = Some(value.into()),
            "--only" => options.only.push(value),
            "--all" => options.all = value == "yes",
            "--role" => role = Some(value),
            "--listen" => listen = value,
            "--bytes" => bytes = value.parse()?,
            "--upstream" => upstream = value,
            "--asked" => asked = Some(Asked::named(&value)?),
            "--file" => file = value,
            "--arguments" => arguments = value,
            _ => return Err(format!("{flag} is not known; {KNOWN}").into()),
        }
    }
    let asked = || asked.ok_or("--asked is missing");
    Ok(match role.as_deref() {
        None if bench => Command::Measure(options),
        None => Command::Skip,
        Some("floor-fixed") => Command::Serve(Role::FloorFixed { bytes }, listen),
        Some("floor-forward") => Command::Serve(Role::FloorForward { upstream }, listen),
        Some("floor-sqlx") => Command::Serve(Role::FloorBare { asked: asked()?, file }, listen),
        Some("loop") => Command::Repeat(Loop { asked: asked()?, file, arguments, seconds: options.seconds }),
        Some("parse") => Command::Parse(file.into()),
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
