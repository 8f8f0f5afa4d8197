//! The HTTP client that REST sources and embedders share: no redirects, no system proxy, capped and timed reading.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::SourceError;

/// The reason of a body in an encoding that is not ours to read.
const ENCODED: &str = "a body in an encoding that was not asked for";
/// The reason of an answer that did not come whole.
pub(super) const BROKE_OFF: &str = "the answer broke off";

/// A client with its own pool.
///
/// # Errors
/// The TLS stack's reason if it does not start.
pub(super) fn client(https: bool) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_keepalive(Duration::from_secs(60));
    // The platform's roots are read only where TLS is spoken.
    let builder = if https { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(|e| chain(&e))
}

/// An answer read whole.
pub(super) struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    /// When it says that it may be asked again, in whole seconds.
    pub retry_after: Option<Duration>,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
}

/// Sends a request and reads its answer, at most `max` bytes of decoded body, within `limit`.
pub(super) async fn fetch(
    request: reqwest::RequestBuilder,
    max: usize,
    limit: Duration,
) -> Result<Answer, SourceError> {
    match timeout(limit, exchange(request, max)).await {
        Ok(result) => result,
        Err(_) => Err(SourceError::Timeout(limit)),
    }
}

async fn exchange(request: reqwest::RequestBuilder, max: usize) -> Result<Answer, SourceError> {
    let mut response = request.send().await.map_err(unreachable_or_bad)?;
    let status = response.status().as_u16();
    let content_type = response
        .headers()
        .get(reqwest::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let retry_after = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    if response.content_length().is_some_and(|n| n > max as u64) {
        return Err(SourceError::TooLarge(max));
    }
    // What could be decoded no longer says that it is encoded.
    let encoding = response.headers().get(reqwest::header::CONTENT_ENCODING).cloned();
    let headers = std::mem::take(response.headers_mut());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable_or_bad)? {
        if body.len() + chunk.len() > max {
            return Err(SourceError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    if let Some(encoding) =
        encoding.filter(|e| !body.is_empty() && !e.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(SourceError::BadReply { reason: ENCODED, detail: format!("{encoding:?}") });
    }
    Ok(Answer { status, content_type, retry_after, headers, body: body.freeze() })
}

/// The error and its causes in one line, without the URL (it may hold a key in its query).
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn unreachable_or_bad(error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let text = chain(&error);
    if error.is_connect() || error.is_timeout() || error.is_request() {
        SourceError::Unavailable(text)
    } else {
        SourceError::BadReply { reason: BROKE_OFF, detail: text }
    }
}

/// The media type without parameters, in lower case.
pub(super) fn media_type(content_type: Option<&str>) -> Option<String> {
    let kind = content_type?.split(';').next()?.trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}

/// The start of a body for the log: printable, short.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..body.len().min(400)).unwrap_or_default());
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
