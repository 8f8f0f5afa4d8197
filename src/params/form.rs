//! Forms that a person fills in: parameters in the narrow shape that clients can show (MCP 2026-07-28, client/elicitation).

use serde_json::Value;

use super::ParamConfig;
use super::plan::{InputSchema, compile, validator};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::yaml::Entries;

/// Keywords that a field of a form may have.
const KEYWORDS: [&str; 18] = [
    "type",
    "title",
    "description",
    "default",
    "enum",
    "enumNames",
    "oneOf",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
    "anyOf",
    "x-*",
];
/// Types of a field.
const TYPES: [&str; 5] = ["string", "number", "integer", "boolean", "array"];
/// Formats that clients know.
const FORMATS: [&str; 4] = ["email", "uri", "date", "date-time"];

/// Compiles the fields of a form to a flat object schema.
pub fn compile_form(
    fields: &Entries<ParamConfig>,
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Option<InputSchema> {
    let before = diagnostics.errors();
    for (name, field) in fields.iter() {
        check(name, field, diagnostics);
    }
    let plan = compile(fields, owner, diagnostics)?;
    if diagnostics.errors() != before {
        return None;
    }
    let mut schema = plan.schema.value();
    if let Some(map) = schema.as_object_mut() {
        // Not in the schemas that clients take for a form.
        map.remove("additionalProperties");
        if !map.contains_key("properties") {
            map.insert("properties".to_owned(), Value::Object(serde_json::Map::new()));
        }
    }
    validator(&schema, owner).ok()
}

fn check(name: &Spanned<String>, field: &ParamConfig, diagnostics: &mut Diagnostics) {
    let mut refuse = |message: String, at, help: &str| {
        diagnostics.push(Diagnostic::error("bad-field", message).at(at, "").help(help.to_owned()));
    };
    if let Some(fixed) = &field.fixed {
        refuse(
            format!("the field `{}` is pinned", name.value),
            fixed.span,
            "a form only has what a person can fill in",
        );
        return;
    }
    for (key, _) in &field.schema {
        if !KEYWORDS.contains(&key.value.as_str()) {
            let help = "a field is a text, a number, a boolean, or a choice of texts";
            refuse(format!("clients cannot show `{}` in a form", key.value), key.span, help);
        }
    }
    let kind = field.keyword("type").map(|t| (t.to_value(), t.span));
    match &kind {
        Some((Value::String(kind), _)) if TYPES.contains(&kind.as_str()) => {
            let choice = field.keyword("items").map(|i| i.to_value()).unwrap_or_default();
            if kind == "array" && choice.get("enum").is_none() && choice.get("anyOf").is_none() {
                let help = "`items: { type: string, enum: [a, b] }`";
                refuse(format!("the list `{}` is not a choice of texts", name.value), name.span, help);
            }
        }
        Some((_, at)) => refuse(
            format!("the field `{}` has a type that clients cannot show", name.value),
            *at,
            "one of `string`, `number`, `integer`, `boolean`, `array` (of an `enum`)",
        ),
        None => refuse(
            format!("the field `{}` has no type", name.value),
            name.span,
            "one of `string`, `number`, `integer`, `boolean`, `array` (of an `enum`)",
        ),
    }
    if let Some(format) = field.keyword("format")
        && !format.to_value().as_str().is_some_and(|f| FORMATS.contains(&f))
    {
        refuse(
            "clients do not know this format".to_owned(),
            format.span,
            "one of `email`, `uri`, `date`, `date-time`",
        );
    }
}
