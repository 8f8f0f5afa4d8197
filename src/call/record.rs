//! What is kept of a call: counted when it is over, however it ends. One that is dropped before was cancelled.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Call, CallError, Caller, Code, Origin, Outcome};
use crate::output::CacheState;
use crate::params::{Arguments, ParamsPlan};
use crate::telemetry::audit::{Arguments as Noted, Audit, Entry, Slot};
use crate::telemetry::metrics::RouteMeter;
use crate::units::milliseconds;

/// The longest value that is recorded as it is, in bytes.
const MAX_VALUE: usize = 1024;

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

    /// Whether the call was let through, or why not. That nothing was found is an answer.
    fn decision(self) -> &'static str {
        match self {
            Self::Failed(code) if code.origin() == Origin::Caller && code != Code::NotFound => code.as_str(),
            Self::Ok | Self::Error | Self::Cancelled | Self::Failed(_) => "allowed",
        }
    }
}

/// What is learned of a call while it runs.
#[derive(Debug, Default)]
pub struct Seen {
    /// What of the arguments is wanted.
    wanted: Option<Noted>,
    arguments: OnceLock<(digest::Digest, Option<Box<RawValue>>)>,
    attempts: AtomicU32,
}

impl Seen {
    /// Takes what is wanted of the arguments.
    pub fn arguments(&self, params: &ParamsPlan, arguments: &Arguments) {
        let Some(wanted) = self.wanted.filter(|wanted| *wanted != Noted::None) else { return };
        let mut bytes = Vec::with_capacity(128);
        arguments.canonical(&mut bytes);
        let digest = digest::digest(&digest::SHA256, &bytes);
        let values = (wanted == Noted::Redacted).then(|| redacted(params, arguments));
        let values = values.and_then(|values| serde_json::value::to_raw_value(&values).ok());
        let _ = self.arguments.set((digest, values));
    }

    /// One more try on the source.
    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }
}

/// The values that the model gave, without secrets and with an end.
fn redacted(params: &ParamsPlan, arguments: &Arguments) -> Value {
    const HIDDEN: &str = "***";
    let mut out = Map::new();
    for (index, param) in params.params.iter().enumerate().filter(|(_, p)| !p.hidden()) {
        let Some(value) = arguments.get(index) else { continue };
        let shown = match value {
            _ if param.secret => json!(HIDDEN),
            Value::String(text) if text.len() > MAX_VALUE => {
                json!(format!("{}…", text.chars().take(MAX_VALUE / 4).collect::<String>()))
            }
            Value::Array(_) | Value::Object(_) if value.to_string().len() > MAX_VALUE => json!(HIDDEN),
            other => other.clone(),
        };
        out.insert(param.name.clone(), shown);
    }
    Value::Object(out)
}

/// One call, from its beginning to its end.
#[derive(Debug)]
pub struct Record<'a> {
    meter: &'a RouteMeter,
    audit: Option<Arc<Audit>>,
    call: &'a Call<'a>,
    started: Instant,
    ended: bool,
    /// What is learned of it while it runs.
    pub seen: Seen,
}

impl<'a> Record<'a> {
    /// A call begins.
    #[must_use]
    pub fn begin(meter: &'a RouteMeter, audit: &Slot, call: &'a Call<'a>) -> Self {
        meter.begin();
        let audit = audit.load_full();
        let seen = Seen { wanted: audit.as_ref().map(|a| a.options().arguments), ..Seen::default() };
        Self { meter, audit, call, started: Instant::now(), ended: false, seen }
    }

    /// It is over; gives how long it took.
    pub fn finish(self, result: Result<&Outcome, &CallError>) -> Duration {
        let end = match result {
            Ok(outcome) if outcome.is_error => End::Error,
            Ok(_) => End::Ok,
            Err(error) => End::Failed(error.code),
        };
        let state = result.ok().and_then(|outcome| outcome.cached).map(|cached| cached.state);
        self.end_with(end, state)
    }

    /// It has an answer that is no [`Outcome`].
    pub fn succeed(self) {
        self.end_with(End::Ok, None);
    }

    fn end_with(mut self, end: End, cached: Option<CacheState>) -> Duration {
        if let (Some(state), Some(answers)) = (cached, self.meter.answers()) {
            match state {
                CacheState::Hit => &answers.hit,
                CacheState::Stale => &answers.stale,
                CacheState::Miss => &answers.miss,
            }
            .inc();
        }
        self.close(end, cached)
    }

    fn close(&mut self, end: End, cached: Option<CacheState>) -> Duration {
        self.ended = true;
        let took = self.started.elapsed();
        self.meter.end(end.slot(), end.as_str(), took);
        self.call.trace.outcome(&self.call.id, end.as_str(), cached.map(CacheState::as_str));
        let Some(audit) = &self.audit else { return took };
        let Call { caller, ip, id, way, .. } = self.call;
        let (caller, proof) = match caller {
            Caller::Local => ("local", "none"),
            Caller::Anonymous => ("anonymous", "none"),
            // `key:ci`, …
            Caller::Known(who) => (who.sub.as_str(), who.key.split(':').next().unwrap_or_default()),
        };
        let issuer = match self.call.caller {
            Caller::Known(who) if proof == "jwt" => who.claims.get("iss").and_then(Value::as_str),
            _ => None,
        };
        let noted = self.seen.arguments.get();
        audit.note(&Entry {
            request: std::str::from_utf8(&id.letters()).unwrap_or_default(),
            trace_id: self.call.trace.id(),
            caller,
            proof,
            issuer,
            ip: *ip,
            transport: way.transport,
            era: way.era,
            noun: self.meter.noun,
            route: &self.meter.route,
            arguments_sha256: noted.map(|(digest, _)| digest.as_ref()),
            arguments: noted.and_then(|(_, values)| values.as_deref()),
            decision: end.decision(),
            outcome: end.as_str(),
            source: self.meter.source.as_ref().map(|source| source.name.as_str()),
            cache: cached.map(CacheState::as_str),
            attempts: self.seen.attempts.load(Ordering::Relaxed),
            ms: milliseconds(took),
        });
        took
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.close(End::Cancelled, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::call::{RequestId, Talk, Way};
    use crate::telemetry::metrics::{Figures, Metrics, OUTCOMES};
    use crate::telemetry::span::Trace;

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
        let call = Call {
            caller: &Caller::Local,
            ip: None,
            id: RequestId::fresh(),
            talk: Talk::silent(),
            way: Way { transport: "local", era: "modern" },
            trace: Trace::default(),
        };
        drop(Record::begin(&route, &Slot::empty(), &call));
        let text = metrics.write(&Figures::default());
        assert!(text.contains(r#"route="get",outcome="cancelled"} 1"#), "{text}");
        assert!(text.contains("sidegate_calls_running 0"), "{text}");
    }
}
