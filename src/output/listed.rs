//! Lists that are shown as far as they fit, whatever is made of them: what does not fit is made again from fewer items, so that
//! the next page begins with those.

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::shape::{ShapeError, finished, redacted};
use super::{NEXT, Outcome, OutputPlan, Pages, Rows, cut, next};

/// A list, and the document around it.
pub(super) struct Listed {
    items: Vec<Value>,
    around: Around,
}

enum Around {
    /// The rows themselves, how they are put in order, and whether there are more.
    Rows { page: Vec<String>, more: bool },
    /// A document with the list taken out.
    Pages(Pages),
}

impl Listed {
    pub(super) fn rows(rows: Rows) -> Self {
        let Rows { items, more, page, .. } = rows;
        Self { items, around: Around::Rows { page, more } }
    }

    pub(super) fn pages(mut pages: Pages) -> Result<Self, ShapeError> {
        match pages.items.get_mut(&mut pages.document).map(Value::take) {
            Some(Value::Array(items)) => Ok(Self { items, around: Around::Pages(pages) }),
            _ => Err(ShapeError::Select("there is no list of items".to_owned())),
        }
    }

    /// Whether what is left out can be asked for.
    fn goes_on(&self) -> bool {
        match &self.around {
            Around::Rows { page, .. } => !page.is_empty(),
            Around::Pages(_) => true,
        }
    }

    /// Whether there are more than these.
    fn more(&self) -> bool {
        match &self.around {
            Around::Rows { more, .. } => *more,
            Around::Pages(pages) => pages.more.is_some(),
        }
    }

    /// What asks for all but the first so many.
    fn after(&self, shown: usize) -> Option<String> {
        match &self.around {
            Around::Rows { page, .. } => next::after(self.items.get(shown.checked_sub(1)?)?, page),
            Around::Pages(pages) if shown == self.items.len() => next::mark(pages.more.as_ref()?, 0),
            Around::Pages(pages) => {
                let start = pages.starts.iter().rev().find(|start| start.item <= shown)?;
                next::mark(&start.page, shown - start.item + start.skipped)
            }
        }
    }

    /// The document with the first so many items.
    fn document(&self, shown: usize) -> Value {
        let items = Value::Array(self.items.iter().take(shown).cloned().collect());
        match &self.around {
            Around::Rows { .. } => items,
            Around::Pages(pages) => {
                let mut document = pages.document.clone();
                if let Some(place) = pages.items.get_mut(&mut document) {
                    *place = items;
                }
                // The API's own way on is that of its first page.
                if let Value::Object(map) = &mut document {
                    map.shift_remove(NEXT);
                }
                document
            }
        }
    }
}

/// Shapes a list by the route's `output`.
pub(super) async fn shape(list: Listed, plan: &OutputPlan, deadline: Instant) -> Result<Outcome, ShapeError> {
    let partial = matches!(&list.around, Around::Pages(pages) if pages.partial);
    let outcome = shown(&list, plan, deadline).await?;
    Ok(Outcome { partial, ..outcome })
}

/// As much of a list as fits.
async fn shown(list: &Listed, plan: &OutputPlan, deadline: Instant) -> Result<Outcome, ShapeError> {
    let max = plan.max_bytes;
    let mut shown = list.items.len().min(plan.max_rows);
    loop {
        let document = list.document(shown);
        let value = match &plan.select {
            None => document,
            Some(select) => select.run(&document.to_string(), deadline).await?,
        };
        let value = redacted(value, plan);
        let cut = list.more() || shown < list.items.len();
        let value = if cut { with_note(value, list, shown)? } else { value };
        let size = cut::json_len(&value);
        if size <= max {
            return finished(&value, cut, plan);
        }
        if !list.goes_on() {
            let value = cut::cut_value(value, max).ok_or(ShapeError::TooLarge { max })?;
            return finished(&value, true, plan);
        }
        if shown < 2 {
            return Err(ShapeError::TooLarge { max });
        }
        // A little less than what would fit if all were of one size.
        let guess = (shown as u128 * max as u128 * 9) / (size as u128 * 10);
        shown = usize::try_from(guess).unwrap_or(0).clamp(1, shown - 1);
    }
}

/// Says beside a value that it is not made from all items, and how to go on.
fn with_note(value: Value, list: &Listed, shown: usize) -> Result<Value, ShapeError> {
    let next = list.after(shown);
    if next.is_none() && matches!(list.around, Around::Pages(_)) {
        return Err(ShapeError::Select("the way to the next page cannot be written down".to_owned()));
    }
    let noun = if matches!(list.around, Around::Rows { .. }) { "rows" } else { "items" };
    let note = cut::rows_note(shown, list.more(), next.is_some(), noun);
    let mut map = match value {
        Value::Object(map) => map,
        other => Map::from_iter([("items".to_owned(), other)]),
    };
    // In the place of what the API itself says by these names, which is about something else.
    for (name, value) in [("truncated", json!(true)), ("note", json!(note))] {
        map.insert(name.to_owned(), value);
    }
    if let Some(next) = next {
        map.insert(NEXT.to_owned(), Value::from(next));
    }
    Ok(Value::Object(map))
}

#[cfg(test)]
mod tests {
    use super::super::{JsonPath, OutputConfig, PageStart};
    use super::*;
    use crate::diag::Diagnostics;

    #[tokio::test]
    async fn a_list_that_a_failure_cut_short_says_that_it_is_not_whole() {
        let plan = OutputConfig::default().compile(&OutputConfig::default(), &mut Diagnostics::default());
        for partial in [true, false] {
            let pages = Pages {
                document: json!([1, 2]),
                items: JsonPath::whole(),
                starts: vec![PageStart { item: 0, page: Value::Null, skipped: 0 }],
                more: Some(json!(2)),
                partial,
            };
            let later = Instant::now() + std::time::Duration::from_secs(60);
            let outcome = shape(Listed::pages(pages).unwrap(), &plan, later).await.unwrap();
            assert_eq!(outcome.partial, partial);
        }
    }
}
