//! The Cookie header of a request (RFC 6265): values are cookie-octets, and anything else is refused before it is sent.

use reqwest::header::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::template::Template;
use crate::yaml::Entries;

/// Names and values, in written order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cookies(Vec<(String, Template)>);

impl Cookies {
    /// `headers` are those of the same request, which must not hold a second `Cookie`.
    pub(super) fn compile(
        entries: &Entries<Spanned<String>>,
        headers: &Entries<Spanned<String>>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let cookie = |name: &str| name.eq_ignore_ascii_case("cookie");
        let header = headers.iter().find(|(name, _)| cookie(&name.value));
        if let (Some((header, _)), Some((first, _))) = (header, entries.iter().next()) {
            let message = "cookies stand under `cookies`, or in a `Cookie` header, not in both";
            let problem = Diagnostic::error("two-cookies", message).at(first.span, "the one");
            diagnostics.push(problem.at(header.span, "the other"));
            return None;
        }
        let all: Vec<_> = entries.iter().map(|(name, value)| one(name, value, scope, diagnostics)).collect();
        all.into_iter().collect::<Option<_>>().map(Self)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `a=1; b=2`; `None` if no cookie has a value.
    pub(super) fn header(&self, arguments: &Arguments) -> Result<Option<HeaderValue>, SourceError> {
        let mut text = String::new();
        for (name, template) in &self.0 {
            let Some(value) = template.render(arguments) else { continue };
            if !value.bytes().all(is_octet) {
                let message = "An argument cannot be sent in a cookie: a cookie holds no spaces, quotes, commas, \
                               semicolons, backslashes, control characters or letters beyond ASCII.";
                return Err(SourceError::Argument(message.to_owned()));
            }
            text.push_str(if text.is_empty() { "" } else { "; " });
            text.push_str(name);
            text.push('=');
            text.push_str(&value);
        }
        if text.is_empty() {
            return Ok(None);
        }
        let mut value = HeaderValue::from_str(&text).map_err(|e| SourceError::Internal(e.to_string()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn one(
    name: &Spanned<String>,
    value: &Spanned<String>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<(String, Template)> {
    // A cookie's name and a header's name are both tokens (RFC 9110 section 5.6.2).
    let token = HeaderName::from_bytes(name.value.as_bytes()).is_ok();
    if !token {
        let message = format!("`{}` cannot be the name of a cookie", name.value);
        let help = "a name has letters, digits and `-`, `_` or `.`";
        diagnostics.push(Diagnostic::error("bad-cookie", message).at(name.span, "").help(help));
    }
    let template = Template::compile(value, scope, diagnostics)?;
    let written = template.texts().all(|text| text.bytes().all(is_octet));
    if !written {
        let message =
            "a cookie holds no spaces, quotes, commas, semicolons, backslashes or letters beyond ASCII";
        diagnostics.push(Diagnostic::error("bad-cookie", message).at(value.span, ""));
    }
    (token && written).then(|| (name.value.clone(), template))
}

/// RFC 6265 section 4.1.1, cookie-octet.
const fn is_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}
