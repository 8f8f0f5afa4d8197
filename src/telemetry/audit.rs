//! The audit: one JSON line for each call, written by a thread of its own, so that no call waits for a disk. What that thread cannot keep
//! up with is counted, and said in the audit itself.

mod lines;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use serde_json::value::RawValue;
use tracing::error;

use super::hidden;
use super::rotated::RotatedFile;
use super::trace::TraceId;
use crate::units::{push_hex, push_utc_micros};
use lines::{Lines, Out};

/// Room for most lines.
const LINE: usize = 512;
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
#[derive(Debug)]
pub struct Entry<'a> {
    /// The id in the log and in messages.
    pub request: &'a str,
    /// The id of its trace, if it has one.
    pub trace_id: Option<TraceId>,
    /// Whose call: the subject, or `local` or `anonymous`.
    pub caller: &'a str,
    /// How it was proved: `key`, …, or `none`.
    pub proof: &'a str,
    /// Who says so, of a token: subjects are its own.
    pub issuer: Option<&'a str>,
    /// From where; nowhere over stdio.
    pub ip: Option<IpAddr>,
    /// `http`, or `local`: over stdio or from the shell.
    pub transport: &'static str,
    /// `modern` or `legacy`.
    pub era: &'static str,
    /// What was called.
    pub noun: &'static str,
    /// Its name in the configuration.
    pub route: &'a str,
    /// SHA-256 of the arguments in their canonical form.
    pub arguments_sha256: Option<&'a [u8]>,
    /// The arguments, where they are asked for.
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

impl Entry<'_> {
    /// Appends the line that says it, with its end. Members that are words of ours need no escapes.
    fn write(&self, now: SystemTime, out: &mut Vec<u8>) {
        let Self { request, trace_id, caller, proof, issuer, ip, transport, era, noun, route, .. } = self;
        out.extend_from_slice(b"{\"time\":\"");
        push_utc_micros(now, out);
        push(out, &["\",\"request\":\"", request]);
        if let Some(trace_id) = trace_id {
            push(out, &["\",\"trace_id\":\""]);
            // Writing into a vector cannot fail.
            let _ = write!(out, "{trace_id}");
        }
        push(out, &["\",\"caller\":"]);
        push_text(out, caller);
        push(out, &[",\"proof\":"]);
        push_text(out, proof);
        if let Some(issuer) = issuer {
            push(out, &[",\"issuer\":"]);
            push_text(out, issuer);
        }
        match ip {
            Some(ip) => drop(write!(out, ",\"ip\":\"{ip}\"")),
            None => push(out, &[",\"ip\":null"]),
        }
        let kind = [",\"transport\":\"", transport, "\",\"era\":\"", era, "\",\"noun\":\"", noun];
        push(out, &kind);
        push(out, &["\",\"route\":"]);
        push_text(out, route);
        self.write_end(out);
    }

    /// What was asked, and what came of it.
    fn write_end(&self, out: &mut Vec<u8>) {
        let Self { arguments_sha256, arguments, decision, outcome, source, cache, attempts, ms, .. } = self;
        if let Some(digest) = arguments_sha256 {
            push(out, &[",\"arguments_sha256\":\""]);
            push_hex(digest, out);
            out.push(b'"');
        }
        if let Some(arguments) = arguments {
            push(out, &[",\"arguments\":"]);
            push_shown(out, arguments.get());
        }
        push(out, &[",\"decision\":\"", decision, "\",\"outcome\":\"", outcome, "\",\"source\":"]);
        match source {
            Some(source) => push_text(out, source),
            None => push(out, &["null"]),
        }
        match cache {
            Some(cache) => push(out, &[",\"cache\":\"", cache, "\""]),
            None => push(out, &[",\"cache\":null"]),
        }
        // Writing into a vector cannot fail.
        let _ = write!(out, ",\"attempts\":{attempts},\"ms\":{ms}}}");
        out.push(b'\n');
    }
}

fn push(out: &mut Vec<u8>, pieces: &[&str]) {
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends a text as JSON.
fn push_text(out: &mut Vec<u8>, text: &str) {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.as_bytes().iter().all(plain) {
        push(out, &["\"", text, "\""]);
    } else {
        push_shown(out, &serde_json::to_string(text).unwrap_or_default());
    }
}

/// Appends JSON, which allows what a terminal takes for commands, DEL and the controls of Latin-1, among them CSI, and what is not
/// seen or moves the text around it.
fn push_shown(out: &mut Vec<u8>, json: &str) {
    let shown = |c: char| !c.is_control() && !hidden(c);
    if json.chars().all(shown) {
        return out.extend_from_slice(json.as_bytes());
    }
    for c in json.chars() {
        if shown(c) {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing into a vector cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}

/// An open audit.
#[derive(Debug)]
pub struct Audit {
    options: AuditOptions,
    lines: Arc<Lines>,
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
            Some(path) => Out::File(RotatedFile::open(path, options.max_size, options.keep)?),
            None => Out::Stderr,
        };
        let lines = Arc::new(Lines::default());
        let writer = lines.clone();
        let writing = move || {
            // A line that cannot be written must not end the lines after it.
            while catch_unwind(AssertUnwindSafe(|| writer.write(&mut out))).is_err() {
                error!("writing the audit ended in a panic, and begins anew");
            }
        };
        thread::Builder::new().name("audit".to_owned()).spawn(writing)?;
        Ok(Self { options, lines, lost_ever })
    }

    /// Where it goes.
    #[must_use]
    pub fn options(&self) -> &AuditOptions {
        &self.options
    }

    /// Notes a call; never waits for the disk.
    pub fn note(&self, entry: &Entry<'_>) {
        let mut line = Vec::with_capacity(LINE);
        entry.write(SystemTime::now(), &mut line);
        if !self.lines.put(&line) {
            self.lost_ever.inc();
        }
    }

    /// Waits until what was noted is written, at most five seconds. Blocks the thread: for the end of the process.
    pub fn flush(&self) {
        self.lines.flush(FLUSH);
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.lines.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace::Point;

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
    fn a_line_has_its_members_in_their_order() {
        let written = |entry: &Entry<'_>| {
            let mut line = Vec::new();
            entry.write(SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_268_401_482_093), &mut line);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            written(&entry("ci")),
            r#"{"time":"2026-11-21T13:40:01.482093Z","request":"abcd","caller":"ci","proof":"key","ip":null,"transport":"http","era":"modern","noun":"tool","route":"get","decision":"allowed","outcome":"ok","source":null,"cache":null,"attempts":0,"ms":1}"#.to_owned() + "\n"
        );
        let values = RawValue::from_string("{\"a\":\"\u{9b}\"}".to_owned()).unwrap();
        let trace = Point::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap().trace;
        let full = Entry {
            trace_id: Some(trace),
            issuer: Some("https://login.example/\u{e9}"),
            ip: Some([10, 0, 0, 7].into()),
            arguments_sha256: Some(&[0x5f, 0x0c]),
            arguments: Some(&values),
            source: Some("orders\\api"),
            cache: Some("miss"),
            ..entry("ci")
        };
        assert_eq!(
            written(&full),
            r#"{"time":"2026-11-21T13:40:01.482093Z","request":"abcd","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","caller":"ci","proof":"key","issuer":"https://login.example/é","ip":"10.0.0.7","transport":"http","era":"modern","noun":"tool","route":"get","arguments_sha256":"5f0c","arguments":{"a":"\u009b"},"decision":"allowed","outcome":"ok","source":"orders\\api","cache":"miss","attempts":0,"ms":1}"#.to_owned() + "\n"
        );
    }

    #[test]
    fn a_line_holds_a_call_and_nothing_that_a_terminal_obeys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit/calls.jsonl");
        let options =
            AuditOptions { file: Some(path.clone()), max_size: 1 << 20, keep: 1, arguments: Arguments::None };
        let audit = Audit::open(options, Counter::default()).unwrap();
        let hostile = "a\n{\"caller\":\"b\"}\u{1b}[31m\u{9b}2J\u{7f}\u{202e}\u{2028}\u{e0041}\u{200b}";
        audit.note(&entry(hostile));
        audit.note(&entry("second"));
        audit.flush();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && !hidden(c)), "{text}");
        assert!(text.contains(r"\u202e\u2028\udb40\udc41\u200b"), "{text}");
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["caller"], hostile);
        assert!(first["time"].as_str().unwrap().ends_with('Z'));
    }
}
