//! What `${…}` gives stands in a Jinja template as text: braces in it open nothing, and a quote in it ends nothing.

use std::fmt::Write as _;
use std::ops::Range;

/// Where in a template one is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Text,
    Raw,
    Comment,
    /// Between the braces, up to this end, so many brackets deep: within those it is no end.
    Code(&'static str, usize),
    /// In a quoted text between the braces.
    Quoted(&'static str, usize, char),
}

/// The template with `outside` written so that it is read as text; nothing if a part of it stands where only code can.
pub(super) fn source(text: &str, outside: &[Range<usize>]) -> Option<String> {
    // Of another text with the same place.
    if outside.iter().any(|part| text.get(part.clone()).is_none()) {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut at = At::Text;
    let mut from = 0;
    for part in outside {
        let own = text.get(from..part.start)?;
        at = walk(own, at);
        out.push_str(own);
        let value = text.get(part.clone())?;
        match at {
            At::Text | At::Raw if !value.contains(['{', '}', '%', '#']) => out.push_str(value),
            At::Text | At::Raw => {
                // A brace right before would be one more of those that open.
                let brace = if out.ends_with('{') { out.pop() } else { None };
                let (end, begin) = if at == At::Raw { ("{% endraw %}", "{% raw %}") } else { ("", "") };
                let brace = brace.map(String::from).unwrap_or_default();
                let _ = write!(out, "{end}{{{{ \"{}{}\" }}}}{begin}", quoted(&brace), quoted(value));
            }
            At::Comment => {}
            At::Quoted(..) => out.push_str(&quoted(value)),
            At::Code(..) if is_plain(value) => out.push_str(value),
            At::Code(..) => return None,
        }
        from = part.end;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

/// A number or a truth value has nothing in it that could be read another way.
fn is_plain(value: &str) -> bool {
    let figures = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = value.split_once('.').map_or((value, None), |(whole, part)| (whole, Some(part)));
    matches!(value, "true" | "false") || figures(whole) && part.is_none_or(figures)
}

/// The value inside quotes of Jinja.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_alphanumeric() || c == ' ' {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Where one is after `own`.
fn walk(own: &str, mut at: At) -> At {
    let mut rest = own;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        match at {
            At::Text if rest.starts_with("{{") => (at, taken) = (At::Code("}}", 0), 2),
            At::Text if rest.starts_with("{#") => (at, taken) = (At::Comment, 2),
            At::Text if rest.starts_with("{%") => {
                at = if tag(rest) == "raw" { At::Raw } else { At::Code("%}", 0) };
                taken = if at == At::Raw { rest.find("%}").map_or(2, |end| end + 2) } else { 2 };
            }
            At::Raw if rest.starts_with("{%") && tag(rest) == "endraw" => {
                (at, taken) = (At::Text, rest.find("%}").map_or(2, |end| end + 2));
            }
            At::Comment if rest.starts_with("#}") => (at, taken) = (At::Text, 2),
            At::Code(end, 0) if rest.starts_with(end) => (at, taken) = (At::Text, end.len()),
            At::Code(end, deep) if matches!(first, '"' | '\'') => at = At::Quoted(end, deep, first),
            At::Code(end, deep) if matches!(first, '(' | '[' | '{') => at = At::Code(end, deep + 1),
            At::Code(end, deep) if matches!(first, ')' | ']' | '}') => {
                at = At::Code(end, deep.saturating_sub(1));
            }
            At::Quoted(..) if first == '\\' => {
                taken += rest.get(1..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            }
            At::Quoted(end, deep, quote) if first == quote => at = At::Code(end, deep),
            At::Text | At::Raw | At::Comment | At::Code(..) | At::Quoted(..) => {}
        }
        rest = rest.get(taken..).unwrap_or("");
    }
    at
}

/// The words of the tag that `rest` begins with.
fn tag(rest: &str) -> &str {
    let inner = rest.get(2..).and_then(|inner| inner.split("%}").next()).unwrap_or("");
    inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim()
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of places, of which there is one")]
mod tests {
    use minijinja::Environment;
    use proptest::prelude::*;

    use super::*;

    /// The rendered template with `value` in the place of `$`.
    fn rendered(template: &str, value: &str) -> Option<String> {
        let (before, after) = template.split_once('$').unwrap();
        let text = format!("{before}{value}{after}");
        let source = source(&text, &[before.len()..before.len() + value.len()])?;
        let values = std::collections::BTreeMap::from([("x", "X")]);
        Some(Environment::new().render_str(&source, values).unwrap_or_else(|e| panic!("{source}: {e}")))
    }

    proptest! {
        #[test]
        fn a_value_is_always_text(value in "([{}%#\"'\\\\|a-z \\n-]|\\PC){0,12}") {
            for (before, after) in [
                ("a ", "{{ x }}"), ("{{ x }}", " b"), ("{", "} b"), ("{% raw %}{{ x }}", "{% endraw %}b"),
                ("{{ \"", "\" }}"), ("{{ '|", "' }}"), ("{{ \"it's \" }}", " b"),
                ("{{ {'a': {'b': 'x'}}['a']['b'] ~ '", "' }}"), ("{% if x == {'a': ['%}']}['a'][0] %}{% endif %}", " b"),
            ] {
                let template = format!("{before}${after}");
                let plain = rendered(&template, "VALUE").unwrap();
                prop_assert_eq!(rendered(&template, &value).unwrap(), plain.replace("VALUE", &value));
            }
        }
    }

    #[test]
    fn code_takes_numbers_only() {
        assert_eq!(rendered("{{ $ + 1 }}", "41").unwrap(), "42");
        assert_eq!(rendered("{% if $ %}yes{% endif %}", "true").unwrap(), "yes");
        for value in ["x", "1 }}{{ x", "range(9)", "1.", ""] {
            assert_eq!(rendered("{{ 1, $ }}", value), None, "{value}");
        }
        assert_eq!(rendered("a{# $ #}b", "#}{{ x }}").unwrap(), "ab");
    }
}
