//! Embedders: the text of a question to its vector.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::hash::HashEmbedder;
use super::plan::EmbedderPlan;
use crate::source::SourceError;
use crate::source::http::{self, Answer};

/// The largest answer of an embeddings service that is read.
const MAX_ANSWER: usize = 4 << 20;

/// A live embedder.
#[derive(Debug)]
pub(super) enum Embedder {
    Hash(HashEmbedder),
    OpenAi { client: reqwest::Client, plan: EmbedderPlan },
}

#[derive(Deserialize)]
struct Embeddings {
    data: Vec<Embedding>,
}

#[derive(Deserialize)]
struct Embedding {
    embedding: Vec<f32>,
}

impl Embedder {
    pub(super) fn open(plan: &EmbedderPlan) -> Result<Self, String> {
        Ok(match plan {
            EmbedderPlan::Hash { dimensions } => Self::Hash(HashEmbedder::new(*dimensions)),
            EmbedderPlan::OpenAi { url, .. } => {
                Self::OpenAi { client: http::client(url.starts_with("https:"))?, plan: plan.clone() }
            }
        })
    }

    /// The vector of a text; `left` bounds the wait.
    pub(super) async fn embed(&self, text: &str, left: Duration) -> Result<Vec<f32>, SourceError> {
        match self {
            Self::Hash(hash) => Ok(hash.embed(text)),
            Self::OpenAi { client, plan } => remote(client, plan, text, left).await,
        }
    }
}

async fn remote(
    client: &reqwest::Client,
    plan: &EmbedderPlan,
    text: &str,
    left: Duration,
) -> Result<Vec<f32>, SourceError> {
    let EmbedderPlan::OpenAi { url, model, api_key, dimensions, timeout } = plan else {
        return Err(SourceError::Internal("not a remote embedder".to_owned()));
    };
    let body = json!({ "model": model, "input": text }).to_string();
    let mut request = client.post(url).header("content-type", "application/json").body(body);
    if let Some(key) = api_key {
        request = request.bearer_auth(key.expose());
    }
    let Answer { status, body, .. } = http::fetch(request, MAX_ANSWER, left.min(timeout.0)).await?;
    if status != 200 {
        return Err(SourceError::Status { status, body: http::excerpt(&body) });
    }
    let answer: Embeddings = serde_json::from_slice(&body).map_err(|e| SourceError::BadReply {
        reason: "no embeddings from the embedder",
        detail: e.to_string(),
    })?;
    let vector = answer.data.into_iter().next().map(|d| d.embedding).unwrap_or_default();
    let expected = dimensions.map_or(vector.len(), |d| d as usize);
    if vector.is_empty() || vector.len() != expected {
        let detail = format!("{} numbers, {expected} are expected", vector.len());
        return Err(SourceError::BadReply {
            reason: "a vector of the wrong length from the embedder",
            detail,
        });
    }
    if vector.iter().any(|x| !x.is_finite()) {
        let reason = "a vector from the embedder with a number that is not finite";
        return Err(SourceError::BadReply { reason, detail: String::new() });
    }
    Ok(vector)
}
