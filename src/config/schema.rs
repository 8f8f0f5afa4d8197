//! The JSON Schema of the configuration, made from its own types. The program has the text that was made, and nothing that makes it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Config;
use crate::yaml::GUARDS;

/// What `sidegate schema` prints (draft 2020-12). A test holds it equal to [`schema`].
pub const SCHEMA: &str = include_str!("../../schemas/gateway.schema.json");

/// The schema as it follows from the types. Making it takes some 600 KiB of code, so the program itself does not call this.
#[must_use]
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    let mut value = schema.to_value();
    allow_variables(&mut value);
    drop_defaults(&mut value);
    join_lines(&mut value);
    exactly_one(&mut value);
    names(&mut value);
    for place in NONE_OR_BLOCK {
        if let Some(word) = value.pointer_mut(&format!("{place}/anyOf/0/anyOf/0")) {
            *word = json!({ "const": "none" });
        }
    }
    no_nothing(&mut value);
    value
}

/// Keys that take a block, or the word `none`.
const NONE_OR_BLOCK: [&str; 5] = [
    "/properties/auth",
    "/$defs/Policy/properties/auth",
    "/$defs/Policy/properties/rate_limit",
    "/$defs/Policy/properties/cache",
    "/$defs/Lists/properties/rate_limit",
];

/// Blocks that hold exactly one of some keys, whatever else they hold.
const ONE_OF: [(&str, &[&str]); 23] = [
    ("Source", &["rest", "sql", "vector"]),
    ("Tool", &["rest", "sql", "vector", "static"]),
    ("Resource", &["rest", "sql", "vector", "static"]),
    ("Data", &["rest", "sql", "vector", "static"]),
    (
        "Static",
        &[
            "text", "blob", "file", "json", "image", "audio", "resource", "link", "content", "error",
            "template",
        ],
    ),
    ("Content", &["text", "image", "audio", "resource", "link"]),
    ("Media", &["data", "file"]),
    ("EmbeddedResource", &["text", "blob", "file"]),
    ("Icon", &["src", "file"]),
    ("Step", &["progress", "log", "sleep", "ask", "require", "announce"]),
    ("Question", &["form", "sample", "roots"]),
    ("SampleMessage", &["user", "assistant"]),
    ("Complete", &["values", "rest", "sql", "vector"]),
    ("Credentials", &["bearer", "basic", "api_key", "client_credentials", "token_exchange", "aws_sigv4"]),
    ("ApiKeyCredentials", &["header", "query"]),
    ("ApiKey", &["key", "sha256", "argon2"]),
    ("ClientCertificate", &["san", "subject", "sha256"]),
    ("VectorSource", &["sqlite", "pgvector", "qdrant"]),
    ("Embedder", &["openai", "hash"]),
    ("Message", &["user", "assistant"]),
    ("RestRequest", &["get", "post", "put", "patch", "delete", "head"]),
    ("Prompt", &["messages"]),
    ("RestPage", &["cursor", "number", "offset", "link_header"]),
];

/// Keys of a request that cannot stand together.
const NEVER: [[&str; 2]; 31] = [
    ["json", "form"],
    ["json", "text"],
    ["form", "text"],
    ["json", "body"],
    ["form", "body"],
    ["text", "body"],
    ["multipart", "body"],
    ["get", "body"],
    ["head", "body"],
    ["json", "multipart"],
    ["form", "multipart"],
    ["text", "multipart"],
    ["get", "json"],
    ["get", "form"],
    ["get", "text"],
    ["get", "multipart"],
    ["head", "multipart"],
    ["head", "json"],
    ["head", "form"],
    ["head", "text"],
    ["get", "idempotency_key"],
    ["head", "idempotency_key"],
    ["put", "idempotency_key"],
    ["delete", "idempotency_key"],
    ["json", "xml"],
    ["form", "xml"],
    ["multipart", "xml"],
    ["text", "xml"],
    ["body", "xml"],
    ["get", "xml"],
    ["head", "xml"],
];

fn exactly_one(schema: &mut Value) {
    if let Some(request) = schema.pointer_mut("/$defs/RestRequest").and_then(Value::as_object_mut) {
        let pairs: Vec<Value> = NEVER.iter().map(|pair| json!({ "required": pair })).collect();
        request.insert("not".to_owned(), json!({ "anyOf": pairs }));
    }
    for (block, keys) in ONE_OF {
        if let Some(block) = schema.pointer_mut(&format!("/$defs/{block}")).and_then(Value::as_object_mut) {
            match keys {
                [key] => block.insert("required".to_owned(), json!([key])),
                keys => {
                    let each = keys.iter().map(|key| json!({ "required": [key] })).collect();
                    block.insert("oneOf".to_owned(), each)
                }
            };
        }
    }
}

/// Maps whose keys are names.
const NAMED: [(&str, &str); 8] = [
    ("/properties/sources", NAME),
    ("/properties/tools", NAME),
    ("/properties/prompts", NAME),
    ("/properties/resources", "^[A-Za-z][A-Za-z0-9+.-]*:[^ ]*$"),
    ("/$defs/Tool/properties/params", NAME),
    ("/$defs/Resource/properties/params", NAME),
    ("/$defs/Prompt/properties/params", NAME),
    ("/$defs/Prompt/properties/data", NAME),
];
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_.-]{0,127}$";

fn names(schema: &mut Value) {
    for (place, pattern) in NAMED {
        if let Some(map) = schema.pointer_mut(place).and_then(Value::as_object_mut) {
            map.insert("propertyNames".to_owned(), json!({ "pattern": pattern }));
        }
    }
}

/// A description is one line a paragraph, whatever the width of the source it was written in.
fn join_lines(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(join_lines),
        Value::Object(map) => {
            for (key, inner) in map {
                match inner {
                    Value::String(text) if key == "description" => {
                        let paragraphs = text.split("\n\n").map(|p| p.replace('\n', " "));
                        *text = paragraphs.collect::<Vec<_>>().join("\n\n");
                    }
                    inner => join_lines(inner),
                }
            }
        }
        _ => {}
    }
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
                let mut own = Map::new();
                for key in ["type", "format", "minimum", "maximum"] {
                    own.extend(map.remove(key).map(|v| (key.to_owned(), v)));
                }
                let variable = json!({ "type": "string", "pattern": r"\$\{" });
                map.insert("anyOf".to_owned(), Value::Array(vec![Value::Object(own), variable]));
            }
            if let Some(words) = words(map) {
                let variable = json!({ "type": "string", "pattern": r"\$\{" });
                map.remove("oneOf");
                map.insert("anyOf".to_owned(), json!([{ "oneOf": words }, variable]));
            }
        }
        _ => {}
    }
}

/// The choices of a schema that is one of several words.
fn words(map: &Map<String, Value>) -> Option<Value> {
    let choices = map.get("oneOf")?;
    let all = choices.as_array()?.iter().all(|choice| choice.get("const").is_some_and(Value::is_string));
    all.then(|| choices.clone())
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

/// Nothing is no value of a key that limits or guards something.
fn no_nothing(value: &mut Value) {
    let own = |block: &mut Value| {
        let keys = block.get_mut("properties").and_then(Value::as_object_mut);
        let keys = keys.into_iter().flat_map(Map::iter_mut);
        keys.filter(|(key, _)| GUARDS.contains(&key.as_str())).for_each(|(_, schema)| drop_null(schema));
    };
    own(value);
    if let Some(named) = value.get_mut("$defs").and_then(Value::as_object_mut) {
        named.values_mut().for_each(own);
    }
}

/// Takes null out of the choices of a schema, at whatever depth of choices it stands.
fn drop_null(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            map.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
        choices.retain(|choice| choice != &json!({ "type": "null" }));
        choices.iter_mut().for_each(drop_null);
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            map.remove("anyOf");
            map.extend(only);
        }
    }
}

/// Keywords whose members are names of our own, such as a parameter's key `default`, and not keywords again.
fn is_named(keyword: &str) -> bool {
    matches!(keyword, "properties" | "$defs")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_schema_is_the_one_of_the_types() {
        let made = format!("{:#}\n", schema());
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/gateway.schema.json");
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&committed, &made).unwrap();
        }
        let committed = fs::read_to_string(committed).unwrap();
        assert!(committed == made, "it differs; `just schema --update` writes it anew");
    }

    #[test]
    fn a_key_that_is_called_default_stays_a_key() {
        let schema = schema();
        for block in ["Param", "PromptParam"] {
            let at = format!("/$defs/{block}/properties/default/description");
            assert!(schema.pointer(&at).is_some(), "{at}");
        }
    }
}
