//! `server:` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IconConfig, ServerTlsConfig};
use crate::diag::Spanned;
use crate::policy::rate_limit::RateLimitConfig;
use crate::secret::Secret;
use crate::units::{Period, Size};
use crate::yaml::{Entries, TextOr};

/// The server itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Server")]
pub struct ServerConfig {
    /// `serverInfo.name`. Default `sidegate`.
    pub name: Option<String>,
    /// A name for people to read.
    pub title: Option<String>,
    /// `serverInfo.version`. Default: Sidegate's own.
    pub version: Option<String>,
    /// What the server is, in a sentence or two for people.
    pub description: Option<String>,
    /// Where people read more: an `https` or `http` URL.
    pub website: Option<Spanned<String>>,
    /// Pictures that clients may show.
    pub icons: Vec<Spanned<IconConfig>>,
    /// What the server is for, told to the model by clients that do so.
    pub instructions: Option<String>,
    /// The HTTP side.
    pub http: HttpConfig,
    /// The lists of tools, resources and prompts.
    pub lists: ListsConfig,
    /// Answers that routes keep (`policy.cache`).
    pub cache: ServerCacheConfig,
    /// Networks of proxies that say in `X-Forwarded-For` for whom they ask, such as `10.0.0.0/8`. Nobody else is believed.
    pub trusted_proxies: Vec<Spanned<String>>,
    /// The log.
    pub log: LogConfig,
    /// A record of every call. Not kept unless it is written here: it says who did what, and needs a place where that may be.
    pub audit: Option<AuditConfig>,
    /// What is measured, and where it can be read.
    pub telemetry: TelemetryConfig,
    /// For those who run the server: an address apart from that of its clients, and who may read `/status`.
    pub admin: Option<AdminConfig>,
}

/// The HTTP side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http")]
pub struct HttpConfig {
    /// Address and port. Default `127.0.0.1:8080`. Beyond loopback it needs `auth`.
    pub listen: Option<Spanned<String>>,
    /// The path of the MCP endpoint. Default `/mcp`.
    pub path: Option<Spanned<String>>,
    /// `Host` names that are served, without port. Loopback names always are.
    pub allowed_hosts: Vec<Spanned<String>>,
    /// `Origin`s of web pages that may call, such as `https://claude.ai`. Loopback origins always may.
    pub allowed_origins: Vec<Spanned<String>>,
    /// The largest request body. Default `4MiB`.
    pub max_body: Option<Spanned<Size>>,
    /// Calls at the same time; more get 503 with `Retry-After`. Default 512.
    pub max_concurrent_calls: Option<Spanned<u32>>,
    /// How long running calls may take to end after SIGTERM. Default `20s`.
    pub drain: Option<Period>,
    /// Sessions of clients up to 2025-11-25.
    pub sessions: SessionsConfig,
    /// TLS of its own: `https` in place of `http`. Whether there is any cannot change while the server runs.
    pub tls: Option<Spanned<ServerTlsConfig>>,
}

/// Sessions (`Mcp-Session-Id`) of clients up to 2025-11-25. With one, such a client can be asked questions, hears news and can cancel
/// its calls; without, it can still do everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sessions")]
pub struct SessionsConfig {
    /// How many are kept. Default 4096; 0 keeps none, for several replicas behind a balancer that does not pin clients.
    pub max: Option<u32>,
    /// When one that is not in use ends. Default `30m`.
    pub idle: Option<Spanned<Period>>,
}

/// Lists of tools, resources and prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Lists")]
pub struct ListsConfig {
    /// How long clients may keep them (`ttlMs`). Default `30s`. For as long after a reload they are told to keep them for a second at the most.
    pub ttl: Option<Period>,
    /// Entries on one page. Default 1000.
    #[schemars(range(min = 1))]
    pub page: Option<Spanned<u32>>,
    /// For clients that read the list of tools once: it holds two tools that stay the same over every reload. `find_tool` finds the others
    /// by words and gives their schemas, `call_tool` calls one of them, with everything that holds for a direct call. Tools can still be
    /// called by their own names. Default `false`; cannot change while the program runs.
    pub frozen: bool,
    /// How often lists and fixed suggestions may be asked for. Default: the `rate_limit` of `defaults.policy`. `none` takes it back.
    pub rate_limit: Option<Spanned<TextOr<RateLimitConfig>>>,
}

/// Answers that routes keep. One store for all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ServerCache")]
pub struct ServerCacheConfig {
    /// How much memory they take at most. What was used least goes first. Default `64MiB`.
    pub max: Option<Spanned<Size>>,
}

/// The log. It goes to stderr unless a file is given; in stdio mode stdout carries the protocol and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Log")]
pub struct LogConfig {
    /// Default `info`. It can change while the program runs, as `levels` can; the other settings of the log cannot.
    pub level: Option<LogLevelConfig>,
    /// Other levels for parts of the program, by the names of its modules, such as `sidegate::source: debug` or `sqlx: warn`. The longest
    /// name that fits decides.
    #[serde(skip_serializing_if = "Entries::is_empty")]
    pub levels: Entries<LogLevelConfig>,
    /// `text` for people (default), `json` for machines.
    pub format: Option<LogFormatConfig>,
    /// A file instead of stderr, relative to this file's folder.
    pub file: Option<Spanned<String>>,
    /// The file is rotated at this size. Default `100MiB`.
    pub max_size: Option<Spanned<Size>>,
    /// How many rotated files are kept. Default 5.
    pub keep: Option<Spanned<u32>>,
}

/// A record of every call: one JSON object a line with time, caller, address, route, a digest of the arguments, what was decided and what
/// came of it. It is written beside the calls, which do not wait for it; what a disk is too slow for is counted, and said in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Audit")]
pub struct AuditConfig {
    /// Its file, relative to this file's folder. Default: stderr.
    pub file: Option<Spanned<String>>,
    /// The file is rotated at this size. Default `100MiB`.
    pub max_size: Option<Spanned<Size>>,
    /// How many rotated files are kept. Default 5.
    pub keep: Option<Spanned<u32>>,
    /// What it says of the arguments of a call. Default `digest`.
    pub arguments: Option<AuditArgumentsConfig>,
}

/// What an audit says of the arguments of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "AuditArguments")]
pub enum AuditArgumentsConfig {
    /// Nothing.
    None,
    /// Their SHA-256: shows that two calls were the same. Who knows the route can find short arguments by trying.
    #[default]
    Digest,
    /// The SHA-256, and the arguments themselves, but for parameters with `writeOnly: true` or `format: password`, and for what is long.
    Redacted,
}

/// What is measured. Nothing of it can be read unless it is written here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Telemetry")]
pub struct TelemetryConfig {
    /// The path of the metrics in Prometheus' (OpenMetrics) text form, such as `/metrics`. They are served beside the MCP endpoint, to
    /// whoever may call that; with `server.admin` there instead. Not served over stdio.
    pub metrics: Option<Spanned<String>>,
    /// Where traces go: the address of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`, or a
    /// block that says more. Without it none are recorded.
    pub otlp: Option<TextOr<OtlpConfig>>,
}

/// A collector of traces, by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Otlp")]
pub struct OtlpConfig {
    /// Its address. Traces go to `/v1/traces` under it.
    pub endpoint: Spanned<String>,
    /// Headers of every request to it, such as a key that it asks for.
    #[serde(default)]
    pub headers: Entries<Spanned<Secret>>,
    /// The part of the traces that begin here which is recorded, from 0 to 1. Default 1. A trace that the client began is recorded if
    /// the client says so.
    #[schemars(range(min = 0, max = 1))]
    pub sample: Option<Spanned<f64>>,
}

/// For those who run the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Admin")]
pub struct AdminConfig {
    /// An address and port, such as `127.0.0.1:9090`, that serves `/status`, the metrics (at `server.telemetry.metrics`, else `/metrics`),
    /// `/healthz` and `/readyz`, and nothing of MCP. On loopback it asks nobody who they are; beyond loopback it needs `auth`, and asks
    /// for it like the MCP endpoint, but for health. Without it `/status` is beside the MCP endpoint. Used by `serve` only.
    pub listen: Option<Spanned<String>>,
    /// Scopes that a caller needs, all of them, to read `/status` and `sidegate://status`, wherever that is asked for. Who has them sees
    /// everything. Default: every caller with a key or a token reads it, but sees only the routes that they may use, and not the text of a
    /// configuration that was refused.
    pub scopes: Vec<Spanned<String>>,
    /// Serve the same as the MCP resource `sidegate://status`, to whoever may read `/status`. Default `false`.
    pub resource: bool,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogLevel")]
pub enum LogLevelConfig {
    /// What failed.
    Error,
    /// And what is odd.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// And every call.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LogFormat")]
pub enum LogFormatConfig {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
