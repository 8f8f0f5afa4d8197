//! Vector search: a question in words becomes a vector, and the nearest rows of a collection come back with their text,
//! score and metadata.

mod client;
mod config;
mod embed;
pub mod hash;
mod plan;
mod search;

pub use client::Vector;
pub use config::{
    DistanceConfig, EmbedderConfig, HashConfig, ModeConfig, OpenAiConfig, SqliteCollectionConfig,
    VectorConfig, VectorOpConfig,
};
pub use plan::{VectorOp, VectorPlan};
