//! A value as plain text: what it says, without the signs of JSON.

use serde_json::Value;

/// How deep lines are set in before the rest is written as JSON.
const MAX_DEPTH: usize = 8;

/// A value as it is; a list one item a line; an object as `name: value` lines, with what is in them set in below.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => {
            let mut out = String::new();
            write(&mut out, other, 0);
            out
        }
    }
}

/// Items one after the other.
pub(super) fn of_items(items: &[Value]) -> String {
    let mut out = String::new();
    list(&mut out, items, 0);
    out
}

fn list(out: &mut String, items: &[Value], depth: usize) {
    // Items of several lines are held apart by an empty one.
    let between = if items.iter().all(is_line) { "\n" } else { "\n\n" };
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push_str(between);
        }
        write(out, item, depth);
    }
}

fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if depth < MAX_DEPTH => list(out, items, depth),
        Value::Object(map) if depth < MAX_DEPTH => {
            for (n, (name, inner)) in map.iter().enumerate() {
                if n > 0 {
                    out.push('\n');
                }
                indent(out, depth);
                out.push_str(&name.replace(['\n', '\r'], " "));
                out.push(':');
                if is_line(inner) {
                    out.push(' ');
                    out.push_str(&line(inner));
                } else {
                    out.push('\n');
                    write(out, inner, depth + 1);
                }
            }
        }
        Value::String(text) => {
            // Every line of it is set in, so that none can pass for a line of its surroundings.
            for (n, part) in text.split(['\n', '\r']).enumerate() {
                if n > 0 {
                    out.push('\n');
                }
                indent(out, depth);
                out.push_str(part);
            }
        }
        other => {
            indent(out, depth);
            out.push_str(&other.to_string());
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// Whether it stands on one line.
fn is_line(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => !text.contains(['\n', '\r']),
        _ => true,
    }
}

fn line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(_) | Value::Object(_) => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_read_as_lines() {
        for (value, expected) in [
            (json!("a\nb"), "a\nb"),
            (json!(1.5), "1.5"),
            (json!(null), "null"),
            (json!(["a", 1, true]), "a\n1\ntrue"),
            (json!({ "a": 1, "b": "x y", "c": null, "d": [] }), "a: 1\nb: x y\nc: \nd: none"),
            (json!({ "a": { "b": [1, 2] } }), "a:\n  b:\n    1\n    2"),
            (json!([{ "a": 1, "b": 2 }, { "a": 3 }]), "a: 1\nb: 2\n\na: 3"),
            (json!({ "a": "one\ntotal: 5" }), "a:\n  one\n  total: 5"),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
