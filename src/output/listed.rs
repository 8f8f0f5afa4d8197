//! Lists that are shown as far as they fit, whatever is made of them: what does not fit is made again from fewer items, so that
//! the next page begins with those.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::jq::Jq;
use super::shape::{ShapeError, done, finished, parse, redacted};
use super::weight::are_little;
use super::{NEXT, Outcome, OutputPlan, Pages, Rows, cut, next};
use crate::tasks::LITTLE;

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

    /// How many items are shown at the most.
    fn most(&self, plan: &OutputPlan) -> usize {
        self.items.len().min(plan.max_rows)
    }

    /// Whether nobody has to wait long for what is done with all of it.
    fn is_little(&self) -> bool {
        let around = match &self.around {
            Around::Rows { .. } => &Value::Null,
            Around::Pages(pages) => &pages.document,
        };
        are_little(self.items.iter().chain([around]))
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

/// Shapes a list from which nothing is to be chosen.
pub(super) fn whole(list: &Listed, plan: &OutputPlan) -> Result<Outcome, ShapeError> {
    let mut shown = list.most(plan);
    loop {
        match tried(list, None, shown, plan)? {
            Tried::Fits(outcome) => return Ok(outcome),
            Tried::Fewer(fewer) => shown = fewer,
        }
    }
}

/// Shapes a list by what the route's `select` makes of as much of it as fits.
pub(super) async fn chosen(
    list: Listed,
    select: &Jq,
    plan: &Arc<OutputPlan>,
    deadline: Instant,
) -> Result<Outcome, ShapeError> {
    let mut shown = list.most(plan);
    let (little, list) = (list.is_little(), Arc::new(list));
    loop {
        let all = list.clone();
        let document = move |_: &_| Ok(all.document(shown).to_string());
        let document = done(little, plan, deadline, document).await?;
        let text = select.text(&document, deadline).await?;
        let (all, little) = (list.clone(), little && text.len() <= LITTLE);
        let tried = move |plan: &_| tried(&all, Some(&text), shown, plan);
        match done(little, plan, deadline, tried).await? {
            Tried::Fits(outcome) => return Ok(outcome),
            Tried::Fewer(fewer) => shown = fewer,
        }
    }
}

/// What became of some of the items.
enum Tried {
    /// The result.
    Fits(Outcome),
    /// More than the result may be; with so many it may not be.
    Fewer(usize),
}

/// Makes a result from the first so many items, or from the `text` that a program made of them.
fn tried(list: &Listed, text: Option<&str>, shown: usize, plan: &OutputPlan) -> Result<Tried, ShapeError> {
    let max = plan.max_bytes;
    let fits = |outcome| {
        let partial = matches!(&list.around, Around::Pages(pages) if pages.partial);
        Tried::Fits(Outcome { partial, ..outcome })
    };
    let value = text.map_or_else(|| Ok(list.document(shown)), parse)?;
    let value = redacted(value, plan);
    let cut = list.more() || shown < list.items.len();
    let value = if cut { with_note(value, list, shown)? } else { value };
    let size = cut::json_len(&value);
    if size <= max {
        return finished(&value, cut, plan).map(fits);
    }
    if !list.goes_on() {
        let value = cut::cut_value(value, max, usize::MAX).ok_or(ShapeError::TooLarge { max })?;
        return finished(&value, true, plan).map(fits);
    }
    if shown < 2 {
        return Err(ShapeError::TooLarge { max });
    }
    // A little less than what would fit if all were of one size.
    let guess = (shown as u128 * max as u128 * 9) / (size as u128 * 10);
    Ok(Tried::Fewer(usize::try_from(guess).unwrap_or(0).clamp(1, shown - 1)))
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

    #[test]
    fn a_list_that_a_failure_cut_short_says_that_it_is_not_whole() {
        let plan = OutputConfig::default().compile(&OutputConfig::default(), &mut Diagnostics::default());
        for partial in [true, false] {
            let pages = Pages {
                document: json!([1, 2]),
                items: JsonPath::whole(),
                starts: vec![PageStart { item: 0, page: Value::Null, skipped: 0 }],
                more: Some(json!(2)),
                partial,
            };
            let outcome = whole(&Listed::pages(pages).unwrap(), &plan).unwrap();
            assert_eq!(outcome.partial, partial);
        }
    }
}
