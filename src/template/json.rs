//! A JSON value with placeholders. A whole-value placeholder keeps its JSON type; an absent optional one leaves
//! its entry out. Text is never parsed as JSON, so an argument cannot break out of its place.

use serde::Serialize;
use serde_json::{Map, Value};

use super::Template;
use crate::diag::{Diagnostics, Spanned};
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
}

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
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(k, v)| Some((k.value.clone(), Self::compile(v, scope, diagnostics)?)))
                    .collect();
                entries.into_iter().collect::<Option<_>>().map(Self::Map)
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
            Self::Map(entries) => Some(Value::Object(
                entries
                    .iter()
                    .filter_map(|(k, v)| Some((k.clone(), v.render(arguments)?)))
                    .collect::<Map<_, _>>(),
            )),
        }
    }
}
