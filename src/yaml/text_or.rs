//! A value that is written as a text, or as any plain value, or as a block with more in it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::JsonNode;
use crate::diag::Spanned;

/// The enum name by which the deserializer learns to choose by what was written.
pub(super) const TEXT_OR: &str = "$sidegate::TextOr";
/// The variants, in the order text, block.
pub(super) const VARIANTS: [&str; 2] = ["text", "block"];

/// A text or a block of keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "$sidegate::TextOr", rename_all = "snake_case")]
pub enum TextOr<T> {
    /// A text.
    Text(Spanned<String>),
    /// A block.
    Block(T),
}

impl<T: JsonSchema> JsonSchema for TextOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("TextOr{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": "string" }, block] })
    }
    fn inline_schema() -> bool {
        true
    }
}

/// The same for [`ValueOr`].
pub(super) const VALUE_OR: &str = "$sidegate::ValueOr";
/// Its variants, in the order value, block.
pub(super) const VALUE_VARIANTS: [&str; 2] = ["value", "block"];

/// A value that is not a map, or a block of keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "$sidegate::ValueOr", rename_all = "snake_case")]
pub enum ValueOr<T> {
    /// A text, number, word or list.
    Value(Spanned<JsonNode>),
    /// A block.
    Block(T),
}

impl<T: JsonSchema> JsonSchema for ValueOr<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("ValueOr{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let block = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [{ "type": ["string", "number", "boolean", "null", "array"] }, block] })
    }
    fn inline_schema() -> bool {
        true
    }
}
