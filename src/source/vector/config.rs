//! Vector sources and searches as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;
use crate::secret::Secret;
use crate::units::Period;
use crate::yaml::{Entries, JsonNode};

/// A collection and the embedder that its vectors were made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VectorSource")]
pub struct VectorConfig {
    /// A table in SQLite.
    pub sqlite: SqliteCollectionConfig,
    /// How nearness is measured. Default `cosine`.
    #[serde(default)]
    pub distance: DistanceConfig,
    /// What turns text into vectors.
    pub embedder: Spanned<EmbedderConfig>,
}

/// A table whose rows have a text and its vector. A full-text table named `<table>_fts` (FTS5, `content_rowid` = the row's
/// id) is used for text search if it is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SqliteCollection")]
pub struct SqliteCollectionConfig {
    /// `sqlite:path`, relative to this file's folder.
    pub url: Spanned<Secret>,
    /// The table (or view): letters, digits and `_`.
    pub table: Spanned<String>,
    /// A script that is run once, when the file is empty.
    pub init: Option<FileRef>,
    /// The column of the row's id. Default `id`.
    pub id: Option<Spanned<String>>,
    /// The column of the text. Default `content`.
    pub text: Option<Spanned<String>>,
    /// The column of the vector: 32-bit floats as a blob, or a JSON list. Default `embedding`.
    pub embedding: Option<Spanned<String>>,
    /// Columns that come back with a match and can be filtered by. Default: all others.
    pub metadata: Option<Vec<Spanned<String>>>,
}

/// Distance between vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Distance")]
pub enum DistanceConfig {
    /// Angle; score = 1 - distance, 1 is the same direction.
    #[default]
    Cosine,
    /// Euclidean; score = 1 / (1 + distance).
    L2,
}

/// An embedder: one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Embedder")]
pub struct EmbedderConfig {
    /// A service that speaks `POST /embeddings` (OpenAI, Ollama and others).
    pub openai: Option<OpenAiConfig>,
    /// Built in, no model: matches words and word parts, not meaning.
    pub hash: Option<HashConfig>,
}

/// An OpenAI-compatible embeddings service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OpenAiEmbedder")]
pub struct OpenAiConfig {
    /// Where it is, such as `http://127.0.0.1:11434/v1`.
    pub base_url: Spanned<String>,
    /// The model's name.
    pub model: String,
    /// Sent as a bearer token.
    pub api_key: Option<Spanned<Secret>>,
    /// The length that its vectors must have.
    pub dimensions: Option<Spanned<u32>>,
    /// The most time one embedding may take. Default `10s`.
    pub timeout: Option<Spanned<Period>>,
}

/// The built-in embedder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HashEmbedder")]
pub struct HashConfig {
    /// The length of the vectors, 16 to 4096.
    pub dimensions: Spanned<u32>,
}

/// How matches are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SearchMode")]
pub enum ModeConfig {
    /// By the vector; the score is that of `distance`.
    #[default]
    Vector,
    /// By words; the best match of an index has the score 1, and without an index it is the share of words found.
    Text,
    /// Both, merged by reciprocal rank; 1 is first in both.
    Hybrid,
}

/// A search on a vector source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VectorSearch")]
pub struct VectorOpConfig {
    /// Name of a vector source.
    pub source: Spanned<String>,
    /// The text to search for, usually one placeholder such as `"{question}"`.
    pub search: Spanned<String>,
    /// Matches at the most: a number from 1 to 1000, or the placeholder of an integer parameter. Default 10.
    pub limit: Option<Spanned<JsonNode>>,
    /// Equality on metadata columns. An absent argument leaves its condition out.
    #[serde(default, rename = "where")]
    pub filter: Entries<Spanned<JsonNode>>,
    /// How matches are found. Default `vector`.
    pub mode: Option<ModeConfig>,
    /// Matches with a lower score are left out.
    pub min_score: Option<f64>,
}
