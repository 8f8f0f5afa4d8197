//! `${NAME}`, `${NAME:-default}` and `${file:path}` in scalar values, after parsing: a value can become a text or a
//! number, never YAML. `$${` is a literal `${`.

use std::ops::Range;

use crate::diag::{Diagnostic, Diagnostics, Span};

use super::{Node, NodeKind, Outside};

/// Where `${…}` gets its values from: the process environment and files in production, a map in tests and the demo.
pub trait Environment {
    /// The value of an environment variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file named by `${file:…}`, without its last line break.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    fn file(&mut self, path: &str) -> Result<String, String>;
    /// Names that are set, for "did you mean".
    fn names(&self) -> Vec<String>;
    /// Whether a value that is there may be taken; where not, the default or what stands in for it is.
    fn takes(&self, _value: &str, _place: Slot<'_>) -> bool {
        true
    }
    /// What stands in for a `${…}` whose value is not there, or is not taken; nothing if that is a mistake.
    fn stand_in(&mut self, _whole: &str, _place: Slot<'_>, _value: Option<&str>) -> Option<String> {
        None
    }
}

/// Where a `${…}` stands.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// The keys that lead there, the last one and the one before; empty where there is none.
    pub keys: [&'a str; 2],
    /// The text before it in the same value.
    pub before: &'a str,
    /// Whether it is the whole value.
    pub whole: bool,
}

/// Resolves every `${…}` in the values of `node`. Problems are recorded and the text is left as it was; the ids of such nodes
/// are returned so that nothing else is said about them. What came from outside is noted in `outside`.
pub fn interpolate(
    node: &mut Node,
    environment: &mut dyn Environment,
    diagnostics: &mut Diagnostics,
    outside: &mut Outside,
) -> Vec<u32> {
    let mut walk = Walk { environment, diagnostics, outside, failed: Vec::new() };
    walk.node(node, ["", ""]);
    walk.failed
}

struct Walk<'a> {
    environment: &'a mut dyn Environment,
    diagnostics: &'a mut Diagnostics,
    outside: &'a mut Outside,
    failed: Vec<u32>,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, keys: [&str; 2]) {
        match &mut node.kind {
            NodeKind::List(items) => {
                for item in items {
                    self.node(item, keys);
                }
            }
            NodeKind::Map(entries) => {
                for (key, value) in entries {
                    let name =
                        if let NodeKind::Scalar(scalar) = &key.kind { scalar.text.as_str() } else { "" };
                    self.node(value, [name, keys[0]]);
                }
            }
            NodeKind::Scalar(scalar) => {
                if !scalar.text.contains("${") {
                    return;
                }
                match expand(&scalar.text, keys, node.span, self.environment) {
                    Ok((text, parts)) => {
                        scalar.interpolated = !parts.is_empty();
                        scalar.text = text;
                        self.outside.note(node.span, parts);
                    }
                    Err(problem) => {
                        self.diagnostics.push(*problem);
                        self.failed.push(node.id);
                    }
                }
            }
        }
    }
}

/// The expanded text and which parts of it came from outside.
fn expand(
    text: &str,
    keys: [&str; 2],
    span: Span,
    environment: &mut dyn Environment,
) -> Result<(String, Vec<Range<usize>>), Box<Diagnostic>> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut parts = Vec::new();
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = from.get(2..).unwrap_or("");
            continue;
        }
        out.push_str(before);
        let inner = from.get(2..).unwrap_or("");
        let Some(close) = inner.find('}') else {
            let message = "a `${` without its `}`";
            return Err(Box::new(
                Diagnostic::error("variable-syntax", message)
                    .within(span, "${", "")
                    .help("write `$${` for a literal `${`"),
            ));
        };
        let (name, after) = inner.split_at(close);
        let whole = name.len() + 3 == text.len();
        let value = resolve(name, Slot { keys, before: &out, whole }, span, environment)?;
        // Nothing of a default: it stands in the file itself.
        let written = name.split_once(":-").is_some_and(|(_, default)| default == value);
        parts.push(out.len()..out.len() + if written { 0 } else { value.len() });
        out.push_str(&value);
        rest = after.get(1..).unwrap_or("");
    }
    out.push_str(rest);
    Ok((out, parts))
}

fn resolve(
    inner: &str,
    slot: Slot<'_>,
    span: Span,
    environment: &mut dyn Environment,
) -> Result<String, Box<Diagnostic>> {
    let whole = format!("${{{inner}}}");
    if let Some(path) = inner.strip_prefix("file:") {
        let read = environment.file(path);
        if !read.as_ref().is_ok_and(|value| environment.takes(value, slot))
            && let Some(value) = environment.stand_in(&whole, slot, read.as_deref().ok())
        {
            return Ok(value);
        }
        return read.map_err(|why| {
            Box::new(
                Diagnostic::error("file-unreadable", format!("cannot read the file of `{whole}`: {why}"))
                    .within(span, whole, ""),
            )
        });
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let valid = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !valid {
        let message = format!("`{name}` is not the name of an environment variable");
        return Err(Box::new(
            Diagnostic::error("variable-syntax", message)
                .within(span, whole, "")
                .help("write `${NAME}`, `${NAME:-default}` or `${file:/path}`"),
        ));
    }
    // As in a shell, `:-` also covers a variable that is set but empty.
    let set = environment.variable(name).filter(|value| default.is_none() || !value.is_empty());
    match (set, default) {
        (Some(value), _) if environment.takes(&value, slot) => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (set, None) => {
            if let Some(value) = environment.stand_in(&whole, slot, set.as_deref()) {
                return Ok(value);
            }
            let names = environment.names();
            let near = crate::name::nearest(name, names.iter().map(String::as_str));
            Err(Box::new(
                Diagnostic::error("unset-variable", format!("the environment variable `{name}` is not set"))
                    .within(span, whole, "")
                    .maybe_help(near.map(|n| format!("did you mean `{n}`?")))
                    .help(format!("set it, or give a default: `${{{name}:-…}}`")),
            ))
        }
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of places, of which there is one")]
mod tests {
    use super::*;

    struct Fixed;
    impl Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "A" => Some("one: two".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }
        fn file(&mut self, path: &str) -> Result<String, String> {
            (path == "/s").then(|| "secret".to_owned()).ok_or_else(|| "no such file".to_owned())
        }
        fn names(&self) -> Vec<String> {
            vec!["ORDERS_TOKEN".to_owned()]
        }
    }

    fn run(text: &str) -> Result<String, String> {
        expand(text, ["", ""], Span::default(), &mut Fixed).map(|(t, _)| t).map_err(|d| d.message.clone())
    }

    #[test]
    fn variables_defaults_files_and_escapes_resolve() {
        assert_eq!(run("x${A}y").unwrap(), "xone: twoy");
        assert_eq!(run("${B:-fall back}").unwrap(), "fall back");
        assert_eq!(run("${EMPTY:-d}|${EMPTY}").unwrap(), "d|");
        assert_eq!(run("${file:/s}").unwrap(), "secret");
        assert_eq!(run("$${A} $5 {x}").unwrap(), "${A} $5 {x}");
    }

    #[test]
    fn what_came_from_outside_is_known() {
        let parts = |text: &str| expand(text, ["", ""], Span::default(), &mut Fixed).unwrap().1;
        assert_eq!(parts("x${A}y${B:-fall back}"), [1..9, 10..10]);
        assert_eq!(parts("${EMPTY}"), [0..0]);
        assert!(parts("$${A} {x}").is_empty());
    }

    #[test]
    fn unset_and_malformed_ones_are_refused() {
        assert!(run("${B}").unwrap_err().contains("`B` is not set"));
        assert!(run("${A").unwrap_err().contains("without its `}`"));
        assert!(run("${a b}").unwrap_err().contains("not the name"));
        assert!(run("${file:/none}").unwrap_err().contains("no such file"));
    }
}
