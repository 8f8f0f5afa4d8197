//! A JSON value with placeholders. A whole-value placeholder keeps its JSON type; an absent optional one leaves
//! its entry out; the key `...` puts in the members of an object. Text is never parsed as JSON, so an argument cannot break out of its place.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Template;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::yaml::JsonNode;

/// A JSON value with places for arguments.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JsonTemplate {
    /// No placeholder inside.
    Literal(Value),
    /// The argument's own value.
    Param(usize),
    /// Text with placeholders.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// A map in written order.
    Map(Vec<(String, JsonTemplate)>),
    /// A map into which an object argument is spread, whose members never replace a written one.
    Spread {
        /// The written members.
        entries: Vec<(String, JsonTemplate)>,
        /// The argument.
        param: usize,
        /// How many of the written members come before it.
        at: usize,
    },
}

/// The key whose value is an object to be spread.
const SPREAD: &str = "...";

impl JsonTemplate {
    /// Compiles a value as written.
    pub fn compile(
        node: &Spanned<JsonNode>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        match &node.value {
            JsonNode::Text(text) => {
                let text = Spanned::new(text.clone(), node.span);
                let template = Template::compile(&text, scope, diagnostics)?;
                Some(match (template.single(), template.literal()) {
                    (Some(index), _) => Self::Param(index),
                    (_, Some(text)) => Self::Literal(Value::from(text)),
                    _ => Self::Text(template),
                })
            }
            JsonNode::List(items) => {
                let items: Vec<_> = items.iter().map(|i| Self::compile(i, scope, diagnostics)).collect();
                items.into_iter().collect::<Option<_>>().map(Self::List)
            }
            JsonNode::Map(entries) => {
                let spread = entries.iter().position(|(key, _)| key.value == SPREAD);
                let spread = spread.and_then(|at| Some((at, entries.get(at)?)));
                let spread = match spread {
                    Some((at, (_, value))) => Some((at, spread_param(value, scope, diagnostics)?)),
                    None => None,
                };
                let entries: Vec<_> = entries
                    .iter()
                    .filter(|(key, _)| key.value != SPREAD)
                    .map(|(k, v)| Some((k.value.clone(), Self::compile(v, scope, diagnostics)?)))
                    .collect();
                let entries = entries.into_iter().collect::<Option<_>>()?;
                Some(match spread {
                    Some((at, param)) => Self::Spread { entries, param, at },
                    None => Self::Map(entries),
                })
            }
            other => Some(Self::Literal(other.to_value())),
        }
    }

    /// The filled value; `None` if it is a placeholder without a value.
    #[must_use]
    pub fn render(&self, arguments: &Arguments) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Param(index) => arguments.get(*index).cloned(),
            Self::Text(template) => template.render(arguments).map(Value::String),
            Self::List(items) => {
                Some(Value::Array(items.iter().filter_map(|i| i.render(arguments)).collect()))
            }
            Self::Map(entries) => Some(Value::Object(members(entries, arguments).collect())),
            Self::Spread { entries, param, at } => {
                let (before, after) = entries.split_at_checked(*at).unwrap_or((entries, &[]));
                let mut map: Map<_, _> = members(before, arguments).collect();
                if let Some(Value::Object(object)) = arguments.get(*param) {
                    // A written member keeps its place also when its own argument is absent.
                    let free = object.iter().filter(|(key, _)| !entries.iter().any(|(k, _)| k == *key));
                    map.extend(free.map(|(key, value)| (key.clone(), value.clone())));
                }
                map.extend(members(after, arguments));
                Some(Value::Object(map))
            }
        }
    }
}

/// The members that have a value.
fn members<'a>(
    entries: &'a [(String, JsonTemplate)],
    arguments: &'a Arguments,
) -> impl Iterator<Item = (String, Value)> + 'a {
    entries.iter().filter_map(|(k, v)| Some((k.clone(), v.render(arguments)?)))
}

/// The parameter in `"...": "{name}"`, which has to be an object whenever it is there.
fn spread_param(
    written: &Spanned<JsonNode>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<usize> {
    let param = match JsonTemplate::compile(written, scope, diagnostics)? {
        JsonTemplate::Param(index) => Some(index),
        _ => None,
    };
    let object = |index: &usize| {
        let types = scope.types(*index);
        types.iter().any(|t| t == "object") && types.iter().all(|t| t == "object" || t == "null")
    };
    let param = param.filter(object);
    if param.is_none() {
        let message = "`...` takes one placeholder of a parameter of `type: object`";
        let help = "such as `\"...\": \"{filter}\"`, with `filter: { type: object }`";
        diagnostics.push(Diagnostic::error("bad-spread", message).at(written.span, "").help(help));
    }
    param
}
