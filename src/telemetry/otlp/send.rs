//! Sends one batch of spans to its collector, and again where that makes sense, within bounds of time.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{OtlpOptions, json};
use crate::outgoing::{self, reason};
use crate::secret::Secret;
use crate::telemetry::one_line;
use crate::telemetry::span::Span;

/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a batch is sent at the most.
const TRIES: u32 = 4;
/// The wait before the second try; it doubles.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait that a collector may ask for.
const LONGEST: Duration = Duration::from_secs(30);
/// How much of an answer is read.
const ANSWER: usize = 16 << 10;
/// How long the rest of an answer may take.
const REST: Duration = Duration::from_secs(2);

/// What sending needs.
pub(super) struct Sending {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
    service: (String, String),
    exported: Counter,
    lost: Counter,
    hurried: watch::Receiver<bool>,
    failing: bool,
}

/// Why a batch was not taken.
struct Refusal {
    why: String,
    /// Whether it may be sent again, and when by the collector's own word.
    again: bool,
    after: Option<Duration>,
}

impl Refusal {
    fn passing(why: String) -> Self {
        Self { why, again: true, after: None }
    }
}

impl Sending {
    /// `hurried` says whether somebody waits for the end.
    ///
    /// # Errors
    /// If TLS does not start, or a header is none.
    pub(super) fn new(
        options: &OtlpOptions,
        (exported, lost): (Counter, Counter),
        hurried: watch::Receiver<bool>,
    ) -> Result<Self, String> {
        let builder = outgoing::client().connect_timeout(DEADLINE).pool_idle_timeout(Duration::from_secs(60));
        // The platform's roots are read only where TLS is spoken.
        let https = options.endpoint.starts_with("https:");
        let builder = if https { builder } else { builder.tls_certs_only([]) };
        Ok(Self {
            client: builder.build().map_err(reason)?,
            url: options.endpoint.clone(),
            headers: headers(&options.headers)?,
            service: (options.service.clone(), options.version.clone()),
            exported,
            lost,
            hurried,
            failing: false,
        })
    }

    /// Sends a batch, several times if it must be; it is empty then.
    pub(super) async fn send(&mut self, batch: &mut Vec<Span>) {
        if batch.is_empty() {
            return;
        }
        let number = batch.len() as u64;
        let body = json::request(batch, &self.service);
        batch.clear();
        let why = match body {
            Ok(body) => match self.tries(body.into()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(number);
                    self.exported.inc_by(number - rejected);
                    self.lost.inc_by(rejected);
                    if std::mem::take(&mut self.failing) {
                        info!("traces are taken again");
                    }
                    return;
                }
                Err(refusal) => refusal.why,
            },
            Err(error) => error.to_string(),
        };
        self.lost.inc_by(number);
        if !std::mem::replace(&mut self.failing, true) {
            warn!(reason = %one_line(&why), "traces cannot be sent: calls go on and are not traced");
        }
    }

    /// Gives how many spans were not taken.
    async fn tries(&mut self, body: Bytes) -> Result<u64, Refusal> {
        let mut tried = 1;
        loop {
            let refusal = match self.once(body.clone()).await {
                Ok(rejected) => return Ok(rejected),
                Err(refusal) => refusal,
            };
            let ends = *self.hurried.borrow();
            if !refusal.again || tried >= TRIES || ends {
                return Err(refusal);
            }
            let backoff = BACKOFF * 2_u32.pow(tried - 1);
            let wait = refusal.after.map_or(backoff.mul_f64(0.5 + fastrand::f64() / 2.0), |a| a.min(LONGEST));
            // Who waits for the end has no time for that: once more, and no more.
            let hurried = async {
                if self.hurried.wait_for(|hurried| *hurried).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = hurried => {}
            }
            tried += 1;
        }
    }

    /// One request (OTLP 1.9, section "OTLP/HTTP").
    async fn once(&self, body: Bytes) -> Result<u64, Refusal> {
        let request = self.client.post(&self.url).headers(self.headers.clone()).body(body);
        let mut response = match timeout(DEADLINE, request.send()).await {
            Ok(sent) => sent.map_err(|e| Refusal::passing(reason(e)))?,
            Err(_) => return Err(Refusal::passing(format!("no answer within {DEADLINE:?}"))),
        };
        let status = response.status();
        if !status.is_success() {
            let again = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            let after = outgoing::retry_after(response.headers(), SystemTime::now());
            return Err(Refusal { why: format!("status {}", status.as_u16()), again, after });
        }
        // Taken is taken, whatever becomes of the rest of the answer and however long it takes.
        let mut answer = Vec::new();
        let reading = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                answer.extend_from_slice(&chunk);
                if answer.len() > ANSWER {
                    answer.clear();
                    break;
                }
            }
        };
        if timeout(REST, reading).await.is_err() {
            return Ok(0);
        }
        Ok(json::rejected(&answer))
    }
}

fn headers(written: &[(String, Secret)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let bad = || format!("`{name}` cannot be sent as a header");
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}
