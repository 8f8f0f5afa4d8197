//! The one function from [`Reply`] to [`Outcome`].

use std::sync::Arc;

use base64::Engine as _;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::jq::{Jq, JqError};
use super::listed::{self, Listed};
use super::weight::is_little;
use super::{
    Content, DEEPEST, FormatConfig, NEXT, Outcome, OutputPlan, Reply, Rows, cut, format, next, sound, text,
};
use crate::tasks::{self, LITTLE};

/// Why a reply could not be shaped.
#[derive(Debug, Error)]
pub enum ShapeError {
    /// The `select` program failed on this reply, or it is not of a form that can be shaped; the text is for the log.
    #[error("output.select failed: {0}")]
    Select(String),
    /// The `select` program, or what else is done with the reply, was not done in its time.
    #[error("the result was not shaped in time")]
    Spent,
    /// The result is not what `schema` says; the text is for the log.
    #[error("the result does not fit output.schema: {0}")]
    Schema(String),
    /// Larger than `max_bytes`, and nothing in it can be left out.
    #[error("the result is larger than {max} bytes and has no list to shorten")]
    TooLarge {
        /// The cap, in bytes.
        max: usize,
    },
}

impl From<JqError> for ShapeError {
    fn from(error: JqError) -> Self {
        match error {
            JqError::Failed(why) => Self::Select(why),
            JqError::Spent => Self::Spent,
        }
    }
}

/// Shapes one reply by the route's `output`, until `deadline`. What of that takes more than a moment is done on another thread.
///
/// # Errors
/// [`ShapeError`] as described there.
pub async fn shape(reply: Reply, plan: &Arc<OutputPlan>, deadline: Instant) -> Result<Outcome, ShapeError> {
    match (reply, &plan.select) {
        // Apart, so that replies without one carry none of it.
        (reply, Some(select)) => Box::pin(selected(select, reply, plan, deadline)).await,
        // The items of a long list are counted, which is work.
        (Reply::Json(text), None) if (text.len() <= LITTLE || !is_list(&text)) && passes(&text, plan) => {
            Ok(passed(text))
        }
        (reply, None) => done(is_little(&reply), plan, deadline, |plan| shaped(reply, plan)).await,
    }
}

/// Does work here if it is `little`, else on another thread.
pub(super) async fn done<T: Send + 'static>(
    little: bool,
    plan: &Arc<OutputPlan>,
    deadline: Instant,
    work: impl FnOnce(&OutputPlan) -> Result<T, ShapeError> + Send + 'static,
) -> Result<T, ShapeError> {
    if little {
        return work(plan);
    }
    let plan = plan.clone();
    let work = Box::pin(tasks::apart(move || work(&plan)));
    timeout_at(deadline, work).await.unwrap_or(Err(ShapeError::Spent))
}

/// Whether a JSON text is the result as it came.
fn passes(text: &str, plan: &OutputPlan) -> bool {
    plan.passes() && text.len() <= plan.max_bytes && !is_long(text, plan)
}

fn is_list(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

/// Whether a JSON text is a list of more items than are shown.
fn is_long(text: &str, plan: &OutputPlan) -> bool {
    // A list of so many has as many bytes at least, and a comma between each two.
    let list = text.len() > plan.max_items.saturating_mul(2) && is_list(text);
    list && serde_json::from_str::<Vec<IgnoredAny>>(text).is_ok_and(|items| items.len() > plan.max_items)
}

/// Shapes what a program chooses from a reply.
async fn selected(
    select: &Jq,
    reply: Reply,
    plan: &Arc<OutputPlan>,
    deadline: Instant,
) -> Result<Outcome, ShapeError> {
    let little = is_little(&reply);
    let text = match reply {
        Reply::Json(text) => text,
        Reply::Value(value) => done(little, plan, deadline, move |_| Ok(value.to_string())).await?,
        Reply::Rows(rows) => return listed::chosen(Listed::rows(rows), select, plan, deadline).await,
        Reply::Pages(pages) => return listed::chosen(Listed::pages(pages)?, select, plan, deadline).await,
        // JSON, whatever it is called; any other text is one string.
        Reply::Text { text, .. } if sound(&text, DEEPEST) => text,
        Reply::Text { text, .. } => Value::String(text).to_string(),
        Reply::Bytes { .. } => return Err(ShapeError::Select("the answer is bytes, not text".to_owned())),
        // There is nothing in it to choose from.
        other => return done(little, plan, deadline, |plan| shaped(other, plan)).await,
    };
    let text = select.text(&text, deadline).await?;
    done(text.len() <= LITTLE, plan, deadline, |plan| made(text, plan)).await
}

/// Shapes a reply from which nothing is to be chosen, at once.
fn shaped(reply: Reply, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    match reply {
        Reply::Json(text) if passes(&text, plan) => Ok(passed(text)),
        Reply::Json(text) => value_outcome(redacted(parse(&text)?, plan), plan),
        Reply::Value(value) => value_outcome(redacted(value, plan), plan),
        Reply::Rows(rows) => rows_outcome(rows, plan),
        Reply::Pages(pages) => listed::whole(&Listed::pages(pages)?, plan),
        Reply::Outcome(outcome) => outcome_as_it_is(outcome, plan),
        // Nothing has to be kept back of nothing, but it is no object that would fit a schema.
        Reply::Empty => match &plan.schema {
            None => Ok(Outcome::text("Done; there is no content.")),
            Some(_) => Err(ShapeError::Schema("the answer has no content".to_owned())),
        },
        // What is to be kept back, or checked, can only be found in JSON.
        _ if !plan.redact.is_empty() || plan.schema.is_some() => {
            Err(ShapeError::Schema("the answer is not JSON".to_owned()))
        }
        Reply::Text { text, .. } => Ok(Outcome::text(cut::cut_text(text, plan.max_bytes))),
        Reply::Bytes { data, mime } => {
            let data = base64::engine::general_purpose::STANDARD.encode(&data);
            Ok(Outcome::new(vec![Content::Blob { data, mime }]))
        }
    }
}

/// A JSON text that is the result, byte for byte.
fn passed(text: String) -> Outcome {
    let content = vec![Content::Text(text.clone())];
    Outcome { content, structured: Some(text), ..Outcome::default() }
}

/// What a program made, as it wrote it where nothing else is to be done with it.
fn made(text: String, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    // A single text is read without its quotes.
    if plan.leaves() && text.len() <= plan.max_bytes && !text.starts_with('"') && !is_long(&text, plan) {
        return Ok(passed(text));
    }
    value_outcome(redacted(parse(&text)?, plan), plan)
}

/// What the configuration itself holds is checked, and otherwise left alone.
fn outcome_as_it_is(outcome: Outcome, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    if let (Some(structured), Some(_)) = (&outcome.structured, &plan.schema) {
        check(&parse(structured)?, plan)?;
    }
    Ok(outcome)
}

pub(super) fn parse(text: &str) -> Result<Value, ShapeError> {
    serde_json::from_str(text).map_err(|e| ShapeError::Select(e.to_string()))
}

pub(super) fn redacted(mut value: Value, plan: &OutputPlan) -> Value {
    for path in &plan.redact {
        path.redact(&mut value);
    }
    value
}

fn check(value: &Value, plan: &OutputPlan) -> Result<(), ShapeError> {
    plan.schema.as_ref().map_or(Ok(()), |schema| schema.check(value).map_err(ShapeError::Schema))
}

fn value_outcome(value: Value, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let long = value.as_array().is_some_and(|items| items.len() > plan.max_items);
    if !long && cut::json_len(&value) <= plan.max_bytes {
        return finished(&value, false, plan);
    }
    check(&value, plan)?;
    let max = plan.max_bytes;
    let value = cut::cut_value(value, max, plan.max_items).ok_or(ShapeError::TooLarge { max })?;
    // Less than the schema wants of a list is as good as nothing.
    check(&value, plan).map_err(|_| ShapeError::TooLarge { max })?;
    finished(&value, true, plan)
}

/// A value that is small enough; `framed` if it says what was left out.
pub(super) fn finished(value: &Value, framed: bool, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    check(value, plan)?;
    let structured = written(value);
    let text = match (plan.format, value) {
        (FormatConfig::Json, Value::String(text)) => text.clone(),
        (FormatConfig::Json, _) => structured.clone(),
        (format, _) => readable(value, framed, format).unwrap_or_else(|| structured.clone()),
    };
    Ok(Outcome { content: vec![Content::Text(text)], structured: Some(structured), ..Outcome::default() })
}

/// The members that say what was left out.
const FRAME: [&str; 3] = ["truncated", "note", NEXT];

/// A value in another form than JSON, with what was left out below it.
fn readable(value: &Value, framed: bool, format: FormatConfig) -> Option<String> {
    let bare = match value {
        Value::Object(map) if framed => {
            let own = map.iter().filter(|(name, _)| !FRAME.contains(&name.as_str()));
            &Value::Object(own.map(|(k, v)| (k.clone(), v.clone())).collect())
        }
        other => other,
    };
    let rows = match bare {
        Value::Array(items) => Some(items),
        Value::Object(map) => only_list(map),
        _ => None,
    };
    let body = match (rows.and_then(|rows| table(rows, format)), bare) {
        (Some(table), _) => table,
        (None, Value::String(text)) => text.clone(),
        (None, other) if format == FormatConfig::Text => text::text(other),
        (None, _) => return None,
    };
    let part = |name: &str| value.get(name).filter(|_| framed).and_then(Value::as_str);
    Some(below(body, part("note"), part(NEXT)))
}

fn below(body: String, note: Option<&str>, next: Option<&str>) -> String {
    match (note, next) {
        (Some(note), Some(next)) => format!("{body}\n\n{note}\n{NEXT}: {next}"),
        (Some(note), None) => format!("{body}\n\n{note}"),
        (None, _) => body,
    }
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
        FormatConfig::Text => (!rows.is_empty()).then(|| text::of_items(rows)),
    }
}

fn rows_outcome(rows: Rows, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let Rows { member, mut items, mut more, page } = rows;
    let total = items.len();
    if items.len() > plan.max_rows {
        items.truncate(plan.max_rows);
        more = true;
    }
    // What a row holds back still says where it stands.
    let marks: Vec<Option<String>> = items.iter().map(|row| next::after(row, &page)).collect();
    if !plan.redact.is_empty() {
        let Value::Array(kept) = redacted(Value::Array(items), plan) else { return Err(ShapeError::Spent) };
        items = kept;
    }
    // The frame and the note around the rows take some of the bytes.
    let longest = marks.iter().flatten().map(|next| next.len() + 12).max();
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
    let last = items.len().checked_sub(1).filter(|_| cut_here);
    let next = last.and_then(|last| marks.get(last)?.clone());
    let note = cut_here.then(|| cut::rows_note(items.len(), more, next.is_some(), member));
    let mut structured = format!("{{\"{member}\":{written}");
    if let Some(note) = &note {
        structured.push_str(&format!(",\"truncated\":true,\"note\":{}", json!(note)));
    }
    if let Some(next) = &next {
        structured.push_str(&format!(",\"{NEXT}\":{}", json!(next)));
    }
    structured.push('}');
    if plan.schema.is_some() {
        check(&parse(&structured)?, plan)?;
    }
    let text = match table(&items, plan.format) {
        Some(table) => below(table, note.as_deref(), next.as_deref()),
        None => structured.clone(),
    };
    Ok(Outcome { content: vec![Content::Text(text)], structured: Some(structured), ..Outcome::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(format: FormatConfig) -> OutputPlan {
        OutputPlan {
            select: None,
            format,
            max_rows: 3,
            max_items: 3,
            max_bytes: 1000,
            redact: Vec::new(),
            schema: None,
        }
    }

    fn shape(reply: Reply, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
        let plan = Arc::new(plan.clone());
        let shaped = super::shape(reply, &plan, Instant::now() + std::time::Duration::from_secs(60));
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(shaped)
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

    /// What a reply becomes, and whether that was done at once.
    async fn at_once(reply: Reply, plan: &OutputPlan) -> (Result<Outcome, ShapeError>, bool) {
        let plan = Arc::new(plan.clone());
        let mut shaped =
            Box::pin(super::shape(reply, &plan, Instant::now() + std::time::Duration::from_secs(60)));
        let occupied = tasks::occupied().await;
        let polled = futures_util::poll!(&mut shaped);
        drop(occupied);
        match polled {
            std::task::Poll::Ready(done) => (done, true),
            std::task::Poll::Pending => (shaped.await, false),
        }
    }

    #[tokio::test]
    async fn nobody_waits_while_a_large_reply_is_shaped() {
        let mut diagnostics = crate::diag::Diagnostics::default();
        let select = |text: &str, diagnostics: &mut _| {
            Jq::compile(
                &crate::diag::Spanned::new(text.to_owned(), crate::diag::Span::default()),
                diagnostics,
            )
        };
        let with = |select| OutputPlan { select, max_bytes: 4 << 20, ..plan(FormatConfig::Json) };
        let plans = [
            with(None),
            with(select(".", &mut diagnostics)),
            OutputPlan { format: FormatConfig::Text, ..with(None) },
        ];
        let list = |n: usize| json!({ "list": vec![json!({ "i": 1 }); n] });
        for (number, plan) in plans.iter().enumerate() {
            for (size, little) in [(10, true), (50_000, false)] {
                let whole =
                    |outcome: Outcome| serde_json::from_str::<Value>(&outcome.structured.unwrap()).unwrap();
                let (json, json_at_once) = at_once(Reply::Json(list(size).to_string()), plan).await;
                let (value, value_at_once) = at_once(Reply::Value(list(size)), plan).await;
                assert_eq!((whole(json.unwrap()), whole(value.unwrap())), (list(size), list(size)));
                // What passes as it came is no work.
                assert_eq!(
                    (json_at_once, value_at_once),
                    (little || number == 0, little),
                    "{number}: {size}"
                );
            }
            let (rows, rows_at_once) = at_once(rows(20_000), plan).await;
            assert!(rows.unwrap().structured.unwrap().contains("truncated"));
            assert!(!rows_at_once, "{number}");
        }
        // Little that a program makes large.
        let made = with(select("[range(100000)]", &mut diagnostics));
        let plan = OutputPlan { max_items: 100_000, ..made };
        assert!(!diagnostics.has_errors());
        let (made, made_at_once) = at_once(Reply::Value(json!(1)), &plan).await;
        assert_eq!((made.unwrap().structured.unwrap().len(), made_at_once), (588_891, false));
    }

    #[test]
    fn of_a_list_no_more_items_are_shown_than_rows_would_be() {
        let items = |n: usize| Value::from((0..n).collect::<Vec<_>>());
        let mut diagnostics = crate::diag::Diagnostics::default();
        let dot = crate::diag::Spanned::new(".".to_owned(), crate::diag::Span::default());
        let select = Jq::compile(&dot, &mut diagnostics);
        for select in [None, select] {
            let plan = OutputPlan { select, ..plan(FormatConfig::Json) };
            for reply in [|v: Value| Reply::Json(format!(" {v}")), |v: Value| Reply::Value(v)] {
                let whole = |n| {
                    let outcome = shape(reply(items(n)), &plan).unwrap();
                    serde_json::from_str::<Value>(&outcome.structured.unwrap()).unwrap()
                };
                assert_eq!(whole(3), items(3));
                let note = "only the first 3 of 30 items are here; narrow the arguments to see the others.";
                assert_eq!(whole(30), json!({ "items": items(3), "truncated": true, "note": note }));
            }
        }
        // A list in an object is a part of it.
        let whole = shape(Reply::Json(json!({ "a": items(30) }).to_string()), &plan(FormatConfig::Json));
        assert_eq!(whole.unwrap().structured.unwrap(), json!({ "a": items(30) }).to_string());
    }

    #[test]
    fn a_program_chooses_from_every_text() {
        let of = |program: &str, text: &str| {
            let mut diagnostics = crate::diag::Diagnostics::default();
            let program = crate::diag::Spanned::new(program.to_owned(), crate::diag::Span::default());
            let plan =
                OutputPlan { select: Jq::compile(&program, &mut diagnostics), ..plan(FormatConfig::Json) };
            shape(Reply::Text { text: text.to_owned(), mime: None }, &plan).map(|o| o.structured.unwrap())
        };
        assert_eq!(of(".a", "{\"a\": 1, \"b\": 2}").unwrap(), "1");
        assert_eq!(of("split(\";\")[1]", "a;b;c").unwrap(), "\"b\"");
        assert!(matches!(of(".a", "no JSON"), Err(ShapeError::Select(_))));
        let mut diagnostics = crate::diag::Diagnostics::default();
        let dot = crate::diag::Spanned::new(".".to_owned(), crate::diag::Span::default());
        let plan = OutputPlan { select: Jq::compile(&dot, &mut diagnostics), ..plan(FormatConfig::Json) };
        let bytes = Reply::Bytes { data: vec![1].into(), mime: "application/octet-stream".to_owned() };
        assert!(matches!(shape(bytes, &plan), Err(ShapeError::Select(_))));
    }

    #[test]
    fn one_large_value_is_refused_and_not_cut_to_nonsense() {
        let reply = Reply::Value(json!({ "a": "x".repeat(2000) }));
        assert!(matches!(shape(reply, &plan(FormatConfig::Json)), Err(ShapeError::TooLarge { .. })));
    }
}
