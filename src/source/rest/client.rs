//! The live REST source: fills a request, sends it once, and reads what came back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::utf8_percent_encode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use tokio::net::TcpStream;
use url::Url;

use super::body::Body;
use super::config::{RestConfig, RestOpConfig};
use super::link::{LinkScope, Links};
use super::plan::{self, Method, RestOp, RestPlan};
use super::reply::{content, reply};
use super::sign::{Signer, SigningPlan};
use super::tokens::Tokens;
use super::url::stays;
use crate::output::Reply;
use crate::params::Arguments;
use crate::secret::Secret;
use crate::source::http::{self, Outgoing};
use crate::source::mask::Mask;
use crate::source::plain::Plain;
use crate::source::public::{self, NotPublic};
use crate::source::{Attempt, OpCx, OpenError, SourceCx, SourceError, SourceKind};
use crate::tasks::{self, LITTLE};
use crate::telemetry::span::{About, number, text};

/// The longest address that HTTP software takes; the limit of the `http` crate is 65,534.
const MAX_URL: usize = 65_000;

/// Room for most paths with their queries.
const ROOM: usize = 96;

/// Where a request stands in a trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// How an API is asked.
#[derive(Debug)]
pub(super) enum Way {
    /// Over `http://`, with nothing that needs more.
    Plain(Plain),
    /// In any other way.
    Any(reqwest::Client),
}

/// A live REST source: a pooled client and what every request carries.
#[derive(Debug)]
pub struct Rest {
    pub(super) plan: RestPlan,
    pub(super) way: Way,
    headers: HeaderMap,
    /// What must not reach the log when an upstream echoes it.
    pub(super) mask: Mask,
    /// `key=value` for every query, encoded.
    pub(super) query_key: Option<String>,
    pub(super) tokens: Option<Tokens>,
    pub(super) signer: Option<Signer>,
    /// Signs links that clients hand back.
    pub(super) links: Links,
}

impl SourceKind for Rest {
    type Config = RestConfig;
    type Plan = RestPlan;
    type OpConfig = RestOpConfig;
    type Op = RestOp;

    fn compile(config: &RestConfig, cx: &mut SourceCx<'_>) -> Option<RestPlan> {
        plan::compile(config, cx)
    }

    fn compile_op(config: &RestOpConfig, plan: Option<&RestPlan>, cx: &mut OpCx<'_>) -> Option<RestOp> {
        plan::compile_op(config, plan, cx)
    }

    fn open(name: &str, plan: &RestPlan) -> Result<Self, OpenError> {
        let mut addresses = [Some(&plan.base), plan.tokens.as_ref().map(|t| &t.url)].into_iter().flatten();
        let https = addresses.any(|url| url.starts_with("https:"));
        let client =
            || plan.reach.client(https).map_err(|reason| OpenError { name: name.to_owned(), reason });
        // What is signed is signed as the other client writes it.
        let plain = plan.signing.is_none().then(|| Plain::to(&plan.base, plan.reach.public_only)).flatten();
        let way = match plain {
            Some(plain) => Way::Plain(plain),
            None => Way::Any(client()?),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        for header in &plan.headers {
            headers.insert(header.name.clone(), header.value.clone());
        }
        if let Way::Plain(plain) = &way {
            plain.equip(&mut headers);
        }
        let query_key =
            plan.query_key.as_ref().map(|(name, key)| format!("{}={}", encoded(name), encoded(key.expose())));
        let mask = Mask::new(secrets(plan));
        let tokens = match (&plan.tokens, &way) {
            (Some(tokens), Way::Any(client)) => Some((tokens, client.clone())),
            (Some(tokens), Way::Plain(_)) => Some((tokens, client()?)),
            (None, _) => None,
        };
        let tokens = tokens.map(|(tokens, client)| Tokens::new(tokens, client, plan.timeout.0, &mask));
        let signer = plan.signing.as_ref().map(Signer::new);
        Ok(Self { plan: plan.clone(), way, headers, query_key, mask, tokens, signer, links: Links::new() })
    }

    async fn execute(
        &self,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        if let Some(plan) = &op.page {
            return Box::pin(self.pages(plan, op, arguments, attempt)).await;
        }
        if let Some(plan) = &op.poll {
            return Box::pin(self.job(plan, op, arguments, attempt)).await;
        }
        let answer = self.send(op, arguments, attempt, &Target::Own).await?;
        self.read(answer, op, arguments, attempt.max_rows).await
    }

    async fn probe(&self) -> Result<(), SourceError> {
        let proxy = self.plan.reach.proxy.as_ref().map(Secret::expose);
        let url = Url::parse(proxy.unwrap_or(&self.plan.base));
        let url = url.map_err(|e| SourceError::Internal(e.to_string()))?;
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or(80);
        let connected = if self.plan.reach.public_only {
            let found = public::addresses(&host, port).await.map_err(|e| {
                let detail = e.to_string();
                if e.is::<NotPublic>() {
                    SourceError::Unfit { reason: http::NOT_PUBLIC, detail }
                } else {
                    SourceError::Unavailable(detail)
                }
            })?;
            TcpStream::connect(&*found).await
        } else {
            TcpStream::connect((host, port)).await
        };
        connected.map(drop).map_err(|e| SourceError::Unavailable(e.to_string()))
    }
}

/// A part of a query in which nothing stands for itself but letters and digits.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Credentials as an upstream might repeat them: whole header values, their last words, and a password.
fn secrets(plan: &RestPlan) -> Vec<Secret> {
    let headers = plan.headers.iter().filter_map(|h| h.value.to_str().ok());
    let passwords = headers.clone().filter_map(|value| {
        let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
        String::from_utf8(pair).ok()?.split_once(':').map(|(_, password)| password.to_owned())
    });
    let words = headers.clone().flat_map(|v| [Some(v), v.split_once(' ').map(|(_, token)| token)]).flatten();
    let key = plan.query_key.iter().flat_map(|(_, key)| [key.expose().to_owned(), encoded(key.expose())]);
    let proxy = plan.reach.proxy.as_ref().and_then(|proxy| Url::parse(proxy.expose()).ok());
    let proxy = proxy.as_ref().and_then(Url::password).map(|password| {
        let plain = percent_encoding::percent_decode_str(password).decode_utf8_lossy().into_owned();
        [plain, password.to_owned()]
    });
    let signing = plan.signing.iter().flat_map(SigningPlan::secrets);
    let key = key.chain(proxy.into_iter().flatten()).chain(signing);
    words.map(str::to_owned).chain(key).chain(passwords).map(Secret::new).collect()
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// To the path and query of the route.
    Own,
    /// The same, with more of a query, encoded.
    With(String),
    /// To a link of the API that stays under the base URL.
    At(Url),
}

impl Rest {
    /// The reply in an answer, or the failure that it is. What takes more than a moment to read is read on another thread.
    pub(super) async fn read(
        &self,
        answer: http::Answer,
        op: &RestOp,
        arguments: &Arguments,
        max_rows: usize,
    ) -> Result<Reply, SourceError> {
        let own = answer.mask.clone();
        let mask = own.as_deref().unwrap_or(&self.mask);
        let after = answer.retry_after;
        let read = if answer.body.len() > LITTLE && op.statuses.succeeds(answer.status) {
            let (method, mask) = (op.method, mask.clone());
            Box::pin(tasks::apart(move || content(answer, method, max_rows, &mask))).await
        } else {
            reply(answer, op, arguments, max_rows, mask)
        };
        read.map_err(|error| mask.error(error).later(after))
    }

    /// What a span of a request says. The path may hold arguments, or a key, and is not in it.
    pub(in crate::source) fn about(&self, op: &RestOp) -> About {
        let method = method(op);
        let mut attributes = vec![text("http.request.method", method.as_str().to_owned())];
        if let Ok(url) = Url::parse(&self.plan.base) {
            attributes.extend(url.host_str().map(|host| text("server.address", host.to_owned())));
            attributes.extend(url.port_or_known_default().map(|port| number("server.port", port)));
        }
        About { name: method.as_str().to_owned().into(), attributes }
    }

    /// The start of a body for the log.
    pub(super) fn excerpt(&self, answer: &http::Answer) -> String {
        answer.mask.as_deref().unwrap_or(&self.mask).excerpt(&answer.body)
    }

    /// What links of the API have to stay under.
    pub(super) fn scope(&self) -> LinkScope<'_> {
        LinkScope { base: &self.plan.base, key: self.plan.query_key.as_ref().map(|(name, _)| name.as_str()) }
    }

    pub(super) const fn max_response(&self) -> usize {
        self.plan.max_response.0
    }

    pub(super) async fn request(
        &self,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
        target: &Target,
    ) -> Result<Outgoing, SourceError> {
        let url = self.address(op, arguments, target)?;
        let method = method(op);
        let mut headers = self.headers.clone();
        for (name, template) in &op.headers {
            if let Some(text) = template.render(arguments) {
                let (name, value) = header(name, &text)?;
                headers.insert(name, value);
            }
        }
        if let Some(name) = &op.idempotency_key {
            // In the place of a header of the source, if there is one.
            let (name, value) = header(name, attempt.key.as_str())?;
            headers.insert(name, value);
        }
        if let Some(cookies) = op.cookies.header(arguments)? {
            headers.insert(COOKIE, cookies);
        }
        // A trace that the configuration writes itself is left as it is.
        if let Some((parent, state)) = attempt.onward.headers()
            && !headers.contains_key(TRACEPARENT)
        {
            let ours =
                |text: &str| HeaderValue::from_str(text).map_err(|e| SourceError::Internal(e.to_string()));
            headers.insert(TRACEPARENT, ours(&parent)?);
            if let Some(state) = state {
                headers.insert(TRACESTATE, ours(state)?);
            }
        }
        let body = match &op.body {
            Some(body) => Some(body.render(arguments, attempt.deadline).await?),
            None => None,
        };
        let mut filled = None;
        if let Some((kind, body)) = body {
            let kind = HeaderValue::from_str(&kind).map_err(|e| SourceError::Internal(e.to_string()))?;
            if matches!(op.body, Some(Body::Multipart(_))) {
                // It names the boundary of this very body.
                headers.insert(CONTENT_TYPE, kind);
            } else {
                headers.entry(CONTENT_TYPE).or_insert(kind);
            }
            filled = Some(body.into());
        }
        Ok(Outgoing { method, url, headers, body: filled })
    }

    /// The URL of this call.
    pub(super) fn url(
        &self,
        op: &RestOp,
        arguments: &Arguments,
        target: &Target,
    ) -> Result<Url, SourceError> {
        let text = self.address(op, arguments, target)?;
        Url::parse(&text).map_err(|e| SourceError::Internal(e.to_string()))
    }

    /// The URL of this call as a text. What URL software makes of it must be what was built, byte for byte.
    fn address(&self, op: &RestOp, arguments: &Arguments, target: &Target) -> Result<String, SourceError> {
        let mut text = String::with_capacity(self.plan.base.len() + ROOM);
        let path_end = if let Target::At(link) = target {
            text.push_str(link.as_str());
            let path_end = text.find('?').unwrap_or(text.len());
            text.push_str(if path_end == text.len() { "?" } else { "" });
            path_end
        } else {
            text.push_str(&self.plan.base);
            op.path.write(&mut text, arguments)?;
            let path_end = text.len();
            text.push('?');
            op.query.write(&mut text, arguments);
            path_end
        };
        if let Target::With(more) = target {
            if text.len() > path_end + 1 {
                text.push('&');
            }
            text.push_str(more);
        }
        if let Some(key) = &self.query_key {
            if text.len() > path_end + 1 {
                text.push('&');
            }
            text.push_str(key);
        }
        if text.len() == path_end + 1 {
            text.pop();
        }
        if text.len() > MAX_URL {
            let message = "An argument is too long for the request's address.";
            return Err(SourceError::Argument(message.to_owned()));
        }
        if text.strip_prefix(&self.plan.base).is_some_and(stays) {
            return Ok(text);
        }
        let url = Url::parse(&text).map_err(|e| SourceError::Internal(e.to_string()))?;
        if url.as_str() != text {
            let message = "An argument cannot be used in the request's address as it is.";
            return Err(SourceError::Argument(message.to_owned()));
        }
        Ok(text)
    }
}

fn method(op: &RestOp) -> reqwest::Method {
    match op.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    }
}

fn header(name: &str, text: &str) -> Result<(HeaderName, HeaderValue), SourceError> {
    let bad = || {
        let message =
            "An argument cannot be sent in a header: it holds a line break or another control character.";
        SourceError::Argument(message.to_owned())
    };
    if text.chars().any(char::is_control) {
        return Err(bad());
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| SourceError::Internal(e.to_string()))?;
    Ok((name, HeaderValue::from_bytes(text.as_bytes()).map_err(|_| bad())?))
}
