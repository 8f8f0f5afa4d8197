//! Any JSON value written in YAML, with the place of every part: request bodies, constants, schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value};

use crate::diag::{Span, Spanned};

/// A JSON value whose parts know their place.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonNode {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// A number as written.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Spanned<JsonNode>>),
    /// A map in written order.
    Map(Vec<(Spanned<String>, Spanned<JsonNode>)>),
}

impl JsonNode {
    /// The plain value without places.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Number(n) => Value::Number(n.clone()),
            Self::Text(t) => Value::String(t.clone()),
            Self::List(items) => Value::Array(items.iter().map(|i| i.to_value()).collect()),
            Self::Map(entries) => Value::Object(
                entries.iter().map(|(k, v)| (k.value.clone(), v.to_value())).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl Spanned<JsonNode> {
    /// The place of the value at `path` (keys and list indices), or of the nearest one around it that there is.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Span {
        let Some((first, rest)) = path.split_first() else { return self.span };
        let inner = match &self.value {
            JsonNode::Map(entries) => entries.iter().find(|(k, _)| k.value == *first).map(|(_, v)| v),
            JsonNode::List(items) => first.parse().ok().and_then(|index: usize| items.get(index)),
            _ => None,
        };
        inner.map_or(self.span, |inner| inner.at(rest))
    }
}

impl Serialize for JsonNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;
        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = JsonNode;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<JsonNode, E> {
                Ok(JsonNode::Null)
            }
            fn visit_none<E>(self) -> Result<JsonNode, E> {
                Ok(JsonNode::Null)
            }
            fn visit_bool<E>(self, v: bool) -> Result<JsonNode, E> {
                Ok(JsonNode::Bool(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<JsonNode, E> {
                Ok(JsonNode::Number(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<JsonNode, E> {
                Ok(JsonNode::Number(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<JsonNode, E> {
                Ok(Number::from_f64(v).map_or(JsonNode::Null, JsonNode::Number))
            }
            fn visit_str<E>(self, v: &str) -> Result<JsonNode, E> {
                Ok(JsonNode::Text(v.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonNode, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(JsonNode::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonNode, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(JsonNode::Map(entries))
            }
        }
        deserializer.deserialize_any(JsonVisitor)
    }
}

impl JsonSchema for JsonNode {
    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
    fn inline_schema() -> bool {
        true
    }
}
