//! SQLite after compile: which file, how it is opened, how many connections.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;

use crate::diag::{Diagnostic, Spanned};
use crate::file::FileRef;
use crate::secret::Secret;
use crate::source::database::PoolPlan;
use crate::source::{SourceCx, resolve};

/// A SQLite database.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source) struct SqlitePlan {
    /// The file; `None` is a memory database of this process.
    pub file: Option<PathBuf>,
    /// A script for an empty database.
    pub init: Option<String>,
    pub pool: PoolPlan,
}

impl SqlitePlan {
    pub(in crate::source) fn compile(
        url: &Spanned<Secret>,
        init: Option<&FileRef>,
        pool: PoolPlan,
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
                "write `sqlite:path/to/file.db`, `sqlite::memory:`, or `postgres://` or `mysql://` with `user:password@host/database`",
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
        let path = text.trim_start_matches("sqlite:").trim_start_matches("//");
        if path.trim().is_empty() {
            return refuse(
                "this URL names no file",
                "write `sqlite:path/to/file.db`, or `sqlite::memory:` for a database that is gone with the process",
            );
        }
        let memory = path == ":memory:";
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
