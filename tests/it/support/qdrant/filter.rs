//! Filters of the contract server, as Qdrant documents them: `must`, `should`, `must_not` of `match`, `range` and filters inside.

use serde_json::{Map, Value};

use super::{bad, only};

/// A filter: all of `must`, one of `should` (of none there is none to fail), none of `must_not`.
pub(super) fn holds(
    filter: Option<&Value>,
    payload: &Map<String, Value>,
    texts: &[String],
) -> Result<bool, (u16, String)> {
    let Some(filter) = filter else { return Ok(true) };
    only(filter, &["must", "should", "must_not"])?;
    let each = |key: &str| -> Result<Vec<bool>, (u16, String)> {
        let list = filter.get(key).and_then(Value::as_array);
        list.into_iter().flatten().map(|condition| fulfilled(condition, payload, texts)).collect()
    };
    let (must, should, must_not) = (each("must")?, each("should")?, each("must_not")?);
    Ok(must.iter().all(|m| *m) && (should.is_empty() || should.contains(&true)) && !must_not.contains(&true))
}

fn fulfilled(
    condition: &Value,
    payload: &Map<String, Value>,
    texts: &[String],
) -> Result<bool, (u16, String)> {
    if condition.get("key").is_none() {
        return holds(Some(condition), payload, texts);
    }
    only(condition, &["key", "match", "range"])?;
    let key = condition["key"].as_str().ok_or((400, "a key is a text".to_owned()))?;
    let stored = payload.get(key.trim_matches('"')).unwrap_or(&Value::Null);
    if let Some(range) = condition.get("range") {
        return within(range, stored);
    }
    let wanted = &condition["match"];
    only(wanted, &["value", "text", "any", "except"])?;
    if let Some(value) = wanted.get("value") {
        return match value {
            Value::String(_) | Value::Bool(_) => Ok(stored == value),
            Value::Number(n) if n.is_i64() || n.is_u64() => Ok(stored == value),
            _ => bad("Format error in JSON body: data did not match any variant of untagged enum Match"),
        };
    }
    let Some(text) = wanted.get("text").and_then(Value::as_str) else {
        return bad("Format error in JSON body: data did not match any variant of untagged enum Match");
    };
    let stored = stored.as_str().unwrap_or_default();
    if !texts.contains(&key.to_owned()) {
        return Ok(stored.contains(text));
    }
    let tokens = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let held = tokens(stored);
    Ok(tokens(text).iter().all(|token| held.contains(token)))
}

fn within(range: &Value, stored: &Value) -> Result<bool, (u16, String)> {
    only(range, &["gt", "gte", "lt", "lte"])?;
    let mut all = true;
    for (bound, value) in range.as_object().unwrap() {
        let order = match (stored, value) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().unwrap().partial_cmp(&b.as_f64().unwrap()),
            // Dates of one form; the real one reads RFC 3339.
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (_, Value::Number(_) | Value::String(_)) => None,
            _ => {
                return bad(
                    "Format error in JSON body: data did not match any variant of untagged enum RangeInterface",
                );
            }
        };
        all &= order.is_some_and(|order| match bound.as_str() {
            "gt" => order.is_gt(),
            "gte" => order.is_ge(),
            "lt" => order.is_lt(),
            _ => order.is_le(),
        });
    }
    Ok(all)
}
