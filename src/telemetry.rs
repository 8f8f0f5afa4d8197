//! The log: text or JSON lines to stderr or to a file that is rotated by size. stdout is never touched. Beside it the audit,
//! what is counted, traces, and what the service manager is told.

pub mod audit;
mod fields;
pub mod metrics;
pub mod notify;
pub mod otlp;
mod rotated;
pub mod span;
pub mod trace;
pub mod unbroken;

use std::io::{self, IsTerminal as _};
use std::panic::Location;
use std::path::PathBuf;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use self::rotated::RotatedFile;

/// How much is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// The least important level of everything else.
    pub all: LevelFilter,
    /// That of some modules, by their paths; the longest that fits decides.
    pub of: Vec<(String, LevelFilter)>,
}

impl Levels {
    fn targets(&self) -> Targets {
        Targets::new().with_default(self.all).with_targets(self.of.iter().cloned())
    }
}

/// Where the levels of the log that is installed are changed.
static LEVELS: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// From now on so much is written, if a log is installed.
pub fn set_levels(levels: &Levels) {
    let targets = levels.targets();
    let now = LEVELS.get().filter(|handle| handle.with_current(|now| *now != targets).unwrap_or(false));
    // Gone only with the log itself.
    let _ = now.map(|handle| handle.reload(targets));
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// How much.
    pub levels: Levels,
    /// JSON lines instead of text.
    pub json: bool,
    /// A file instead of stderr.
    pub file: Option<PathBuf>,
    /// The size at which the file is rotated, in bytes.
    pub max_size: u64,
    /// How many rotated files are kept beside it, as `name.1` (newest) to `name.N`.
    pub keep: usize,
}

/// Installs the log for the whole process.
///
/// # Errors
/// If the file cannot be opened, or a log is installed already.
pub fn install(options: &LogOptions) -> io::Result<()> {
    let writer = match &options.file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => BoxMakeWriter::new(RotatedFile::open(path, options.max_size, options.keep)?),
    };
    let colour =
        options.file.is_none() && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (levels, handle) = reload::Layer::new(options.levels.targets());
    let base = Registry::default().with(levels);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    let result = if options.json {
        base.with(lines.json()).try_init()
    } else {
        base.with(lines.with_ansi(colour).compact().fmt_fields(fields::Quoting)).try_init()
    };
    result.map_err(io::Error::other)?;
    let _ = LEVELS.set(handle);
    std::panic::set_hook(Box::new(|panic| tell_panic(panic.location(), panic.payload_as_str())));
    Ok(())
}

/// Tells of a panic where everything else is told, in one line, and not on stderr in several.
fn tell_panic(at: Option<&Location<'_>>, said: Option<&str>) {
    let at = at.map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(at, thread = thread.name(), "panicked: {}", one_line(said.unwrap_or_default()));
}

/// A text from outside as part of one log line: control characters are escaped, and what is not seen.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that are not seen, or that move others (Unicode: format characters, fillers, variation selectors, tags).
#[must_use]
pub const fn hidden(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{61C}'
            | '\u{115F}'
            | '\u{1160}'
            | '\u{17B4}'
            | '\u{17B5}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{FFA0}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = RotatedFile::open(&path, 1 << 20, 1).unwrap();
        let log = tracing_subscriber::fmt().json().with_writer(BoxMakeWriter::new(file)).finish();
        tracing::subscriber::with_default(log, || {
            tell_panic(Some(Location::caller()), Some("index 7\nout of \u{1b}[31mbounds"));
        });
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["level"], line["fields"]["at"].as_str().unwrap().contains("telemetry.rs")),
            (&"ERROR".into(), true)
        );
        assert_eq!(line["fields"]["message"], r"panicked: index 7\nout of \u{1b}[31mbounds");
    }

    #[test]
    fn a_line_shows_what_is_not_seen() {
        assert_eq!(
            one_line("a\u{202e}b\u{2028}c\u{e0041}\u{200b} é 北京"),
            "a\\u{202e}b\\u{2028}c\\u{e0041}\\u{200b} é 北京"
        );
    }
}
