//! `/healthz`: the process is alive. `/readyz`: every source answers; says which do not, and nothing more of them; and whether the files have
//! been made unusable since.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::live::{Live, OpenSource};
use crate::telemetry::one_line;

/// How long one probe may take, and how long its answer is kept.
const PROBE: Duration = Duration::from_secs(2);
const KEEP: Duration = Duration::from_secs(1);

/// The latest answer, so that many askers cause one round of probes. The lock covers the probing on purpose: it is what
/// makes askers share it. No call takes it.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<Option<(Instant, bool, String)>>);

impl Probes {
    /// Whether all sources are ready, and the report as JSON.
    pub(super) async fn ready(&self, live: &Live) -> (bool, String) {
        let mut latest = self.0.lock().await;
        if let Some((at, ready, report)) = &*latest
            && at.elapsed() < KEEP
        {
            return (*ready, report.clone());
        }
        let (ready, report) = probe(live).await;
        *latest = Some((Instant::now(), ready, report.clone()));
        (ready, report)
    }
}

/// Says what is new of a source: probes come every few seconds for as long as it is down.
fn tell(source: &str, before: Option<bool>, wrong: Option<&str>) {
    match (wrong, before) {
        (None, Some(false)) => tracing::info!(source = %source, "source ready again"),
        (None, _) => {}
        (Some(detail), Some(false)) => tracing::debug!(source = %source, detail, "source still not ready"),
        (Some(detail), _) => tracing::warn!(source = %source, detail, "source not ready"),
    }
}

async fn probe(live: &Live) -> (bool, String) {
    let mut names: Vec<&String> = live.sources.keys().collect();
    names.sort();
    let probes = names.into_iter().filter_map(|name| {
        let OpenSource { source, guard, .. } = live.sources.get(name)?;
        Some(async move {
            let wrong = match tokio::time::timeout(PROBE, source.probe()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(one_line(&error.to_string())),
                Err(_) => Some(format!("no answer within {PROBE:?}")),
            };
            tell(name, guard.seen().map(|(well, _)| well), wrong.as_deref());
            guard.note(wrong.is_none());
            (name.clone(), wrong.is_none())
        })
    });
    let states = futures_util::future::join_all(probes).await;
    let ready = states.iter().all(|(_, up)| *up);
    let sources: Map<String, Value> =
        states.into_iter().map(|(name, up)| (name, json!(if up { "ready" } else { "down" }))).collect();
    // What is in use goes on serving: that its files have been made unusable is no reason to send calls elsewhere.
    let config = if live.history.load().refused.is_some() { "rejected" } else { "in_use" };
    let report =
        json!({ "ready": ready, "generation": live.generation, "config": config, "sources": sources });
    (ready, report.to_string())
}
