//! How much work a reply is.

use serde_json::Value;

use super::Reply;
use crate::tasks::LITTLE;

/// What a value weighs beside the text in it.
const VALUE: usize = 16;

/// Whether a reply is so little that nobody has to wait long while it is shaped. Looks at no more of it than that.
pub(super) fn is_little(reply: &Reply) -> bool {
    match reply {
        Reply::Json(text) | Reply::Text { text, .. } => text.len() <= LITTLE,
        Reply::Bytes { data, .. } => data.len() <= LITTLE,
        Reply::Value(value) => are_little([value].into_iter()),
        Reply::Rows(rows) => are_little(rows.items.iter()),
        Reply::Pages(pages) => are_little([&pages.document].into_iter()),
        Reply::Empty | Reply::Outcome(_) => true,
    }
}

/// The same of values that belong together.
pub(super) fn are_little<'v>(mut values: impl Iterator<Item = &'v Value>) -> bool {
    let mut left = LITTLE;
    values.all(|value| fits(value, &mut left))
}

fn fits(value: &Value, left: &mut usize) -> bool {
    let own = VALUE + value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, left)),
        Value::Object(map) => map.iter().all(|(name, value)| {
            *left = left.saturating_sub(name.len());
            fits(value, left)
        }),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_and_numbers_of_values_both_weigh() {
        let little = |value| is_little(&Reply::Value(value));
        assert!(little(json!({ "a": [1, 2, { "b": "x".repeat(LITTLE / 2) }] })));
        assert!(!little(json!({ "a": [1, 2, { "b": "x".repeat(LITTLE) }] })));
        assert!(!little(json!({ "x".repeat(LITTLE): 1 })), "names weigh, too");
        assert!(little(json!(vec![0; LITTLE / VALUE - 1])));
        assert!(!little(json!(vec![0; LITTLE / VALUE])));
    }
}
