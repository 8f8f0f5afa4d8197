//! Pages of a statement's rows by keyset: rows in the order of some of their columns, each page from where the last one ended. The
//! statement itself stands inside, so a page never shows what the statement would not.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::{RowConfig, SqlOpConfig};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::{self, NEXT, Rows};
use crate::source::database::{Answer, Bind, Engine, SqlText};
use crate::source::{OpCx, SourceError};
use crate::yaml::JsonNode;

/// The most rows of a page.
const MAX_SIZE: u32 = 10_000;

/// Pages of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Page")]
pub struct PageConfig {
    /// The column, or the list of columns, that rows are put in order by. Together they must be unique and never NULL.
    pub by: Spanned<JsonNode>,
    /// Rows of a page, 1 to 10000. Default 50. `output.max_rows` bounds it too.
    #[schemars(range(min = 1, max = 10000))]
    pub size: Option<Spanned<u32>>,
    /// Whether the smallest comes first. Default `asc`.
    pub order: Option<OrderConfig>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Order")]
pub enum OrderConfig {
    /// The smallest first.
    #[default]
    Asc,
    /// The largest first.
    Desc,
}

/// Pages after compile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PagePlan {
    /// The columns of the order.
    pub by: Arc<[String]>,
    pub(super) size: usize,
    /// The parameter that holds the cursor.
    next: usize,
    first: SqlText,
    after: SqlText,
    /// Finds a row that has no place in the order.
    nulls: SqlText,
}

/// One page of one call.
pub(super) struct Page {
    pub text: SqlText,
    /// The values after those of the statement.
    pub from: Vec<Bind>,
    /// What has to find nothing once there are no more pages: the first page shows rows without a place, the others would not.
    pub nulls: Option<SqlText>,
    /// How many rows it has, without the one that says that there are more.
    pub size: usize,
}

impl PagePlan {
    /// The page that a cursor asks for; without one, the first.
    ///
    /// # Errors
    /// A sentence, if it is no cursor of these columns.
    pub(super) fn page(&self, cursor: Option<&Value>, max_rows: usize) -> Result<Page, String> {
        let size = self.size.min(max_rows);
        let Some(cursor) = cursor else {
            return Ok(Page { text: self.first.clone(), from: Vec::new(), nulls: None, size });
        };
        let values = cursor.as_str().and_then(|text| output::values(text, self.by.len()));
        let values = values.ok_or_else(|| {
            format!("This `{NEXT}` was not given by this tool. Leave it out to begin with the first page.")
        })?;
        let from = values.into_iter().map(Bind::Value).collect();
        Ok(Page { text: self.after.clone(), from, nulls: Some(self.nulls.clone()), size })
    }

    /// The parameter that holds the cursor.
    pub(super) const fn cursor(&self) -> usize {
        self.next
    }

    /// The rows of a page, from an answer that may have one more.
    ///
    /// # Errors
    /// If the columns of the order are not what they have to be: a row would be lost between two pages.
    pub(super) fn rows(&self, mut answer: Answer, size: usize) -> Result<Rows, SourceError> {
        self.check(&answer).map_err(SourceError::Internal)?;
        let more = answer.more || answer.rows.len() > size;
        // Where bytes have ended the reading, the last row is the witness that the one before it has a place of its own.
        let kept = if answer.more && answer.rows.len() > 1 { answer.rows.len() - 1 } else { size };
        answer.rows.truncate(kept.min(size));
        Ok(Rows { member: "rows", items: answer.rows, more, page: self.by.to_vec() })
    }

    /// The sentence for rows that no page shows, as they have no place in the order.
    pub(super) fn lost(&self) -> SourceError {
        SourceError::Internal(format!("a column of `page.by` (`{}`) is NULL in a row", self.by.join("`, `")))
    }

    fn check(&self, answer: &Answer) -> Result<(), String> {
        if let Some(column) = answer.unordered.first() {
            return Err(format!(
                "`page.by` names `{column}`, whose values stand in another order than what is shown of them; cast it in the statement"
            ));
        }
        let mut before: Option<Vec<&Value>> = None;
        for row in &answer.rows {
            let mut place = Vec::with_capacity(self.by.len());
            for column in self.by.iter() {
                match row.get(column) {
                    None => {
                        let names: Vec<&str> =
                            row.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
                        let names = names.join("`, `");
                        return Err(format!(
                            "the statement gives no column `{column}` of `page.by`; it gives `{names}`"
                        ));
                    }
                    Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                        return Err(format!("`{column}` of `page.by` is NULL or no single value in a row"));
                    }
                    Some(value) => place.push(value),
                }
            }
            if before.as_ref() == Some(&place) {
                return Err(format!("`page.by` (`{}`) is not unique", self.by.join("`, `")));
            }
            before = Some(place);
        }
        Ok(())
    }
}

pub(super) fn compile(
    config: &SqlOpConfig,
    inner: &SqlText,
    binds: usize,
    engine: Engine,
    cx: &mut OpCx<'_>,
) -> Option<PagePlan> {
    let written = config.page.as_ref()?;
    let before = cx.diagnostics.errors();
    let mut refuse = |code, message: String, at: Span, help: &str| {
        cx.diagnostics.push(Diagnostic::error(code, message).absence().at(at, "").help(help));
    };
    if config.row.is_some_and(|row| row != RowConfig::Many) || config.write.is_some_and(|w| w.value) {
        let message = "pages are for reads that give many rows".to_owned();
        refuse("bad-page", message, written.span, "drop `page`, or `row` and `write`");
    }
    let next = cx.scope.resolve(NEXT);
    if next.is_none() {
        let message = format!("{} has no parameter `{NEXT}` to go on with", cx.scope.owner);
        refuse(
            "bad-page",
            message,
            written.span,
            "pages are for tools, which get it by themselves; elsewhere declare it",
        );
    }
    let size = written.value.size.map_or(50, |s| s.value);
    if let Some(size) = written.value.size.filter(|s| !(1..=MAX_SIZE).contains(&s.value)) {
        let message = format!("a page has 1 to {MAX_SIZE} rows");
        refuse("bad-page", message, size.span, "such as `size: 50`");
    }
    let by = columns(&written.value.by, cx.diagnostics)?;
    let (next, true) = (next?, cx.diagnostics.errors() == before) else { return None };
    let (sign, word) = match written.value.order.unwrap_or_default() {
        OrderConfig::Asc => (">", "ASC"),
        OrderConfig::Desc => ("<", "DESC"),
    };
    let names: Vec<String> = by.iter().map(|column| format!("page.{}", engine.quote(column))).collect();
    let order: Vec<String> = names.iter().map(|name| format!("{name} {word}")).collect();
    let end = format!(" ORDER BY {} LIMIT {}", order.join(", "), size + 1);
    // The line break ends a comment that the statement may end with.
    let close = "\n) AS page";
    let first = inner.inside(engine, "SELECT * FROM (\n", vec![], &format!("{close}{end}"));
    let left = match names.as_slice() {
        [one] => one.clone(),
        many => format!("({})", many.join(", ")),
    };
    let mut from =
        vec![(format!("{close} WHERE {left} {sign} {}", if by.len() > 1 { "(" } else { "" }), binds)];
    from.extend((1..by.len()).map(|n| (", ".to_owned(), binds + n)));
    let tail = format!("{}{end}", if by.len() > 1 { ")" } else { "" });
    let after = inner.inside(engine, "SELECT * FROM (\n", from, &tail);
    let null: Vec<String> = names.iter().map(|name| format!("{name} IS NULL")).collect();
    let end = format!("{close} WHERE {} LIMIT 1", null.join(" OR "));
    let nulls = inner.inside(engine, "SELECT 1 AS one FROM (\n", vec![], &end);
    Some(PagePlan { by: by.into(), size: size as usize, next, first, after, nulls })
}

fn columns(written: &Spanned<JsonNode>, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
    let list = match &written.value {
        JsonNode::Text(one) => vec![one.clone()],
        JsonNode::List(many) => many
            .iter()
            .filter_map(|item| if let JsonNode::Text(text) = &item.value { Some(text.clone()) } else { None })
            .collect(),
        _ => Vec::new(),
    };
    let whole = match &written.value {
        JsonNode::List(many) => many.len() == list.len(),
        _ => true,
    };
    if list.is_empty() || !whole || list.iter().any(String::is_empty) {
        let message = "`by` is the name of a column, or a list of such names";
        diagnostics
            .push(Diagnostic::error("bad-page", message).at(written.span, "").help("such as `by: id`"));
        return None;
    }
    Some(list)
}
