//! How a filled request leaves: with the token of its source, once more where the token was refused.

use std::sync::Arc;

use reqwest::header::AUTHORIZATION;
use reqwest::{Request, RequestBuilder};
use tokio::time::Instant;

use super::client::Rest;
use super::plan::RestOp;
use super::tokens::Token;
use crate::source::http::{self, Answer};
use crate::source::{Attempt, SourceError};

impl Rest {
    /// Sends a request and reads its answer, all within the source's time limit. Gives the token that it was sent with.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        op: &RestOp,
        attempt: &Attempt<'_>,
    ) -> Result<(Answer, Option<Arc<Token>>), SourceError> {
        let limit = attempt.left(self.plan.timeout.0);
        let until = Instant::now() + limit;
        let late = |error| match error {
            SourceError::Timeout(_) => SourceError::Timeout(limit),
            error => error,
        };
        let request = request.build().map_err(|e| SourceError::Internal(e.without_url().to_string()))?;
        let Some(tokens) = self.tokens.as_ref().filter(|_| !request.headers().contains_key(AUTHORIZATION))
        else {
            return Ok((self.exchange(request, until).await.map_err(late)?, None));
        };
        let token = tokens.get(until).await?;
        let again = request.try_clone();
        let answer = self.exchange(with(request, &token), until).await.map_err(late)?;
        // What was answered 401 was not carried out (RFC 9110 section 15.5.2), so it may be sent again whatever it is.
        if answer.status != 401 || op.statuses.succeeds(401) {
            return Ok((answer, Some(token)));
        }
        match (again, tokens.replace(&token, until).await?) {
            (Some(again), Some(token)) => {
                let answer = self.exchange(with(again, &token), until).await.map_err(late)?;
                Ok((answer, Some(token)))
            }
            _ => Ok((answer, Some(token))),
        }
    }

    /// One request and its answer.
    async fn exchange(&self, request: Request, until: Instant) -> Result<Answer, SourceError> {
        let request = RequestBuilder::from_parts(self.client.clone(), request);
        let left = until.saturating_duration_since(Instant::now());
        http::fetch(request, self.plan.max_response.0, left).await
    }
}

fn with(mut request: Request, token: &Token) -> Request {
    request.headers_mut().insert(AUTHORIZATION, token.header.clone());
    request
}
