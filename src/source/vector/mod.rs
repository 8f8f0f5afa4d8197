//! Vector search: a question in words becomes a vector, and the nearest rows of a collection come back with their text,
//! score and metadata.

mod client;
mod collection;
mod config;
mod embed;
mod filter;
pub mod hash;
mod pgvector;
mod plan;
mod qdrant;
mod search;
mod sqlite;
mod statement;

pub use client::Vector;
pub use config::{
    DistanceConfig, EmbedderConfig, HashConfig, ModeConfig, OpenAiConfig, PgvectorCollectionConfig,
    QdrantCollectionConfig, SqliteCollectionConfig, VectorConfig, VectorOpConfig,
};
pub use plan::{VectorOp, VectorPlan};
