//! From a source's reply to what the caller gets: select, cut, format. Pure; the same for every kind of source.

mod config;
mod convert;
mod cut;
mod escape;
mod fields;
mod format;
mod fuel;
mod held;
mod jq;
mod levels;
mod library;
mod listed;
mod marks;
mod natives;
mod next;
mod path;
mod schema;
mod shape;
mod sound;
mod text;
mod weight;

pub use config::{FormatConfig, OutputConfig, OutputPlan};
pub use cut::json_len;
pub use escape::push_string;
pub use fields::{Fewer, fewer};
pub use jq::{Jq, JqError};
pub use levels::deeper_than;
pub use next::{NEXT, mark, marked, values};
pub use path::JsonPath;
pub use schema::OutputSchema;
pub use shape::{ShapeError, shape};
pub use sound::{DEEPEST, sound};

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::units::to_hex;

/// Bytes are shown by their number, and told apart by a digest.
fn length<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let digest = to_hex(digest::digest(&digest::SHA256, data).as_ref());
    serializer.collect_str(&format_args!("{} bytes, sha256:{digest}", data.len()))
}

/// What a source gave for one operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// One JSON document, valid, as it came.
    Json(String),
    /// One JSON value.
    Value(Value),
    /// Rows or matches, each an object.
    Rows(Rows),
    /// Pages of an API, joined.
    Pages(Pages),
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
        #[serde(serialize_with = "length")]
        data: Bytes,
        /// Their media type.
        mime: String,
    },
    /// Success without content.
    Empty,
    /// What the caller gets, ready as it is.
    Outcome(Outcome),
}

/// A list of objects read from a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rows {
    /// The member that holds them in structured output: `rows` or `matches`.
    pub member: &'static str,
    /// The objects.
    pub items: Vec<Value>,
    /// Whether the source had more than the row cap let through.
    pub more: bool,
    /// The columns whose values in the last row say where the next page begins; empty where there are no pages.
    pub page: Vec<String>,
}

/// A document with a list that is one page or several of more.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pages {
    /// The document of the first page; at `items` stand the items of all.
    pub document: Value,
    /// Where the list is.
    pub items: JsonPath,
    /// Where each page begins.
    pub starts: Vec<PageStart>,
    /// What asks for the page after these, if there is one.
    pub more: Option<Value>,
    /// Whether it ends early because the page after these failed, which the next time it may not.
    pub partial: bool,
}

/// Where a page begins in the joined list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PageStart {
    /// Its first item.
    pub item: usize,
    /// What asks for it again; null for the first page of all.
    pub page: Value,
    /// How many items at its beginning were left out, as they were shown before.
    pub skipped: usize,
}

/// What the caller gets, before any protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// What a person or model reads.
    pub content: Vec<Content>,
    /// The same as one JSON document, where there is one.
    pub structured: Option<String>,
    /// Whether it tells the model of a failure.
    pub is_error: bool,
    /// Whether a part of it failed, so that it is good for this one time only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Where it comes from, on routes that keep answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<Cached>,
}

/// Where an answer of a route that keeps answers comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cached {
    /// From the source, or kept.
    pub state: CacheState,
    /// How old it is.
    pub age: Duration,
}

/// Whether an answer was fetched or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// Kept, and fresh.
    Hit,
    /// Kept, and no longer fresh.
    Stale,
    /// Fetched for this call, or for one that asked the same at the same time.
    Miss,
}

impl CacheState {
    /// The state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
        }
    }
}

/// One piece of content.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// A resource whose content comes along.
    Resource {
        /// Its URI.
        uri: String,
        /// Media type.
        mime: Option<String>,
        /// Its text,
        text: Option<String>,
        /// or its bytes in base64.
        blob: Option<String>,
    },
    /// A resource that is only named: a `resource_link` object of MCP.
    Link(Value),
}

impl Content {
    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Blob { data, mime } => data.len() + mime.len(),
            Self::Resource { uri, mime, text, blob } => {
                let all = [mime, text, blob].into_iter().flatten();
                uri.len() + all.map(String::len).sum::<usize>()
            }
            Self::Link(link) => json_len(link),
        }
    }
}

impl Outcome {
    /// Content and nothing else.
    #[must_use]
    pub fn new(content: Vec<Content>) -> Self {
        Self { content, ..Self::default() }
    }

    /// One text and nothing else.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(vec![Content::Text(text.into())])
    }
}
