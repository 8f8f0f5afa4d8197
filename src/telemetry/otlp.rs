//! Sends spans to an OpenTelemetry collector: OTLP 1 over HTTP, in its JSON encoding. Calls put a span into a bounded queue and go on; one
//! task sends what is there in batches, and what it cannot send is counted and forgotten. The exporter is our own: what we send of the
//! protocol is one small JSON document, and OpenTelemetry's crates would add eleven more for it.

mod json;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use super::one_line;
use super::span::Span;
use super::trace::TraceId;
use crate::outgoing::{self, reason};
use crate::secret::Secret;

/// Spans that wait to be sent. Beyond, calls go on and their spans are lost.
const WAITING: usize = 2048;
/// Spans in one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often a batch is sent at the most.
const TRIES: u32 = 4;
/// The wait before the second try; it doubles.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait that a collector may ask for.
const LONGEST: Duration = Duration::from_secs(30);
/// How long the end of the process waits for the collector.
const FLUSH: Duration = Duration::from_secs(2);
/// How much of an answer is read.
const ANSWER: usize = 16 << 10;

/// Where spans go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpOptions {
    /// The URL that takes them.
    pub endpoint: String,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// The part of the traces that begin here which is recorded, from 0 to 1.
    pub sample: f64,
    /// `service.name`
    pub service: String,
    /// `service.version`
    pub version: String,
}

/// A running exporter. It ends when nothing holds it any more, after what it was given.
#[derive(Debug)]
pub struct Exporter {
    options: OtlpOptions,
    /// Of traces that begin here, those are recorded whose id has less than this in its last 56 bits.
    threshold: u64,
    queue: mpsc::Sender<Message>,
    lost: Counter,
    hurry: watch::Sender<bool>,
}

#[derive(Debug)]
enum Message {
    Span(Box<Span>),
    Flush(oneshot::Sender<()>),
}

impl Exporter {
    /// Begins to export, in a task of the runtime that this is called in. `exported` counts the spans that a collector took, `lost` those
    /// that none did.
    ///
    /// # Errors
    /// If there is no runtime, TLS does not start, or a header is none.
    pub fn open(options: OtlpOptions, exported: Counter, lost: Counter) -> Result<Self, String> {
        let runtime = Handle::try_current().map_err(|e| e.to_string())?;
        let builder = outgoing::client().connect_timeout(DEADLINE).pool_idle_timeout(Duration::from_secs(60));
        // The platform's roots are read only where TLS is spoken.
        let https = options.endpoint.starts_with("https:");
        let builder = if https { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(reason)?;
        let (queue, waiting) = mpsc::channel(WAITING);
        let (hurry, hurried) = watch::channel(false);
        let sending = Sending {
            client,
            url: options.endpoint.clone(),
            headers: headers(&options.headers)?,
            service: (options.service.clone(), options.version.clone()),
            exported,
            lost: lost.clone(),
            hurried,
            failing: false,
        };
        runtime.spawn(run(waiting, sending));
        Ok(Self { threshold: threshold(options.sample), options, queue, lost, hurry })
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &OtlpOptions {
        &self.options
    }

    /// Whether a trace that begins here is recorded.
    pub(super) fn samples(&self, id: TraceId) -> bool {
        (id.0 & ((1 << 56) - 1)) < u128::from(self.threshold)
    }

    /// Takes a span; never waits.
    pub(super) fn take(&self, span: Box<Span>) {
        if self.queue.try_send(Message::Span(span)).is_err() {
            self.lost.inc();
        }
    }

    /// Waits until what was taken is sent, at most two seconds.
    pub async fn flush(&self) {
        self.hurry.send_replace(true);
        let flushed = async {
            let (done, told) = oneshot::channel();
            if self.queue.send(Message::Flush(done)).await.is_ok() {
                let _ = told.await;
            }
        };
        let _ = timeout(FLUSH, flushed).await;
        self.hurry.send_replace(false);
    }
}

/// The ratio as a part of 2^56, which is what the random part of every trace id is good for (W3C Trace Context, section 3.2.2.3.1).
fn threshold(ratio: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and 2^56"
    )]
    let part = (ratio.clamp(0.0, 1.0) * (1_u64 << 56) as f64) as u64;
    part
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

/// Collects spans and sends them until nobody gives any more.
async fn run(mut waiting: mpsc::Receiver<Message>, mut sending: Sending) {
    let mut batch: Vec<Span> = Vec::new();
    let mut due = None;
    loop {
        let message = match due {
            None => waiting.recv().await,
            Some(at) => match timeout_at(at, waiting.recv()).await {
                Ok(message) => message,
                Err(_) => {
                    due = None;
                    sending.send(&mut batch).await;
                    continue;
                }
            },
        };
        match message {
            Some(Message::Span(span)) => {
                batch.push(*span);
                due = due.or_else(|| Some(Instant::now() + DELAY));
                if batch.len() >= BATCH {
                    due = None;
                    sending.send(&mut batch).await;
                }
            }
            Some(Message::Flush(done)) => {
                due = None;
                sending.send(&mut batch).await;
                let _ = done.send(());
            }
            None => {
                sending.send(&mut batch).await;
                return;
            }
        }
    }
}

/// What sending needs.
struct Sending {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
    service: (String, String),
    exported: Counter,
    lost: Counter,
    /// Whether somebody waits for the end.
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
    /// Sends a batch, several times if it must be; it is empty then.
    async fn send(&mut self, batch: &mut Vec<Span>) {
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
            let refusal = match timeout(DEADLINE, self.once(body.clone())).await {
                Ok(Ok(rejected)) => return Ok(rejected),
                Ok(Err(refusal)) => refusal,
                Err(_) => Refusal::passing(format!("no answer within {DEADLINE:?}")),
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
        let mut response = request.send().await.map_err(|e| Refusal::passing(reason(e)))?;
        let status = response.status();
        if !status.is_success() {
            let again = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            let after = outgoing::retry_after(response.headers(), SystemTime::now());
            return Err(Refusal { why: format!("status {}", status.as_u16()), again, after });
        }
        let mut answer = Vec::new();
        // Taken is taken, whatever becomes of the rest of the answer.
        while let Ok(Some(chunk)) = response.chunk().await {
            answer.extend_from_slice(&chunk);
            if answer.len() > ANSWER {
                return Ok(0);
            }
        }
        Ok(json::rejected(&answer))
    }
}

/// The exporter of a plan: the one that runs if it is the same.
///
/// # Errors
/// As [`Exporter::open`].
pub fn reuse(
    options: OtlpOptions,
    running: Option<&Arc<Exporter>>,
    (exported, lost): (&Counter, &Counter),
) -> Result<Arc<Exporter>, String> {
    match running.filter(|running| *running.options() == options) {
        Some(running) => Ok(running.clone()),
        None => Exporter::open(options, exported.clone(), lost.clone()).map(Arc::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::{About, Trace, text};

    fn options(sample: f64) -> OtlpOptions {
        OtlpOptions {
            endpoint: "http://127.0.0.1:9/v1/traces".to_owned(),
            headers: Vec::new(),
            sample,
            service: "s".to_owned(),
            version: "1".to_owned(),
        }
    }

    #[tokio::test]
    async fn as_many_traces_begin_as_the_ratio_says() {
        for (sample, least, most) in [(0.0, 0, 0), (1.0, 20_000, 20_000), (0.1, 1600, 2400)] {
            let exporter = Exporter::open(options(sample), Counter::default(), Counter::default()).unwrap();
            let sampled = (0..20_000).filter(|_| exporter.samples(TraceId(fastrand::u128(1..)))).count();
            assert!((least..=most).contains(&sampled), "{sampled} of 20000 at {sample}");
        }
    }

    #[tokio::test]
    async fn an_equal_exporter_goes_on_and_another_one_begins() {
        let counters = (&Counter::default(), &Counter::default());
        let first = reuse(options(1.0), None, counters).unwrap();
        let same = reuse(options(1.0), Some(&first), counters).unwrap();
        let other = reuse(options(0.5), Some(&first), counters).unwrap();
        assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &other));
    }

    /// An exporter whose spans nobody sends.
    fn held() -> (Arc<Exporter>, mpsc::Receiver<Message>) {
        let (queue, waiting) = mpsc::channel(4);
        let (hurry, _) = watch::channel(false);
        let options = options(1.0);
        let exporter =
            Exporter { threshold: threshold(1.0), options, queue, lost: Counter::default(), hurry };
        (Arc::new(exporter), waiting)
    }

    #[test]
    fn a_span_that_is_dropped_was_cancelled_or_ended_in_a_panic() {
        let (exporter, mut waiting) = held();
        let about = || About { name: "ping".into(), attributes: Vec::new() };
        for (panics, error) in [(false, "cancelled"), (true, "panic")] {
            let span = Trace::begin(None, Some(&exporter)).request(None, about).unwrap();
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _span = span;
                assert!(!panics, "wanted here");
            }));
            assert_eq!(ended.is_err(), panics);
            let Ok(Message::Span(span)) = waiting.try_recv() else { panic!("no span") };
            assert_eq!((span.failed, &span.about.attributes), (panics, &vec![text("error.type", error)]));
        }
    }

    #[test]
    fn what_finds_no_place_is_counted_and_nobody_waits() {
        let (exporter, waiting) = held();
        for _ in 0..10 {
            let about = About { name: "ping".into(), attributes: Vec::new() };
            Trace::begin(None, Some(&exporter)).request(None, || about).unwrap().end(None);
        }
        assert_eq!((waiting.len(), exporter.lost.get()), (4, 6));
    }

    #[test]
    fn without_a_runtime_there_is_no_exporter() {
        assert!(Exporter::open(options(1.0), Counter::default(), Counter::default()).is_err());
    }
}
