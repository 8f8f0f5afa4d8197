//! What is kept of a call: counted when it is over, however it ends. One that is dropped before was cancelled.

use tokio::time::Instant;

use super::{CallError, Code, Outcome};
use crate::output::CacheState;
use crate::telemetry::metrics::RouteMeter;

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It has an answer.
    Ok,
    /// It has an answer that says that something went wrong.
    Error,
    /// Nobody waited for its end.
    Cancelled,
    /// It failed.
    Failed(Code),
}

impl End {
    /// Its place among the outcomes of a route.
    const fn slot(self) -> usize {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
            Self::Cancelled => 2,
            Self::Failed(code) => 3 + code as usize,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Failed(code) => code.as_str(),
        }
    }
}

/// One call, from its beginning to its end.
#[derive(Debug)]
pub struct Record<'a> {
    meter: &'a RouteMeter,
    started: Instant,
    ended: bool,
}

impl<'a> Record<'a> {
    /// A call begins.
    #[must_use]
    pub fn begin(meter: &'a RouteMeter) -> Self {
        meter.begin();
        Self { meter, started: Instant::now(), ended: false }
    }

    /// It is over.
    pub fn finish(self, result: Result<&Outcome, &CallError>) {
        let end = match result {
            Ok(outcome) if outcome.is_error => End::Error,
            Ok(_) => End::Ok,
            Err(error) => End::Failed(error.code),
        };
        let state = result.ok().and_then(|outcome| outcome.cached).map(|cached| cached.state);
        self.end_with(end, state);
    }

    /// It has an answer that is no [`Outcome`].
    pub fn succeed(self) {
        self.end_with(End::Ok, None);
    }

    fn end_with(mut self, end: End, cached: Option<CacheState>) {
        if let (Some(state), Some(answers)) = (cached, self.meter.answers()) {
            match state {
                CacheState::Hit => &answers.hit,
                CacheState::Stale => &answers.stale,
                CacheState::Miss => &answers.miss,
            }
            .inc();
        }
        self.close(end);
    }

    fn close(&mut self, end: End) {
        self.ended = true;
        self.meter.end(end.slot(), end.as_str(), self.started.elapsed());
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.close(End::Cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::telemetry::metrics::{Figures, Metrics, OUTCOMES};

    #[test]
    fn every_outcome_has_a_place_of_its_own() {
        let all = [End::Ok, End::Error, End::Cancelled].into_iter().chain(Code::ALL.map(End::Failed));
        let places: HashSet<usize> = all.clone().map(End::slot).collect();
        assert_eq!(places.len(), 3 + Code::ALL.len());
        assert!(places.into_iter().all(|place| place < OUTCOMES));
        assert_eq!(all.map(End::as_str).collect::<HashSet<_>>().len(), 3 + Code::ALL.len());
    }

    #[test]
    fn a_call_that_is_dropped_was_cancelled() {
        let metrics = Metrics::default();
        let route = metrics.route("tool", "get", false, None);
        drop(Record::begin(&route));
        let text = metrics.write(&Figures::default());
        assert!(text.contains(r#"route="get",outcome="cancelled"} 1"#), "{text}");
        assert!(text.contains("sidegate_calls_running 0"), "{text}");
    }
}
