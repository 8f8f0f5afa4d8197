//! The audit: one JSON line for each call, written by a thread of its own, so that no call waits for a disk. What that thread cannot keep
//! up with is counted, and said in the audit itself.

use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::error;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::RotatingFile;

/// Lines that wait for the disk. Beyond, calls go on and their lines are lost.
const WAITING: usize = 8192;
/// How long the end of the process waits for the disk.
const FLUSH: Duration = Duration::from_secs(5);

/// Where the audit goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditOptions {
    /// The file; without one stderr.
    pub file: Option<PathBuf>,
    /// The size at which it is rotated, in bytes.
    pub max_size: u64,
    /// How many rotated files are kept.
    pub keep: usize,
    /// What it holds of the arguments.
    pub arguments: Arguments,
}

/// What is noted of the arguments of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arguments {
    /// Nothing.
    None,
    /// A digest.
    Digest,
    /// The digest, and their values but for those that are secrets.
    Redacted,
}

/// One call.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// The id in the log and in messages.
    pub request: &'a str,
    /// The id of its trace, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// Whose call: the subject, or `local` or `anonymous`.
    pub caller: &'a str,
    /// How it was proved: `key`, …, or `none`.
    pub proof: &'a str,
    /// Who says so, of a token: subjects are its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<&'a str>,
    /// From where; nowhere over stdio.
    pub ip: Option<std::net::IpAddr>,
    /// `http`, or `local`: over stdio or from the shell.
    pub transport: &'static str,
    /// `modern` or `legacy`.
    pub era: &'static str,
    /// What was called.
    pub noun: &'static str,
    /// Its name in the configuration.
    pub route: &'a str,
    /// SHA-256 of the arguments in their canonical form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments_sha256: Option<&'a str>,
    /// The arguments, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<&'a RawValue>,
    /// Whether it was let through: `allowed`, or why not.
    pub decision: &'static str,
    /// What came of it.
    pub outcome: &'static str,
    /// The source that it is about.
    pub source: Option<&'a str>,
    /// `hit`, `stale` or `miss`, for routes that keep answers.
    pub cache: Option<&'static str>,
    /// Tries on the source.
    pub attempts: u32,
    /// How long it took.
    pub ms: u64,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// An open audit.
#[derive(Debug)]
pub struct Audit {
    options: AuditOptions,
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    lost_ever: Counter,
}

/// The place of the audit of a process, empty where there is none.
pub type Slot = ArcSwapOption<Audit>;

impl Audit {
    /// Opens it, and begins the thread that writes. `lost_ever` counts the lines that are lost.
    ///
    /// # Errors
    /// If its file cannot be opened.
    pub fn open(options: AuditOptions, lost_ever: Counter) -> io::Result<Self> {
        let mut out = match &options.file {
            Some(path) => Out::File(RotatingFile::open(path, options.max_size, options.keep)?),
            None => Out::Stderr,
        };
        let (lines, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let told = lost.clone();
        let writing = move || {
            // A line that cannot be written must not end the lines after it.
            while catch_unwind(AssertUnwindSafe(|| write(&waiting, &mut out, &told))).is_err() {
                error!("writing the audit ended in a panic, and begins anew");
            }
        };
        thread::Builder::new().name("audit".to_owned()).spawn(writing)?;
        Ok(Self { options, lines, lost, lost_ever })
    }

    /// Where it goes.
    #[must_use]
    pub fn options(&self) -> &AuditOptions {
        &self.options
    }

    /// Notes a call; never waits.
    pub fn note(&self, entry: &Entry<'_>) {
        let mut time = String::with_capacity(32);
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let Ok(entry) = serde_json::to_string(entry) else { return };
        // Of one object with the time before its members.
        let line = format!("{{\"time\":\"{time}\",{}", entry.strip_prefix('{').unwrap_or_default());
        if self.lines.try_send(Message::Line(escape(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_ever.inc();
        }
    }

    /// Waits until what was noted is written, at most five seconds. Blocks the thread: for the end of the process.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        // A full queue is being written: the marker is tried for as long as it is waited for.
        for _ in 0..50 {
            match self.lines.try_send(Message::Flush(done.clone())) {
                Ok(()) => break,
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
        drop(done);
        let _ = wait.recv_timeout(FLUSH);
    }
}

/// JSON allows what a terminal takes for commands: DEL and the controls of Latin-1, among them CSI.
fn escape(line: String) -> String {
    if !line.chars().any(char::is_control) {
        return line;
    }
    let mut out = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

enum Out {
    File(RotatingFile),
    Stderr,
}

impl Out {
    fn put(&mut self, line: &str) -> io::Result<()> {
        // One write a line, so that a rotation falls between two of them.
        let line = format!("{line}\n");
        match self {
            Self::File(file) => file.write_all(line.as_bytes()),
            Self::Stderr => io::stderr().lock().write_all(line.as_bytes()),
        }
    }
}

/// Writes until nobody notes anything any more.
fn write(waiting: &Receiver<Message>, out: &mut Out, lost: &AtomicU64) {
    let mut failing = false;
    while let Ok(message) = waiting.recv() {
        let line = match message {
            Message::Line(line) => line,
            Message::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        };
        let missing = lost.swap(0, Ordering::Relaxed);
        let note = (missing > 0).then(|| format!("{{\"lost\":{missing}}}"));
        let result = note.map_or(Ok(()), |note| out.put(&note)).and_then(|()| out.put(&line));
        match result {
            Ok(()) => failing = false,
            Err(reason) => {
                lost.fetch_add(missing + 1, Ordering::Relaxed);
                if !failing {
                    error!(%reason, "the audit cannot be written: calls go on and are not recorded");
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(caller: &str) -> Entry<'_> {
        Entry {
            request: "abcd",
            trace_id: None,
            caller,
            proof: "key",
            issuer: None,
            ip: None,
            transport: "http",
            era: "modern",
            noun: "tool",
            route: "get",
            arguments_sha256: None,
            arguments: None,
            decision: "allowed",
            outcome: "ok",
            source: None,
            cache: None,
            attempts: 0,
            ms: 1,
        }
    }

    #[test]
    fn a_line_holds_a_call_and_nothing_that_a_terminal_obeys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit/calls.jsonl");
        let options =
            AuditOptions { file: Some(path.clone()), max_size: 1 << 20, keep: 1, arguments: Arguments::None };
        let audit = Audit::open(options, Counter::default()).unwrap();
        let hostile = "a\n{\"caller\":\"b\"}\u{1b}[31m\u{9b}2J\u{7f}";
        audit.note(&entry(hostile));
        audit.note(&entry("second"));
        audit.flush();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["caller"], hostile);
        assert!(first["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn what_is_not_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let file = RotatingFile::open(&path, 1 << 20, 1).unwrap();
        let (lines, waiting) = sync_channel(4);
        lines.send(Message::Line("{}".to_owned())).unwrap();
        drop(lines);
        write(&waiting, &mut Out::File(file), &AtomicU64::new(3));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{\"lost\":3}\n{}\n");
    }
}
