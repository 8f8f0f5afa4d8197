//! How a filled request leaves: with the token or the signature of its source, once more where the token was refused, and along
//! redirects.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION};
use tokio::time::Instant;
use url::Url;

use super::client::{Rest, Target, Way};
use super::plan::{Method, RestOp};
use super::tokens::{Token, Tokens};
use crate::params::Arguments;
use crate::source::http::{self, Answer, Outgoing};
use crate::source::{Attempt, SourceError};
use crate::telemetry::span::Onward;

impl Rest {
    /// Fills a request, sends it and reads its answer, all within the source's time limit.
    pub(super) async fn send(
        &self,
        op: &RestOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
        target: &Target,
    ) -> Result<Answer, SourceError> {
        let request = self.request(op, arguments, attempt, target).await?;
        let limit = attempt.left(self.plan.timeout.0);
        let until = Instant::now() + limit;
        let late = |error| match error {
            SourceError::Timeout(_) => SourceError::Timeout(limit),
            error => error,
        };
        let has_its_own = request.headers.contains_key(AUTHORIZATION);
        let Some(tokens) = self.tokens.as_ref().filter(|_| !has_its_own) else {
            return self.exchange(request, op, attempt.onward, until).await.map_err(late);
        };
        // Apart, so that calls without tokens carry none of it.
        let sent = Box::pin(self.send_with_token(tokens, request, op, attempt, until)).await;
        sent.map(|(answer, token)| Answer { mask: Some(token.mask.clone()), ..answer }).map_err(late)
    }

    async fn send_with_token(
        &self,
        tokens: &Tokens,
        request: Outgoing,
        op: &RestOp,
        attempt: Attempt<'_>,
        until: Instant,
    ) -> Result<(Answer, Arc<Token>), SourceError> {
        let subject = tokens.subject(attempt.caller)?;
        let token = tokens.get(&subject, until).await?;
        let again = request.clone();
        let answer = self.exchange(with(request, &token), op, attempt.onward, until).await?;
        // What was answered 401 was not carried out (RFC 9110 section 15.5.2), so it may be sent again whatever it is.
        if answer.status != 401 || op.statuses.succeeds(401) {
            return Ok((answer, token));
        }
        let Some(token) = tokens.replace(&subject, &token, until).await? else { return Ok((answer, token)) };
        Ok((self.exchange(with(again, &token), op, attempt.onward, until).await?, token))
    }

    /// One request and its answer, or that of where it leads.
    async fn exchange(
        &self,
        request: Outgoing,
        op: &RestOp,
        onward: &Onward,
        until: Instant,
    ) -> Result<Answer, SourceError> {
        let (mut request, mut hops) = (request, self.plan.follow_redirects);
        // Without a body these say so (RFC 9110 section 8.6); some servers wait for the word, or refuse.
        if request.body.is_none() && matches!(op.method, Method::Post | Method::Put | Method::Patch) {
            request.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        loop {
            let again = (hops > 0).then(|| request.clone());
            let (max, left) = (self.plan.max_response.0, until.saturating_duration_since(Instant::now()));
            let good = |status| op.statuses.succeeds(status);
            let answer = match &self.way {
                // Apart, so that no call carries what both take.
                Way::Plain(plain) => Box::pin(plain.fetch(request, max, left, good)).await?,
                Way::Any(client) => Box::pin(self.ask(client, request, op, left)).await?,
            };
            onward.answered(answer.status);
            match again.and_then(|again| self.onward(again, &answer, op)) {
                Some(next) => request = next,
                None => return Ok(answer),
            }
            hops -= 1;
        }
    }

    /// One request by the client that can do everything, signed if its source signs.
    async fn ask(
        &self,
        client: &reqwest::Client,
        request: Outgoing,
        op: &RestOp,
        limit: Duration,
    ) -> Result<Answer, SourceError> {
        let mut request = request.request()?;
        let signer = self.signer.as_ref().filter(|_| !request.headers().contains_key(AUTHORIZATION));
        let signature = match signer {
            Some(signer) => Some(signer.sign(&mut request, SystemTime::now())?),
            None => None,
        };
        let builder = RequestBuilder::from_parts(client.clone(), request);
        let max = self.plan.max_response.0;
        let mut answer = http::fetch_any(builder, max, limit, |status| op.statuses.succeeds(status)).await?;
        if let Some(signature) = signature.filter(|_| answer.status >= 300) {
            // Who reads of a refused signature reads no signature.
            answer.mask = Some(Arc::new(self.mask.and([signature])));
        }
        Ok(answer)
    }

    /// The request that a redirect asks for: the same one, at another place of the same origin. A request that writes is sent again
    /// only where the status says that it was not carried out and a second time would do no harm (RFC 9110 section 15.4).
    fn onward(&self, mut request: Outgoing, answer: &Answer, op: &RestOp) -> Option<Outgoing> {
        let follows = match answer.status {
            // The state of a job says by it where the result is.
            303 if op.poll.is_some() => false,
            301..=303 => op.reads_only(),
            307 | 308 => op.idempotent(),
            _ => false,
        };
        if !follows || op.statuses.succeeds(answer.status) {
            return None;
        }
        let location = answer.headers.get(LOCATION)?.to_str().ok()?;
        let from = Url::parse(&request.url).ok()?;
        let mut url = from.join(location).ok()?;
        if url.origin() != from.origin() || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        url.set_fragment(None);
        if let Some(key) = &self.query_key
            && !url.query().is_some_and(|query| query.split('&').any(|pair| pair == key))
        {
            let query = url.query().filter(|q| !q.is_empty());
            let query = query.map_or_else(|| key.clone(), |query| format!("{query}&{key}"));
            url.set_query(Some(&query));
        }
        request.url = url.into();
        Some(request)
    }
}

fn with(mut request: Outgoing, token: &Token) -> Outgoing {
    request.headers.insert(AUTHORIZATION, token.header.clone());
    request
}
