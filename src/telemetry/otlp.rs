//! Sends spans to an OpenTelemetry collector: OTLP 1 over HTTP, in its JSON encoding. Calls put a span into a bounded queue and go on; one
//! task sends what is there in batches, and what it cannot send is counted and forgotten. The exporter is our own: what we send of the
//! protocol is one small JSON document, and OpenTelemetry's crates would add eleven more for it.

mod json;
mod send;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::span::Span;
use super::trace::TraceId;
use super::unbroken::{Round, unbroken};
use crate::secret::Secret;
use send::Sending;

/// Spans that wait to be sent. Beyond, calls go on and their spans are lost.
const WAITING: usize = 2048;
/// Spans in one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const DELAY: Duration = Duration::from_secs(5);
/// How long the end of the process waits for the collector.
const FLUSH: Duration = Duration::from_secs(2);

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
    pub fn open(
        options: OtlpOptions,
        (exported, lost): (Counter, Counter),
        exporters: &Exporters,
    ) -> Result<Self, String> {
        let runtime = Handle::try_current().map_err(|e| e.to_string())?;
        let (queue, waiting) = mpsc::channel(WAITING);
        let sending = Sending::new(&options, (exported, lost.clone()), exporters.0.hurry.subscribe())?;
        let running = exporters.enter();
        runtime.spawn(crate::tasks::work(async move {
            let _running = running;
            let mut state = (waiting, sending);
            unbroken("sending traces", &mut state, |(waiting, sending)| {
                Box::pin(run(waiting, sending)) as Round<'_, ()>
            })
            .await;
        }));
        Ok(Self { threshold: threshold(options.sample), options, queue, lost })
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

    /// Waits until what was taken is sent.
    async fn flushed(&self) {
        let (done, told) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _ = told.await;
        }
    }
}

/// All exporters of a process: the one in use, and those that a reload has replaced and that still send what they were given.
#[derive(Clone, Debug, Default)]
pub struct Exporters(Arc<Running>);

#[derive(Debug, Default)]
struct Running {
    number: watch::Sender<usize>,
    hurry: watch::Sender<bool>,
}

/// One that runs, for as long as it is held.
struct Entered(Exporters);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.number.send_modify(|number| *number = number.saturating_sub(1));
    }
}

impl Exporters {
    fn enter(&self) -> Entered {
        self.0.number.send_modify(|number| *number += 1);
        Entered(self.clone())
    }

    /// Waits until all have sent what they were given, at most two seconds; `current` is the one that goes on.
    pub async fn flush(&self, current: Option<&Exporter>) {
        self.0.hurry.send_replace(true);
        let flushed = async {
            if let Some(current) = current {
                current.flushed().await;
            }
            let goes_on = usize::from(current.is_some());
            let _ = self.0.number.subscribe().wait_for(|number| *number <= goes_on).await;
        };
        let _ = timeout(FLUSH, flushed).await;
        self.0.hurry.send_replace(false);
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

/// Collects spans and sends them until nobody gives any more.
async fn run(waiting: &mut mpsc::Receiver<Message>, sending: &mut Sending) {
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

/// The exporter of a plan: the one that runs if it is the same.
///
/// # Errors
/// As [`Exporter::open`].
pub fn reuse(
    options: OtlpOptions,
    running: Option<&Arc<Exporter>>,
    (exported, lost): (&Counter, &Counter),
    exporters: &Exporters,
) -> Result<Arc<Exporter>, String> {
    match running.filter(|running| *running.options() == options) {
        Some(running) => Ok(running.clone()),
        None => Exporter::open(options, (exported.clone(), lost.clone()), exporters).map(Arc::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::span::{About, Trace, text};

    fn options(sample: f64) -> OtlpOptions {
        // As the program does at its start.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        OtlpOptions {
            endpoint: "http://127.0.0.1:9/v1/traces".to_owned(),
            headers: Vec::new(),
            sample,
            service: "s".to_owned(),
            version: "1".to_owned(),
        }
    }

    fn open(sample: f64) -> Result<Exporter, String> {
        Exporter::open(options(sample), <(Counter, Counter)>::default(), &Exporters::default())
    }

    #[tokio::test]
    async fn as_many_traces_begin_as_the_ratio_says() {
        for (sample, least, most) in [(0.0, 0, 0), (1.0, 20_000, 20_000), (0.1, 1600, 2400)] {
            let exporter = open(sample).unwrap();
            let sampled = (0..20_000).filter(|_| exporter.samples(TraceId(fastrand::u128(1..)))).count();
            assert!((least..=most).contains(&sampled), "{sampled} of 20000 at {sample}");
        }
    }

    #[tokio::test]
    async fn an_equal_exporter_goes_on_and_another_one_begins() {
        let counters = (&Counter::default(), &Counter::default());
        let exporters = &Exporters::default();
        let first = reuse(options(1.0), None, counters, exporters).unwrap();
        let same = reuse(options(1.0), Some(&first), counters, exporters).unwrap();
        let other = reuse(options(0.5), Some(&first), counters, exporters).unwrap();
        assert!(Arc::ptr_eq(&first, &same) && !Arc::ptr_eq(&first, &other));
    }

    /// An exporter whose spans nobody sends.
    fn held() -> (Arc<Exporter>, mpsc::Receiver<Message>) {
        let (queue, waiting) = mpsc::channel(4);
        let (options, lost) = (options(1.0), Counter::default());
        let exporter = Exporter { threshold: threshold(1.0), options, queue, lost };
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
        assert!(open(1.0).is_err());
    }
}
