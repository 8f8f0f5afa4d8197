//! Paths into a JSON value, in jq's way of writing them: `.a.b`, `."a b"`, `.[]`, `.[0]`, and `.. | .a` for `.a` at every depth.

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// What is put in the place of a text that is kept back; any other value becomes null.
const REDACTED: &str = "[redacted]";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    Each,
    /// The value and everything in it.
    Deep,
}

/// A path. Equality and output are those of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

impl Serialize for JsonPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonPath {
    /// A path that may lead to many places.
    pub fn compile(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let steps = steps(&text.value);
        let help =
            "a path has names after dots, such as `.customer.email`, `.[].card`, `.\"a b\"` or `.. | .email`";
        Self::checked(text, steps, help, diagnostics)
    }

    /// The whole value.
    #[must_use]
    pub fn whole() -> Self {
        Self { text: ".".to_owned(), steps: Vec::new() }
    }

    /// One member.
    #[must_use]
    pub fn name(name: &str) -> Self {
        Self { text: format!(".{}", Value::from(name)), steps: vec![Step::Name(name.to_owned())] }
    }

    /// A path that leads to one place: of names and numbers.
    pub fn one(text: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let single = |s: &Vec<Step>| s.iter().all(|s| matches!(s, Step::Name(_) | Step::Index(_)));
        let steps = steps(&text.value).filter(single);
        Self::checked(text, steps, "a path of names leads to one place, such as `.meta.next`", diagnostics)
    }

    fn checked(
        text: &Spanned<String>,
        steps: Option<Vec<Step>>,
        help: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        if steps.is_none() {
            let message = format!("`{}` is not such a path into a JSON value", text.value);
            diagnostics.push(Diagnostic::error("bad-json-path", message).at(text.span, "").help(help));
        }
        Some(Self { text: text.value.clone(), steps: steps? })
    }

    /// What stands there, if anything does.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.steps.iter().try_fold(value, |value, step| match step {
            Step::Name(name) => value.get(name),
            Step::Index(index) => value.get(index),
            Step::Each | Step::Deep => None,
        })
    }

    /// The same, to change it.
    #[must_use]
    pub fn get_mut<'v>(&self, value: &'v mut Value) -> Option<&'v mut Value> {
        self.steps.iter().try_fold(value, |value, step| match step {
            Step::Name(name) => value.get_mut(name),
            Step::Index(index) => value.get_mut(index),
            Step::Each | Step::Deep => None,
        })
    }

    /// The smallest document that has a value there; nothing if that would take a list.
    #[must_use]
    pub fn around(&self, value: Value) -> Option<Value> {
        self.steps.iter().rev().try_fold(value, |value, step| match step {
            Step::Name(name) => Some(Value::Object([(name.clone(), value)].into_iter().collect())),
            Step::Index(_) | Step::Each | Step::Deep => None,
        })
    }

    /// Keeps back what stands there: a text becomes `[redacted]`, anything else null. A name leads through lists to each of
    /// their items; what is not there stays away.
    pub fn redact(&self, value: &mut Value) {
        redact(value, &self.steps);
    }
}

fn redact(value: &mut Value, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else {
        match value {
            Value::String(text) => REDACTED.clone_into(text),
            other => *other = Value::Null,
        }
        return;
    };
    match (step, value) {
        (Step::Name(name), Value::Object(map)) => {
            if let Some(inner) = map.get_mut(name) {
                redact(inner, rest);
            }
        }
        (Step::Index(index), Value::Array(items)) => {
            if let Some(inner) = items.get_mut(*index) {
                redact(inner, rest);
            }
        }
        (Step::Name(_), Value::Array(items)) => items.iter_mut().for_each(|item| redact(item, steps)),
        (Step::Each, Value::Array(items)) => items.iter_mut().for_each(|item| redact(item, rest)),
        (Step::Each, Value::Object(map)) => map.values_mut().for_each(|item| redact(item, rest)),
        (Step::Deep, value) => {
            match value {
                Value::Array(items) => items.iter_mut().for_each(|item| redact(item, steps)),
                Value::Object(map) => map.values_mut().for_each(|item| redact(item, steps)),
                _ => {}
            }
            redact(value, rest);
        }
        _ => {}
    }
}

/// `None` if it is not a path. `.` alone is the path without steps, and only good for one place.
fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text.trim();
    if let Some(after) = rest.strip_prefix("..") {
        rest = after.trim_start().strip_prefix('|')?.trim_start();
        steps.push(Step::Deep);
    }
    rest = rest.strip_prefix('.')?;
    // A dot has been read; a name, a quoted name or a bracket has to follow, or nothing at all.
    let mut dot = true;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = bracket(inner)?;
            steps.push(step);
            rest = after;
        } else if dot && rest.starts_with('"') {
            let (name, after) = quoted(rest)?;
            steps.push(Step::Name(name));
            rest = after;
        } else if dot {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            rest = after;
        } else {
            return None;
        }
        rest = rest.strip_prefix('?').unwrap_or(rest);
        match rest.strip_prefix('.') {
            Some("") => return None,
            Some(after) => (dot, rest) = (true, after),
            None => dot = false,
        }
    }
    (steps != [Step::Deep]).then_some(steps)
}

/// After `[`.
fn bracket(inner: &str) -> Option<(Step, &str)> {
    if let Some(after) = inner.strip_prefix(']') {
        return Some((Step::Each, after));
    }
    if inner.starts_with('"') {
        let (name, after) = quoted(inner)?;
        return Some((Step::Name(name), after.strip_prefix(']')?));
    }
    let (number, after) = inner.split_once(']')?;
    Some((Step::Index(number.parse().ok()?), after))
}

/// A JSON text at the start, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let name = stream.next()?.ok()?;
    Some((name, text.get(stream.byte_offset()..)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath { text: text.to_owned(), steps: steps(text).unwrap_or_else(|| panic!("{text}")) }
    }

    fn redacted(text: &str, mut value: Value) -> Value {
        path(text).redact(&mut value);
        value
    }

    #[test]
    fn what_a_path_names_is_kept_back_and_nothing_else() {
        let order = json!({ "id": 7, "customer": { "email": "a@b.c", "n": 1 } });
        assert_eq!(
            redacted(".customer.email", order.clone()),
            json!({ "id": 7, "customer": { "email": "[redacted]", "n": 1 } })
        );
        assert_eq!(redacted(".id", order.clone())["id"], Value::Null);
        assert_eq!(redacted(".customer", order.clone())["customer"], Value::Null);
        assert_eq!(redacted(".nosuch.deep", order.clone()), order, "nothing is made that was not there");
        assert_eq!(redacted(".id.deep", order.clone()), order);
        let list = json!([{ "card": "1" }, { "x": 1 }, null, { "card": "2" }]);
        let without = json!([{ "card": "[redacted]" }, { "x": 1 }, null, { "card": "[redacted]" }]);
        for same in
            [".[].card", ".card", ".[] .card".replace(' ', "").as_str(), ".[].\"card\"?", ".[][\"card\"]"]
        {
            assert_eq!(redacted(same, list.clone()), without, "{same}");
        }
        assert_eq!(redacted(".[0].card", list.clone())[3]["card"], "2");
        let deep = json!({ "e": "a", "x": [{ "y": { "e": { "e": "b" } } }] });
        assert_eq!(redacted(".. | .e", deep), json!({ "e": "[redacted]", "x": [{ "y": { "e": null } }] }));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "", "a", ".a.", ".a b", "..", ".. | .", "..a", ".a | .b", ".[", ".[x]", ".[-1]", ".1a", ".\"a",
            ".a\"b\"", ".a + 1",
        ] {
            assert_eq!(steps(text), None, "{text}");
        }
        assert_eq!(path(".").get(&json!(1)), Some(&json!(1)));
        assert_eq!(path(".a.\"b c\"[1]").get(&json!({ "a": { "b c": [1, 2] } })), Some(&json!(2)));
    }
}
