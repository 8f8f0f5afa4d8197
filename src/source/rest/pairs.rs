//! Names with templated values, as a query or a form has them, and the three ways in which they carry a list.

use percent_encoding::utf8_percent_encode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::url::ARGUMENT;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::template::{JsonTemplate, value_text};
use crate::yaml::{Entries, JsonNode, ValueOr};

/// A list and how it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListValue")]
pub struct ListConfig {
    /// A placeholder of a list, or a list.
    pub value: Spanned<JsonNode>,
    /// How it is written. Default `repeat`.
    #[serde(default)]
    pub style: ListStyle,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListStyle {
    /// `tag=a&tag=b`
    #[default]
    Repeat,
    /// `tag=a,b`; a comma inside an element is `%2C`.
    Comma,
    /// `tag%5B%5D=a&tag%5B%5D=b`, which is `tag[]=a&tag[]=b` in its encoded form.
    Brackets,
}

/// A query or a form.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Pairs(Vec<Pair>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pair {
    /// Already encoded.
    name: String,
    value: JsonTemplate,
    /// Whether the elements of a list are joined; otherwise the name is repeated.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    joined: bool,
}

impl Pairs {
    pub(super) fn compile(
        entries: &Entries<ValueOr<ListConfig>>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let pairs: Vec<_> =
            entries.iter().map(|(name, value)| Pair::compile(name, value, scope, diagnostics)).collect();
        pairs.into_iter().collect::<Option<_>>().map(Self)
    }

    /// `a=1&b=2`, percent-encoded; absent and null values and empty lists leave their entry out.
    pub(super) fn write(&self, out: &mut String, arguments: &Arguments) {
        let start = out.len();
        let begin = |out: &mut String, name: &str| {
            if out.len() > start {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
        };
        for Pair { name, value, joined } in &self.0 {
            let items = match value.render(arguments) {
                None => continue,
                Some(Value::Array(items)) => items,
                Some(value) => vec![value],
            };
            for (number, item) in items.iter().filter(|item| !item.is_null()).enumerate() {
                if *joined && number > 0 {
                    out.push(',');
                } else {
                    begin(out, name);
                }
                out.extend(utf8_percent_encode(&value_text(item), ARGUMENT));
            }
        }
    }
}

impl Pair {
    fn compile(
        name: &Spanned<String>,
        value: &ValueOr<ListConfig>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let (written, style) = match value {
            ValueOr::Value(value) => (value, None),
            ValueOr::Block(list) => (&list.value, Some(list.style)),
        };
        if matches!(written.value, JsonNode::Map(_)) {
            let message = format!("`{}` is one value or a list, not a block", name.value);
            diagnostics.push(Diagnostic::error("wrong-type", message).at(written.span, ""));
            return None;
        }
        let value = JsonTemplate::compile(written, scope, diagnostics)?;
        let is_list = match &value {
            JsonTemplate::List(_) => true,
            JsonTemplate::Param(index) => {
                let types = scope.types(*index);
                types.is_empty() || types.iter().any(|t| t == "array")
            }
            _ => false,
        };
        if style.is_some() && !is_list {
            let message = format!("`{}` has a style of a list, but its value is none", name.value);
            let help = "give it a parameter of `type: array`, or write the value without `style`";
            diagnostics.push(Diagnostic::error("not-a-list", message).at(written.span, "").help(help));
            return None;
        }
        let mut name = utf8_percent_encode(&name.value, ARGUMENT).to_string();
        if style == Some(ListStyle::Brackets) {
            name.push_str("%5B%5D");
        }
        Some(Self { name, value, joined: style == Some(ListStyle::Comma) })
    }
}
