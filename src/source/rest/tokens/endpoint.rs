//! The token endpoint (RFC 6749 sections 2.3.1, 4.4 and 5.1, RFC 8693 section 2): one request, and what is accepted as its answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{Grant, Token, TokensPlan};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::http::{self, Answer};
use crate::source::mask::Mask;
use crate::source::rest::credentials::ClientAuthConfig;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// The longest token; servers take no longer headers.
const MAX_TOKEN: usize = 16 << 10;
/// How long a token is kept that does not say how long it lives.
const UNSAID: Duration = Duration::from_secs(300);
/// How long a token is kept at most.
const LONGEST: Duration = Duration::from_secs(86400);
/// The same for one in the name of a caller, who may lose their rights meanwhile.
const LONGEST_OF_CALLERS: Duration = Duration::from_secs(3600);
/// The type of tokens that are shown and wanted (RFC 8693 section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// Said to a caller whose token is not accepted.
const NOT_ACCEPTED: &str = "The token that this caller came with was not accepted for this tool. Sign in again; if that does not help, \
                            tell the person who runs this server.";

#[derive(Debug)]
pub(super) struct Endpoint {
    plan: TokensPlan,
    client: reqwest::Client,
    timeout: Duration,
    /// `Basic …`, if that is how it learns who asks.
    basic: Option<HeaderValue>,
    mask: Mask,
}

impl Endpoint {
    pub(super) fn new(plan: &TokensPlan, client: reqwest::Client, timeout: Duration, mask: &Mask) -> Self {
        let secret = plan.client_secret.expose();
        let form = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", form(&plan.client_id), form(secret)));
        let basic = (plan.client_auth == ClientAuthConfig::Basic)
            .then(|| HeaderValue::from_str(&format!("Basic {pair}")).ok())
            .flatten();
        let mask = mask.and([secret.to_owned(), form(secret), pair].map(Secret::new));
        Self { plan: plan.clone(), client, timeout, basic, mask }
    }

    pub(super) const fn grant(&self) -> Grant {
        self.plan.grant
    }

    /// Asks for a token, for that of a caller if there is one.
    pub(super) async fn ask(
        &self,
        subject: Option<&Secret>,
        after_refusal: bool,
    ) -> Result<Token, SourceError> {
        let asked = Instant::now();
        let mut request = self
            .client
            .post(&self.plan.url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(self.form(subject));
        if let Some(basic) = &self.basic {
            let mut basic = basic.clone();
            basic.set_sensitive(true);
            request = request.header(AUTHORIZATION, basic);
        }
        let answer = http::fetch(request, MAX_ANSWER, self.timeout).await.map_err(|error| match error {
            SourceError::TooLarge(max) => bad("it is far too large", format!("more than {max} bytes")),
            error => error,
        })?;
        let (text, life) = read(&answer).map_err(|error| match error {
            SourceError::Status { status, .. } => {
                let mask = self.mask.and(subject.cloned());
                let body = mask.excerpt(&answer.body);
                if subject.is_some() && blames_token(&answer) {
                    tracing::warn!(status, body, "the token endpoint did not accept the token of a caller");
                    return SourceError::Argument(NOT_ACCEPTED.to_owned());
                }
                refused(status, body)
            }
            error => error,
        })?;
        if subject.is_some_and(|subject| subject.expose() == text.expose()) {
            return Err(bad("it gives the caller's own token back", "which is for nobody else"));
        }
        let life = if subject.is_some() { life.min(LONGEST_OF_CALLERS) } else { life };
        let bearer = format!("Bearer {}", text.expose());
        let mut header =
            HeaderValue::from_str(&bearer).map_err(|e| bad("a token that cannot be sent", e.to_string()))?;
        header.set_sensitive(true);
        let mask = Arc::new(self.mask.and([text]));
        let (renewing, refused) = (AtomicBool::new(false), AtomicBool::new(false));
        // Its life began when it was made, which is not before it was asked for.
        Ok(Token { header, mask, life, born: asked, after_refusal, renewing, refused })
    }

    fn form(&self, subject: Option<&Secret>) -> String {
        let plan = &self.plan;
        let mut form = Serializer::new(String::new());
        match plan.grant {
            Grant::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
            Grant::TokenExchange => form
                .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
                .append_pair("requested_token_type", ACCESS_TOKEN),
        };
        if let Some(subject) = subject {
            form.append_pair("subject_token", subject.expose())
                .append_pair("subject_token_type", ACCESS_TOKEN);
        }
        if plan.client_auth == ClientAuthConfig::Body {
            form.append_pair("client_id", &plan.client_id);
            form.append_pair("client_secret", plan.client_secret.expose());
        }
        if !plan.scopes.is_empty() {
            form.append_pair("scope", &plan.scopes);
        }
        if let Some(audience) = &plan.audience {
            form.append_pair("audience", audience);
        }
        if let Some(resource) = &plan.resource {
            form.append_pair("resource", resource);
        }
        form.finish()
    }
}

fn bad(reason: &'static str, detail: impl Into<String>) -> SourceError {
    SourceError::BadReply { reason, detail: detail.into() }
}

/// Whether a failure is about the token of the caller (RFC 8693 section 2.2.2; many say `invalid_grant`).
fn blames_token(answer: &Answer) -> bool {
    let value: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let error = value.as_ref().and_then(|v| v.get("error")?.as_str());
    (400..=403).contains(&answer.status)
        && matches!(error, Some("invalid_grant" | "invalid_request" | "invalid_token"))
}

/// An answer that is no success. What it does not like about our request is no fault of the call's arguments.
fn refused(status: u16, body: String) -> SourceError {
    match status {
        408 | 429 => SourceError::Status { status, body },
        400..=499 => {
            let detail = format!("status {status}: {body}");
            SourceError::Unfit { reason: "it gives this server no token", detail }
        }
        _ => SourceError::Status { status, body },
    }
}

/// The token and its life in an answer (RFC 6749 section 5.1). Nothing of the answer is repeated in an error.
fn read(answer: &Answer) -> Result<(Secret, Duration), SourceError> {
    if answer.status != 200 {
        return Err(SourceError::Status { status: answer.status, body: String::new() });
    }
    let value: Value =
        serde_json::from_slice(&answer.body).map_err(|_| bad("it is not JSON", "no valid JSON"))?;
    let text = |name| value.get(name).and_then(Value::as_str);
    let token = text("access_token").ok_or_else(|| bad("it holds no token", "no text `access_token`"))?;
    // RFC 6749 appendix A.12 also allows spaces, which would end a header's token early.
    if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        let detail = format!("{} bytes, or characters that no token has", token.len());
        return Err(bad("its token cannot be sent", detail));
    }
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(bad("its token is not a bearer token", "`token_type` is missing or another"));
    }
    if text("issued_token_type").is_some_and(|kind| kind != ACCESS_TOKEN && kind != JWT) {
        return Err(bad("its token is of another type", "see `issued_token_type`"));
    }
    Ok((Secret::new(token.to_owned()), life(value.get("expires_in"))))
}

/// `expires_in` in seconds, as a number or, as some write it, as a text. What says nothing sensible says nothing.
fn life(written: Option<&Value>) -> Duration {
    let seconds = match written {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds.filter(|s| *s > 0.0) {
        Some(seconds) => Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())),
        None => UNSAID,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<(Secret, Duration), SourceError> {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        read(&Answer {
            status,
            content_type: None,
            retry_after: None,
            headers: reqwest::header::HeaderMap::new(),
            url: "http://localhost/".to_owned(),
            mask: None,
            body,
        })
    }

    #[test]
    fn a_life_is_read_as_it_is_meant_and_bounded() {
        for (written, seconds) in [
            ("60", 60.0),
            ("\"3600\"", 3600.0),
            ("1.5", 1.5),
            ("0", 300.0),
            ("-5", 300.0),
            ("null", 300.0),
            ("\"soon\"", 300.0),
            ("\"NaN\"", 300.0),
            ("\"inf\"", 86400.0),
            ("[1]", 300.0),
            ("1e300", 86400.0),
            ("99999999999999999999999", 86400.0),
        ] {
            let value = serde_json::from_str(written).unwrap();
            assert!((life(Some(&value)).as_secs_f64() - seconds).abs() < 1e-9, "{written}");
        }
        assert_eq!(life(None), UNSAID);
    }

    #[test]
    fn only_a_bearer_token_that_can_be_sent_is_accepted() {
        let long = "x".repeat(MAX_TOKEN + 1);
        for body in [
            String::new(),
            "token".to_owned(),
            "[]".to_owned(),
            r#"{"token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":7,"token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"a\r\nX-Evil: 1","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"a\u0000b","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"a b","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"ä","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"s3cr3t-t0ken","token_type":"mac"}"#.to_owned(),
            r#"{"access_token":"s3cr3t-t0ken"}"#.to_owned(),
            format!(r#"{{"access_token":"{long}","token_type":"Bearer"}}"#),
        ] {
            let error = answer(200, &body).unwrap_err();
            assert!(matches!(error, SourceError::BadReply { .. }), "{body}: {error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
        for kind in ["Bearer", "bearer", "BEARER"] {
            let (token, _) =
                answer(200, &format!(r#"{{"access_token":"a.b~c/d==","token_type":"{kind}"}}"#)).unwrap();
            assert_eq!(token.expose(), "a.b~c/d==");
        }
        assert!(matches!(answer(201, "{}"), Err(SourceError::Status { status: 201, .. })));
    }
}
