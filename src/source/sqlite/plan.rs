//! SQLite after compile: which file, how it is opened, how many connections.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::secret::Secret;
use crate::source::sql::PoolConfig;
use crate::source::{SourceCx, resolve, time_limit};
use crate::units::Period;

/// A SQLite database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source) struct SqlitePlan {
    /// The file; `None` is a memory database of this process.
    pub file: Option<PathBuf>,
    /// A script for an empty database.
    pub init: Option<String>,
    pub pool: SqlitePool,
}

/// Connections, every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source) struct SqlitePool {
    pub max: u32,
    pub min: u32,
    pub acquire_timeout: Period,
    pub idle_timeout: Period,
    pub max_lifetime: Period,
}

impl SqlitePool {
    pub(in crate::source) fn compile(config: &PoolConfig, diagnostics: &mut Diagnostics) -> Option<Self> {
        let max = config.max.map_or(10, |m| m.value);
        let min = config.min.map_or(0, |m| m.value);
        if let Some(written) = config.max.filter(|m| m.value == 0 || m.value > 1000) {
            let message = "a pool has between 1 and 1000 connections";
            diagnostics.push(Diagnostic::error("bad-pool", message).at(written.span, ""));
            return None;
        }
        if let Some(written) = config.min.filter(|m| m.value > max) {
            let message = format!("`min` is larger than `max`, which is {max}");
            diagnostics.push(Diagnostic::error("bad-pool", message).at(written.span, ""));
            return None;
        }
        Some(Self {
            max,
            min,
            acquire_timeout: time_limit(config.acquire_timeout, 3, "acquire_timeout", diagnostics),
            idle_timeout: config.idle_timeout.unwrap_or(Period::seconds(600)),
            max_lifetime: config.max_lifetime.unwrap_or(Period::seconds(3600)),
        })
    }
}

impl SqlitePlan {
    pub(in crate::source) fn compile(
        url: &Spanned<Secret>,
        init: Option<&FileRef>,
        pool: SqlitePool,
        cx: &mut SourceCx<'_>,
    ) -> Option<Self> {
        let text = url.expose();
        let mut refuse = |message: &str, help: &str| {
            cx.diagnostics.push(Diagnostic::error("bad-url", message).at(url.span, "").help(help));
            None
        };
        if !text.starts_with("sqlite:") {
            return refuse(
                "this is not the URL of a database that can be used",
                "write `sqlite:path/to/file.db` or `sqlite::memory:`",
            );
        }
        if text.contains('?') {
            return refuse(
                "a SQLite URL has no options here",
                "`read_only` and `init` are keys of the source",
            );
        }
        let Ok(options) = SqliteConnectOptions::from_str(text) else {
            return refuse("this is not a SQLite URL", "write `sqlite:path/to/file.db` or `sqlite::memory:`");
        };
        let memory = matches!(text.trim_start_matches("sqlite:").trim_start_matches("//"), ":memory:" | "");
        let script = match init.map(|file| (file, file.text())) {
            Some((file, None)) => {
                let message = "this file is not UTF-8 text";
                cx.diagnostics.push(Diagnostic::error("bad-file", message).at(file.path.span, ""));
                return None;
            }
            Some((_, Some(text))) => Some(text.to_owned()),
            None => None,
        };
        Some(Self { file: (!memory).then(|| resolve(cx.base, options.get_filename())), init: script, pool })
    }
}
