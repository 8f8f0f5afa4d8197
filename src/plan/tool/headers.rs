//! `x-mcp-header`: which parameters a header repeats, and annotations that clients must drop a tool for (MCP 2026-07-28,
//! transports/streamable-http).

use serde_json::Value;

use super::HeaderParam;
use crate::config::ToolConfig;
use crate::diag::{Diagnostic, Diagnostics, Span};
use crate::params::{self, ParamsPlan};

/// The annotation.
const KEY: &str = "x-mcp-header";
/// Keywords whose value holds schemas by names of the author.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];
/// Keywords whose value is data, in which nothing is a schema.
const DATA: [&str; 5] = ["default", "examples", "const", "enum", "dependentRequired"];

/// What is wrong, and where in the schema.
struct Problem {
    path: Vec<String>,
    message: String,
    help: Option<&'static str>,
}

/// Finds the annotation in `properties` chains, and refuses it where it is wrong and everywhere else.
pub(super) fn compile(
    params: &ParamsPlan,
    tool: &ToolConfig,
    at: Span,
    diagnostics: &mut Diagnostics,
) -> Vec<HeaderParam> {
    // Which nearly no tool has.
    if !params.schema.json().get().contains(KEY) {
        return Vec::new();
    }
    let mut found = Found::default();
    let schema = params.schema.value();
    if schema.get(KEY).is_some() {
        found.misplaced(&[]);
    }
    found.chain(&schema, &mut Vec::new(), &mut Vec::new());
    found.refuse_twice();
    for Problem { mut path, message, help } in found.problems {
        path.push(KEY.to_owned());
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = match &tool.input_schema {
            Some(schema) => schema.at(&path),
            None => params::place(&tool.params, &path).unwrap_or(at),
        };
        let problem = Diagnostic::error("bad-mcp-header", message).at(place, "");
        diagnostics.push(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
    found.params
}

#[derive(Default)]
struct Found {
    params: Vec<HeaderParam>,
    problems: Vec<Problem>,
}

impl Found {
    /// A schema that only `properties` lead to: `names` are theirs, `path` is the way through the schema. Both are left as they came.
    fn chain(&mut self, schema: &Value, names: &mut Vec<String>, path: &mut Vec<String>) {
        let Some(map) = schema.as_object() else { return };
        for (keyword, inner) in map.iter().filter(|(keyword, _)| *keyword != "properties") {
            path.push(keyword.clone());
            self.elsewhere(keyword, inner, path);
            path.pop();
        }
        for (name, property) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            names.push(name.clone());
            path.extend(["properties".to_owned(), name.clone()]);
            if let Some(header) = property.get(KEY) {
                self.annotated(name, property, header, names, path);
            }
            self.chain(property, names, path);
            path.truncate(path.len().saturating_sub(2));
            names.pop();
        }
    }

    /// What stands under a keyword that leads away from where the annotation belongs.
    fn elsewhere(&mut self, keyword: &str, value: &Value, path: &mut Vec<String>) {
        match value {
            _ if DATA.contains(&keyword) => {}
            Value::Object(map) if NAMED.contains(&keyword) => {
                for (name, inner) in map {
                    path.push(name.clone());
                    self.aside(inner, path);
                    path.pop();
                }
            }
            other => self.aside(other, path),
        }
    }

    /// A schema, or a list of them, on which the annotation has no place.
    fn aside(&mut self, value: &Value, path: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if map.contains_key(KEY) {
                    self.misplaced(path);
                }
                for (keyword, inner) in map {
                    path.push(keyword.clone());
                    self.elsewhere(keyword, inner, path);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.aside(inner, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// The annotation on a parameter that may have it.
    fn annotated(&mut self, name: &str, property: &Value, header: &Value, names: &[String], path: &[String]) {
        let token = header.as_str().filter(|h| {
            !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        });
        let kind = property.get("type").and_then(Value::as_str);
        let message = match token {
            Some(token) if matches!(kind, Some("string" | "integer" | "boolean")) => {
                let header = format!("mcp-param-{}", token.to_ascii_lowercase());
                self.params.push(HeaderParam { header, path: names.to_vec() });
                return;
            }
            Some(_) => format!("`{KEY}` on `{name}` needs the type string, integer or boolean"),
            None => format!("the `{KEY}` of `{name}` is not a header name part"),
        };
        self.problems.push(Problem { path: path.to_vec(), message, help: None });
    }

    fn misplaced(&mut self, path: &[String]) {
        let message = match path {
            [] => format!("`{KEY}` stands on the whole schema, which is no single value"),
            _ => format!("`{KEY}` at `{}` belongs to no parameter that a header can repeat", path.join(".")),
        };
        let help =
            "clients drop such a tool; annotate a string, integer or boolean that only `properties` lead to";
        self.problems.push(Problem { path: path.to_vec(), message, help: Some(help) });
    }

    /// One header repeats one parameter.
    fn refuse_twice(&mut self) {
        for (index, param) in self.params.iter().enumerate() {
            if self.params.iter().take(index).any(|p| p.header == param.header) {
                let message = format!("two parameters have the same `{KEY}` (`{}`)", param.header);
                let path = param.path.iter().flat_map(|name| ["properties".to_owned(), name.clone()]);
                self.problems.push(Problem { path: path.collect(), message, help: None });
            }
        }
    }
}
