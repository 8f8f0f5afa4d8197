//! What is counted: one store for the process, and handles that a route or a source looks up once, when it is opened. Labels are names of
//! the configuration and words of closed lists, never anything that a caller sends.

use std::hash::Hash;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The media type of what [`Metrics::write`] gives (OpenMetrics 1.0.0, section "Overall Structure").
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the histograms, in seconds.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Room for the outcomes of a route, each of which has its place.
pub const OUTCOMES: usize = 32;

type Labels = Vec<(&'static str, String)>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

fn histograms<L: Clone + Eq + Hash>() -> Histograms<L> {
    Family::new_with_constructor(histogram)
}

/// The labels of a route, small: there is one for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct OfRoute {
    noun: &'static str,
    route: Arc<str>,
}

impl OfRoute {
    fn labels(&self) -> Labels {
        vec![("noun", self.noun.to_owned()), ("route", self.route.to_string())]
    }
}

impl EncodeLabelSet for OfRoute {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        [("noun", self.noun), ("route", &*self.route)].encode(encoder)
    }
}

/// Everything that is counted, for the life of the process: what is equal after a reload goes on counting.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    calls: Family<Labels, Counter>,
    call_seconds: Histograms<OfRoute>,
    answers: Family<Labels, Counter>,
    attempt_seconds: Histograms<Labels>,
    failures: Family<Labels, Counter>,
    retries: Family<Labels, Counter>,
    http: Family<Labels, Counter>,
    /// Looks at the files, by what came of them.
    reloads: Family<Labels, Counter>,
    /// Calls that run now.
    pub running: Gauge,
    /// Connections of clients over HTTP.
    pub connections: Gauge,
    /// Sessions of clients up to 2025-11-25.
    pub sessions: Gauge,
    /// Lists and fixed suggestions that were asked for too often.
    pub lists_limited: Counter,
    /// Lines of the audit that were lost, because the disk did not take them in time.
    pub audit_lost: Counter,
    /// Spans that a collector took.
    pub spans_exported: Counter,
    /// Spans that none did.
    pub spans_lost: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let reloads = Family::<Labels, Counter>::default();
        // So that the first of a kind is seen as one more than none.
        for result in RELOADS {
            drop(reloads.get_or_create_owned(&vec![("result", result.to_owned())]));
        }
        Self {
            started: SystemTime::now(),
            calls: Family::default(),
            call_seconds: histograms(),
            answers: Family::default(),
            attempt_seconds: histograms(),
            failures: Family::default(),
            retries: Family::default(),
            http: Family::default(),
            reloads,
            running: Gauge::default(),
            connections: Gauge::default(),
            sessions: Gauge::default(),
            lists_limited: Counter::default(),
            audit_lost: Counter::default(),
            spans_exported: Counter::default(),
            spans_lost: Counter::default(),
        }
    }
}

/// What is counted of one route.
#[derive(Debug)]
pub struct RouteMeter {
    /// What it is exposed as.
    pub noun: &'static str,
    /// Its name.
    pub route: Arc<str>,
    calls: Family<Labels, Counter>,
    /// There as soon as it was called.
    by_outcome: OnceLock<Box<[OnceLock<Counter>; OUTCOMES]>>,
    seconds: Histogram,
    running: Gauge,
    /// Answers by where they came from, of a route that keeps them.
    answers: Option<Answers>,
    tally: Arc<Tally>,
    /// What is counted of its source.
    pub source: Option<Arc<SourceMeter>>,
}

/// What is counted of one route in a few numbers, as long as the route is there.
#[derive(Debug, Default)]
pub struct Tally {
    calls: AtomicU64,
    errors: AtomicU64,
    cancelled: AtomicU64,
    running: AtomicI64,
}

/// The numbers of a [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that are over.
    pub calls: u64,
    /// Those of them that failed, or whose answer says that something went wrong.
    pub errors: u64,
    /// Those whose end nobody waited for.
    pub cancelled: u64,
    /// Calls that run now.
    pub running: u64,
}

/// Answers of a route that keeps them.
#[derive(Debug)]
pub struct Answers {
    /// Kept, and fresh.
    pub hit: Counter,
    /// Kept, and no longer fresh.
    pub stale: Counter,
    /// Fetched.
    pub miss: Counter,
}

/// What is counted of one source.
#[derive(Clone, Debug)]
pub struct SourceMeter {
    /// Its name.
    pub name: String,
    /// How long attempts took, in seconds.
    pub seconds: Histogram,
    /// Attempts after which the source seemed ill.
    pub failures: Counter,
    /// Attempts that were made again.
    pub retries: Counter,
}

/// HTTP replies by the first digit of their status, from 1 to 5.
#[derive(Clone, Debug)]
pub struct HttpMeter([Counter; 5]);

/// What is read at the moment it is asked for.
#[derive(Debug, Default)]
pub struct Figures {
    /// The number of the configuration in use.
    pub generation: u64,
    /// Answers that are kept.
    pub cache_entries: u64,
    /// About how many bytes they take.
    pub cache_bytes: u64,
    /// Legacy sessions.
    pub sessions: usize,
    /// Streams of clients that listen.
    pub streams: usize,
    /// Sources by name.
    pub sources: Vec<(String, SourceFigures)>,
    /// Whether the files could be used at the last look.
    pub config_ok: bool,
    /// When the configuration in use was put to use, in seconds of Unix time.
    pub config_since: u64,
}

/// What is read of a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceFigures {
    /// The state of its breaker: one of [`BREAKER_STATES`].
    pub breaker: Option<&'static str>,
    /// Places for attempts: all, and those in use.
    pub places: Option<(u32, u32)>,
    /// Connections of its pool: open, idle.
    pub pool: Option<(u32, u32)>,
}

/// What comes of a look at changed files: put to use, nothing else in what they say, refused.
pub const RELOADS: [&str; 3] = ["applied", "same", "refused"];

/// The states of a breaker.
pub const BREAKER_STATES: [&str; 3] = ["closed", "open", "half_open"];

impl Metrics {
    /// The handles of a route. `keeps` says whether it keeps answers.
    #[must_use]
    pub fn route(
        &self,
        noun: &'static str,
        route: &str,
        keeps: bool,
        source: Option<Arc<SourceMeter>>,
    ) -> RouteMeter {
        let of_route = OfRoute { noun, route: Arc::from(route) };
        let answers = |state: &str| {
            let mut labels = of_route.labels();
            labels.push(("state", state.to_owned()));
            self.answers.get_or_create_owned(&labels)
        };
        RouteMeter {
            noun,
            route: of_route.route.clone(),
            calls: self.calls.clone(),
            by_outcome: OnceLock::new(),
            seconds: self.call_seconds.get_or_create_owned(&of_route),
            running: self.running.clone(),
            answers: keeps.then(|| Answers {
                hit: answers("hit"),
                stale: answers("stale"),
                miss: answers("miss"),
            }),
            tally: Arc::default(),
            source,
        }
    }

    /// The handles of a source, for all its routes.
    #[must_use]
    pub fn source(&self, name: &str) -> SourceMeter {
        let labels = vec![("source", name.to_owned())];
        SourceMeter {
            name: name.to_owned(),
            seconds: self.attempt_seconds.get_or_create_owned(&labels),
            failures: self.failures.get_or_create_owned(&labels),
            retries: self.retries.get_or_create_owned(&labels),
        }
    }

    /// When the process began.
    #[must_use]
    pub const fn started(&self) -> SystemTime {
        self.started
    }

    /// The files were looked at; `result` is one of [`RELOADS`].
    pub fn reloaded(&self, result: &'static str) {
        self.reloads.get_or_create_owned(&vec![("result", result.to_owned())]).inc();
    }

    /// How often that came of it.
    #[must_use]
    pub fn reloads(&self, result: &'static str) -> u64 {
        self.reloads.get_or_create_owned(&vec![("result", result.to_owned())]).get()
    }

    /// The handles of the HTTP side.
    #[must_use]
    pub fn http(&self) -> HttpMeter {
        let class = |digit: &str| self.http.get_or_create_owned(&vec![("status", format!("{digit}xx"))]);
        HttpMeter(["1", "2", "3", "4", "5"].map(class))
    }

    /// All of it as OpenMetrics text.
    #[must_use]
    pub fn write(&self, figures: &Figures) -> String {
        let mut registry = Registry::with_prefix("sidegate");
        self.register(&mut registry);
        register_figures(&mut registry, figures);
        let now = SystemTime::now();
        let since = |then: SystemTime, end: SystemTime| end.duration_since(then).unwrap_or_default();
        let up = Gauge::<f64, AtomicU64>::default();
        up.set(since(self.started, now).as_secs_f64());
        registry.register_with_unit("uptime", "How long the process runs", Unit::Seconds, up);
        let start = Gauge::<f64, AtomicU64>::default();
        start.set(since(UNIX_EPOCH, self.started).as_secs_f64());
        registry.register_with_unit(
            "start_time",
            "When the process began, in Unix time",
            Unit::Seconds,
            start,
        );
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What runs", version);
        let mut text = String::with_capacity(16 << 10);
        // A String takes everything.
        let _ = encode(&mut text, &registry);
        text
    }

    fn register(&self, to: &mut Registry) {
        to.register("calls", "Calls by what came of them", self.calls.clone());
        let help = "How long calls took";
        to.register_with_unit("call_duration", help, Unit::Seconds, self.call_seconds.clone());
        to.register("calls_running", "Calls that run now", self.running.clone());
        let help = "Answers of routes that keep them, by where they came from";
        to.register("cache_answers", help, self.answers.clone());
        let help = "How long attempts on a source took";
        to.register_with_unit("attempt_duration", help, Unit::Seconds, self.attempt_seconds.clone());
        let help = "Attempts after which the source seemed ill";
        to.register("attempt_failures", help, self.failures.clone());
        to.register("retries", "Attempts that were made again", self.retries.clone());
        let help = "Looks at changed files, by what came of them";
        to.register("config_reloads", help, self.reloads.clone());
        to.register("connections", "Connections of clients over HTTP", self.connections.clone());
        to.register("http_requests", "HTTP requests by the class of their status", self.http.clone());
        let help = "Lists and fixed suggestions that were asked for too often";
        to.register("lists_rate_limited", help, self.lists_limited.clone());
        let help = "Lines of the audit that were lost, because the disk did not take them in time";
        to.register("audit_lost", help, self.audit_lost.clone());
        to.register("spans_exported", "Spans that a collector took", self.spans_exported.clone());
        let help = "Spans that were lost, because no collector took them in time";
        to.register("spans_lost", help, self.spans_lost.clone());
    }
}

/// Gauges that are made for one answer, so that a source that is gone is not in it.
fn register_figures(to: &mut Registry, figures: &Figures) {
    let Figures {
        generation,
        cache_entries,
        cache_bytes,
        sessions,
        streams,
        sources,
        config_ok,
        config_since,
    } = figures;
    let mut plain = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        to.register(name, help, gauge);
    };
    plain("config_generation", "The number of the configuration in use", *generation);
    let help = "1 if the files could be used at the last look, else 0";
    plain("config_last_reload_successful", help, u64::from(*config_ok));
    let help = "When the configuration in use was put to use, in Unix time";
    plain("config_last_reload_success_timestamp_seconds", help, *config_since);
    plain("cache_entries", "Answers that are kept", *cache_entries);
    plain("cache_size_bytes", "About how many bytes they take", *cache_bytes);
    plain("sessions", "Sessions of clients up to 2025-11-25", *sessions as u64);
    plain("listen_streams", "Streams of clients that listen", *streams as u64);
    let [breakers, places, used, open, idle] = std::array::from_fn(|_| Family::<Labels, Gauge>::default());
    let set = |family: &Family<Labels, Gauge>, source: &str, value: u32| {
        family.get_or_create(&vec![("source", source.to_owned())]).set(i64::from(value));
    };
    for (name, source) in sources {
        for state in BREAKER_STATES.into_iter().filter(|_| source.breaker.is_some()) {
            let labels = vec![("source", name.clone()), ("state", state.to_owned())];
            breakers.get_or_create(&labels).set(i64::from(source.breaker == Some(state)));
        }
        if let Some((all, now)) = source.places {
            set(&places, name, all);
            set(&used, name, now);
        }
        if let Some((connections, free)) = source.pool {
            set(&open, name, connections);
            set(&idle, name, free);
        }
    }
    to.register("breaker_state", "1 for the state that the circuit breaker of a source is in", breakers);
    to.register("places", "Attempts that a source gets at the same time", places);
    to.register("places_used", "Attempts that it gets now", used);
    to.register("pool_connections", "Open connections of a source", open);
    to.register("pool_idle", "Those of them that nobody uses", idle);
}

impl RouteMeter {
    /// The same, counting on where the route counted before a reload.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        Self { tally: before.map_or(self.tally, |before| before.tally.clone()), ..self }
    }

    /// Its numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Tally { calls, errors, cancelled, running } = &*self.tally;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            calls: read(calls),
            errors: read(errors),
            cancelled: read(cancelled),
            running: u64::try_from(running.load(Ordering::Relaxed)).unwrap_or(0),
        }
    }

    /// A call begins.
    pub fn begin(&self) {
        self.running.inc();
        self.tally.running.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is over; `slot` is the place of its outcome, below [`OUTCOMES`], and `outcome` always the same word for it.
    pub fn end(&self, slot: usize, outcome: &'static str, took: Duration) {
        self.running.dec();
        self.tally.running.fetch_sub(1, Ordering::Relaxed);
        self.tally.calls.fetch_add(1, Ordering::Relaxed);
        match outcome {
            "ok" => None,
            "cancelled" => Some(&self.tally.cancelled),
            _ => Some(&self.tally.errors),
        }
        .map(|number| number.fetch_add(1, Ordering::Relaxed));
        self.seconds.observe(took.as_secs_f64());
        let counter = || {
            let mut labels = OfRoute { noun: self.noun, route: self.route.clone() }.labels();
            labels.push(("outcome", outcome.to_owned()));
            self.calls.get_or_create_owned(&labels)
        };
        match self.by_outcome.get_or_init(Box::default).get(slot) {
            Some(known) => known.get_or_init(counter).inc(),
            None => counter().inc(),
        };
    }

    /// Answers by where they came from, of a route that keeps them.
    #[must_use]
    pub const fn answers(&self) -> Option<&Answers> {
        self.answers.as_ref()
    }
}

impl HttpMeter {
    /// A reply with this status.
    pub fn count(&self, status: u16) {
        if let Some(class) = usize::from(status / 100).checked_sub(1).and_then(|class| self.0.get(class)) {
            class.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_route_goes_on_counting_and_labels_are_escaped() {
        let metrics = Metrics::default();
        for _ in 0..2 {
            let route = metrics.route("tool", "a\"b\\", true, Some(Arc::new(metrics.source("db"))));
            route.begin();
            route.end(0, "ok", Duration::from_millis(3));
            route.answers().unwrap().hit.inc();
        }
        let (before, other) =
            (metrics.route("tool", "a", true, None), metrics.route("tool", "a", true, None));
        for outcome in ["ok", "rate_limited", "cancelled"] {
            before.begin();
            before.end(0, outcome, Duration::ZERO);
        }
        other.begin();
        let wanted = Counts { calls: 3, errors: 1, cancelled: 1, running: 0 };
        assert_eq!((before.counts(), other.counts().running), (wanted, 1));
        assert_eq!(other.after(Some(&before)).counts(), wanted);
        metrics.running.dec();
        let text = metrics.write(&Figures::default());
        let line = r#"sidegate_calls_total{noun="tool",route="a\"b\\",outcome="ok"} 2"#;
        assert!(text.contains(line), "{text}");
        for bucket in
            [r#"le="0.0025",noun="tool",route="a\"b\\"} 0"#, r#"le="0.005",noun="tool",route="a\"b\\"} 2"#]
        {
            assert!(text.contains(bucket), "{bucket}: {text}");
        }
        assert!(text.contains("sidegate_calls_running 0"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_source_that_is_gone_is_not_shown() {
        let metrics = Metrics::default();
        let source = SourceFigures { breaker: Some("open"), places: Some((8, 3)), pool: Some((4, 2)) };
        let figures = Figures { sources: vec![("db".to_owned(), source)], ..Figures::default() };
        let text = metrics.write(&figures);
        for line in [
            r#"sidegate_breaker_state{source="db",state="open"} 1"#,
            r#"sidegate_breaker_state{source="db",state="closed"} 0"#,
            r#"sidegate_places_used{source="db"} 3"#,
            r#"sidegate_pool_idle{source="db"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!metrics.write(&Figures::default()).contains("db"));
    }
}
