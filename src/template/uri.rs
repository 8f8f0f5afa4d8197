//! Resource URI templates (RFC 6570): `{name}` stands for one segment, `{+name}` for the rest with its slashes. The
//! match runs backwards: from a URI to the variables.

use serde::Serialize;

/// A URI template split at load.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UriTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Text(String),
    Variable { name: String, reserved: bool },
}

impl UriTemplate {
    /// Splits a template; a URI without variables is a template with none.
    ///
    /// # Errors
    /// A sentence on what is wrong, and the text it is about.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let close = from.find('}').filter(|_| from.starts_with('{'));
            let Some(close) = close else {
                return Err(("a brace without its partner".to_owned(), from.chars().take(1).collect()));
            };
            let expression = from.get(1..close).unwrap_or("");
            let reserved = expression.starts_with('+');
            let name = expression.strip_prefix('+').unwrap_or(expression);
            let whole = format!("{{{expression}}}");
            if !crate::name::is_valid(name) {
                let message =
                    "`{name}` and `{+name}` are the forms of RFC 6570 that can be matched".to_owned();
                return Err((message, whole));
            }
            if parts.iter().any(|p| matches!(p, Part::Variable { name: n, .. } if n == name)) {
                return Err((format!("the variable `{name}` stands twice"), whole));
            }
            if matches!(parts.last(), Some(Part::Variable { .. })) {
                return Err(("two variables need some text between them".to_owned(), whole));
            }
            parts.push(Part::Variable { name: name.to_owned(), reserved });
            rest = from.get(close + 1..).unwrap_or("");
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The variables in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Variable { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The variables of `uri`, percent-decoded, if it has the template's form. A variable is never empty, and one
    /// without `+` never holds `/`, `?` or `#`.
    #[must_use]
    pub fn matches(&self, uri: &str) -> Option<Vec<(&str, String)>> {
        let mut found = Vec::new();
        let mut rest = uri;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(text) => rest = rest.strip_prefix(text.as_str())?,
                Part::Variable { name, reserved } => {
                    let end = match parts.peek() {
                        None => rest.len(),
                        Some(Part::Text(next)) if *reserved => rest.rfind(next.as_str())?,
                        Some(Part::Text(next)) => rest.find(next.as_str())?,
                        Some(Part::Variable { .. }) => return None,
                    };
                    let (value, after) = rest.split_at_checked(end)?;
                    if value.is_empty() || (!reserved && value.contains(['/', '?', '#'])) {
                        return None;
                    }
                    let decoded = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
                    found.push((name.as_str(), decoded.into_owned()));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_backwards() {
        let one = UriTemplate::parse("shop://orders/{id}").unwrap();
        assert_eq!(one.matches("shop://orders/ORD-1"), Some(vec![("id", "ORD-1".to_owned())]));
        assert_eq!(one.matches("shop://orders/a%2Fb"), Some(vec![("id", "a/b".to_owned())]));
        for no in [
            "shop://orders/",
            "shop://orders/a/b",
            "shop://order/1",
            "shop://orders/a?x",
            "shop://orders/%ff",
        ] {
            assert_eq!(one.matches(no), None, "{no}");
        }
        let two = UriTemplate::parse("test://template/{id}/data").unwrap();
        assert_eq!(two.matches("test://template/123/data"), Some(vec![("id", "123".to_owned())]));
        let rest = UriTemplate::parse("file:///{+path}").unwrap();
        assert_eq!(rest.matches("file:///a/b.md"), Some(vec![("path", "a/b.md".to_owned())]));
    }

    #[test]
    fn what_cannot_be_matched_is_refused() {
        for bad in ["a{", "a}b", "x{a}{b}", "x{a}y{a}", "x{?a,b}", "x{}"] {
            assert!(UriTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
