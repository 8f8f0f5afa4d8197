//! What is read of a live configuration at the moment somebody asks for the metrics.

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
        Figures { generation: self.generation, cache_entries, cache_bytes, sources, ..Figures::default() }
    }
}
