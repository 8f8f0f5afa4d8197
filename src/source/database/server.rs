//! The address of a database server: everything from the URL, nothing from the environment, so that what runs is what is written.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use url::Url;

use super::PoolPlan;
use crate::diag::{Diagnostic, Spanned};
use crate::secret::Secret;
use crate::source::{SourceCx, resolve};

/// A database server after compile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source) struct ServerPlan {
    // The parts of the URL are as secret as the URL.
    #[serde(skip)]
    pub host: String,
    #[serde(skip)]
    pub port: u16,
    /// A folder (PostgreSQL) or file (MySQL) of a Unix socket instead of host and port.
    #[serde(skip)]
    pub socket: Option<PathBuf>,
    #[serde(skip)]
    pub user: String,
    #[serde(skip)]
    pub password: Option<Secret>,
    #[serde(skip)]
    pub database: String,
    pub tls: Tls,
    /// Certificates that the server's is checked against, beside the well-known ones.
    pub ca: Option<PathBuf>,
    pub pool: PoolPlan,
}

/// How the connection is protected, by PostgreSQL's words for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::source) enum Tls {
    Disable,
    /// Where the server offers it.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

const MODES: [(&str, Tls); 5] = [
    ("disable", Tls::Disable),
    ("prefer", Tls::Prefer),
    ("require", Tls::Require),
    ("verify-ca", Tls::VerifyCa),
    ("verify-full", Tls::VerifyFull),
];
const OPTIONS: [&str; 3] = ["sslmode", "sslrootcert", "socket"];

impl ServerPlan {
    /// Compiles `scheme://user:password@host:port/database?sslmode=…`.
    pub(in crate::source) fn compile(
        url: &Spanned<Secret>,
        port: u16,
        pool: PoolPlan,
        cx: &mut SourceCx<'_>,
    ) -> Option<Self> {
        let mut refuse = |message: String, help: &str| {
            let problem = Diagnostic::error("bad-url", message).at(url.span, "");
            cx.diagnostics.push(problem.help(help.to_owned()));
        };
        let form =
            "`scheme://user:password@host:port/database`; write special characters of the password as %40";
        let Ok(parsed) = Url::parse(url.expose()) else {
            refuse("this is not the URL of a database".to_owned(), form);
            return None;
        };
        let text =
            |encoded: &str| percent_decode_str(encoded).decode_utf8().map(std::borrow::Cow::into_owned).ok();
        let (Some(user), Some(database), password) = (
            text(parsed.username()),
            text(parsed.path().trim_start_matches('/')),
            parsed.password().map(text),
        ) else {
            refuse("a part of this URL is not UTF-8".to_owned(), form);
            return None;
        };
        if user.is_empty() || database.is_empty() {
            refuse("the URL of a database names a user and the database".to_owned(), form);
            return None;
        }
        let (mut tls, mut ca, mut socket) = (Tls::default(), None, None);
        for (name, value) in parsed.query_pairs() {
            match name.as_ref() {
                "sslmode" => match MODES.iter().find(|(word, _)| *word == value) {
                    Some((_, mode)) => tls = *mode,
                    None => refuse(
                        "this `sslmode` is not one".to_owned(),
                        "`disable`, `prefer`, `require`, `verify-ca` or `verify-full`",
                    ),
                },
                "sslrootcert" => ca = Some(resolve(cx.base, value.as_ref().as_ref())),
                "socket" => socket = Some(PathBuf::from(value.as_ref())),
                other => {
                    let help = crate::name::did_you_mean(other, OPTIONS, "options of a database URL");
                    refuse("an option of this URL is not known".to_owned(), &help);
                }
            }
        }
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() && socket.is_none() {
            refuse("the URL of a database names its host".to_owned(), form);
            return None;
        }
        Some(Self {
            host,
            port: parsed.port().unwrap_or(port),
            socket,
            user,
            password: password.flatten().map(Secret::new),
            database,
            tls,
            ca,
            pool,
        })
    }
}
