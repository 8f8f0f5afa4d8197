//! The HTTP client that REST sources and embedders share: no redirects, no system proxy, capped and timed reading. What needs neither
//! TLS nor a proxy has a shorter way, in `plain`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use tokio::time::timeout;
use url::Url;

use super::SourceError;
use super::mask::Mask;
use super::public::NotPublic;
use crate::outgoing::{self, chain};

/// How much of the body of a failure is read.
const FAILED: usize = 64 << 10;
/// The reason of a body in an encoding that is not ours to read.
const ENCODED: &str = "a body in an encoding that was not asked for";
/// The reason of a name that leads to where the source must not go.
pub(super) const NOT_PUBLIC: &str = "its name leads to an address that is not public";
/// The reason of an answer that did not come whole.
pub(super) const BROKE_OFF: &str = "the answer broke off";
/// The reason of bytes that are no answer.
pub(super) const NOT_HTTP: &str = "it is not sound HTTP";

/// How long it may take to connect.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept that nobody uses.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection is silent before the other end is asked whether it is there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client with its own pool.
///
/// # Errors
/// The TLS stack's reason if it does not start.
pub(super) fn client(https: bool) -> Result<reqwest::Client, String> {
    build(builder(https))
}

/// [`client`], made.
pub(super) fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    builder.build().map_err(|e| chain(&e))
}

/// [`client`], not yet made.
pub(super) fn builder(https: bool) -> reqwest::ClientBuilder {
    let builder = outgoing::client()
        // What is sent again is decided in one place, and never here (by default a refused HTTP/2 stream is).
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_keepalive(KEEPALIVE);
    // The platform's roots are read only where TLS is spoken.
    if https { builder } else { builder.tls_certs_only([]) }
}

/// A request as it leaves.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub method: Method,
    /// As URL software writes it.
    pub url: String,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
}

impl Outgoing {
    /// The same for the client that can do everything.
    pub(super) fn request(self) -> Result<reqwest::Request, SourceError> {
        let url = Url::parse(&self.url).map_err(|e| SourceError::Internal(e.to_string()))?;
        let mut request = reqwest::Request::new(self.method, url);
        *request.headers_mut() = self.headers;
        *request.body_mut() = self.body.map(Into::into);
        Ok(request)
    }
}

/// An answer read whole.
pub(super) struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    /// How long it wants to be left alone, by its own word.
    pub retry_after: Option<Duration>,
    pub headers: HeaderMap,
    /// Where it comes from, which is what its relative links start from (RFC 3986 section 5.1.3).
    pub url: String,
    /// What it was asked with that is secret, beside what its source has.
    pub mask: Option<Arc<Mask>>,
    pub body: Bytes,
}

impl Answer {
    /// Where it comes from, for links to start from.
    pub(super) fn place(&self) -> Result<Url, SourceError> {
        Url::parse(&self.url).map_err(|e| SourceError::Internal(e.to_string()))
    }
}

/// An answer whose head has come, and whose body comes.
pub(super) struct Coming {
    status: u16,
    headers: HeaderMap,
    /// Whether it tells of a failure, of which the beginning is enough.
    failed: bool,
    max: usize,
    /// How long it is by its own word.
    said: usize,
    body: Vec<u8>,
}

impl Coming {
    /// `length` is that of the decoded body, where it is known already. A body that is too large is no reason to hide the status of a
    /// failure: of an answer from 400 on that is not `good` at most [`FAILED`] bytes are read.
    pub(super) fn new(
        status: u16,
        headers: HeaderMap,
        length: Option<u64>,
        max: usize,
        good: impl Fn(u16) -> bool,
    ) -> Result<Self, SourceError> {
        // Two ends that disagree about where an answer ends are how answers are mixed up (RFC 9112 section 6.3).
        if [CONTENT_LENGTH, TRANSFER_ENCODING].iter().all(|name| headers.contains_key(name)) {
            let detail = "Content-Length beside Transfer-Encoding".to_owned();
            return Err(SourceError::BadReply { reason: NOT_HTTP, detail });
        }
        let failed = status >= 400 && !good(status);
        if !failed && length.is_some_and(|n| n > max as u64) {
            return Err(SourceError::TooLarge(max));
        }
        let said = length.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        Ok(Self { status, headers, failed, max, said, body: Vec::new() })
    }

    /// Takes the next part of the decoded body; gives whether more of it is wanted. It is copied: what came may be a small part of a
    /// large buffer, which whoever reads wants back.
    pub(super) fn take(&mut self, part: &[u8]) -> Result<bool, SourceError> {
        let length = self.body.len() + part.len();
        if self.failed && length >= FAILED {
            let rest = FAILED - self.body.len();
            self.body.extend_from_slice(part.get(..rest).unwrap_or(part));
            return Ok(false);
        }
        if !self.failed && length > self.max {
            return Err(SourceError::TooLarge(self.max));
        }
        if self.body.is_empty() {
            // Its word is taken for what is not much.
            self.body.reserve_exact(part.len().max(self.said.min(FAILED)));
        }
        self.body.extend_from_slice(part);
        Ok(true)
    }

    /// The answer, as there is no more of it.
    pub(super) fn whole(self, url: String) -> Result<Answer, SourceError> {
        let Self { status, headers, body, .. } = self;
        // What could be decoded no longer says that it is encoded.
        if let Some(encoding) = headers.get(CONTENT_ENCODING)
            && !body.is_empty()
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(SourceError::BadReply { reason: ENCODED, detail: format!("{encoding:?}") });
        }
        let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let retry_after = outgoing::retry_after(&headers, SystemTime::now());
        Ok(Answer { status, content_type, retry_after, headers, url, mask: None, body: body.into() })
    }
}

/// Sends a request and reads its answer, at most `max` bytes of decoded body, within `limit`.
pub(super) async fn fetch(
    request: reqwest::RequestBuilder,
    max: usize,
    limit: Duration,
) -> Result<Answer, SourceError> {
    fetch_any(request, max, limit, |_| true).await
}

/// [`fetch`], where a failure is told by its status, as [`Coming::new`] has it.
pub(super) async fn fetch_any(
    request: reqwest::RequestBuilder,
    max: usize,
    limit: Duration,
    good: impl Fn(u16) -> bool,
) -> Result<Answer, SourceError> {
    match timeout(limit, exchange(request, max, good)).await {
        Ok(result) => result,
        Err(_) => Err(SourceError::Timeout(limit)),
    }
}

async fn exchange(
    request: reqwest::RequestBuilder,
    max: usize,
    good: impl Fn(u16) -> bool,
) -> Result<Answer, SourceError> {
    let mut response = request.send().await.map_err(unreachable_or_bad)?;
    let (headers, length) = (std::mem::take(response.headers_mut()), response.content_length());
    let mut coming = Coming::new(response.status().as_u16(), headers, length, max, good)?;
    while let Some(part) = response.chunk().await.map_err(unreachable_or_bad)? {
        if !coming.take(&part)? {
            break;
        }
    }
    coming.whole(response.url().as_str().to_owned())
}

fn unreachable_or_bad(error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let text = chain(&error);
    if is_not_public(&error) {
        SourceError::Unfit { reason: NOT_PUBLIC, detail: text }
    } else if is_no_http(&error) {
        SourceError::BadReply { reason: NOT_HTTP, detail: text }
    } else if error.is_connect() {
        SourceError::Unavailable(text)
    } else if error.is_timeout() || error.is_request() {
        SourceError::Lost(text)
    } else {
        SourceError::BadReply { reason: BROKE_OFF, detail: text }
    }
}

/// Whether a name led to no public address, which was wanted.
pub(super) fn is_not_public(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |e| e.source()).any(<dyn std::error::Error>::is::<NotPublic>)
}

/// Whether the head of an answer could not be read: somebody is there, and trying again is of no use.
fn is_no_http(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
    error.is_request()
        && causes
            .filter_map(|e| e.downcast_ref::<hyper::Error>())
            .any(|e| e.is_parse() || e.is_parse_too_large())
}

/// The media type without parameters, in lower case.
pub(super) fn media_type(content_type: Option<&str>) -> Option<String> {
    let kind = content_type?.split(';').next()?.trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}
