//! Pages of a statement's rows by keyset: rows in the order of some of their columns, each page from where the last one ended. The
//! statement itself stands inside, so a page never shows what the statement would not.

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
    pub by: Vec<String>,
    pub(super) size: usize,
    /// The parameter that holds the cursor.
    next: usize,
    first: SqlText,
    after: SqlText,
}

/// One page of one call.
pub(super) struct Page {
    pub text: SqlText,
    /// The values after those of the statement.
    pub from: Vec<Bind>,
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
            return Ok(Page { text: self.first.clone(), from: Vec::new(), size });
        };
        let values = cursor.as_str().and_then(|text| output::values(text, self.by.len()));
        let values = values.ok_or_else(|| {
            format!("This `{NEXT}` was not given by this tool. Leave it out to begin with the first page.")
        })?;
        Ok(Page { text: self.after.clone(), from: values.into_iter().map(Bind::Value).collect(), size })
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
        let place = |row: &Value| self.by.iter().map(|c| row.get(c).cloned()).collect::<Vec<_>>();
        if let (Some(last), Some(beyond)) =
            (size.checked_sub(1).and_then(|at| answer.rows.get(at)), answer.rows.get(size))
        {
            let last = place(last);
            if last == place(beyond) || last.contains(&Some(Value::Null)) || last.contains(&None) {
                let by = self.by.join("`, `");
                return Err(SourceError::Internal(format!(
                    "`page.by` (`{by}`) is not unique, or is NULL in a row"
                )));
            }
        }
        let more = answer.more || answer.rows.len() > size;
        answer.rows.truncate(size);
        Ok(Rows { member: "rows", items: answer.rows, more, page: self.by.clone() })
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
    Some(PagePlan { by, size: size as usize, next, first, after })
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
