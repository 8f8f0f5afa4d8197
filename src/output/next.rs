//! The `next` of a result that is one page of more: where the page ended, as a text that means nothing to anybody else. It is no secret
//! and no right: what it holds is bound as values, like any argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The member of a result and the argument of a call.
pub const NEXT: &str = "next";

/// The longest that is read, in bytes.
const MAX: usize = 4 << 10;
/// The most items of a page.
const MAX_SKIP: usize = 10_000_000;

/// Where a row stands in the order of these columns; nothing if it cannot be said.
pub(super) fn after(row: &Value, by: &[String]) -> Option<String> {
    if by.is_empty() {
        return None;
    }
    let values: Option<Vec<&Value>> = by.iter().map(|column| row.get(column).filter(|v| plain(v))).collect();
    let text = serde_json::to_vec(&values?).ok()?;
    Some(URL_SAFE_NO_PAD.encode(text)).filter(|text| text.len() <= MAX)
}

/// The values of `count` columns; nothing if it is not of our making.
#[must_use]
pub fn values(next: &str, count: usize) -> Option<Vec<Value>> {
    let text = Some(next).filter(|text| text.len() <= MAX)?;
    let values: Vec<Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    (values.len() == count && values.iter().all(plain)).then_some(values)
}

/// Where a list of pages goes on: what asks for a page, and how many items of it were shown already.
#[must_use]
pub fn mark(page: &Value, skip: usize) -> Option<String> {
    let text = serde_json::to_vec(&(page, skip)).ok()?;
    Some(URL_SAFE_NO_PAD.encode(text)).filter(|text| text.len() <= MAX && (plain(page) || page.is_null()))
}

/// What [`mark`] wrote; nothing if it is not of our making.
#[must_use]
pub fn marked(next: &str) -> Option<(Value, usize)> {
    let text = Some(next).filter(|text| text.len() <= MAX)?;
    let (page, skip): (Value, usize) = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    ((plain(&page) || page.is_null()) && skip <= MAX_SKIP).then_some((page, skip))
}

fn plain(value: &Value) -> bool {
    value.is_string() || value.is_number() || value.is_boolean()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let by = ["at".to_owned(), "id".to_owned()];
        let next = after(&json!({ "id": 7, "at": "2026-11-21", "x": null }), &by).unwrap();
        assert_eq!(values(&next, 2), Some(vec![json!("2026-11-21"), json!(7)]));
        assert_eq!(values(&next, 1), None);
        assert_eq!(after(&json!({ "id": null, "at": 1 }), &by), None);
        assert_eq!(after(&json!({ "id": 1 }), &by), None);
        assert_eq!(after(&json!({ "id": 1 }), &[]), None, "a result without pages");
        for wrong in ["", "[null]", "[[1]]", "{}", "1", r#"[{"a":1}]"#] {
            assert_eq!(values(&URL_SAFE_NO_PAD.encode(wrong), 1), None, "{wrong}");
        }
        assert_eq!(values("not base64!", 1), None);
        assert_eq!(values(&URL_SAFE_NO_PAD.encode(format!("[\"{}\"]", "x".repeat(MAX))), 1), None);
    }
}
