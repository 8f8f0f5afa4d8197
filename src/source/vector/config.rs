//! Vector sources and searches as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;
use crate::secret::Secret;
use crate::source::sql::PoolConfig;
use crate::units::Period;
use crate::yaml::{Entries, JsonNode};

/// A collection and the embedder that its vectors were made with. Exactly one kind of collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VectorSource")]
pub struct VectorConfig {
    /// A table in SQLite.
    pub sqlite: Option<SqliteCollectionConfig>,
    /// A table in PostgreSQL with the extension pgvector.
    pub pgvector: Option<PgvectorCollectionConfig>,
    /// A collection in Qdrant.
    pub qdrant: Option<QdrantCollectionConfig>,
    /// How nearness is measured. Default `cosine`.
    pub distance: Option<Spanned<DistanceConfig>>,
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

/// A table or view with a text and its vector in each row, of any names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PgvectorCollection")]
pub struct PgvectorCollectionConfig {
    /// `postgres://user:password@host:port/database`, with the options of an SQL source.
    pub url: Spanned<Secret>,
    /// The table or view, `name` or `schema.name`; a name with a dot in it stands in double quotes.
    pub table: Spanned<String>,
    /// The column of the row's id. Default `id`.
    pub id: Option<Spanned<String>>,
    /// The column of the text. Default `content`.
    pub text: Option<Spanned<String>>,
    /// The column of the vector, a `vector` or `halfvec`. Default `embedding`.
    pub embedding: Option<Spanned<String>>,
    /// Columns that come back with a match and can be filtered by. Default: all others that hold no vector and no `tsvector`.
    pub metadata: Option<Vec<Spanned<String>>>,
    /// The text search configuration that words are read by, such as `english`. Default `simple`, which knows no language.
    pub language: Option<Spanned<String>>,
    /// A column of type `tsvector` to search words in, made with the same `language`. Default: the text itself.
    pub words: Option<Spanned<String>>,
    /// The connection pool.
    #[serde(default)]
    pub pool: PoolConfig,
    /// The most time one statement may take; it is then stopped in the database. Default `10s`.
    pub statement_timeout: Option<Spanned<Period>>,
}

/// Points with a text in their payload, over Qdrant's REST API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QdrantCollection")]
pub struct QdrantCollectionConfig {
    /// Where it is, such as `http://127.0.0.1:6333`.
    pub url: Spanned<String>,
    /// The collection or alias.
    pub collection: Spanned<String>,
    /// Sent as `api-key`.
    pub api_key: Option<Spanned<Secret>>,
    /// Which of the named vectors. Default: the one without a name.
    pub vector_name: Option<Spanned<String>>,
    /// The payload key of the text. Default `content`.
    pub text: Option<Spanned<String>>,
    /// Payload keys that come back with a match and can be filtered by. Default: all others.
    pub metadata: Option<Vec<Spanned<String>>>,
    /// The most time one request may take. Default `10s`.
    pub timeout: Option<Spanned<Period>>,
}

/// Distance between vectors. For Qdrant it says how to read the scores of a collection, and has to be the collection's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Distance")]
pub enum DistanceConfig {
    /// Angle; score = 1 - distance, 1 is the same direction.
    #[default]
    Cosine,
    /// Euclidean; score = 1 / (1 + distance).
    L2,
    /// Inner product; score = the product itself, of any size. Not on SQLite.
    InnerProduct,
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
    /// The most time one embedding may take, with up to two retries after 429, 5xx or a broken connection. Default `10s`.
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
    /// By words; the best match of a full-text index has the score 1, elsewhere it is the share of words found.
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
    /// Conditions on metadata columns, all of which must hold: `topic: "{topic}"` for equality, `topic: { in: "{topics}" }`, or bounds
    /// as in `year: { gte: "{from}", lt: 2030 }`. A condition is left out only if its parameter is `optional` and absent.
    #[serde(default, rename = "where")]
    pub filter: Entries<Spanned<JsonNode>>,
    /// How matches are found. Default `vector`.
    pub mode: Option<ModeConfig>,
    /// Matches with a lower score are left out.
    pub min_score: Option<f64>,
    /// How many candidates an HNSW index keeps while it looks, 1 to 1000: more find better and take longer. Default: the engine's.
    /// Not on SQLite, which reads every row.
    pub ef_search: Option<Spanned<u32>>,
}
