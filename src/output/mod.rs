//! From a source's reply to what the caller gets: select, cut, format. Pure; the same for every kind of source.

mod config;
mod cut;
mod format;
mod jq;
mod shape;

pub use config::{FormatConfig, OutputConfig, OutputPlan};
pub use jq::Jq;
pub use shape::{ShapeError, shape};

use bytes::Bytes;
use serde_json::Value;

/// What a source gave for one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// One JSON document, valid, as it came.
    Json(String),
    /// One JSON value.
    Value(Value),
    /// Rows or matches, each an object.
    Rows(Rows),
    /// Text that is not JSON.
    Text {
        /// The text.
        text: String,
        /// Its media type if the source said one.
        mime: Option<String>,
    },
    /// Bytes that are not text.
    Bytes {
        /// The bytes.
        data: Bytes,
        /// Their media type.
        mime: String,
    },
    /// Success without content.
    Empty,
}

/// A list of objects read from a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The member that holds them in structured output: `rows` or `matches`.
    pub member: &'static str,
    /// The objects.
    pub items: Vec<Value>,
    /// Whether the source had more than the row cap let through.
    pub more: bool,
}

/// What the caller gets, before any protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What a person or model reads.
    pub content: Vec<Content>,
    /// The same as one JSON document, where there is one.
    pub structured: Option<String>,
}

/// One piece of content.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// Bytes in base64 with their media type.
    Blob {
        /// Base64, standard alphabet with padding.
        data: String,
        /// Media type.
        mime: String,
    },
}

impl Outcome {
    /// One text and nothing else.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text(text.into())], structured: None }
    }
}
