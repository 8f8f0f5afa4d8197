//! Whether a parameter holds a secret, or has one in it somewhere: then none of it is written down.

use serde_json::Value;

/// The most references that are followed from one to the next.
const STEPS: usize = 1000;

/// Whether a schema, in the `whole` one that its references are about, says somewhere that a value or a part of it is a secret.
pub(super) fn within(schema: &Value, whole: &Value) -> bool {
    Search { whole, followed: Vec::new() }.schema(schema)
}

/// Whether the schema of all parameters says so of one of them elsewhere than in `properties`: then it is not known of which.
pub(super) fn beside(whole: &Value) -> bool {
    let members = whole.as_object().into_iter().flatten();
    let mut others =
        members.filter(|(key, _)| !matches!(key.as_str(), "properties" | "$defs" | "definitions"));
    others.any(|(key, value)| Search { whole, followed: Vec::new() }.keyword(key, value))
}

struct Search<'a> {
    whole: &'a Value,
    followed: Vec<&'a str>,
}

impl<'a> Search<'a> {
    fn keyword(&mut self, key: &str, value: &'a Value) -> bool {
        match (key, value) {
            ("writeOnly", Value::Bool(only)) => *only,
            ("format", Value::String(format)) => format == "password",
            ("$ref" | "$dynamicRef", Value::String(target)) => self.reference(target),
            // Data, not schemas.
            ("default" | "examples" | "const" | "enum", _) => false,
            // Names, not keywords.
            (
                "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
                Value::Object(named),
            ) => named.values().any(|schema| self.schema(schema)),
            (_, schema) => self.schema(schema),
        }
    }

    fn schema(&mut self, schema: &'a Value) -> bool {
        match schema {
            Value::Object(members) => members.iter().any(|(key, value)| self.keyword(key, value)),
            Value::Array(items) => items.iter().any(|item| self.schema(item)),
            _ => false,
        }
    }

    fn reference(&mut self, target: &'a str) -> bool {
        if self.followed.contains(&target) {
            return false;
        }
        if self.followed.len() >= STEPS {
            return true;
        }
        self.followed.push(target);
        let place = target.strip_prefix('#').filter(|place| place.is_empty() || place.starts_with('/'));
        // What is not found here may be anything in it.
        let found = place.and_then(|place| self.whole.pointer(place)).unwrap_or(self.whole);
        self.schema(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_found_wherever_a_schema_has_it() {
        let whole = json!({
            "properties": { "other": { "type": "string" } },
            "$defs": {
                "pw": { "type": "string", "format": "password" },
                "list": { "type": "array", "items": { "$ref": "#/$defs/list" } },
                "user": { "properties": { "list": { "$ref": "#/$defs/list" }, "pass": { "$ref": "#/$defs/pw" } } },
            },
        });
        for (schema, expected) in [
            (json!({ "type": "string", "format": "password" }), true),
            (
                json!({ "type": "object", "properties": { "pass": { "type": "string", "writeOnly": true } } }),
                true,
            ),
            (json!({ "type": "array", "items": { "format": "password" } }), true),
            (json!({ "anyOf": [{ "format": "password" }, { "type": "null" }] }), true),
            (json!({ "$ref": "#/$defs/pw" }), true),
            (json!({ "additionalProperties": { "$ref": "#/$defs/user" } }), true),
            (json!({ "$ref": "#/$defs/list" }), false),
            (json!({ "type": "string", "format": "date", "writeOnly": false }), false),
            (json!({ "type": "string", "enum": ["password"], "default": { "format": "password" } }), false),
            (
                json!({ "properties": { "format": { "type": "string" }, "writeOnly": { "type": "boolean" } } }),
                false,
            ),
        ] {
            assert_eq!(within(&schema, &whole), expected, "{schema}");
        }
        assert!(!beside(&whole));
        assert!(beside(&json!({ "allOf": [{ "properties": { "p": { "format": "password" } } }] })));
    }
}
