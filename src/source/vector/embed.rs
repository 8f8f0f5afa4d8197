//! Embedders: the text of a question to its vector. Vectors of a service are kept for a while, and one question that many ask at
//! once is asked of it once.

mod remote;

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::config::EmbedderConfig;
use super::hash::HashEmbedder;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;
use crate::source::{SourceError, limit as limit_of, time_limit};
use crate::units::Period;
use remote::Remote;

/// Vectors kept: this many, of this many bytes together, for this long.
const KEPT: u32 = 1024;
const KEPT_BYTES: u32 = 16 << 20;
const KEPT_FOR: Duration = Duration::from_secs(600);

/// A compiled embedder.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EmbedderPlan {
    OpenAi { url: String, model: String, api_key: Option<Secret>, dimensions: Option<u32>, timeout: Period },
    Hash { dimensions: usize },
}

/// A live embedder.
#[derive(Debug)]
pub(super) enum Embedder {
    Hash(HashEmbedder),
    OpenAi { remote: Remote, kept: Cache<String, Arc<[f32]>> },
}

/// Whether this is the plain URL of an HTTP service.
pub(super) fn service_url(written: &Spanned<String>, what: &str, diagnostics: &mut Diagnostics) -> bool {
    let fits = Url::parse(written).is_ok_and(|u| {
        matches!(u.scheme(), "http" | "https")
            && u.username().is_empty()
            && u.password().is_none()
            && u.query().is_none()
    });
    if !fits {
        let message =
            format!("{what} starts with `http://` or `https://` and holds no user, password or query");
        diagnostics.push(Diagnostic::error("bad-url", message).at(written.span, ""));
    }
    fits
}

impl EmbedderPlan {
    pub(super) fn compile(config: &Spanned<EmbedderConfig>, diagnostics: &mut Diagnostics) -> Option<Self> {
        match (&config.openai, &config.hash) {
            (Some(openai), None) => {
                if !service_url(&openai.base_url, "the base URL of an embedder", diagnostics) {
                    return None;
                }
                Some(Self::OpenAi {
                    url: format!("{}/embeddings", openai.base_url.trim_end_matches('/')),
                    model: openai.model.clone(),
                    api_key: openai.api_key.as_ref().map(|k| k.value.clone()),
                    dimensions: openai
                        .dimensions
                        .map(|d| limit_of(Some(d), 1, |d| d == 0, "dimensions", diagnostics)),
                    timeout: time_limit(openai.timeout, 10, "timeout", diagnostics),
                })
            }
            (None, Some(hash)) => {
                let dimensions = hash.dimensions.value;
                if !(16..=4096).contains(&dimensions) {
                    let message = "the built-in embedder makes vectors of 16 to 4096 numbers";
                    let problem = Diagnostic::error("bad-dimensions", message);
                    diagnostics.push(problem.at(hash.dimensions.span, ""));
                    return None;
                }
                Some(Self::Hash { dimensions: dimensions as usize })
            }
            _ => {
                let message = "an embedder is exactly one of `openai`, `hash`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(config.span, ""));
                None
            }
        }
    }

    /// The length of its vectors, if it is known.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::OpenAi { dimensions, .. } => dimensions.map(|d| d as usize),
            Self::Hash { dimensions } => Some(*dimensions),
        }
    }
}

impl Embedder {
    pub(super) fn open(plan: &EmbedderPlan) -> Result<Self, String> {
        if let EmbedderPlan::Hash { dimensions } = plan {
            return Ok(Self::Hash(HashEmbedder::new(*dimensions)));
        }
        Ok(Self::OpenAi { remote: Remote::open(plan)?, kept: kept() })
    }

    /// The vector of a text; `left` bounds the wait.
    pub(super) async fn embed(&self, text: &str, left: Duration) -> Result<Arc<[f32]>, SourceError> {
        let (remote, kept) = match self {
            Self::Hash(hash) => return Ok(hash.embed(text).into()),
            Self::OpenAi { remote, kept } => (remote, kept),
        };
        let limit = left.min(remote.timeout());
        let until = Instant::now() + limit;
        let ours = |error| SourceError::Embedder(Box::new(error));
        loop {
            let ask = async {
                let vectors = remote.embed(&[text], until).await?;
                Ok::<_, SourceError>(Arc::<[f32]>::from(vectors.into_iter().next().unwrap_or_default()))
            };
            // Whoever comes first asks, the others wait for that answer. A failure is told to all of them and not kept.
            let shared = kept.try_get_with_by_ref(text, ask);
            match tokio::time::timeout_at(until, shared).await {
                Ok(Ok(vector)) => return Ok(vector),
                Err(_) => return Err(ours(SourceError::Timeout(limit))),
                Ok(Err(error)) => match error.copy() {
                    // The time of whoever asked was up; ours is not.
                    SourceError::Timeout(_) if Instant::now() < until => {}
                    SourceError::Timeout(_) => return Err(ours(SourceError::Timeout(limit))),
                    error => return Err(ours(error)),
                },
            }
        }
    }
}

/// Room for vectors, bounded by their number, their bytes and their age.
fn kept() -> Cache<String, Arc<[f32]>> {
    Cache::builder()
        .max_capacity(u64::from(KEPT_BYTES))
        // A small vector weighs as if the bytes were shared out among all: so neither bound is passed.
        .weigher(|text: &String, vector: &Arc<[f32]>| {
            let bytes = text.len() + vector.len() * size_of::<f32>();
            u32::try_from(bytes).unwrap_or(u32::MAX).max(KEPT_BYTES / KEPT)
        })
        .time_to_live(KEPT_FOR)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn vectors_are_kept_up_to_a_number_and_up_to_their_bytes() {
        for (text, length, most) in
            [("a", 4, u64::from(KEPT)), ("a", 16_000, 262), (&*"a".repeat(32 << 10), 4, 512)]
        {
            let kept = kept();
            for n in 0..3000 {
                kept.insert(format!("{text}{n}"), vec![0.5; length].into()).await;
            }
            kept.run_pending_tasks().await;
            assert!((most / 2..=most).contains(&kept.entry_count()), "{length}: {}", kept.entry_count());
            assert!(kept.weighted_size() <= u64::from(KEPT_BYTES));
        }
    }
}
