//! The HTTP client that REST sources and embedders share: no redirects, no system proxy, capped and timed reading.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
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
const NOT_HTTP: &str = "it is not sound HTTP";

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
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_keepalive(Duration::from_secs(60));
    // The platform's roots are read only where TLS is spoken.
    if https { builder } else { builder.tls_certs_only([]) }
}

/// An answer read whole.
pub(super) struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    /// How long it wants to be left alone, by its own word.
    pub retry_after: Option<Duration>,
    pub headers: HeaderMap,
    /// Where it comes from, which is what its relative links start from (RFC 3986 section 5.1.3).
    pub url: Url,
    /// What it was asked with that is secret, beside what its source has.
    pub mask: Option<Arc<Mask>>,
    pub body: Bytes,
}

/// Sends a request and reads its answer, at most `max` bytes of decoded body, within `limit`.
pub(super) async fn fetch(
    request: reqwest::RequestBuilder,
    max: usize,
    limit: Duration,
) -> Result<Answer, SourceError> {
    fetch_any(request, max, limit, |_| true).await
}

/// [`fetch`], where a body that is too large is no reason to hide the status of a failure: of an answer from 400 on that is not `good`
/// at most [`FAILED`] bytes are read.
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
    let status = response.status().as_u16();
    // Two ends that disagree about where an answer ends are how answers are mixed up (RFC 9112 section 6.3).
    if [CONTENT_LENGTH, TRANSFER_ENCODING].iter().all(|name| response.headers().contains_key(name)) {
        let detail = "Content-Length beside Transfer-Encoding".to_owned();
        return Err(SourceError::BadReply { reason: NOT_HTTP, detail });
    }
    let content_type = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let retry_after = outgoing::retry_after(response.headers(), SystemTime::now());
    let failed = status >= 400 && !good(status);
    if !failed && response.content_length().is_some_and(|n| n > max as u64) {
        return Err(SourceError::TooLarge(max));
    }
    // What could be decoded no longer says that it is encoded.
    let encoding = response.headers().get(reqwest::header::CONTENT_ENCODING).cloned();
    let headers = std::mem::take(response.headers_mut());
    let url = response.url().clone();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_or_bad)? {
        if failed && body.len() + chunk.len() >= FAILED {
            body.extend_from_slice(chunk.get(..FAILED - body.len()).unwrap_or(&chunk));
            break;
        }
        if !failed && body.len() + chunk.len() > max {
            return Err(SourceError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    if let Some(encoding) =
        encoding.filter(|e| !body.is_empty() && !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(SourceError::BadReply { reason: ENCODED, detail: format!("{encoding:?}") });
    }
    Ok(Answer { status, content_type, retry_after, headers, url, mask: None, body: body.freeze() })
}

fn unreachable_or_bad(error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let text = chain(&error);
    let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
    if causes.any(<dyn std::error::Error>::is::<NotPublic>) {
        SourceError::Unfit { reason: NOT_PUBLIC, detail: text }
    } else if is_no_http(&error) {
        SourceError::BadReply { reason: NOT_HTTP, detail: text }
    } else if error.is_connect() || error.is_timeout() || error.is_request() {
        SourceError::Unavailable(text)
    } else {
        SourceError::BadReply { reason: BROKE_OFF, detail: text }
    }
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
