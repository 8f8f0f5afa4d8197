//! The JSON Schema of the configuration, made from its own types.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// The schema that `sidegate schema` prints and `schemas/gateway.schema.json` holds (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    let mut value = schema.to_value();
    allow_variables(&mut value);
    drop_defaults(&mut value);
    value
}

/// Numbers, booleans and words may also be written as `${…}`, which is resolved before they are read.
fn allow_variables(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(allow_variables),
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::Object(named) if is_named(key) => named.values_mut().for_each(allow_variables),
                    _ if key != "enum" && key != "const" && key != "default" => allow_variables(inner),
                    _ => {}
                }
            }
            let scalar = match map.get("type") {
                Some(Value::String(t)) => matches!(t.as_str(), "integer" | "number" | "boolean"),
                Some(Value::Array(ts)) => {
                    ts.iter().any(|t| matches!(t.as_str(), Some("integer" | "number" | "boolean")))
                        && !ts.iter().any(|t| t == "string")
                }
                _ => false,
            };
            if scalar {
                let mut own = serde_json::Map::new();
                for key in ["type", "format", "minimum", "maximum"] {
                    own.extend(map.remove(key).map(|v| (key.to_owned(), v)));
                }
                let variable = serde_json::json!({ "type": "string", "pattern": r"\$\{" });
                map.insert("anyOf".to_owned(), Value::Array(vec![Value::Object(own), variable]));
            }
        }
        _ => {}
    }
}

/// What stands in for an absent block says nothing to a reader; the defaults that matter are in the descriptions.
fn drop_defaults(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_defaults),
        Value::Object(map) => {
            map.retain(|key, inner| {
                key != "default" || !(inner.is_object() || inner.is_array() || inner.is_null())
            });
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::Object(named) if is_named(key) => named.values_mut().for_each(drop_defaults),
                    _ => drop_defaults(inner),
                }
            }
        }
        _ => {}
    }
}

/// Keywords whose members are names of our own, such as a parameter's key `default`, and not keywords again.
fn is_named(keyword: &str) -> bool {
    matches!(keyword, "properties" | "$defs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_called_default_stays_a_key() {
        let schema = schema();
        for block in ["Param", "PromptParam"] {
            let at = format!("/$defs/{block}/properties/default/description");
            assert!(schema.pointer(&at).is_some(), "{at}");
        }
    }
}
