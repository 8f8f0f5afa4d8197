//! The JSON Schema as an editor uses it: it takes what runs, refuses what has the wrong form, and describes every key.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sidegate::config::schema;
use sidegate::diag::{Diagnostics, FileId, Spanned};
use sidegate::yaml::{self, JsonNode};

use crate::config::fixtures;

/// A file as the schema sees it: parsed, nothing resolved.
fn as_value(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).unwrap();
    let mut diagnostics = Diagnostics::default();
    let tree = yaml::parse(&text, FileId(0), &mut diagnostics).ok()?;
    let reading = yaml::from_tree::<Spanned<JsonNode>>(&tree, Vec::new(), &mut diagnostics);
    reading.value.map(|node| node.to_value())
}

#[test]
fn the_schema_takes_what_runs_and_refuses_what_has_the_wrong_form() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let example = ("example".to_owned(), PathBuf::from("gateway.example.yaml"));
    for (name, path) in fixtures("valid").into_iter().chain([example]) {
        let value = as_value(&path).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
    let invalid = fixtures("invalid");
    let refused: Vec<&String> = invalid
        .iter()
        .filter(|(_, path)| as_value(path).is_some_and(|value| !validator.is_valid(&value)))
        .map(|(name, _)| name)
        .collect();
    for name in [
        "bad_units",
        "body_mistakes",
        "credentials",
        "embedders",
        "lists",
        "lists_of_the_wrong_form",
        "missing_keys",
        "names",
        "no_method",
        "not_a_map",
        "not_yet_keys",
        "nothing_where_something",
        "param_mistakes",
        "prompts",
        "source_kinds",
        "static",
        "tool_kinds",
        "unknown_keys",
        "uris",
        "wrong_types",
        "wrong_word",
    ] {
        assert!(refused.iter().any(|r| *r == name), "the schema takes {name}; it refuses {refused:?}");
    }
}

fn describe(place: &str, schema: &Value, missing: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let text = property["description"].as_str().unwrap_or("");
        if text.is_empty() || text.lines().count() != 1 {
            missing.push(format!("{place}.{key}"));
        }
    }
    if schema["type"] == "object" && schema["additionalProperties"] != false {
        missing.push(format!("{place} is open"));
    }
}

#[test]
fn the_schema_describes_every_key_and_is_closed() {
    let schema = schema();
    let mut missing = Vec::new();
    describe("root", &schema, &mut missing);
    for (name, block) in schema["$defs"].as_object().unwrap() {
        assert!(block["description"].is_string(), "{name}");
        describe(name, block, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
