//! How an answer is read: decoded where it is encoded, and no further than it is wanted.

use std::error::Error;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_ENCODING;
use hyper::{Request, Response};
use tower_http::decompression::Decompression;
use tower_service::Service;

use crate::outgoing::chain;
use crate::source::SourceError;
use crate::source::http::{BROKE_OFF, Coming};

/// The encodings that are decoded.
pub(super) const ENCODINGS: &str = "zstd,gzip,deflate,br";

/// Reads an answer, decoded, and says whether it was read to its end.
pub(super) async fn read(
    response: Response<Incoming>,
    max: usize,
    good: impl Fn(u16) -> bool,
) -> Result<(Coming, bool), SourceError> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return Box::pin(decoded(response, max, good)).await;
    }
    let (parts, body) = response.into_parts();
    let coming = Coming::new(parts.status.as_u16(), parts.headers, body.size_hint().exact(), max, good)?;
    collected(body, coming).await
}

async fn decoded(
    response: Response<Incoming>,
    max: usize,
    good: impl Fn(u16) -> bool,
) -> Result<(Coming, bool), SourceError> {
    let broken = |why: &str| SourceError::BadReply { reason: BROKE_OFF, detail: why.to_owned() };
    let response = Decompression::new(Given(Some(response))).call(Request::new(()));
    let (parts, body) = response.await.map_err(broken)?.into_parts();
    let coming = Coming::new(parts.status.as_u16(), parts.headers, body.size_hint().exact(), max, good)?;
    collected(pin!(body), coming).await
}

async fn collected<B>(mut body: B, mut coming: Coming) -> Result<(Coming, bool), SourceError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = chain(error.into().as_ref());
            SourceError::BadReply {
                reason: BROKE_OFF,
                detail: format!("error decoding response body: {text}"),
            }
        })?;
        if let Ok(chunk) = frame.into_data()
            && !coming.take(&chunk)?
        {
            return Ok((coming, false));
        }
    }
    Ok((coming, true))
}

/// A response that has come, as a service for what decodes responses of services.
struct Given<B>(Option<Response<B>>);

impl<B> Service<Request<()>> for Given<B> {
    type Response = Response<B>;
    type Error = &'static str;
    type Future = Ready<Result<Response<B>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(self.0.take().ok_or("it is read already"))
    }
}
