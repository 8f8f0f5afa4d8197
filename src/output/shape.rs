//! The one function from [`Reply`] to [`Outcome`].

use base64::Engine as _;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{Content, FormatConfig, Jq, NEXT, Outcome, OutputPlan, Reply, Rows, cut, format, next};

/// Why a reply could not be shaped.
#[derive(Debug, Error)]
pub enum ShapeError {
    /// The `select` program failed on this reply; the text is for the log.
    #[error("output.select failed: {0}")]
    Select(String),
    /// Larger than `max_bytes`, and nothing in it can be left out.
    #[error("the result is larger than {max} bytes and has no list to shorten")]
    TooLarge {
        /// The cap, in bytes.
        max: usize,
    },
}

/// Shapes one reply by the route's `output`.
///
/// # Errors
/// [`ShapeError`] as described there.
pub fn shape(reply: Reply, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    match reply {
        Reply::Json(text) => match &plan.select {
            None if plan.format == FormatConfig::Json && text.len() <= plan.max_bytes => Ok(Outcome {
                content: vec![Content::Text(text.clone())],
                structured: Some(text),
                ..Outcome::default()
            }),
            None => value_outcome(parse(&text)?, plan),
            Some(select) => value_outcome(select.run(&text).map_err(ShapeError::Select)?, plan),
        },
        Reply::Value(value) => match &plan.select {
            None => value_outcome(value, plan),
            Some(select) => value_outcome(select.run(&value.to_string()).map_err(ShapeError::Select)?, plan),
        },
        Reply::Rows(rows) => match &plan.select {
            None => rows_outcome(rows, plan),
            Some(select) => selected(rows, select, plan),
        },
        Reply::Text { text, .. } => Ok(Outcome::text(cut::cut_text(text, plan.max_bytes))),
        Reply::Bytes { data, mime } => {
            let data = base64::engine::general_purpose::STANDARD.encode(&data);
            Ok(Outcome::new(vec![Content::Blob { data, mime }]))
        }
        Reply::Outcome(outcome) => Ok(outcome),
        Reply::Empty => Ok(Outcome::text("Done; there is no content.")),
    }
}

fn parse(text: &str) -> Result<Value, ShapeError> {
    serde_json::from_str(text).map_err(|e| ShapeError::Select(e.to_string()))
}

fn value_outcome(value: Value, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let value = if cut::json_len(&value) > plan.max_bytes {
        let max = plan.max_bytes;
        cut::cut_value(value, max).ok_or(ShapeError::TooLarge { max })?
    } else {
        value
    };
    let structured = written(&value);
    let rows = match &value {
        Value::Array(items) => Some(items),
        Value::Object(map) => only_list(map),
        _ => None,
    };
    let table = rows.and_then(|rows| table(rows, plan.format));
    let text = match (table, &value) {
        (Some(table), _) => table,
        (None, Value::String(text)) => text.clone(),
        (None, _) => structured.clone(),
    };
    Ok(Outcome { content: vec![Content::Text(text)], structured: Some(structured), ..Outcome::default() })
}

/// As JSON text, in one go; a value's `Display` writes piece by piece.
fn written<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The list of an object that has just one, so that `{data: [...]}` reads as a table too.
fn only_list(map: &Map<String, Value>) -> Option<&Vec<Value>> {
    let mut lists = map.values().filter_map(Value::as_array);
    lists.next().filter(|_| lists.next().is_none() && map.len() == 1)
}

fn table(rows: &[Value], format: FormatConfig) -> Option<String> {
    match format {
        FormatConfig::Json => None,
        FormatConfig::Csv => format::csv(rows),
        FormatConfig::Markdown => format::markdown(rows),
    }
}

/// What a program makes of rows. That there were more of them is said beside it. Where there are pages, too large a result is made
/// again from fewer rows, so that the next page begins with those.
fn selected(rows: Rows, select: &Jq, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let Rows { mut items, mut more, page, .. } = rows;
    loop {
        let value = select.run(&json!(items).to_string()).map_err(ShapeError::Select)?;
        let value = if more { with_note(value, &items, &page) } else { value };
        if page.is_empty() || cut::json_len(&value) <= plan.max_bytes {
            return value_outcome(value, plan);
        }
        if items.len() < 2 {
            return Err(ShapeError::TooLarge { max: plan.max_bytes });
        }
        items.truncate(items.len() / 2);
        more = true;
    }
}

/// Says beside a value that it is not made from all rows, and how to go on.
fn with_note(value: Value, items: &[Value], page: &[String]) -> Value {
    let next = items.last().and_then(|row| next::after(row, page));
    let note = cut::rows_note(items.len(), true, next.is_some(), "rows");
    let mut map = match value {
        Value::Object(map) => map,
        other => Map::from_iter([("items".to_owned(), other)]),
    };
    for (name, value) in
        [("truncated", Some(json!(true))), ("note", Some(json!(note))), (NEXT, next.map(Value::from))]
    {
        if let (Some(value), false) = (value, map.contains_key(name)) {
            map.insert(name.to_owned(), value);
        }
    }
    Value::Object(map)
}

fn rows_outcome(rows: Rows, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let Rows { member, mut items, mut more, page } = rows;
    let total = items.len();
    if items.len() > plan.max_rows {
        items.truncate(plan.max_rows);
        more = true;
    }
    // The frame and the note around the rows take some of the bytes.
    let longest = items.iter().filter_map(|row| next::after(row, &page)).map(|next| next.len() + 12).max();
    let budget = plan.max_bytes.saturating_sub(240 + longest.unwrap_or(0));
    let written = cut::written_within(&items, budget).unwrap_or_else(|| {
        items.truncate(cut::fitting(&items, budget));
        written(&items)
    });
    if items.is_empty() && total > 0 && !page.is_empty() {
        return Err(ShapeError::TooLarge { max: plan.max_bytes });
    }
    let cut_here = more || items.len() < total;
    // From the last row that is shown, so that what was cut off comes with the next page.
    let next = items.last().filter(|_| cut_here).and_then(|row| next::after(row, &page));
    let note = cut_here.then(|| cut::rows_note(items.len(), more, next.is_some(), member));
    let text_body = table(&items, plan.format);
    let mut structured = format!("{{\"{member}\":{written}");
    if let Some(note) = &note {
        structured.push_str(&format!(",\"truncated\":true,\"note\":{}", json!(note)));
    }
    if let Some(next) = &next {
        structured.push_str(&format!(",\"{NEXT}\":{}", json!(next)));
    }
    structured.push('}');
    let text = match (text_body, note) {
        (Some(table), Some(note)) => match next {
            Some(next) => format!("{table}\n\n{note}\n{NEXT}: {next}"),
            None => format!("{table}\n\n{note}"),
        },
        (Some(table), None) => table,
        (None, _) => structured.clone(),
    };
    Ok(Outcome { content: vec![Content::Text(text)], structured: Some(structured), ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(format: FormatConfig) -> OutputPlan {
        OutputPlan { select: None, format, max_rows: 3, max_bytes: 1000 }
    }

    fn rows(n: usize) -> Reply {
        let items = (0..n).map(|i| json!({ "i": i })).collect();
        Reply::Rows(Rows { member: "rows", items, more: false, page: Vec::new() })
    }

    #[test]
    fn json_within_the_cap_passes_as_it_came() {
        let text = "{\"b\": 1.10,\n \"a\":[]}".to_owned();
        let outcome = shape(Reply::Json(text.clone()), &plan(FormatConfig::Json)).unwrap();
        assert_eq!(outcome.structured, Some(text));
    }

    #[test]
    fn rows_over_the_cap_are_cut_inside_the_structure() {
        let outcome = shape(rows(5), &plan(FormatConfig::Json)).unwrap();
        let value: Value = serde_json::from_str(&outcome.structured.unwrap()).unwrap();
        assert_eq!(value["rows"].as_array().unwrap().len(), 3);
        assert_eq!(value["truncated"], true);
        assert!(value["note"].as_str().unwrap().contains("first 3 rows"));
        let whole = shape(rows(2), &plan(FormatConfig::Json)).unwrap();
        assert_eq!(whole.structured.unwrap(), r#"{"rows":[{"i":0},{"i":1}]}"#);
    }

    #[test]
    fn the_model_reads_a_table_and_structured_output_stays_json() {
        let outcome = shape(rows(2), &plan(FormatConfig::Markdown)).unwrap();
        assert_eq!(outcome.content, vec![Content::Text("| i |\n| --- |\n| 0 |\n| 1 |".to_owned())]);
        assert!(outcome.structured.unwrap().starts_with("{\"rows\""));
    }

    #[test]
    fn one_large_value_is_refused_and_not_cut_to_nonsense() {
        let reply = Reply::Value(json!({ "a": "x".repeat(2000) }));
        assert!(matches!(shape(reply, &plan(FormatConfig::Json)), Err(ShapeError::TooLarge { .. })));
    }
}
