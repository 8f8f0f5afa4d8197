//! Tokens of a token endpoint: got once for all who need them, kept for their life, renewed before its end.

mod endpoint;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::header::HeaderValue;
use serde::Serialize;
use tokio::time::Instant as Deadline;

use super::credentials::ClientAuthConfig;
use crate::caller::Caller;
use crate::policy::store::Store;
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::mask::Mask;
use endpoint::Endpoint;

/// Tokens of all callers together take up to this much room.
const KEPT_BYTES: u64 = 16 << 20;
/// A token is renewed when a tenth of its life is left, but never earlier than this before its end.
const EARLY: Duration = Duration::from_secs(30);
/// The pause after a failed renewal, as long as the old token is good.
const PAUSE: Duration = Duration::from_secs(1);
/// A token that came after a refusal and is refused again is not replaced before this age: another would fare no better.
const REFUSED: Duration = Duration::from_secs(10);

/// How tokens are asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TokensPlan {
    pub grant: Grant,
    pub url: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub client_auth: ClientAuthConfig,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scopes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// Whose tokens they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Grant {
    /// This server's own (RFC 6749 section 4.4).
    ClientCredentials,
    /// Those of the callers, for the ones that they came with (RFC 8693).
    TokenExchange,
}

/// A token as it is sent.
#[derive(Debug)]
pub(super) struct Token {
    /// `Bearer …`
    pub header: HeaderValue,
    /// Hides this token and the other secrets of its source.
    pub mask: Arc<Mask>,
    life: Duration,
    born: Instant,
    /// It was got because the one before was refused.
    after_refusal: bool,
    renewing: AtomicBool,
    /// It is not good any more, whatever its life.
    refused: AtomicBool,
}

impl Token {
    /// Whether it was not refused.
    fn is_wanted(&self) -> bool {
        !self.refused.load(Ordering::Acquire)
    }

    /// Whether its end is near.
    fn is_due(&self) -> bool {
        self.born.elapsed() >= self.life.saturating_sub(EARLY.min(self.life / 10))
    }
}

/// A source's tokens, by whom they are for.
#[derive(Debug)]
pub(super) struct Tokens {
    endpoint: Arc<Endpoint>,
    kept: Arc<Store<Token>>,
}

/// Which token: a digest, so that no table holds what proves a caller.
type Key = [u8; 32];

/// This server's own.
const OWN: Key = [0; 32];

/// Said to whom the source cannot be asked for.
const NO_TOKEN: &str = "This tool acts in the name of the person who calls it, and this caller has no token that could stand for \
                        them. Sign in with the provider that this server trusts, and call it over HTTP.";

/// For whom a token is.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    key: Key,
    /// The token that the caller came with. It is shown to the token endpoint and to nobody else.
    token: Option<Secret>,
}

impl Tokens {
    /// `client` reaches the endpoint, each answer within `timeout`; `mask` hides what else is secret in the source.
    pub(super) fn new(plan: &TokensPlan, client: reqwest::Client, timeout: Duration, mask: &Mask) -> Self {
        // The text is there as a header, and with it in the forms of the mask.
        let weigh = |_: &[u8], token: &Token| 1024 + 8 * token.header.len();
        let kept = Arc::new(Store::new(KEPT_BYTES, weigh, Some(|token| token.life)));
        Self { endpoint: Arc::new(Endpoint::new(plan, client, timeout, mask)), kept }
    }

    /// For whom a call of `caller` needs a token.
    pub(super) fn subject(&self, caller: &Caller) -> Result<Subject, SourceError> {
        if self.endpoint.grant() == Grant::ClientCredentials {
            return Ok(Subject { key: OWN, token: None });
        }
        let token = match caller {
            Caller::Known(identity) => identity.token.clone(),
            Caller::Local | Caller::Anonymous => None,
        };
        let token = token.ok_or_else(|| SourceError::Argument(NO_TOKEN.to_owned()))?;
        let mut key = OWN;
        key.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
        Ok(Subject { key, token: Some(token) })
    }

    /// The token for a request that must be answered by `until`.
    pub(super) async fn get(&self, subject: &Subject, until: Deadline) -> Result<Arc<Token>, SourceError> {
        match self.kept.get(&subject.key) {
            Some(token) if token.is_wanted() => {
                if token.is_due() && !token.renewing.swap(true, Ordering::AcqRel) {
                    self.renew(subject.clone(), token.clone());
                }
                Ok(token)
            }
            _ => self.fetch(subject, until, false).await,
        }
    }

    /// Another token in place of one that was refused; none where another would fare no better.
    pub(super) async fn replace(
        &self,
        subject: &Subject,
        refused: &Arc<Token>,
        until: Deadline,
    ) -> Result<Option<Arc<Token>>, SourceError> {
        if refused.after_refusal && refused.born.elapsed() < REFUSED {
            return Ok(None);
        }
        // Of many whose token is refused at once, the first asks for another; the others find the new one, or wait for it.
        refused.refused.store(true, Ordering::Release);
        self.fetch(subject, until, true).await.map(Some)
    }

    /// Asks for a token, or waits for the answer to whoever asked first. The asking goes on when this caller leaves.
    async fn fetch(
        &self,
        subject: &Subject,
        until: Deadline,
        after_refusal: bool,
    ) -> Result<Arc<Token>, SourceError> {
        let wait = until.saturating_duration_since(Deadline::now());
        let (kept, endpoint, subject) = (self.kept.clone(), self.endpoint.clone(), subject.clone());
        let asking = crate::tasks::spawn(async move {
            let ask = async { endpoint.ask(subject.token.as_ref(), after_refusal).await.map(Arc::new) };
            kept.get_or_fetch(&subject.key, Token::is_wanted, ask).await
        });
        let error = match tokio::time::timeout_at(until, asking).await {
            Ok(Ok(Ok(token))) => return Ok(token),
            Ok(Ok(Err(error))) => error.copy(),
            Ok(Err(error)) => SourceError::Internal(error.to_string()),
            Err(_) => SourceError::Timeout(wait),
        };
        Err(SourceError::Tokens(Box::new(error)))
    }

    /// Gets the successor of a token that is still good, beside the calls that use it.
    fn renew(&self, subject: Subject, old: Arc<Token>) {
        let (kept, endpoint) = (self.kept.clone(), self.endpoint.clone());
        crate::tasks::spawn(async move {
            match endpoint.ask(subject.token.as_ref(), false).await {
                Ok(token) => kept.insert(subject.key.into(), Arc::new(token)),
                Err(error) => {
                    tracing::warn!(%error, "a token could not be renewed; the old one is used while it is good");
                    tokio::time::sleep(PAUSE).await;
                    old.renewing.store(false, Ordering::Release);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// An endpoint that gives `token-1`, `token-2`, … after a pause, or fails while it is told to.
    struct Giver {
        url: String,
        asked: Arc<AtomicUsize>,
        fails: Arc<AtomicBool>,
    }

    async fn giver(pause: Duration) -> Giver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let (asked, fails) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let giver = Giver { url, asked: asked.clone(), fails: fails.clone() };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let n = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let fails = fails.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut seen = vec![0; 4096];
                    let _ = stream.read(&mut seen).await;
                    tokio::time::sleep(pause).await;
                    let status = if fails { "503 Unavailable" } else { "200 OK" };
                    let body =
                        format!(r#"{{"access_token":"token-{n}","token_type":"Bearer","expires_in":100}}"#);
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        giver
    }

    fn tokens(giver: &Giver) -> Tokens {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let plan = TokensPlan {
            grant: Grant::ClientCredentials,
            url: giver.url.clone(),
            client_id: "id".to_owned(),
            client_secret: Secret::new("secret".to_owned()),
            client_auth: ClientAuthConfig::Basic,
            scopes: String::new(),
            audience: None,
            resource: None,
        };
        let client = crate::source::http::client(false).unwrap();
        Tokens::new(&plan, client, Duration::from_secs(5), &Mask::default())
    }

    static OWNED: Subject = Subject { key: OWN, token: None };

    fn soon() -> Deadline {
        Deadline::now() + Duration::from_secs(5)
    }

    fn text(token: &Token) -> &str {
        token.header.to_str().unwrap()
    }

    /// As if the current token had lived so long.
    async fn aged(tokens: &Tokens, age: Duration, after_refusal: bool) -> Arc<Token> {
        let token = tokens.get(&OWNED, soon()).await.unwrap();
        let older = Token {
            header: token.header.clone(),
            mask: token.mask.clone(),
            life: token.life,
            born: token.born.checked_sub(age).unwrap(),
            after_refusal,
            renewing: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        };
        let older = Arc::new(older);
        tokens.kept.insert(OWN.into(), older.clone());
        older
    }

    #[tokio::test]
    async fn a_thousand_calls_at_once_ask_for_one_token() {
        let giver = giver(Duration::from_millis(100)).await;
        let tokens = tokens(&giver);
        let all = futures_util::future::join_all((0..1000).map(|_| tokens.get(&OWNED, soon()))).await;
        assert!(all.iter().all(|t| text(t.as_ref().unwrap()) == "Bearer token-1"));
        assert_eq!(giver.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn whoever_asked_first_and_leaves_costs_nobody_the_answer() {
        let giver = giver(Duration::from_millis(300)).await;
        let tokens = tokens(&giver);
        let first = tokio::time::timeout(Duration::from_millis(50), tokens.get(&OWNED, soon())).await;
        assert!(first.is_err(), "the first one left");
        let hasty = tokens.get(&OWNED, Deadline::now() + Duration::from_millis(50)).await;
        assert!(
            matches!(&hasty, Err(SourceError::Tokens(e)) if matches!(**e, SourceError::Timeout(_))),
            "{hasty:?}"
        );
        assert_eq!(text(&tokens.get(&OWNED, soon()).await.unwrap()), "Bearer token-1");
        assert_eq!(giver.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_thousand_refusals_of_one_token_ask_for_one_new_token() {
        let giver = giver(Duration::from_millis(100)).await;
        let tokens = tokens(&giver);
        let old = tokens.get(&OWNED, soon()).await.unwrap();
        let all =
            futures_util::future::join_all((0..1000).map(|_| tokens.replace(&OWNED, &old, soon()))).await;
        assert!(all.iter().all(|t| text(t.as_ref().unwrap().as_ref().unwrap()) == "Bearer token-2"));
        assert_eq!(giver.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_token_that_is_refused_right_after_another_is_not_replaced_for_a_while() {
        let giver = giver(Duration::ZERO).await;
        let tokens = tokens(&giver);
        let young = aged(&tokens, Duration::ZERO, true).await;
        assert!(tokens.replace(&OWNED, &young, soon()).await.unwrap().is_none());
        let older = aged(&tokens, REFUSED, true).await;
        assert!(tokens.replace(&OWNED, &older, soon()).await.unwrap().is_some_and(|t| t.after_refusal));
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_its_end_beside_the_calls_that_use_it() {
        let giver = giver(Duration::from_millis(20)).await;
        let tokens = tokens(&giver);
        aged(&tokens, Duration::from_secs(80), false).await;
        assert_eq!(text(&tokens.get(&OWNED, soon()).await.unwrap()), "Bearer token-1");
        assert_eq!(giver.asked.load(Ordering::SeqCst), 1, "at 80 of 100 seconds it is not due");
        aged(&tokens, Duration::from_secs(15), false).await;
        let all = futures_util::future::join_all((0..100).map(|_| tokens.get(&OWNED, soon()))).await;
        assert!(all.iter().all(|t| text(t.as_ref().unwrap()) == "Bearer token-1"), "nobody waits");
        while text(&tokens.get(&OWNED, soon()).await.unwrap()) != "Bearer token-2" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(giver.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_renewed_is_used_while_it_is_good_and_tried_again() {
        let giver = giver(Duration::ZERO).await;
        let tokens = tokens(&giver);
        aged(&tokens, Duration::from_secs(95), false).await;
        giver.fails.store(true, Ordering::SeqCst);
        assert_eq!(text(&tokens.get(&OWNED, soon()).await.unwrap()), "Bearer token-1");
        while giver.asked.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..100 {
            assert_eq!(text(&tokens.get(&OWNED, soon()).await.unwrap()), "Bearer token-1");
        }
        assert_eq!(giver.asked.load(Ordering::SeqCst), 2, "a failed renewal is followed by a pause");
        giver.fails.store(false, Ordering::SeqCst);
        let healed = async {
            while text(&tokens.get(&OWNED, soon()).await.unwrap()) == "Bearer token-1" {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PAUSE * 5, healed).await.expect("it is tried again");
    }
}
