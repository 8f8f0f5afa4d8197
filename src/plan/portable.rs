//! Warnings about what the protocol allows and real clients choke on: one such tool can hide a whole server from a client.

use serde_json::Value;

use super::{ServerPlan, ToolPlan};
use crate::config::{Config, ToolConfig};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};

/// Some clients put the server's name before the tool's and stop at 60 or 64 characters in all.
const MAX_NAME: usize = 40;
/// Some clients cut descriptions and instructions here, in bytes.
const MAX_DESCRIPTION: usize = 2048;
/// Some clients take this many tools in all.
const MAX_TOOLS: usize = 128;
/// Some clients refuse results that are longer, in bytes.
const MAX_RESULT: usize = 100 << 10;

fn warn(code: &'static str, message: String, at: Span, help: &str) -> Diagnostic {
    Diagnostic::warning(code, message).at(at, "").help(help)
}

/// Looks at the whole server.
pub(super) fn check_server(config: &Config, server: Option<&ServerPlan>, diagnostics: &mut Diagnostics) {
    let many = config.tools.iter().nth(MAX_TOOLS).filter(|_| !config.server.lists.frozen);
    if let Some((name, _)) = many {
        let message = format!("there are more than {MAX_TOOLS} tools");
        let help = "some clients take no more in one request; split the file into several servers, or set `server.lists.frozen`";
        diagnostics.push(warn("too-many-tools", message, name.span, help));
    }
    let instructions = server.and_then(|s| s.instructions.as_ref());
    if instructions.is_some_and(|i| i.len() > MAX_DESCRIPTION) {
        let message = format!("`server.instructions` are longer than {MAX_DESCRIPTION} bytes");
        let problem = Diagnostic::warning("long-description", message);
        diagnostics.push(problem.help("some clients cut them there"));
    }
}

/// Looks at one tool.
pub(super) fn check_tool(
    name: &Spanned<String>,
    tool: &ToolConfig,
    plan: &ToolPlan,
    diagnostics: &mut Diagnostics,
) {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if crate::name::is_valid(name) && (!plain || name.len() > MAX_NAME) {
        let message = format!("some clients do not take `{}` as the name of a tool", name.value);
        let help = "letters, digits, `_` and `-`, 40 at the most, go everywhere";
        diagnostics.push(warn("name-not-portable", message, name.span, help));
    }
    if plan.description.as_ref().is_some_and(|d| d.len() > MAX_DESCRIPTION) {
        let message = format!("the description of `{}` is longer than {MAX_DESCRIPTION} bytes", name.value);
        diagnostics.push(warn("long-description", message, name.span, "some clients cut it there"));
    }
    let at = tool.input_schema.as_ref().map_or(name.span, |s| s.span);
    let schema = &plan.route.params.schema.value();
    for key in ["oneOf", "anyOf", "allOf"] {
        if schema.get(key).is_some() {
            let message = format!("the input schema of `{}` has `{key}` at its root", name.value);
            let help = "some clients refuse every tool of the server for it; move it into a property";
            let problem = Diagnostic::warning("schema-not-portable", message);
            diagnostics.push(problem.within(at, format!("{key}:"), "").help(help));
        }
    }
    if let Some(path) = list_without_items(schema, "") {
        let message = format!("`{path}` in the input schema of `{}` is a list without `items`", name.value);
        let help = "some clients refuse such a tool; say what the list holds: `items: { type: string }`";
        diagnostics.push(warn("schema-not-portable", message, at, help));
    }
    if let Some(written) = tool.output.max_bytes.filter(|b| b.value.0 > MAX_RESULT) {
        let message = format!("some clients take no result of {}", written.value);
        let help = "about 100KiB go everywhere";
        diagnostics.push(warn("large-result", message, written.span, help));
    }
}

/// The path of the first `type: array` without `items` in a `properties` chain.
fn list_without_items(schema: &Value, path: &str) -> Option<String> {
    let is_list = schema.get("type").is_some_and(|t| t == "array");
    if is_list && schema.get("items").is_none() && schema.get("prefixItems").is_none() {
        return Some(path.to_owned());
    }
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let inner = properties
        .map(|(name, s)| (if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, s));
    let items = schema.get("items").map(|s| (format!("{path}[]"), s));
    inner.chain(items).find_map(|(path, s)| list_without_items(s, &path))
}
