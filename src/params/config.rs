//! Parameters as the user writes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::diag::Spanned;
use crate::yaml::JsonNode;

/// One parameter of a tool or resource: our keys, and JSON Schema keywords that reach `inputSchema` as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ParamConfig {
    /// Not required, and no value when absent.
    pub optional: bool,
    /// A pinned value; the model neither sees nor sets the parameter.
    pub fixed: Option<Spanned<JsonNode>>,
    /// What of the caller's identity it is; the model neither sees nor sets the parameter.
    pub from: Option<Spanned<String>>,
    /// JSON Schema keywords in the written order.
    pub schema: Vec<(Spanned<String>, Spanned<JsonNode>)>,
}

impl ParamConfig {
    /// Whether the model neither sees nor sets it.
    #[must_use]
    pub const fn hidden(&self) -> bool {
        self.fixed.is_some() || self.from.is_some()
    }

    /// The value of a schema keyword.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Option<&Spanned<JsonNode>> {
        self.schema.iter().find(|(k, _)| k.value == name).map(|(_, v)| v)
    }
}

/// The keys a parameter may have: ours, the keywords of JSON Schema 2020-12, and extensions (`x-…`).
const KEYS: &[&str] = &[
    "type",
    "description",
    "optional",
    "from",
    "const",
    "default",
    "enum",
    "minimum",
    "maximum",
    "pattern",
    "minLength",
    "maxLength",
    "format",
    "items",
    "title",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "prefixItems",
    "contains",
    "minContains",
    "maxContains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "dependentSchemas",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "enumNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$ref",
    "$defs",
    "$comment",
    "x-*",
];

impl<'de> Deserialize<'de> for ParamConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParamVisitor;
        impl<'de> Visitor<'de> for ParamVisitor {
            type Value = ParamConfig;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a parameter such as `{ type: string }`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParamConfig, A::Error> {
                let mut param = ParamConfig::default();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    match key.value.as_str() {
                        "optional" => param.optional = map.next_value()?,
                        "from" => param.from = Some(map.next_value()?),
                        "const" => param.fixed = Some(map.next_value()?),
                        _ => param.schema.push((key, map.next_value()?)),
                    }
                }
                Ok(param)
            }
        }
        deserializer.deserialize_struct("ParamConfig", KEYS, ParamVisitor)
    }
}

impl JsonSchema for ParamConfig {
    fn schema_name() -> Cow<'static, str> {
        "Param".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for key in KEYS.iter().filter(|k| !k.ends_with('*')) {
            let about = "A keyword of JSON Schema 2020-12; it reaches `inputSchema` as written.";
            let mut keyword = serde_json::json!({ "description": about });
            let kind = match *key {
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                    Some("number")
                }
                "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => Some("boolean"),
                "format" | "title" | "$ref" | "$comment" | "contentEncoding" | "contentMediaType" => {
                    Some("string")
                }
                _ if key.len() > 3 && (key.starts_with("min") || key.starts_with("max")) => Some("integer"),
                _ => None,
            };
            if let (Some(kind), Some(keyword)) = (kind, keyword.as_object_mut()) {
                keyword.insert("type".to_owned(), kind.into());
            }
            properties.insert((*key).to_owned(), keyword);
        }
        for (key, schema) in [
            (
                "type",
                serde_json::json!({ "description": "JSON type of the value.", "anyOf": [
                { "enum": ["string", "integer", "number", "boolean", "array", "object", "null"] },
                { "type": "array", "items": { "enum": ["string", "integer", "number", "boolean", "array", "object", "null"] } }
            ] }),
            ),
            (
                "description",
                serde_json::json!({ "type": "string", "description": "What the model is told about the value." }),
            ),
            (
                "optional",
                serde_json::json!({ "type": "boolean", "description": "Not required, and no value when absent." }),
            ),
            (
                "const",
                serde_json::json!({ "description": "A pinned value; the model neither sees nor sets the parameter." }),
            ),
            (
                "from",
                serde_json::json!({ "type": "string", "pattern": "^caller\\.(sub|name|scopes|claims\\..+)$", "description": "Bound from the caller's identity: `caller.sub`, `caller.name`, `caller.scopes` or `caller.claims.NAME`. The model neither sees nor sets the parameter, and a caller without it is refused." }),
            ),
            (
                "default",
                serde_json::json!({ "description": "Used when the argument is absent; makes the parameter not required." }),
            ),
            ("enum", serde_json::json!({ "type": "array", "description": "The values that are allowed." })),
            (
                "pattern",
                serde_json::json!({ "type": "string", "description": "Regular expression that a text must match somewhere; anchor it with ^ and $." }),
            ),
        ] {
            properties.insert(key.to_owned(), schema);
        }
        json_schema!({
            "description": "One parameter. Keys that are not ours (`optional`, `from`, `const`) are JSON Schema keywords and reach `inputSchema` as written. A parameter is required unless it has `default` or `optional`.",
            "type": "object",
            "properties": properties,
            "patternProperties": { "^x-": true },
            "additionalProperties": false
        })
    }
}

/// One argument of a prompt. Prompt arguments are texts (MCP 2026-07-28, server/prompts).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "PromptParam")]
pub struct PromptParamConfig {
    /// A name for people to read.
    pub title: Option<String>,
    /// What the argument is for.
    pub description: Option<String>,
    /// Bound from the caller's identity: `caller.sub`, `caller.name`, `caller.scopes` or `caller.claims.NAME`. Nobody sees or sets it.
    pub from: Option<Spanned<String>>,
    /// Used when the argument is absent; makes it not required.
    pub default: Option<Spanned<String>>,
    /// The values that are allowed.
    #[serde(rename = "enum")]
    pub allowed: Option<Vec<String>>,
    /// Not required; where it is absent it is `none`, and the templates must test for it.
    pub optional: bool,
}
