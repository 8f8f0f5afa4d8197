//! What differs between two values of which nothing is known but their JSON form, by the keys that lead there.

use serde_json::Value;

use super::words::{word, words};

/// Differences that one sentence tells.
const MAX_TOLD: usize = 6;

/// All of it in one sentence. Where the forms are the same, what they do not show differs.
pub(super) fn told(old: &Value, new: &Value) -> String {
    let mut found = Vec::new();
    walk(old, new, "", &mut found);
    if found.is_empty() {
        return "a secret in it changed".to_owned();
    }
    let more = found.len().saturating_sub(MAX_TOLD);
    found.truncate(MAX_TOLD);
    let told: Vec<String> = found.iter().map(|(path, old, new)| one(path, *old, *new)).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("changed: {}{rest}", told.join(", "))
}

fn one(path: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    let plain = |value: Option<&Value>| match value {
        Some(Value::String(text)) if text.len() <= 60 => Some(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
        None | Some(Value::Null) => Some("nothing".to_owned()),
        _ => None,
    };
    match (plain(old), plain(new)) {
        (Some(old), Some(new)) => format!("{} from {} to {}", word(path), word(old), word(new)),
        _ => word(path),
    }
}

type Found<'a> = (String, Option<&'a Value>, Option<&'a Value>);

fn walk<'a>(old: &'a Value, new: &'a Value, path: &str, found: &mut Vec<Found<'a>>) {
    if old == new {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        found.push((path.to_owned(), Some(old), Some(new)));
        return;
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(gone) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) => walk(old, new, &path, found),
            (old, new) => found.push((path, old, new)),
        }
    }
}

/// What only one of two lists has: what is gone, and what is new.
pub(super) fn apart<'a, T: PartialEq>(old: &'a [T], new: &'a [T]) -> (Vec<&'a T>, Vec<&'a T>) {
    let gone = old.iter().filter(|one| !new.contains(one)).collect();
    (gone, new.iter().filter(|one| !old.contains(one)).collect())
}

/// Both sides of [`apart`] as the words of a sentence, where they are not empty.
pub(super) fn apart_words(old: &[String], new: &[String]) -> (Option<String>, Option<String>) {
    let (gone, come) = apart(old, new);
    let some = |list: Vec<&String>| (!list.is_empty()).then(|| words(list));
    (some(gone), some(come))
}
