//! HTTP/1.1 without TLS to one API. Connections are kept and driven by the calls that use them: an exchange wakes no task but its own,
//! and none runs beside it. A call that is given up takes its connection with it.

mod bell;
mod connect;
mod idle;
mod line;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use tokio::time::timeout;

use self::connect::Connector;
use self::idle::Idle;
use self::line::{Failed, Line, unanswered};
use super::SourceError;
use super::http::{Answer, Outgoing};
use crate::outgoing::USER_AGENT as OURS;

/// One API, and the connections to it.
pub(super) struct Plain {
    /// `http://host:port`
    origin: String,
    uri: Uri,
    host: HeaderValue,
    connector: Connector,
    idle: Arc<Idle>,
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").finish_non_exhaustive()
    }
}

impl Plain {
    /// To an address that begins with `http://`, and to no other place; `None` for any other address.
    pub(super) fn to(base: &str, public_only: bool) -> Option<Self> {
        let authority = base.strip_prefix("http://")?.split('/').next()?;
        let origin = format!("http://{authority}");
        let host = HeaderValue::from_str(authority).ok()?;
        let (uri, connector) = (origin.parse().ok()?, Connector::new(public_only));
        Some(Self { origin, uri, host, connector, idle: Arc::default() })
    }

    /// What every request carries, unless it is there.
    pub(super) fn equip(&self, headers: &mut HeaderMap) {
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(OURS));
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(read::ENCODINGS));
        headers.entry(HOST).or_insert_with(|| self.host.clone());
    }

    /// Sends a request, whose headers were equipped, and reads its answer as [`super::http::fetch_any`] does.
    pub(super) async fn fetch(
        &self,
        request: Outgoing,
        max: usize,
        limit: Duration,
        good: impl Fn(u16) -> bool,
    ) -> Result<Answer, SourceError> {
        // Where it stands: it is large, and need not be moved.
        let exchange = pin!(self.exchange(request, max, good));
        match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(SourceError::Timeout(limit)),
        }
    }

    async fn exchange(
        &self,
        request: Outgoing,
        max: usize,
        good: impl Fn(u16) -> bool,
    ) -> Result<Answer, SourceError> {
        let Outgoing { method, url, headers, body } = request;
        let path = url.strip_prefix(&self.origin).filter(|path| path.starts_with('/'));
        let path = path.ok_or_else(|| SourceError::Internal("a request to another place".to_owned()))?;
        let mut sent = Request::new(Full::new(body.unwrap_or_default()));
        *sent.method_mut() = method;
        *sent.uri_mut() = path.parse().map_err(|e| SourceError::Internal(format!("{e}")))?;
        *sent.headers_mut() = headers;
        loop {
            let kept = self.idle.take();
            let used = kept.is_some();
            let mut line = match kept {
                Some(line) => line,
                // Apart, as most calls need none.
                None => Box::pin(self.connect()).await?,
            };
            match line.converse(sent, |response| read::read(response, max, &good)).await {
                Ok((coming, whole)) => {
                    if whole {
                        self.idle.put(line);
                    }
                    return coming.whole(url);
                }
                // The API closed it while nobody used it.
                Err(Failed::Unsent(unsent, _)) if used => sent = unsent,
                Err(Failed::Unsent(_, error)) => return Err(unanswered(&error)),
                Err(Failed::Source(error)) => return Err(error),
            }
        }
    }

    async fn connect(&self) -> Result<Box<Line>, SourceError> {
        Line::over(self.connector.connect(&self.uri).await?).await
    }
}
