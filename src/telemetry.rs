//! The log: text or JSON lines to stderr or to a file that is rotated by size. stdout is never touched. Beside it the audit,
//! what is counted, traces, and what the service manager is told.

pub mod audit;
mod fields;
pub mod metrics;
pub mod notify;
pub mod otlp;
pub mod span;
pub mod trace;
pub mod unbroken;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

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
        Some(path) => BoxMakeWriter::new(RotatingFile::open(path, options.max_size, options.keep)?),
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

/// A text from outside as part of one log line: control characters are escaped.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A log file that moves aside when it is full.
#[derive(Clone, Debug)]
struct RotatingFile(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    size: u64,
    /// Whether it ends in the middle of a line, which could not be written whole.
    torn: bool,
    max_size: u64,
    keep: usize,
}

impl RotatingFile {
    fn open(path: &Path, max_size: u64, keep: usize) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let size = file.metadata()?.len();
        let open = Open { path: path.to_owned(), file, size, torn: false, max_size, keep };
        Ok(Self(Arc::new(Mutex::new(open))))
    }

    /// Writes whole lines in as few pieces as rotation allows, which falls between two of them; gives how many bytes were written, all
    /// if there was no error.
    fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.torn
            && let Err(error) = open.file.write_all(b"\n")
        {
            return (0, Err(error));
        }
        open.torn = false;
        let mut done = 0;
        while let Some(rest @ [_, ..]) = lines.get(done..) {
            let piece = open.fitting(rest);
            let (written, result) = write_as_far(&mut open.file, piece);
            done += written;
            open.size += written as u64;
            if let Err(error) = result {
                open.torn =
                    piece.get(..written).is_some_and(|begun| !begun.is_empty() && !begun.ends_with(b"\n"));
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }
}

/// Writes until all is written or something is wrong; gives how many bytes were written.
fn write_as_far(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get(done..) {
        match out.write(rest) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

impl Open {
    /// As many of these lines as fit the file, at least one; where the first of them does not, the file moves aside.
    fn fitting<'a>(&mut self, lines: &'a [u8]) -> &'a [u8] {
        let end =
            |lines: &[u8]| lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
        let first = end(lines);
        if self.size > 0 && self.size + first as u64 > self.max_size {
            // A log that cannot rotate goes on in the old file rather than losing lines.
            let _ = self.rotate();
        }
        let room = usize::try_from(self.max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        let whole = lines
            .get(..room)
            .map_or(lines.len(), |fits| fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        lines.get(..whole.max(first)).unwrap_or(lines)
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// `name.N` goes, every other moves up by one, and a fresh file is begun.
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            let _ = std::fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, self.numbered(1))?;
        }
        self.file = OpenOptions::new().create(true).write(true).truncate(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.size > 0 && open.size + line.len() as u64 > open.max_size {
            // A log that cannot rotate goes on in the old file rather than losing lines.
            let _ = open.rotate();
        }
        open.file.write_all(line)?;
        open.size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl<'a> MakeWriter<'a> for RotatingFile {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl RotatingFile {
        /// One that writes to a file that is open.
        pub(super) fn of(file: File, max_size: u64) -> Self {
            let open = Open { path: PathBuf::new(), file, size: 0, torn: false, max_size, keep: 0 };
            Self(Arc::new(Mutex::new(open)))
        }
    }

    #[test]
    fn many_lines_at_once_lie_in_the_files_as_each_by_itself_would() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<String> = (0..50).map(|n| format!("{}\n", "x".repeat(n % 13))).collect();
        for at_once in [1, 2, 7, 50] {
            let path = folder.path().join(at_once.to_string());
            let mut log = RotatingFile::open(&path, 20, 100).unwrap();
            for lines in all.chunks(at_once) {
                let lines = lines.concat();
                let (written, result) = log.write_lines(lines.as_bytes());
                assert!(result.is_ok() && written == lines.len());
            }
            let files = |name: &str| {
                let mut texts = vec![std::fs::read_to_string(folder.path().join(name)).unwrap()];
                let older = (1..).map(|n| std::fs::read_to_string(folder.path().join(format!("{name}.{n}"))));
                texts.extend(older.map_while(Result::ok));
                texts
            };
            let mut texts = files(&at_once.to_string());
            assert_eq!(texts, files("1"));
            texts.reverse();
            assert_eq!(texts.concat(), all.concat());
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = RotatingFile::open(&path, 1 << 20, 1).unwrap();
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
    fn a_full_file_moves_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/gate.log");
        let mut log = RotatingFile::open(&path, 10, 2).unwrap();
        for line in ["one 45678\n", "two 45678\n", "three 678\n", "four\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("logs").join(name)).unwrap();
        assert_eq!(read("gate.log"), "four\n");
        assert_eq!(read("gate.log.1"), "three 678\n");
        assert_eq!(read("gate.log.2"), "two 45678\n");
        assert!(!folder.path().join("logs/gate.log.3").exists());
    }
}
