//! Text with `{name}` placeholders; `{{` and `}}` are literal braces.

use std::borrow::Cow;
use std::ops::Range;

use serde::Serialize;
use serde_json::Value;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::yaml::{MASK, masked};

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Piece {
    Text(String),
    Param(usize),
}

/// A text with places for arguments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Template {
    pub(super) pieces: Vec<Piece>,
}

/// How an argument reads inside a text: a text as it is, other values as JSON.
#[must_use]
pub fn value_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

impl Template {
    /// Splits `text`. Unknown names and stray braces are recorded.
    pub fn compile(text: &Spanned<String>, scope: &mut Scope, diagnostics: &mut Diagnostics) -> Option<Self> {
        let outside = scope.outside().of(text.span);
        Self::compile_part(text, &outside, scope, diagnostics)
    }

    /// The same for a text of which it is known what came from outside: that means nothing, whatever it looks like.
    pub fn compile_part(
        text: &Spanned<String>,
        outside: &[Range<usize>],
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let whole = text.value.as_str();
        let own = masked(whole, outside);
        let mut rest = own.as_ref();
        let mut sound = true;
        while let Some(at) = rest.find(['{', '}']) {
            let from = rest.get(at..).unwrap_or("");
            let here = whole.len() - from.len();
            literal.push_str(whole.get(whole.len() - rest.len()..here).unwrap_or(""));
            if from.starts_with("{{") || from.starts_with("}}") {
                literal.extend(from.chars().next());
                rest = from.get(2..).unwrap_or("");
                continue;
            }
            let close = from.find('}').filter(|_| from.starts_with('{'));
            // A name is written in the file, and no part of it comes from elsewhere.
            let close = close.filter(|close| !from.get(..*close).unwrap_or("").contains(MASK));
            let Some(close) = close else {
                let brace = if from.starts_with('{') { "{" } else { "}" };
                let message = format!("a `{brace}` without its partner");
                diagnostics.push(
                    Diagnostic::error("placeholder-syntax", message)
                        .part(text.span, whole, here..here + 1, "")
                        .help(format!("write `{brace}{brace}` for a literal `{brace}`")),
                );
                return None;
            };
            let name = from.get(1..close).unwrap_or("");
            match scope.resolve(name) {
                Some(index) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Param(index));
                }
                None => {
                    sound = false;
                    diagnostics.push(unknown(name, text, here, scope));
                }
            }
            rest = from.get(close + 1..).unwrap_or("");
        }
        literal.push_str(whole.get(whole.len() - rest.len()..).unwrap_or(""));
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        sound.then_some(Self { pieces })
    }

    /// The text with something in the place of each placeholder, counted from 0.
    #[must_use]
    pub fn fill_with(&self, stand_in: impl Fn(usize) -> String) -> String {
        let mut out = String::new();
        let mut count = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Param(_) => {
                    out.push_str(&stand_in(count));
                    count += 1;
                }
            }
        }
        out
    }

    /// The parameter, if the whole template is one placeholder.
    #[must_use]
    pub fn single(&self) -> Option<usize> {
        match self.pieces.as_slice() {
            [Piece::Param(index)] => Some(*index),
            _ => None,
        }
    }

    /// The text, if there is no placeholder.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The texts around the placeholders.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Param(_) => None,
        })
    }

    /// Whether a call always has every argument it uses; one that may be absent is recorded.
    pub fn always_full(&self, text: &Spanned<String>, scope: &Scope, diagnostics: &mut Diagnostics) -> bool {
        let absent = self.params().find(|index| !scope.always_present(*index));
        if let Some(name) = absent.and_then(|index| scope.names().nth(index)) {
            let message = format!("`{name}` may be absent, and this text would then have a hole");
            let help = format!("give `{name}` a default, or make it required");
            let problem =
                Diagnostic::error("may-be-absent", message).within(text.span, format!("{{{name}}}"), "");
            diagnostics.push(problem.help(help));
        }
        absent.is_none()
    }

    /// The parameters it uses.
    pub fn params(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().filter_map(|p| match p {
            Piece::Param(index) => Some(*index),
            Piece::Text(_) => None,
        })
    }

    /// Whether a part of it is pinned, whatever the arguments are.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Text(text) if !text.is_empty()))
    }

    /// The filled text; `None` if an argument is absent or null (the entry is then left out).
    #[must_use]
    pub fn render(&self, arguments: &Arguments) -> Option<String> {
        self.render_as(arguments, |text| text)
    }

    /// The same, with every argument written another way.
    #[must_use]
    pub fn render_as<'a>(
        &self,
        arguments: &'a Arguments,
        write: impl Fn(Cow<'a, str>) -> Cow<'a, str>,
    ) -> Option<String> {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Param(index) => match arguments.get(*index) {
                    None | Some(Value::Null) => return None,
                    Some(value) => out.push_str(&write(value_text(value))),
                },
            }
        }
        Some(out)
    }
}

fn unknown(name: &str, text: &Spanned<String>, at: usize, scope: &Scope) -> Diagnostic {
    let message = format!("`{{{name}}}` is not a parameter of {}", scope.owner);
    Diagnostic::error("unknown-param", message)
        .absence()
        .part(text.span, &text.value, at..at + name.len() + 2, "")
        .help(crate::name::did_you_mean(name, scope.names(), "parameters here"))
}
