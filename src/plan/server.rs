//! The server's own settings after compile.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Serialize;
use tracing::level_filters::LevelFilter;

use super::listed::{self, IconPlan};
use super::otlp::{self, OtlpPlan};
use super::status::{self, StatusPlan};
use super::tls::{self, TlsPlan};
use crate::auth::{self, AuthPlan};
use crate::config::{AuditArgumentsConfig, AuditConfig, Config, HttpConfig, LogFormatConfig, LogLevelConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::net::Network;
use crate::policy;
use crate::policy::rate_limit::RateLimitPlan;
use crate::telemetry::Levels;
use crate::units::{Period, Size};

/// `server:` and `auth:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerPlan {
    /// `serverInfo.name`
    pub name: String,
    /// `serverInfo.title`
    pub title: Option<String>,
    /// `serverInfo.version`
    pub version: String,
    /// `serverInfo.description`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `serverInfo.websiteUrl`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website: Option<String>,
    /// `serverInfo.icons`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<IconPlan>,
    /// `instructions`
    pub instructions: Option<String>,
    /// Where HTTP listens.
    pub listen: SocketAddr,
    /// The path of the MCP endpoint.
    pub path: String,
    /// Host names that pass besides loopback ones, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Origins that pass besides loopback ones, in lower case.
    pub allowed_origins: Vec<String>,
    /// The largest request body.
    pub max_body: Size,
    /// Calls at the same time.
    pub max_concurrent_calls: usize,
    /// The grace after SIGTERM.
    pub drain: Period,
    /// Legacy sessions at the same time.
    pub max_sessions: usize,
    /// When an unused one ends.
    pub session_idle: Period,
    /// `ttlMs` of lists.
    pub list_ttl: Period,
    /// Entries on one page of a list.
    pub list_page: usize,
    /// Whether the list of tools holds two that reach the others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lists_frozen: bool,
    /// How often lists may be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists_limit: Option<RateLimitPlan>,
    /// How much memory kept answers take.
    pub cache_max: Size,
    /// Proxies that are believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Network>,
    /// The log.
    pub log: LogPlan,
    /// The record of calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditPlan>,
    /// The path of the metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Where traces go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpPlan>,
    /// Where those who run the server ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// Who may read what the server says of itself.
    #[serde(skip_serializing_if = "StatusPlan::is_plain")]
    pub status: StatusPlan,
    /// TLS of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Who may call.
    pub auth: AuthPlan,
    /// Whether the lists may change while this runs: every list is then said to be there.
    #[serde(skip)]
    pub reloads: bool,
}

/// `server.log` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogPlan {
    /// How much.
    pub level: LogLevelConfig,
    /// How much of some modules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<(String, LogLevelConfig)>,
    /// How lines look.
    pub format: LogFormatConfig,
    /// The file, if not stderr.
    pub file: Option<PathBuf>,
    /// Rotated at this size.
    pub max_size: Size,
    /// Rotated files kept.
    pub keep: usize,
}

impl LogPlan {
    /// What is written of all and of some modules.
    #[must_use]
    pub fn levels(&self) -> Levels {
        let filter = |level: LogLevelConfig| match level {
            LogLevelConfig::Error => LevelFilter::ERROR,
            LogLevelConfig::Warn => LevelFilter::WARN,
            LogLevelConfig::Info => LevelFilter::INFO,
            LogLevelConfig::Debug => LevelFilter::DEBUG,
            LogLevelConfig::Trace => LevelFilter::TRACE,
        };
        let of = self.levels.iter().map(|(module, level)| (module.clone(), filter(*level))).collect();
        Levels { all: filter(self.level), of }
    }
}

/// Checks the names of modules: whether there are such, only the program knows while it runs.
fn log_levels(config: &Config, diagnostics: &mut Diagnostics) -> Vec<(String, LogLevelConfig)> {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let levels = config.server.log.levels.iter().map(|(module, level)| {
        if !module.split("::").all(word) {
            let message = format!("`{}` is not the name of a module", module.value);
            let help = "such as `sidegate::source`, `sidegate` or `sqlx`";
            diagnostics.push(Diagnostic::error("bad-module", message).at(module.span, "").help(help));
        }
        (module.value.clone(), *level)
    });
    levels.collect()
}

/// `server.audit` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditPlan {
    /// The file, if not stderr.
    pub file: Option<PathBuf>,
    /// Rotated at this size.
    pub max_size: Size,
    /// Rotated files kept.
    pub keep: usize,
    /// What it says of arguments.
    pub arguments: AuditArgumentsConfig,
}

/// The limit of lists: their own, else that of every route.
fn lists_limit(config: &Config, diagnostics: &mut Diagnostics) -> Option<RateLimitPlan> {
    let own = policy::block(config.server.lists.rate_limit.as_ref(), "rate_limit", diagnostics);
    if let Some(own) = own {
        return own?.compile(diagnostics);
    }
    // What is wrong with it is told with the defaults.
    let told = &mut Diagnostics::default();
    policy::block(config.defaults.policy.rate_limit.as_ref(), "rate_limit", told).flatten()?.compile(told)
}

fn network(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Network> {
    let network = Network::parse(written);
    if network.is_none() {
        let message = format!("`{}` is no network", written.value);
        let help = "an address with the length of its prefix, and nothing beyond that: `10.0.0.0/8`, `2001:db8::/32`";
        diagnostics.push(Diagnostic::error("bad-network", message).at(written.span, "").help(help));
    }
    network
}

pub(super) fn compile(config: &Config, diagnostics: &mut Diagnostics) -> Option<ServerPlan> {
    let server = &config.server;
    let http = &server.http;
    let auth = auth::compile(config.auth.as_ref(), diagnostics);
    let listen = listen(http.listen.as_ref(), config.auth.is_some(), diagnostics);
    let tls = tls::compile(config, diagnostics);
    let path = path(http, diagnostics);
    let metrics = metrics_path(config, path.as_deref(), diagnostics);
    let admin = admin(config).map(|address| listen_at(address, config.auth.is_some(), diagnostics));
    let status = status::compile(config, auth.as_ref(), diagnostics);
    check_admin(config, admin.flatten(), auth.as_ref(), diagnostics);
    check_apart(config, listen, admin.flatten(), diagnostics);
    let otlp = server.telemetry.otlp.as_ref().map(|written| otlp::compile(written, diagnostics));
    check_hosts(http, diagnostics);
    let origins: Vec<_> = http.allowed_origins.iter().map(|o| origin(o, diagnostics)).collect();
    for (value, span, key) in [
        http.max_body.map(|s| (s.value.0 as u64, s.span, "max_body")),
        http.max_concurrent_calls.map(|c| (u64::from(c.value), c.span, "max_concurrent_calls")),
        server.lists.page.map(|p| (u64::from(p.value), p.span, "page")),
        server.cache.max.map(|s| (s.value.0 as u64 / 1024, s.span, "max")),
        server.log.max_size.map(|s| (s.value.0 as u64 / 1024, s.span, "max_size")),
        http.sessions.idle.map(|i| (i.value.0.as_secs(), i.span, "idle")),
    ]
    .into_iter()
    .flatten()
    {
        if value == 0 {
            let message = format!("`{key}` is too small to be of use");
            diagnostics.push(Diagnostic::error("too-small", message).at(span, ""));
        }
    }
    let icons = icons(config, diagnostics);
    let trusted_proxies = server.trusted_proxies.iter().filter_map(|n| network(n, diagnostics)).collect();
    let website = server.website.as_ref().map(|w| website(w, diagnostics));
    let log = &server.log;
    Some(ServerPlan {
        name: server.name.clone().unwrap_or_else(|| "sidegate".to_owned()),
        title: server.title.clone(),
        version: server.version.clone().unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        description: server.description.clone(),
        website,
        icons,
        instructions: server.instructions.clone(),
        listen: listen?,
        path: path?,
        allowed_hosts: http.allowed_hosts.iter().map(|h| h.to_ascii_lowercase()).collect(),
        allowed_origins: origins.into_iter().collect::<Option<_>>()?,
        max_body: http.max_body.map_or(Size::mib(4), |s| s.value),
        max_concurrent_calls: http.max_concurrent_calls.map_or(512, |c| c.value as usize),
        drain: http.drain.unwrap_or(Period::seconds(20)),
        max_sessions: http.sessions.max.map_or(4096, |m| m as usize),
        session_idle: http.sessions.idle.map_or(Period::seconds(1800), |i| i.value),
        lists_frozen: server.lists.frozen,
        lists_limit: lists_limit(config, diagnostics),
        cache_max: server.cache.max.map_or(Size::mib(64), |s| s.value),
        trusted_proxies,
        list_ttl: server.lists.ttl.unwrap_or(Period::seconds(30)),
        list_page: server.lists.page.map_or(1000, |p| p.value as usize),
        log: LogPlan {
            level: log.level.unwrap_or_default(),
            levels: log_levels(config, diagnostics),
            format: log.format.unwrap_or_default(),
            file: log.file.as_ref().map(|f| config.base.join(&f.value)),
            max_size: log.max_size.map_or(Size::mib(100), |s| s.value),
            keep: log.keep.map_or(5, |k| k.value as usize),
        },
        audit: server.audit.as_ref().map(|audit| audit_plan(audit, config, diagnostics)),
        metrics,
        otlp: match otlp {
            Some(otlp) => Some(otlp?),
            None => None,
        },
        admin: match admin {
            Some(admin) => Some(admin?),
            None => None,
        },
        status,
        tls: tls.ok()?,
        auth: auth?,
        reloads: false,
    })
}

fn audit_plan(audit: &AuditConfig, config: &Config, diagnostics: &mut Diagnostics) -> AuditPlan {
    if let Some(small) = audit.max_size.filter(|size| size.value.0 < 1024) {
        let message = "`max_size` is too small to be of use";
        diagnostics.push(Diagnostic::error("too-small", message).at(small.span, ""));
    }
    let log = config.server.log.file.as_ref();
    if let Some(same) = audit.file.as_ref().filter(|file| log.is_some_and(|log| log.value == file.value)) {
        let message = "the audit and the log cannot share a file: each would move it away from the other";
        diagnostics.push(Diagnostic::error("same-file", message).at(same.span, ""));
    }
    AuditPlan {
        file: audit.file.as_ref().map(|f| config.base.join(&f.value)),
        max_size: audit.max_size.map_or(Size::mib(100), |s| s.value),
        keep: audit.keep.map_or(5, |k| k.value as usize),
        arguments: audit.arguments.unwrap_or_default(),
    }
}

/// Paths that have their meaning whatever is configured.
const OWN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/status"];

/// The address for those who run the server.
fn admin(config: &Config) -> Option<&Spanned<String>> {
    config.server.admin.as_ref()?.listen.as_ref()
}

/// Two listeners cannot have one address.
fn check_apart(
    config: &Config,
    http: Option<SocketAddr>,
    at: Option<SocketAddr>,
    diagnostics: &mut Diagnostics,
) {
    let (Some(http), Some(at), Some(written)) = (http, at, admin(config)) else { return };
    // One that is not written is mostly that of `--listen`.
    let Some(listen) = &config.server.http.listen else { return };
    let all = |address: SocketAddr| address.ip().is_unspecified() && http.is_ipv4() == at.is_ipv4();
    if http.port() != at.port() || at.port() == 0 || !(http.ip() == at.ip() || all(http) || all(at)) {
        return;
    }
    let message = "this is the address on which MCP is served";
    let problem = Diagnostic::error("taken-address", message).at(written.span, "");
    let help = "give it another port: it is apart so that those who call never reach it";
    diagnostics.push(problem.at(listen.span, "MCP").help(help));
}

/// Warns of an address beyond loopback on which nobody can prove who they are.
fn check_admin(
    config: &Config,
    at: Option<SocketAddr>,
    auth: Option<&AuthPlan>,
    diagnostics: &mut Diagnostics,
) {
    let Some(known) = auth.and_then(AuthPlan::known) else { return };
    let headers = !known.keys.is_empty() || !known.issuers.is_empty();
    if headers || at.is_none_or(|at| at.ip().is_loopback()) || config.losses.touch(&["auth"], &[]) {
        return;
    }
    if let Some(written) = admin(config) {
        let message =
            "this address is plain HTTP, where no certificate can be shown: nobody may read what is there";
        let help = "give a key in `auth.api_keys`, or an address on loopback";
        diagnostics.push(Diagnostic::warning("nobody-may", message).at(written.span, "").help(help));
    }
}

/// The path of the metrics; with an address of their own they always have one.
fn metrics_path(config: &Config, endpoint: Option<&str>, diagnostics: &mut Diagnostics) -> Option<String> {
    let admin = admin(config).is_some();
    let Some(written) = &config.server.telemetry.metrics else {
        return admin.then(|| "/metrics".to_owned());
    };
    let taken = OWN_PATHS.contains(&written.as_str()) || !admin && Some(written.as_str()) == endpoint;
    if taken || !is_path(written) {
        let message = "this cannot be the path of the metrics";
        let help = "such as `/metrics`; the endpoint's path, `/healthz`, `/readyz` and `/status` are taken";
        diagnostics.push(Diagnostic::error("bad-path", message).at(written.span, "").help(help));
    }
    Some(written.value.clone())
}

/// A path of plain characters.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~'))
}

/// Where a mistake inside took something away, it is not said to be missing.
fn icons(config: &Config, diagnostics: &mut Diagnostics) -> Vec<IconPlan> {
    let mark = diagnostics.len();
    let icons = listed::compile_icons(&config.server.icons, diagnostics);
    if config.losses.touch(&["server", "icons"], &[]) {
        diagnostics.forget_absences(mark);
    }
    icons
}

fn website(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> String {
    let parsed = url::Url::parse(written);
    if !parsed.is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
        let message = format!("`{}` is not the URL of a website", written.value);
        let help = "such as `https://shop.example`";
        diagnostics.push(Diagnostic::error("bad-website", message).at(written.span, "").help(help));
    }
    written.value.clone()
}

const ADDRESS_HELP: &str = "such as `127.0.0.1:8080`, `[::1]:8080` or `0.0.0.0:8080`";

/// An address with a port; `localhost` is 127.0.0.1.
///
/// # Errors
/// A sentence with examples.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.replace("localhost:", "127.0.0.1:");
    text.parse().map_err(|_| format!("not an address with a port, {ADDRESS_HELP}"))
}

fn listen(
    written: Option<&Spanned<String>>,
    open: bool,
    diagnostics: &mut Diagnostics,
) -> Option<SocketAddr> {
    match written {
        Some(written) => listen_at(written, open, diagnostics),
        None => Some(SocketAddr::from(([127, 0, 0, 1], 8080))),
    }
}

fn listen_at(written: &Spanned<String>, open: bool, diagnostics: &mut Diagnostics) -> Option<SocketAddr> {
    let Ok(address) = parse_address(&written.value) else {
        let message = "this is not an address with a port";
        diagnostics.push(Diagnostic::error("bad-address", message).at(written.span, "").help(ADDRESS_HELP));
        return None;
    };
    if let Some(problem) = beyond_loopback(address, open) {
        diagnostics.push(problem.at(written.span, "reachable from other machines"));
        return None;
    }
    Some(address)
}

/// The refusal of an address that other machines can reach while nobody said who may call.
#[must_use]
fn beyond_loopback(address: SocketAddr, open: bool) -> Option<Diagnostic> {
    if open || address.ip().is_loopback() {
        return None;
    }
    let message = "listening beyond loopback needs `auth`";
    let help = "say `auth: none` at the top level if everybody who reaches the port may call";
    Some(Diagnostic::error("open-without-auth", message).absence().help(help))
}

impl ServerPlan {
    /// `https`, or `http` without TLS of our own.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Moves the listener, as `--listen` does, under the same rule as the file.
    ///
    /// # Errors
    /// The refusal, if the address is beyond loopback without `auth`.
    pub fn listen_on(&mut self, address: SocketAddr) -> Result<(), Box<Diagnostic>> {
        match beyond_loopback(address, self.auth != AuthPlan::Unsaid) {
            Some(problem) => Err(Box::new(problem)),
            None => {
                self.listen = address;
                Ok(())
            }
        }
    }
}

fn path(http: &HttpConfig, diagnostics: &mut Diagnostics) -> Option<String> {
    let Some(written) = &http.path else { return Some("/mcp".to_owned()) };
    let taken = OWN_PATHS.contains(&written.as_str()) || written.starts_with(auth::WELL_KNOWN);
    if !is_path(written) || taken {
        let message = "this cannot be the endpoint's path";
        let help = "such as `/mcp`; `/healthz`, `/readyz` and `/status` are taken";
        diagnostics.push(Diagnostic::error("bad-path", message).at(written.span, "").help(help));
        return None;
    }
    Some(written.value.clone())
}

fn check_hosts(http: &HttpConfig, diagnostics: &mut Diagnostics) {
    for host in &http.allowed_hosts {
        if host.is_empty() || host.contains([':', '/', '*', '@', ' ']) && !host.starts_with('[') {
            let message = format!("`{}` is not a host name", host.value);
            let help = "the name alone, without scheme, port or `*`";
            diagnostics.push(Diagnostic::error("bad-host", message).at(host.span, "").help(help));
        }
    }
}

/// An origin is scheme, host and port, nothing more (RFC 6454 section 6.2).
fn origin(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let parsed = url::Url::parse(written).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
    let origin = parsed.map(|u| u.origin().ascii_serialization());
    if origin.as_deref() != Some(written.to_ascii_lowercase().as_str()) {
        let message = format!("`{}` is not an origin", written.value);
        let help = "scheme, host and port only, such as `https://claude.ai`";
        diagnostics.push(Diagnostic::error("bad-origin", message).at(written.span, "").help(help));
        return None;
    }
    origin
}
