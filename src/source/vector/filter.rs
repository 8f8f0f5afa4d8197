//! Conditions of a search. What an argument says can make a search find less, never more: a condition is left out only if its
//! parameter is `optional` and absent, and a value of another shape than the condition's is refused.

use serde::Serialize;
use serde_json::Value;

use super::collection::CollectionPlan;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::Arguments;
use crate::source::{OpCx, SourceError};
use crate::template::JsonTemplate;
use crate::yaml::{Entries, JsonNode};

/// The most values of one `in`.
const MAX_VALUES: usize = 1000;

/// A condition on a metadata column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Condition {
    column: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Test {
    Equals(Operand),
    In(Operand),
    Bounds(Vec<(Bound, Operand)>),
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    Gte,
    Gt,
    Lte,
    Lt,
}

/// What a column is compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Operand {
    value: JsonTemplate,
    /// Whether the condition is left out when there is no value.
    optional: bool,
}

/// A condition with its value, in the shape it needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub column: String,
    pub test: Checked,
}

/// Texts, numbers and booleans; bounds are texts or numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Checked {
    Equals(Value),
    /// At least one value.
    In(Vec<Value>),
    Bound(Bound, Value),
}

impl Bound {
    const ALL: [Self; 4] = [Self::Gte, Self::Gt, Self::Lte, Self::Lt];

    /// Its key, which is also Qdrant's.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Gte => "gte",
            Self::Gt => "gt",
            Self::Lte => "lte",
            Self::Lt => "lt",
        }
    }

    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Gte => ">=",
            Self::Gt => ">",
            Self::Lte => "<=",
            Self::Lt => "<",
        }
    }
}

/// Compiles `where`.
pub(super) fn compile(
    written: &Entries<Spanned<JsonNode>>,
    collection: Option<&CollectionPlan>,
    cx: &mut OpCx<'_>,
) -> Option<Vec<Condition>> {
    let conditions: Vec<Option<Condition>> = written
        .iter()
        .map(|(name, value)| {
            let column = match collection {
                Some(collection) => collection.condition_column(name, cx.diagnostics),
                None => Some(name.value.clone()),
            };
            let test = test(&name.value, value, cx);
            Some(Condition { column: column?, test: test? })
        })
        .collect();
    conditions.into_iter().collect()
}

fn test(column: &str, written: &Spanned<JsonNode>, cx: &mut OpCx<'_>) -> Option<Test> {
    let JsonNode::Map(entries) = &written.value else {
        return Operand::compile(column, written, Shape::One, cx).map(Test::Equals);
    };
    if let [(key, value)] = entries.as_slice()
        && key.value == "in"
    {
        return Operand::compile(column, value, Shape::List, cx).map(Test::In);
    }
    if entries.is_empty() {
        refuse(written, format!("the condition on `{column}` says nothing"), cx.diagnostics);
        return None;
    }
    let bounds: Vec<Option<(Bound, Operand)>> = entries
        .iter()
        .map(|(key, value)| {
            let Some(bound) = Bound::ALL.into_iter().find(|b| b.key() == key.value) else {
                let (message, help) = if key.value == "in" {
                    ("`in` stands alone".to_owned(), "bounds are `gte`, `gt`, `lte`, `lt`".to_owned())
                } else {
                    let keys = ["in"].into_iter().chain(Bound::ALL.map(Bound::key));
                    let help = crate::name::did_you_mean(&key.value, keys, "conditions");
                    (format!("`{}` is not a condition", key.value), help)
                };
                let problem = Diagnostic::error("bad-condition", message).at(key.span, "");
                cx.diagnostics.push(problem.help(help));
                return None;
            };
            Some((bound, Operand::compile(column, value, Shape::Bound, cx)?))
        })
        .collect();
    bounds.into_iter().collect::<Option<_>>().map(Test::Bounds)
}

fn refuse(at: &Spanned<JsonNode>, message: String, diagnostics: &mut Diagnostics) {
    let help = "a text, a number or a boolean; `{ in: [...] }`; or bounds as in `{ gte: 1, lt: 5 }`";
    diagnostics.push(Diagnostic::error("bad-condition", message).at(at.span, "").help(help));
}

/// What a value has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Bound,
    List,
}

impl Shape {
    /// Whether a value has it.
    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::One, Value::Bool(_)) | (Self::One | Self::Bound, Value::String(_) | Value::Number(_)) => {
                true
            }
            (Self::List, Value::Array(items)) => items.iter().all(|item| Self::One.fits(item)),
            _ => false,
        }
    }

    /// Whether a value of this JSON type may have it.
    fn takes(self, json_type: &str) -> bool {
        match json_type {
            "array" => self == Self::List,
            "object" => false,
            "boolean" => self == Self::One,
            "null" => true,
            _ => self != Self::List,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::One => "one text, number or boolean",
            Self::Bound => "a text or a number",
            Self::List => "a list of texts, numbers or booleans",
        }
    }
}

impl Operand {
    fn compile(column: &str, written: &Spanned<JsonNode>, shape: Shape, cx: &mut OpCx<'_>) -> Option<Self> {
        let value = JsonTemplate::compile(written, cx.scope, cx.diagnostics)?;
        let misfit = match &value {
            JsonTemplate::Literal(literal) => !shape.fits(literal),
            JsonTemplate::Param(index) => {
                let types = cx.scope.types(*index);
                !types.is_empty() && !types.iter().any(|t| t != "null" && shape.takes(t))
            }
            JsonTemplate::Text(_) => shape == Shape::List,
            JsonTemplate::List(_) => shape != Shape::List,
            JsonTemplate::Map(_) | JsonTemplate::Spread { .. } => true,
        };
        if misfit {
            refuse(written, format!("`{column}` is compared with {} here", shape.words()), cx.diagnostics);
            return None;
        }
        // What is pinned or comes from the caller's identity is always present: it never leaves a condition out.
        let may_be_absent = |index: &usize| !cx.scope.always_present(*index);
        let optional = match &value {
            JsonTemplate::Param(index) => may_be_absent(index),
            // A pinned part of a text is never lost because another part is absent.
            JsonTemplate::Text(template) => {
                !template.has_text() && template.params().all(|index| may_be_absent(&index))
            }
            _ => false,
        };
        Some(Self { value, optional })
    }

    fn value(&self, column: &str, shape: Shape, arguments: &Arguments) -> Result<Option<Value>, SourceError> {
        let Some(value) = self.value.render(arguments).filter(|v| !v.is_null()) else {
            if self.optional {
                return Ok(None);
            }
            let sentence = format!("This search needs a value for `{column}`, and there is none.");
            return Err(SourceError::Argument(sentence));
        };
        if !shape.fits(&value) {
            let sentence = format!("`{column}` is compared with {} here.", shape.words());
            return Err(SourceError::Argument(sentence));
        }
        Ok(Some(value))
    }
}

/// The conditions of one call; `None` if nothing can fulfil them.
///
/// # Errors
/// A value that is missing or has another shape.
pub(super) fn checks(
    conditions: &[Condition],
    arguments: &Arguments,
) -> Result<Option<Vec<Check>>, SourceError> {
    let mut checks = Vec::new();
    let mut possible = true;
    for Condition { column, test } in conditions {
        let mut add = |test| checks.push(Check { column: column.clone(), test });
        match test {
            Test::Equals(operand) => {
                if let Some(value) = operand.value(column, Shape::One, arguments)? {
                    add(Checked::Equals(value));
                }
            }
            Test::In(operand) => {
                if let Some(Value::Array(values)) = operand.value(column, Shape::List, arguments)? {
                    if values.len() > MAX_VALUES {
                        let sentence = format!("`{column}` takes at most {MAX_VALUES} values.");
                        return Err(SourceError::Argument(sentence));
                    }
                    possible &= !values.is_empty();
                    add(Checked::In(values));
                }
            }
            Test::Bounds(bounds) => {
                for (bound, operand) in bounds {
                    if let Some(value) = operand.value(column, Shape::Bound, arguments)? {
                        add(Checked::Bound(*bound, value));
                    }
                }
            }
        }
    }
    Ok(possible.then_some(checks))
}
