//! Paths. What an argument may not do to a URL (climb, add a segment, end the path) it cannot: it is
//! encoded or the call is refused before anything is sent.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::template::Template;
use crate::yaml::masked;

/// Everything but RFC 3986's unreserved characters.
pub(super) const ARGUMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a path's own text may hold besides (sub-delims, `:`, `@`, and `%` of what is already encoded).
const LITERAL: &AsciiSet = &ARGUMENT
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'%');

/// A name or a value in a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ARGUMENT).to_string()
}

/// A path under the base URL, split into segments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PathTemplate {
    segments: Vec<Segment>,
    /// The names of the arguments in each segment, for what is said of them.
    #[serde(skip)]
    names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Segment {
    /// Already encoded.
    Text(String),
    /// Filled and encoded as one segment.
    Filled(Template),
    /// Filled, split at `/`, and each part encoded as one segment: `{name*}`.
    Many(Template),
}

impl PathTemplate {
    pub(super) fn compile(
        path: &Spanned<String>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let Some(inner) = path.value.strip_prefix('/') else {
            let problem = Diagnostic::error("bad-path", "a path starts with `/`").at(path.span, "");
            let written = scope.outside().of(path.span).is_empty();
            diagnostics.push(problem.maybe_help(written.then(|| format!("write `/{}`", path.value))));
            return None;
        };
        if let Some(sign) = ['?', '#'].iter().find(|c| inner.contains(**c)) {
            let message = format!("`{sign}` cannot stand in a path");
            let help = "write query parameters under `query:`, one to a line";
            diagnostics.push(
                Diagnostic::error("bad-path", message).within(path.span, sign.to_string(), "").help(help),
            );
            return None;
        }
        let outside = scope.outside().of(path.span);
        let mut start = path.value.len() - inner.len();
        let mut segments = Vec::new();
        for segment in inner.split('/') {
            let end = start + segment.len();
            let inside = outside.iter().map(|part| part.start.max(start)..part.end.min(end));
            let parts = inside.filter(|part| part.start < part.end);
            let parts: Vec<_> = parts.map(|part| part.start - start..part.end - start).collect();
            segments.push(Self::segment(segment, &parts, path.span, scope, diagnostics));
            start = end + 1;
        }
        let segments = segments.into_iter().collect::<Option<Vec<_>>>()?;
        let names = segments.iter().map(|segment| segment.names(scope)).collect();
        Some(Self { segments, names })
    }

    /// One segment, of which `outside` came from `${…}`.
    fn segment(
        text: &str,
        outside: &[Range<usize>],
        span: Span,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Segment> {
        let (text, many) = match several(text).filter(|_| outside.is_empty()) {
            Some(name) => (format!("{{{name}}}"), true),
            None => (text.to_owned(), false),
        };
        if masked(&text, outside).split("*}").skip(1).any(|after| !after.starts_with('}')) {
            let message = "`{name*}` is a whole part of a path: nothing stands beside it up to the next `/`";
            diagnostics.push(Diagnostic::error("bad-path", message).within(span, "*}", ""));
            return None;
        }
        let spanned = Spanned::new(text, span);
        let template = Template::compile_part(&spanned, outside, scope, diagnostics)?;
        for index in template.params() {
            let name = scope.names().nth(index).unwrap_or_default().to_owned();
            let whole = format!("{{{name}{}}}", if many { "*" } else { "" });
            if !scope.always_present(index) {
                let message = format!("`{name}` may be absent, but a path segment cannot be");
                let help = "give it a default, or put it under `query:`";
                diagnostics
                    .push(Diagnostic::error("optional-in-path", message).within(span, whole, "").help(help));
                return None;
            }
            if scope.types(index).iter().any(|t| t == "array" || t == "object") {
                let message = format!("`{name}` is a list or an object and cannot stand in a path");
                diagnostics.push(Diagnostic::error("structure-in-path", message).within(span, whole, ""));
                return None;
            }
        }
        match template.literal() {
            Some("." | "..") => {
                let message = "`.` and `..` cannot be path segments";
                diagnostics.push(Diagnostic::error("bad-path", message).at(span, ""));
                None
            }
            Some(text) => Some(Segment::Text(utf8_percent_encode(text, LITERAL).to_string())),
            None if many => Some(Segment::Many(template)),
            None => Some(Segment::Filled(template)),
        }
    }

    /// Appends `/segment` for each segment.
    pub(super) fn write(&self, url: &mut String, arguments: &Arguments) -> Result<(), SourceError> {
        for (segment, names) in self.segments.iter().zip(&self.names) {
            url.push('/');
            match segment {
                Segment::Text(text) => url.push_str(text),
                Segment::Filled(template) => {
                    let filled = template.render(arguments).unwrap_or_default();
                    check_segment(&filled, names)?;
                    url.extend(utf8_percent_encode(&filled, ARGUMENT));
                }
                Segment::Many(template) => {
                    let filled = template.render(arguments).unwrap_or_default();
                    for (number, part) in filled.split('/').enumerate() {
                        check_segment(part, names)?;
                        url.push_str(if number == 0 { "" } else { "/" });
                        url.extend(utf8_percent_encode(part, ARGUMENT));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Segment {
    /// Its arguments by their names, as the beginning of a sentence.
    fn names(&self, scope: &Scope) -> String {
        let (Self::Filled(template) | Self::Many(template)) = self else { return String::new() };
        let names = template.params().filter_map(|index| scope.names().nth(index));
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        format!("The argument{} {}", if names.len() == 1 { "" } else { "s" }, names.join(" and "))
    }
}

/// Whether URL software surely leaves this as it is, put behind the scheme, host and path of an address that it wrote itself: there is
/// nothing in it that it encodes (URL Standard, path and special-query percent-encode sets), and no part that it could take for dots.
pub(super) fn stays(path_and_query: &str) -> bool {
    let kept = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'/' | b'-'
                    | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
                    | b':'
                    | b'@'
            )
    };
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    path.starts_with('/')
        && path.bytes().all(kept)
        && !path.split('/').any(|part| part.starts_with(['.', '%']))
        && query.bytes().all(|byte| kept(byte) || byte == b'?')
}

/// The name in `{name*}`, if that is the whole text.
fn several(text: &str) -> Option<&str> {
    text.strip_prefix('{')?.strip_suffix("*}").filter(|name| !name.contains(['{', '}']))
}

/// A filled segment that URL software would read as something else is refused.
fn check_segment(text: &str, names: &str) -> Result<(), SourceError> {
    let refused = |why: &str| {
        Err(SourceError::Argument(format!("{names} cannot be used in the request's path: {why}.")))
    };
    match text {
        "" => refused("it is empty"),
        "." | ".." => refused("`.` and `..` are not names"),
        _ if text.chars().any(char::is_control) => refused("it holds a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    proptest! {
        #[test]
        fn what_stays_is_what_url_software_makes_of_it(text in "(/([a-zA-Z0-9%.~!$&'()*+,;=:@_-]|%2[eEfF]|[^\\x00]){0,6}){0,4}(\\?([ -~]|\\?|é){0,12})?") {
            for base in ["http://api.test", "http://api.test:8080/v1", "https://[::1]/a/b"] {
                let whole = format!("{base}{text}");
                if stays(&text) {
                    let url = Url::parse(&whole).unwrap();
                    prop_assert_eq!(url.as_str(), &whole);
                }
            }
        }
    }

    #[test]
    fn common_addresses_stay_and_doubtful_ones_are_looked_at() {
        for text in ["/orders/ORD-1", "/a//b/", "/a?b=c&d=%20", "/a:b@c/x.y/z%C3%A9", "/a?b=/../?"] {
            assert!(stays(text), "{text}");
        }
        for text in
            ["", "a", "?a", "/..", "/%2e%2E/x", "/a b", "/a\\b", "/a?b='", "/a#b", "/é", "/a\tb", "/a?b#c"]
        {
            assert!(!stays(text), "{text}");
        }
    }
}
