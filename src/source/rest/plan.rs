//! REST after compile: a normalised base URL, ready headers, and requests as templates.

use base64::Engine as _;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use url::Url;

use super::body::Body;
use super::config::{CredentialsConfig, RestConfig, RestOpConfig};
use super::cookies::Cookies;
use super::page::{self, PagePlan};
use super::pairs::Pairs;
use super::poll::{self, PollPlan};
use super::reply::Statuses;
use super::url::PathTemplate;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
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
    pub(super) timeout: Period,
    pub(super) max_response: Size,
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

impl RestOp {
    /// GET and HEAD (RFC 9110 section 9.2.1).
    #[must_use]
    pub const fn reads_only(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head)
    }

    /// Safe methods, PUT and DELETE (RFC 9110 section 9.2.2).
    #[must_use]
    pub const fn idempotent(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head | Method::Put | Method::Delete)
    }
}

pub(super) fn compile(config: &RestConfig, cx: &mut SourceCx<'_>) -> Option<RestPlan> {
    let before = cx.diagnostics.errors();
    let base = base_url(&config.base_url, cx.diagnostics);
    let mut headers = Vec::new();
    for (name, value) in config.headers.iter() {
        headers.extend(header(name, value.expose(), value.span, cx.diagnostics));
    }
    let mut query_key = None;
    if let Some(credentials) = &config.credentials {
        query_key = credential(credentials, &mut headers, cx.diagnostics);
    }
    let timeout = time_limit(config.timeout, 10, "timeout", cx.diagnostics);
    let max_response = limit(config.max_response, Size::mib(8), |s| s.0 == 0, "max_response", cx.diagnostics);
    let base = base?;
    (cx.diagnostics.errors() == before).then(|| RestPlan { base, headers, query_key, timeout, max_response })
}

fn base_url(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let mut refuse = |message: String, help: Option<&str>| {
        let problem = Diagnostic::error("bad-url", message).at(written.span, "");
        diagnostics.push(problem.maybe_help(help.map(str::to_owned)));
        None
    };
    if written.value.contains(['{', '}']) {
        let help =
            "the destination is fixed; placeholders belong into a request's path, query, headers or body";
        return refuse("a base URL has no placeholders".to_owned(), Some(help));
    }
    let url = match Url::parse(&written.value) {
        Ok(url) => url,
        Err(error) => {
            return refuse(format!("this is not a URL: {error}"), Some("such as `https://api.example/v1`"));
        }
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refuse("a base URL starts with `https://` or `http://`".to_owned(), None);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "a base URL holds no user or password".to_owned(),
            Some("write them under `credentials:`"),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(
            "a base URL has no query and no fragment".to_owned(),
            Some("write query parameters under the route's `query:`"),
        );
    }
    Some(url.as_str().trim_end_matches('/').to_owned())
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

fn header(
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

/// Adds the header of the credentials, or gives the key for the query.
fn credential(
    written: &Spanned<CredentialsConfig>,
    headers: &mut Vec<Header>,
    diagnostics: &mut Diagnostics,
) -> Option<(String, Secret)> {
    let authorization = Spanned::new("authorization".to_owned(), written.span);
    match (&written.bearer, &written.basic, &written.api_key) {
        (Some(token), None, None) => {
            let value = format!("Bearer {}", token.expose());
            headers.extend(header(&authorization, &value, token.span, diagnostics));
            None
        }
        (None, Some(basic), None) => {
            let pair = format!("{}:{}", basic.username, basic.password.expose());
            let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
            headers.extend(header(&authorization, &value, basic.password.span, diagnostics));
            None
        }
        (None, None, Some(key)) => match (&key.header, &key.query) {
            (Some(name), None) => {
                headers.extend(header(name, key.value.expose(), key.value.span, diagnostics));
                None
            }
            (None, Some(name)) => Some((name.value.clone(), key.value.value.clone())),
            _ => {
                let message = "an API key goes into exactly one of `header` and `query`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(key.value.span, ""));
                None
            }
        },
        _ => {
            let message = "credentials are exactly one of `bearer`, `basic`, `api_key`";
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(written.span, ""));
            None
        }
    }
}

pub(super) fn compile_op(config: &RestOpConfig, cx: &mut OpCx<'_>) -> Option<RestOp> {
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
    let body = Body::compile(config, method, cx);
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
        page: page?.map(Box::new),
        poll: poll?.map(Box::new),
    })
}

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
