//! XML bodies: a well-formed template, whose placeholders stand only where an argument can be written as text.

use std::borrow::Cow;
use std::ops::Range;

use quick_xml::events::Event;

use super::table;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::template::{Template, value_text};

/// What stands for the argument with this number while a template is read; a private character of Unicode, so no configuration
/// means it.
fn stand_in(number: usize) -> String {
    format!("\u{f8ff}{number}\u{f8ff}")
}

pub(super) fn compile(
    text: &Spanned<String>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Template> {
    let given = scope.outside().of(text.span);
    let (written, given) = with_escaped(text, &given);
    let template = Template::compile_part(&written, &given, scope, diagnostics)?;
    if !template.always_full(text, scope, diagnostics) {
        return None;
    }
    let names: Vec<&str> = scope.names().collect();
    let filled = template.fill_with(stand_in);
    let seen = seen(&filled);
    for (place, index) in template.params().enumerate() {
        if !seen.contains(&place) {
            let name = names.get(index).copied().unwrap_or_default();
            let message = format!("`{{{name}}}` cannot stand here in XML");
            let help =
                "placeholders stand in text and in quoted attribute values, not in names, comments or CDATA";
            let problem = Diagnostic::error("bad-xml", message);
            // The same name may stand in several places; which of them it is shows in the order.
            diagnostics.push(problem.within(text.span, format!("{{{name}}}"), "").help(help));
            return None;
        }
    }
    if let Err(error) = table::xml(&filled) {
        let why = match error {
            // What is shown of the body might be what came from outside.
            SourceError::BadReply { reason, detail } if detail.is_empty() || !given.is_empty() => {
                reason.to_owned()
            }
            SourceError::BadReply { reason, detail } => format!("{reason}: {}", without_stand_ins(&detail)),
            other => other.to_string(),
        };
        let message = format!("this body cannot be sent: {why}");
        diagnostics.push(Diagnostic::error("bad-xml", message).at(text.span, ""));
        return None;
    }
    Some(template)
}

/// The text with what `${…}` gave as XML writes it, and where that stands now: a value is no syntax.
fn with_escaped(text: &Spanned<String>, given: &[Range<usize>]) -> (Spanned<String>, Vec<Range<usize>>) {
    let (mut out, mut parts, mut from) = (String::with_capacity(text.value.len()), Vec::new(), 0);
    for part in given {
        let Some(value) = text.value.get(part.clone()) else { return (text.clone(), Vec::new()) };
        out.push_str(text.value.get(from..part.start).unwrap_or_default());
        let begin = out.len();
        out.push_str(&escaped(value.into()));
        parts.push(begin..out.len());
        from = part.end;
    }
    out.push_str(text.value.get(from..).unwrap_or_default());
    (Spanned::new(out, text.span), parts)
}

fn without_stand_ins(text: &str) -> String {
    text.split('\u{f8ff}').step_by(2).collect::<Vec<_>>().join("…")
}

/// The placeholders that stand in text or in attribute values.
fn seen(xml: &str) -> Vec<usize> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut seen = Vec::new();
    let mut note = |text: &str| {
        seen.extend(
            text.split('\u{f8ff}').skip(1).step_by(2).filter_map(|number| number.parse::<usize>().ok()),
        );
    };
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Text(text) => note(&text.xml10_content()),
            Event::Start(start) | Event::Empty(start) => {
                // Without quotation marks it is no attribute.
                for attribute in start.attributes().flatten() {
                    note(&attribute.value);
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    seen
}

/// The body of one call.
pub(super) fn render(template: &Template, arguments: &Arguments) -> Result<String, SourceError> {
    let values = template.params().filter_map(|index| arguments.get(index));
    if values.map(value_text).any(|text| text.chars().any(forbidden)) {
        let message = "An argument holds a control character, which cannot be written in XML. Leave such characters out.";
        return Err(SourceError::Argument(message.to_owned()));
    }
    template.render_as(arguments, escaped).ok_or_else(|| {
        SourceError::Argument("An argument is null, but this request needs a value for it.".to_owned())
    })
}

/// XML 1.0 section 2.2: characters that no document can hold.
fn forbidden(c: char) -> bool {
    (c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{7f}'))
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// White space that a parser would make one blank or another line end of is written by its number (XML 1.0 sections 2.11, 3.3.3).
fn escaped(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '\t', '\n', '\r']) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}
