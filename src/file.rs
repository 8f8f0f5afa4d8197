//! A file that the configuration names: its path as written, its content as read at load.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::diag::Spanned;

/// The path of a file, relative to the folder of the configuration file, and its content. Only the loader reads
/// files; later phases see bytes. Two are equal when path and content are.
#[derive(Clone, PartialEq)]
pub struct FileRef {
    /// As written.
    pub path: Spanned<String>,
    /// Empty until the loader has read it.
    pub content: Arc<[u8]>,
}

impl FileRef {
    /// The content as text, if it is UTF-8.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.content).ok()
    }
}

impl fmt::Debug for FileRef {
    /// Without the content, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({} bytes)", self.path, self.content.len())
    }
}

impl Serialize for FileRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.path.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FileRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { path: Spanned::deserialize(deserializer)?, content: Arc::default() })
    }
}

impl JsonSchema for FileRef {
    fn schema_name() -> Cow<'static, str> {
        "File".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Path of a file, relative to the folder of this one. It is read when the configuration is loaded."
        })
    }
}
