//! What is recorded of a request and of each try against a source, while they run. Without an exporter, and of traces that are not
//! sampled, nothing is recorded, and where a request comes from is only passed on.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::otlp::Exporter;
use super::trace::{Point, Remote, SpanId, TraceId};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A whole number.
    Number(i64),
}

/// A key of the semantic conventions, or one of our own, with its value.
pub type Attribute = (&'static str, Value);

/// An attribute that is a text.
pub fn text(key: &'static str, value: impl Into<Cow<'static, str>>) -> Attribute {
    (key, Value::Text(value.into()))
}

/// An attribute that is a whole number.
#[must_use]
pub fn number(key: &'static str, value: impl Into<i64>) -> Attribute {
    (key, Value::Number(value.into()))
}

/// What a span is about.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name, of few.
    pub name: Cow<'static, str>,
    /// What is known at its beginning.
    pub attributes: Vec<Attribute>,
}

/// Which side of a request it is (OTLP's `SpanKind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Server = 2,
    Client = 3,
}

/// A span that has ended.
#[derive(Debug)]
pub struct Span {
    pub(super) at: Point,
    pub(super) parent: Option<SpanId>,
    pub(super) state: Option<Arc<str>>,
    /// Another span that the request came by.
    pub(super) link: Option<Point>,
    pub(super) kind: Kind,
    pub(super) about: About,
    /// Nanoseconds of Unix time.
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) failed: bool,
}

/// The trace that a request belongs to, if there is one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// The span of the request; where nothing is exported, the one that it comes from.
    at: Point,
    parent: Option<SpanId>,
    state: Option<Arc<str>>,
    exporter: Option<Arc<Exporter>>,
    /// Held for single operations only.
    learned: Mutex<Learned>,
}

/// What is learned of a request while it runs.
#[derive(Debug, Default)]
struct Learned {
    attributes: Vec<Attribute>,
    tool_failed: bool,
}

impl Trace {
    /// The trace of a request that comes from `parent`, or of nowhere.
    #[must_use]
    pub fn begin(parent: Option<Remote>, exporter: Option<&Arc<Exporter>>) -> Self {
        let (from, state) = parent.map_or((None, None), |p| (Some(p.at), p.state.map(Arc::from)));
        let at = match (from, exporter) {
            (None, None) => return Self::default(),
            // As a proxy that takes no part in it (section 4.3).
            (Some(from), None) => from,
            (Some(from), Some(_)) => from.next(),
            (None, Some(exporter)) => Point::root(|id| exporter.samples(id)),
        };
        let parent = from.map(|from| from.span);
        let (exporter, learned) = (exporter.cloned(), Mutex::default());
        Self(Some(Arc::new(Inner { at, parent, state, exporter, learned })))
    }

    /// Its id, for the log.
    #[must_use]
    pub fn id(&self) -> Option<TraceId> {
        self.0.as_ref().map(|inner| inner.at.trace)
    }

    /// Where its spans go, if they are recorded.
    fn recorded(&self) -> Option<(&Inner, &Arc<Exporter>)> {
        let inner = self.0.as_deref()?;
        Some((inner, inner.exporter.as_ref().filter(|_| inner.at.sampled())?))
    }

    /// A call of the request is over.
    pub fn outcome(&self, id: &dyn Display, outcome: &'static str, cache: Option<&'static str>) {
        let Some((inner, _)) = self.recorded() else { return };
        let mut attributes =
            vec![text("sidegate.request.id", id.to_string()), text("sidegate.outcome", outcome)];
        attributes.extend(cache.map(|state| text("sidegate.cache", state)));
        // Of several the last one, which is the outer one.
        inner.learned.lock().unwrap_or_else(PoisonError::into_inner).attributes = attributes;
    }

    /// The result says that the tool failed.
    pub fn tool_failed(&self) {
        if let Some((inner, _)) = self.recorded() {
            inner.learned.lock().unwrap_or_else(PoisonError::into_inner).tool_failed = true;
        }
    }

    /// The span of the request begins, if it is recorded.
    pub fn request(&self, link: Option<Point>, about: impl FnOnce() -> About) -> Option<OpenSpan> {
        let (inner, _) = self.recorded()?;
        Some(self.open(inner.at, inner.parent, Kind::Server, link, about()))
    }

    /// A try begins: what its request carries onward, and its span, if that is recorded.
    pub fn attempt(&self, about: impl FnOnce() -> Option<About>) -> (Onward, Option<OpenSpan>) {
        let Some(inner) = self.0.as_deref() else { return (Onward::default(), None) };
        let at = if inner.exporter.is_some() { inner.at.next() } else { inner.at };
        let onward = Onward { at: Some(at), state: inner.state.clone(), status: AtomicU16::new(0) };
        let about = self.recorded().and_then(|_| about());
        let span = about.map(|about| self.open(at, Some(inner.at.span), Kind::Client, None, about));
        (onward, span)
    }

    fn open(
        &self,
        at: Point,
        parent: Option<SpanId>,
        kind: Kind,
        link: Option<Point>,
        about: About,
    ) -> OpenSpan {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let state = self.0.as_ref().and_then(|inner| inner.state.clone());
        let span = Span { at, parent, state, link, kind, about, began, ended: began, failed: false };
        OpenSpan { trace: self.clone(), since: Instant::now(), span: Some(Box::new(span)) }
    }
}

/// What a try passes on to the source, and what it hears from it.
#[derive(Debug, Default)]
pub struct Onward {
    at: Option<Point>,
    state: Option<Arc<str>>,
    status: AtomicU16,
}

impl Onward {
    /// `traceparent` and `tracestate`.
    #[must_use]
    pub fn headers(&self) -> Option<(String, Option<&str>)> {
        Some((self.at?.to_string(), self.state.as_deref()))
    }

    /// An HTTP source answered.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// What an HTTP source answered last.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }
}

/// A span that has not ended. Dropped before, it was cancelled, or ended in a panic.
#[derive(Debug)]
pub struct OpenSpan {
    trace: Trace,
    since: Instant,
    span: Option<Box<Span>>,
}

impl OpenSpan {
    /// One more attribute.
    pub fn note(&mut self, attribute: Attribute) {
        if let Some(span) = &mut self.span {
            span.about.attributes.push(attribute);
        }
    }

    /// It is over; `error` is the kind of failure that it ended in.
    pub fn end(mut self, error: Option<Cow<'static, str>>) {
        self.close(error, true);
    }

    fn close(&mut self, error: Option<Cow<'static, str>>, failed: bool) {
        let Some(mut span) = self.span.take() else { return };
        let Some((inner, exporter)) = self.trace.recorded() else { return };
        let mut error = error;
        if span.kind == Kind::Server {
            let learned = std::mem::take(&mut *inner.learned.lock().unwrap_or_else(PoisonError::into_inner));
            span.about.attributes.extend(learned.attributes);
            if learned.tool_failed {
                error = error.or(Some("tool_error".into()));
            }
        }
        span.failed = failed && error.is_some();
        span.about.attributes.extend(error.map(|error| text("error.type", error)));
        let took = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        span.ended = span.began.saturating_add(took);
        exporter.take(span);
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.close(Some("panic".into()), true);
        } else {
            // Nobody waited for its end, which is nobody's failure.
            self.close(Some("cancelled".into()), false);
        }
    }
}
