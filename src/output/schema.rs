//! The schema of a shaped result: what is advertised is what the configuration says, widened by what a cut result says besides.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::NEXT;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::Checks;
use crate::yaml::JsonNode;

/// A schema of results with what checks them. Equality and output are those of the schema.
#[derive(Clone)]
pub struct OutputSchema {
    /// What is advertised.
    pub value: Value,
    checks: Checks,
}

impl std::fmt::Debug for OutputSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

impl PartialEq for OutputSchema {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Serialize for OutputSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// The members of a cut result.
fn frame() -> [(&'static str, Value); 3] {
    [
        ("truncated", json!({ "type": "boolean", "description": "Whether something was left out." })),
        ("note", json!({ "type": "string", "description": "What was left out, and how to see it." })),
        (NEXT, json!({ "type": "string", "description": "Give this as `next` to see what follows." })),
    ]
}

impl OutputSchema {
    /// Compiles a schema; what is wrong with it is recorded.
    pub fn compile(written: &Spanned<JsonNode>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let problem = |message: String, path: &[&str]| {
            Diagnostic::error("bad-schema", message).at(written.at(path), "")
        };
        let value = written.to_value();
        if let Err((why, path)) = crate::params::sound_schema(&value) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            diagnostics.push(problem(format!("the schema of the result {why}"), &path));
            return None;
        }
        if value.get("type") != Some(&json!("object")) {
            let message = "the schema of a result has `type: object` at its root";
            let help = "clients take objects only; `select: \"{items: .}\"` makes one of a list";
            diagnostics
                .push(Diagnostic::error("bad-schema", message).at(written.at(&["type"]), "").help(help));
            return None;
        }
        let value = widened(value);
        match Checks::output(&value) {
            Ok(checks) => Some(Self { value, checks }),
            Err(error) => {
                let path = error.instance_path().to_string();
                let path: Vec<&str> = path.split('/').skip(1).collect();
                let message = format!("the schema of the result is not valid JSON Schema: {error}");
                diagnostics.push(problem(message, &path));
                None
            }
        }
    }

    /// Checks a result.
    ///
    /// # Errors
    /// Where it does not fit, for the log: places and keywords, no values.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let misfits = self.checks.misfits(value, 1);
        let Some(first) = misfits.first() else { return Ok(()) };
        Err(format!("`{}` does not fit `{}`", first.at(), first.keyword()))
    }
}

/// An object with the members of a cut one beside its own.
fn widened(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            for (name, schema) in frame() {
                properties.entry(name).or_insert(schema);
            }
        }
    }
    schema
}
