//! Two JSON Schemas, keyword by keyword: whether what fitted one fits the other. What cannot be compared counts as breaking.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::notes::{Effect, Notes};
use super::words::{apart, word, words};

/// Which way values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From clients: what they send has to fit still.
    In,
    /// To clients: what they read has to be there still.
    Out,
}

/// Lower bounds, upper bounds, and what they bound.
const LOWER: [(&str, &str); 5] = [
    ("minimum", "the least value"),
    ("exclusiveMinimum", "the value that it has to exceed"),
    ("minLength", "the least length"),
    ("minItems", "the least number of items"),
    ("minProperties", "the least number of members"),
];
const UPPER: [(&str, &str); 5] = [
    ("maximum", "the greatest value"),
    ("exclusiveMaximum", "the value that it has to stay below"),
    ("maxLength", "the greatest length"),
    ("maxItems", "the greatest number of items"),
    ("maxProperties", "the greatest number of members"),
];
/// What nobody can compare: another one is taken for a narrower one.
const OPAQUE: [&str; 31] = [
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "prefixItems",
    "contains",
    "minContains",
    "maxContains",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedItems",
    "unevaluatedProperties",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "$ref",
    "$defs",
    "definitions",
    "$dynamicRef",
    "$recursiveRef",
    "$anchor",
    "$dynamicAnchor",
    "$id",
    "dependencies",
    "additionalItems",
    "const",
];
/// What is compared by name below.
const KNOWN: [&str; 7] = ["type", "enum", "properties", "required", "additionalProperties", "items", "anyOf"];

pub(super) struct Comparing<'a> {
    pub way: Way,
    /// What the whole is called: `the result`.
    pub whole: &'static str,
    pub notes: &'a mut Notes,
}

impl Comparing<'_> {
    /// Compares what stands at `path`, where the whole has none.
    pub(super) fn schemas(&mut self, old: &Value, new: &Value, path: &str) {
        if old == new {
            return;
        }
        let empty = Map::new();
        let keywords = |schema: &'_ Value| match schema {
            Value::Object(map) => Some(map.clone()),
            Value::Bool(true) => Some(empty.clone()),
            _ => None,
        };
        let (Some(old), Some(new)) = (keywords(old), keywords(new)) else {
            let what = self.what(path);
            return self.notes.breaking(format!("what {what} may be changed altogether"));
        };
        self.types(&old, &new, path);
        self.values(&old, &new, path);
        self.bounds(&old, &new, path);
        self.properties(&old, &new, path);
        if old.contains_key("items") || new.contains_key("items") {
            let any = Value::Bool(true);
            let items = |schema: &Map<String, Value>| schema.get("items").unwrap_or(&any).clone();
            self.schemas(&items(&old), &items(&new), &format!("{path}[]"));
        }
        self.rest(&old, &new, path);
    }

    fn what(&self, path: &str) -> String {
        if path.is_empty() { self.whole.to_owned() } else { word(path) }
    }

    /// What narrows what clients send breaks them; what they read may be narrower.
    fn narrower(&self) -> Effect {
        if self.way == Way::In { Effect::Breaking } else { Effect::Compatible }
    }

    fn types(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let (before, after) = (types(old), types(new));
        if before == after {
            return;
        }
        let fits = |one: &str, many: &[String]| {
            many.is_empty() || many.iter().any(|t| t == one || t == "number" && one == "integer")
        };
        let all = |some: &[String], many: &[String]| {
            many.is_empty() || !some.is_empty() && some.iter().all(|one| fits(one, many))
        };
        let sound = match self.way {
            Way::In => all(&before, &after),
            Way::Out => all(&after, &before),
        };
        let name = |types: &[String]| {
            if types.is_empty() { "anything".to_owned() } else { words(types) }
        };
        let sentence =
            format!("the type of {} changed from {} to {}", self.what(path), name(&before), name(&after));
        self.notes.add(if sound { Effect::Compatible } else { Effect::Breaking }, sentence);
    }

    fn values(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let list = |schema: &Map<String, Value>| schema.get("enum").and_then(Value::as_array).cloned();
        let what = self.what(path);
        let (narrower, takes) = (self.narrower(), self.way == Way::In);
        match (list(old), list(new)) {
            (Some(before), Some(after)) => {
                let (gone, come) = super::tree::apart(&before, &after);
                if !gone.is_empty() {
                    let says = if takes { "no longer takes" } else { "is never again" };
                    self.notes.add(narrower, format!("{what} {says} {}", words(gone)));
                }
                if !come.is_empty() {
                    let says = if takes { "takes" } else { "may be" };
                    self.notes.compatible(format!("{what} {says} {} too", words(come)));
                }
            }
            (None, Some(after)) => {
                let says = if takes { "takes nothing but" } else { "is always one of" };
                self.notes.add(narrower, format!("{what} {says} {} now", words(&after)));
            }
            (Some(_), None) => self.notes.compatible(format!("{what} is no longer one of a few values")),
            (None, None) => {}
        }
    }

    fn bounds(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let tighter =
            |lower: bool, order: Ordering| order == if lower { Ordering::Less } else { Ordering::Greater };
        for (lower, (key, about)) in LOWER.map(|b| (true, b)).into_iter().chain(UPPER.map(|b| (false, b))) {
            let (before, after) = (old.get(key), new.get(key));
            if before == after {
                continue;
            }
            let what = self.what(path);
            let effect = match (before, after) {
                (Some(before), Some(after)) if !tighter(lower, order(before, after)) => Effect::Compatible,
                (_, None) => Effect::Compatible,
                _ => self.narrower(),
            };
            let sentence = match (before, after) {
                (Some(before), Some(after)) => {
                    format!("{about} of {what} changed from {} to {}", word(before), word(after))
                }
                (None, Some(after)) => format!("{about} of {what} is {} now", word(after)),
                (Some(before), None) => {
                    format!("{about} of {what} was {}, and is not bounded now", word(before))
                }
                (None, None) => continue,
            };
            self.notes.add(effect, sentence);
        }
    }

    fn properties(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let empty = Map::new();
        let members = |schema: &Map<String, Value>| {
            schema.get("properties").and_then(Value::as_object).unwrap_or(&empty).clone()
        };
        let (before, after) = (members(old), members(new));
        let (needed, needs) = (required(old), required(new));
        let closed =
            |schema: &Map<String, Value>| schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, schema) in &before {
            let at = inner(name);
            match after.get(name) {
                Some(other) => self.schemas(schema, other, &at),
                None => self.gone(&at, closed(new)),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            let (at, needed) = (word(inner(name)), needs.contains(name));
            match self.way {
                Way::In if needed => self.notes.breaking(format!("{at} is new and required")),
                Way::In => self.notes.compatible(format!("{at} is new and optional")),
                Way::Out => self.notes.compatible(format!("the result has {at} too")),
            }
        }
        for name in needs
            .iter()
            .filter(|n| !needed.contains(n) && (before.contains_key(*n) || !after.contains_key(*n)))
        {
            let at = word(inner(name));
            match self.way {
                Way::In => self.notes.breaking(format!("{at} is required now")),
                Way::Out => self.notes.compatible(format!("{at} is always there now")),
            }
        }
        for name in needed.iter().filter(|n| !needs.contains(n) && after.contains_key(*n)) {
            let at = word(inner(name));
            match self.way {
                Way::In => self.notes.compatible(format!("{at} is optional now")),
                Way::Out => self.notes.breaking(format!("{at} may be missing now")),
            }
        }
        self.additional(old, new, path);
    }

    fn gone(&mut self, at: &str, closed: bool) {
        let at = word(at);
        match self.way {
            Way::In if closed => self.notes.breaking(format!("{at} is gone, and calls with it are refused")),
            Way::In => self.notes.compatible(format!("{at} is no longer described, and may still be sent")),
            Way::Out => self.notes.breaking(format!("the result no longer has {at}")),
        }
    }

    fn additional(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let more = |schema: &Map<String, Value>| {
            schema.get("additionalProperties").cloned().unwrap_or(Value::Bool(true))
        };
        let (before, after) = (more(old), more(new));
        if before == after || before == Value::Object(Map::new()) && after == Value::Bool(true) {
            return;
        }
        let what = self.what(path);
        match (&before, &after) {
            (_, Value::Bool(false)) => {
                let effect = self.narrower();
                self.notes.add(effect, format!("{what} has no members that are not named now"));
            }
            (_, Value::Bool(true)) | (Value::Bool(false), _) => {
                self.notes.compatible(format!("{what} may have members that are not named"));
            }
            _ => self.schemas(
                &before,
                &after,
                &if path.is_empty() { "*".to_owned() } else { format!("{path}.*") },
            ),
        }
    }

    /// Alternatives may come; everything else that says what fits cannot be compared; words are words.
    fn rest(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let gone = old.keys().filter(|key| !new.contains_key(*key));
        let bounds = |key: &str| LOWER.iter().chain(&UPPER).any(|(name, _)| *name == key);
        for key in new.keys().chain(gone) {
            let (before, after) = (old.get(key), new.get(key));
            if before == after || bounds(key) || KNOWN.contains(&key.as_str()) && key != "anyOf" {
                continue;
            }
            let what = self.what(path);
            let lists = (before.and_then(Value::as_array), after.and_then(Value::as_array));
            let more =
                matches!(lists, (Some(before), Some(after)) if before.iter().all(|b| after.contains(b)));
            let effect = match (key.as_str(), self.way) {
                ("anyOf", Way::In) if more || after.is_none() => Effect::Compatible,
                ("anyOf" | "$defs" | "definitions", _) => Effect::Breaking,
                // Clients have to send a header besides.
                ("x-mcp-header", Way::In) if after.is_some() => Effect::Breaking,
                (key, Way::In) if OPAQUE.contains(&key) && after.is_none() => Effect::Compatible,
                (key, Way::Out) if OPAQUE.contains(&key) && before.is_none() => Effect::Compatible,
                (key, _) if OPAQUE.contains(&key) => Effect::Breaking,
                _ => Effect::Compatible,
            };
            self.notes.add(effect, keyword(key, &what, before, after));
        }
    }
}

fn keyword(key: &str, what: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let name = match key {
        "pattern" | "format" | "default" | "description" | "title" => format!("the {key}"),
        other => word(other),
    };
    let long = matches!(key, "description" | "title")
        || !matches!(before.or(after), Some(Value::String(_) | Value::Number(_) | Value::Bool(_)));
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = |value: &Value| word(plain(value));
    match (before, after) {
        (Some(before), Some(after)) if !long => {
            let (before, after) = apart(&plain(before), &plain(after));
            format!("{name} of {what} changed from {before} to {after}")
        }
        (None, Some(after)) if !long => format!("{name} of {what} is {} now", text(after)),
        (Some(_), None) => format!("{name} of {what} is gone"),
        (None, Some(_)) => format!(
            "{what} has {} now",
            if name.starts_with("the ") { name.replacen("the", "a", 1) } else { name }
        ),
        _ => format!("{name} of {what} changed"),
    }
}

fn types(schema: &Map<String, Value>) -> Vec<String> {
    let mut types: Vec<String> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    types.sort();
    types
}

fn required(schema: &Map<String, Value>) -> Vec<String> {
    let list = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// How two numbers stand to each other; what is no number is not tighter.
fn order(old: &Value, new: &Value) -> Ordering {
    match (old.as_i64(), new.as_i64()) {
        (Some(old), Some(new)) => old.cmp(&new),
        _ => old.as_f64().partial_cmp(&new.as_f64()).unwrap_or(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests;
