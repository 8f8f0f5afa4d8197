//! What is read of a live configuration at the moment somebody asks for the metrics.

use std::time::UNIX_EPOCH;

use super::Live;
use crate::telemetry::metrics::{Figures, SourceFigures};

impl Live {
    /// The figures of the configuration, its cache and its sources.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (cache_entries, cache_bytes) = self.cache.size();
        let sources = self.sources.iter().map(|(name, open)| {
            let figures = SourceFigures {
                breaker: open.guard.breaker(),
                places: open.guard.places(),
                pool: open.source.connections(),
            };
            (name.clone(), figures)
        });
        let mut sources: Vec<_> = sources.collect();
        sources.sort_by(|a, b| a.0.cmp(&b.0));
        let known = self.history.load();
        Figures {
            generation: self.generation,
            cache_entries,
            cache_bytes,
            sessions: usize::try_from(self.metrics.sessions.get()).unwrap_or(0),
            streams: 0,
            sources,
            config_ok: known.refused.is_none(),
            config_since: known.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        }
    }
}
