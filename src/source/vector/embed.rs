//! Embedders: the text of a question to its vector. Vectors of a service are kept for a while, and one question that many ask at
//! once is asked of it once.

mod remote;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::config::EmbedderConfig;
use super::hash::HashEmbedder;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::policy::store::Store;
use crate::secret::Secret;
use crate::source::{SourceError, limit as limit_of, time_limit};
use crate::units::Period;
use remote::Remote;

/// Vectors kept: this many, of this many bytes together, for this long.
const KEPT: usize = 1024;
const KEPT_BYTES: usize = 16 << 20;
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
    OpenAi { remote: Remote, kept: Box<Store<Arc<[f32]>>> },
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
        Ok(Self::OpenAi { remote: Remote::open(plan)?, kept: Box::new(kept()) })
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
                let vector = Arc::<[f32]>::from(vectors.into_iter().next().unwrap_or_default());
                Ok::<_, SourceError>(Arc::new(vector))
            };
            // Whoever comes first asks, the others wait for that answer. A failure is told to all of them and not kept.
            let shared = kept.get_or_fetch(text.as_bytes(), |_| true, ask);
            match tokio::time::timeout_at(until, shared).await {
                Ok(Ok(vector)) => return Ok(Arc::clone(&vector)),
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
fn kept() -> Store<Arc<[f32]>> {
    // A small vector weighs as if the bytes were shared out among all: so neither bound is passed.
    let weigh = |text: &[u8], vector: &Arc<[f32]>| {
        (text.len() + vector.len() * size_of::<f32>()).max(KEPT_BYTES / KEPT)
    };
    Store::new(KEPT_BYTES as u64, weigh, Some(|_| KEPT_FOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_kept_up_to_a_number_and_up_to_their_bytes() {
        for (text, length, most) in
            [("a", 4, KEPT as u64), ("a", 16_000, 262), (&*"a".repeat(32 << 10), 4, 512)]
        {
            let kept = kept();
            for n in 0..3000 {
                kept.insert(format!("{text}{n}").into_bytes().into(), Arc::new(vec![0.5; length].into()));
            }
            let (count, weight) = kept.size();
            assert!((most / 2..=most).contains(&count), "{length}: {count}");
            assert!(weight <= KEPT_BYTES as u64);
        }
    }
}
