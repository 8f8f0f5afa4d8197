//! REST after compile: a normalised base URL, ready headers, and requests as templates.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use url::Url;

use super::address;
use super::body::Body;
use super::config::{RestConfig, RestOpConfig};
use super::cookies::Cookies;
use super::credentials;
use super::page::{self, PagePlan};
use super::pairs::Pairs;
use super::poll::{self, PollPlan};
use super::reach::ReachPlan;
use super::reply::Statuses;
use super::sign::SigningPlan;
use super::tokens::{Grant, TokensPlan};
use super::url::PathTemplate;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::policy::{Guard, GuardPlan, concurrency};
use crate::secret::Secret;
use crate::source::{OpCx, SourceCx, limit, time_limit};
use crate::template::Template;
use crate::units::{Period, Size};

/// A compiled REST source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestPlan {
    /// Scheme, host and path without a slash at the end.
    pub(super) base: String,
    pub(super) headers: Vec<Header>,
    /// A key that goes into every query: its encoded name, and the value.
    pub(super) query_key: Option<(String, Secret)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<TokensPlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signing: Option<SigningPlan>,
    #[serde(flatten)]
    pub(super) reach: ReachPlan,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) follow_redirects: u8,
    pub(super) timeout: Period,
    pub(super) max_response: Size,
    #[serde(flatten)]
    pub(super) guard: GuardPlan,
}

/// A header ready to send; its value is never shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub name: HeaderName,
    pub value: HeaderValue,
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}: ***", self.name))
    }
}

/// A compiled request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestOp {
    pub(super) method: Method,
    pub(super) path: PathTemplate,
    pub(super) query: Pairs,
    pub(super) headers: Vec<(String, Template)>,
    #[serde(skip_serializing_if = "Cookies::is_empty")]
    pub(super) cookies: Cookies,
    pub(super) body: Option<Body>,
    #[serde(flatten)]
    pub(super) statuses: Statuses,
    /// The header of a fresh key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) page: Option<Box<PagePlan>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) poll: Option<Box<PollPlan>>,
}

/// HTTP methods that a route can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
}

impl RestPlan {
    /// Whether it is asked in the name of who calls.
    #[must_use]
    pub fn acts_for_caller(&self) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.grant == Grant::TokenExchange)
    }

    /// What guards the live source of this name.
    #[must_use]
    pub fn guard(&self, name: &str) -> Guard {
        Guard::new(name, &self.guard, self.timeout)
    }
}

impl RestOp {
    /// GET and HEAD (RFC 9110 section 9.2.1).
    #[must_use]
    pub const fn reads_only(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }

    /// HEAD, whose answers have no content (RFC 9110 section 9.3.2).
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        matches!(self.method, Method::Head)
    }

    /// Safe methods, PUT and DELETE (RFC 9110 section 9.2.2).
    #[must_use]
    pub const fn idempotent(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head | Method::Put | Method::Delete)
    }

    /// Whether one call may send it twice.
    #[must_use]
    pub const fn repeatable(&self) -> bool {
        self.idempotent() || self.idempotency_key.is_some()
    }
}

pub(super) fn compile(config: &RestConfig, cx: &mut SourceCx<'_>) -> Option<RestPlan> {
    let before = cx.diagnostics.errors();
    let base = address::fixed(&config.base_url, "a base URL", cx.diagnostics);
    let mut headers = Vec::new();
    for (name, value) in config.headers.iter() {
        headers.extend(header(name, value.expose(), value.span, cx.diagnostics));
    }
    let written = config.credentials.as_ref();
    let carried = written.map(|c| credentials::compile(c, cx.diagnostics)).unwrap_or_default();
    if carried.tokens.is_some() || carried.signing.is_some() {
        // It is a source's own only where a route writes it.
        headers.retain(|h: &Header| h.name != AUTHORIZATION);
    }
    headers.extend(carried.header);
    let timeout = time_limit(config.timeout, 10, "timeout", cx.diagnostics);
    let max_response = limit(config.max_response, Size::mib(8), |s| s.0 == 0, "max_response", cx.diagnostics);
    let guard = GuardPlan {
        circuit_breaker: config.circuit_breaker.as_ref().map(|b| b.compile(cx.diagnostics)),
        concurrency: concurrency::check(config.concurrency, cx.diagnostics),
    };
    let base = base?;
    let tokens = carried.tokens.as_ref().and_then(|t| Url::parse(&t.url).ok());
    let reach = ReachPlan::compile(config, &base, tokens.as_ref(), cx.diagnostics);
    let follow_redirects = redirects(config.follow_redirects, cx.diagnostics);
    let base = base.as_str().trim_end_matches('/').to_owned();
    (cx.diagnostics.errors() == before).then(|| RestPlan {
        base,
        headers,
        query_key: carried.query_key,
        tokens: carried.tokens,
        signing: carried.signing,
        reach,
        follow_redirects,
        timeout,
        max_response,
        guard,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// How many redirects are followed; a chain of more is a loop.
fn redirects(written: Option<Spanned<u8>>, diagnostics: &mut Diagnostics) -> u8 {
    if let Some(many) = written.filter(|w| w.value > 10) {
        let message = "at most 10 redirects are followed";
        diagnostics.push(Diagnostic::error("too-many-redirects", message).at(many.span, ""));
    }
    written.map_or(0, |w| w.value)
}

/// Headers that the HTTP layer itself writes.
fn ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "transfer-encoding"
            | "connection"
            | "upgrade"
            | "te"
            | "trailer"
            | "keep-alive"
            | "proxy-connection"
    )
}

fn header_name(name: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<HeaderName> {
    let parsed = HeaderName::from_bytes(name.value.as_bytes()).ok().filter(|n| !ours(n));
    if parsed.is_none() {
        let message = format!("`{}` cannot be set as a header", name.value);
        let framing = HeaderName::from_bytes(name.value.as_bytes()).is_ok();
        let help =
            if framing { "the HTTP layer writes it itself" } else { "a name has letters, digits and `-`" };
        diagnostics.push(Diagnostic::error("bad-header", message).at(name.span, "").help(help));
    }
    parsed
}

fn bad_header_value(at: Span) -> Diagnostic {
    let message = "a header value has no line breaks or other control characters";
    Diagnostic::error("bad-header", message).at(at, "")
}

pub(super) fn header(
    name: &Spanned<String>,
    value: &str,
    value_at: Span,
    diagnostics: &mut Diagnostics,
) -> Option<Header> {
    let name = header_name(name, diagnostics)?;
    match HeaderValue::from_str(value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Some(Header { name, value })
        }
        Err(_) => {
            diagnostics.push(bad_header_value(value_at));
            None
        }
    }
}

/// `plan` is that of its source.
pub(super) fn compile_op(
    config: &RestOpConfig,
    plan: Option<&RestPlan>,
    cx: &mut OpCx<'_>,
) -> Option<RestOp> {
    let (method, path) = method(config, cx.diagnostics)?;
    let template = PathTemplate::compile(path, cx.scope, cx.diagnostics);
    let query = Pairs::compile(&config.query, cx.scope, cx.diagnostics);
    let mut headers = Some(Vec::new());
    for (name, value) in config.headers.iter() {
        let parsed = header_name(name, cx.diagnostics);
        let filled = Template::compile(value, cx.scope, cx.diagnostics);
        if HeaderValue::from_str(value).is_err() {
            cx.diagnostics.push(bad_header_value(value.span));
        }
        match (parsed, filled, &mut headers) {
            (Some(parsed), Some(filled), Some(list)) => list.push((parsed.as_str().to_owned(), filled)),
            _ => headers = None,
        }
    }
    let cookies = Cookies::compile(&config.cookies, &config.headers, cx.scope, cx.diagnostics);
    let statuses = Statuses::compile(config, cx.scope, cx.diagnostics);
    let idempotency_key =
        config.idempotency_key.as_ref().map(|name| key_header(name, config, method, cx.diagnostics));
    let body = Body::compile(config, plan, method, cx);
    let page = page::compile(config, method, cx);
    let poll = poll::compile(config, cx);
    Some(RestOp {
        method,
        path: template?,
        query: query?,
        headers: headers?,
        cookies: cookies?,
        body: body?,
        statuses: statuses?,
        idempotency_key: match idempotency_key {
            Some(name) => Some(name?),
            None => None,
        },
        page: page?.map(Box::new),
        poll: poll?.map(Box::new),
    })
}

/// The header of a fresh key, in lower case.
fn key_header(
    written: &Spanned<String>,
    config: &RestOpConfig,
    method: Method,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let name = header_name(written, diagnostics)?;
    if !matches!(method, Method::Post | Method::Patch) {
        let message = "`idempotency_key` is for POST and PATCH: other requests can be repeated without it";
        diagnostics.push(Diagnostic::error("bad-header", message).at(written.span, "").help("remove it"));
        return None;
    }
    if SPOKEN_FOR.contains(&name.as_str()) {
        let message = format!("`{}` has a meaning of its own and cannot hold a key", written.value);
        let help = "the header that the API names for this, often `Idempotency-Key`";
        diagnostics.push(Diagnostic::error("bad-header", message).at(written.span, "").help(help));
        return None;
    }
    let twice = config.headers.iter().find(|(n, _)| n.value.eq_ignore_ascii_case(name.as_str()));
    if let Some((first, _)) = twice {
        let problem = Diagnostic::error("bad-header", "the header of the key is written in `headers` too");
        diagnostics.push(problem.at(written.span, "the key").at(first.span, "a value of its own"));
        return None;
    }
    Some(name.as_str().to_owned())
}

/// Headers that mean something to every server.
const SPOKEN_FOR: [&str; 9] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "expect",
    "proxy-authorization",
    "user-agent",
];

fn method<'a>(
    config: &'a RestOpConfig,
    diagnostics: &mut Diagnostics,
) -> Option<(Method, &'a Spanned<String>)> {
    let all = [
        (Method::Get, &config.get),
        (Method::Post, &config.post),
        (Method::Put, &config.put),
        (Method::Patch, &config.patch),
        (Method::Delete, &config.delete),
        (Method::Head, &config.head),
    ];
    let mut written = all.into_iter().filter_map(|(m, path)| path.as_ref().map(|p| (m, p)));
    match (written.next(), written.next()) {
        (Some(one), None) => Some(one),
        (None, _) => {
            let problem = Diagnostic::error("no-method", "the request has no method and path").absence();
            let help = "give one of `get`, `post`, `put`, `patch`, `delete`, `head` with its path";
            diagnostics.push(problem.at(config.source.span, "").help(help));
            None
        }
        (Some((_, first)), Some((_, second))) => {
            let problem = Diagnostic::error("two-methods", "a request has one method");
            diagnostics.push(problem.at(second.span, "the second one").at(first.span, "the first one"));
            None
        }
    }
}
