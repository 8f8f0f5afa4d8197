//! Cutting what is too large, so that the rest is whole, still valid, and says what is missing.

use serde_json::{Map, Value, json};

/// The note about rows that were left out.
pub(super) fn rows_note(shown: usize, more_in_source: bool, pages: bool, noun: &str) -> String {
    let tail = if more_in_source { "there are more" } else { "the rest was too large to show" };
    if pages {
        return format!(
            "{shown} {noun} are here; {tail}. Call this again with the same arguments and `next` as given here for those that follow."
        );
    }
    format!(
        "Only the first {shown} {noun} are here; {tail}. Narrow the arguments or ask for fewer columns to see the others."
    )
}

/// How many leading items fit into `budget` bytes of JSON, separators included.
pub(super) fn fitting(items: &[Value], budget: usize) -> usize {
    let mut used = 2;
    items
        .iter()
        .take_while(|item| {
            used += json_len(item) + 1;
            used <= budget
        })
        .count()
}

/// The JSON text of items that `fitting` would all let through, made no longer than that. `None` if it would leave some out.
pub(super) fn written_within(items: &[Value], budget: usize) -> Option<String> {
    struct Bounded {
        text: Vec<u8>,
        room: usize,
    }
    impl std::io::Write for Bounded {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.room = self.room.checked_sub(buf.len()).ok_or(std::io::ErrorKind::OutOfMemory)?;
            self.text.extend_from_slice(buf);
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    // Each item counts with a comma, also the last.
    let mut bounded = Bounded { text: Vec::new(), room: budget.checked_sub(1)? };
    serde_json::to_writer(&mut bounded, items).ok()?;
    String::from_utf8(bounded.text).ok()
}

/// The length of a value's JSON text, without building it.
#[must_use]
pub fn json_len(value: &Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0 += buf.len();
            Ok(buf.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// Cuts a value to `budget` bytes of JSON: the largest list in it loses its tail. A list at the root becomes
/// `{items, truncated, note}`, with no more than `most` items; an object gains `truncated` and `note`. `None` if there is no list to
/// shorten.
pub(super) fn cut_value(value: Value, budget: usize, most: usize) -> Option<Value> {
    // Room for `truncated` and `note`.
    let budget = budget.saturating_sub(220);
    match value {
        Value::Array(items) => {
            let (kept, note) = cut_list(items, budget, most);
            Some(json!({ "items": kept, "truncated": true, "note": note }))
        }
        Value::Object(mut map) => {
            let size = map.iter().map(|(k, v)| k.len() + 4 + json_len(v)).sum::<usize>() + 2;
            let (name, length) = largest_list(&map)?;
            let rest = size.saturating_sub(length);
            if rest > budget {
                return None;
            }
            let list = map.get_mut(&name).map(Value::take);
            if let Some(Value::Array(items)) = list {
                let (kept, note) = cut_list(items, budget - rest, usize::MAX);
                map.insert(name.clone(), Value::Array(kept));
                map.insert("truncated".to_owned(), json!(true));
                map.insert("note".to_owned(), json!(format!("In `{name}`: {note}")));
            }
            Some(Value::Object(map))
        }
        _ => None,
    }
}

fn largest_list(map: &Map<String, Value>) -> Option<(String, usize)> {
    map.iter()
        .filter(|(_, v)| v.is_array())
        .map(|(k, v)| (k.clone(), json_len(v)))
        .max_by_key(|(_, length)| *length)
}

fn cut_list(mut items: Vec<Value>, budget: usize, most: usize) -> (Vec<Value>, String) {
    let total = items.len();
    items.truncate(most);
    let kept = fitting(&items, budget);
    let why = if kept < items.len() { ", the rest was too large to show" } else { "" };
    items.truncate(kept);
    let note = format!(
        "only the first {kept} of {total} items are here{why}; narrow the arguments to see the others."
    );
    (items, note)
}

/// Cuts text at a character boundary and says so.
pub(super) fn cut_text(mut text: String, budget: usize) -> String {
    if text.len() <= budget {
        return text;
    }
    let total = text.len();
    let mut end = budget.saturating_sub(60);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(&format!("\n[cut: {end} of {total} bytes are shown]"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_value_fits_and_says_what_is_missing() {
        let items: Vec<Value> = (0..200).map(|n| json!({ "n": n, "text": "some words" })).collect();
        for value in [json!(items), json!({ "id": 7, "items": items })] {
            let cut = cut_value(value, 2000, usize::MAX).unwrap();
            assert!(json_len(&cut) <= 2000, "{}", json_len(&cut));
            assert_eq!(cut["truncated"], true);
            assert!(cut["note"].as_str().unwrap().contains("of 200 items"));
            assert!(cut["items"].as_array().unwrap().len() > 10);
        }
        assert_eq!(cut_value(json!({ "a": "x".repeat(5000) }), 2000, usize::MAX), None);
    }

    #[test]
    fn items_are_written_exactly_when_all_of_them_fit() {
        let items: Vec<Value> = (0..20).map(|n| json!({ "n": n, "text": "\"some\" wörds" })).collect();
        let whole = json!(items).to_string();
        for budget in whole.len() - 3..whole.len() + 4 {
            let all = fitting(&items, budget) == items.len();
            assert_eq!(written_within(&items, budget), all.then(|| whole.clone()), "{budget}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        let cut = cut_text("é".repeat(500), 301);
        assert!(cut.len() <= 301 && cut.contains("of 1000 bytes"));
    }
}
