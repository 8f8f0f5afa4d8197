//! Jinja templates of prompts and rehearsed answers: parsed at load, strict about names (an absent optional argument may be tested, not printed), with fuel, and without the means to reach out.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior};
use serde::{Serialize, Serializer};

use super::bounds::{self, Bounded};
use super::verbatim;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::yaml::Outside;

/// How many steps one template may take to render.
const FUEL: u64 = 200_000;
/// The name of the one template in each environment.
const NAME: &str = "message";

/// A parsed template. Equality and output are those of its text.
#[derive(Clone)]
pub struct Jinja {
    text: String,
    environment: Arc<Environment<'static>>,
}

impl Jinja {
    /// Parses a template; errors and unknown names are recorded. What came from `outside` is text in it.
    pub fn compile(
        text: &Spanned<String>,
        outside: &Outside,
        names: &[&str],
        owner: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let Some(source) = verbatim::source(&text.value, &outside.of(text.span)) else {
            let message = "what `${…}` gives is text, and cannot stand for code in a template";
            let help = "write it outside of the braces, or in quotes";
            diagnostics
                .push(Diagnostic::error("bad-template", message).within(text.span, "${", "").help(help));
            return None;
        };
        let text = &Spanned::new(source, text.span);
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        bounds::bound(&mut environment);
        if let Err(error) = environment.add_template_owned(NAME.to_owned(), text.value.clone()) {
            let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
            let line =
                error.line().and_then(|l| text.value.split('\n').nth(l.saturating_sub(1))).map(str::trim);
            let problem = Diagnostic::error("bad-template", format!("this template does not parse: {why}"));
            diagnostics.push(match line {
                Some(line) if !line.is_empty() => {
                    // The line is a part of the text itself, so that its place is the distance between the two.
                    let start = line.as_ptr() as usize - text.value.as_ptr() as usize;
                    problem.part(text.span, &text.value, start..start + line.len(), "")
                }
                _ => problem.at(text.span, ""),
            });
            return None;
        }
        let used = environment.get_template(NAME).map(|t| t.undeclared_variables(false)).unwrap_or_default();
        let mut unknown: Vec<&String> =
            used.iter().filter(|u| !names.contains(&u.as_str()) && !is_global(u)).collect();
        unknown.sort();
        for name in &unknown {
            let message = format!("`{name}` is neither an argument nor a value of {owner}");
            let help = crate::name::did_you_mean(name, names.iter().copied(), "names here");
            let problem = Diagnostic::error("unknown-name", message).absence();
            diagnostics.push(problem.part(text.span, &text.value, place(&text.value, name), "").help(help));
        }
        let filters = unknown_filters(&environment, &text.value);
        for place in &filters {
            let shown = text.value.get(place.clone()).unwrap_or("");
            let problem = Diagnostic::error("unknown-filter", format!("there is no filter `{shown}`"));
            diagnostics.push(problem.part(text.span, &text.value, place.clone(), ""));
        }
        let sound = unknown.is_empty() && filters.is_empty();
        sound.then(|| Self { text: text.value.clone(), environment: Arc::new(environment) })
    }

    /// Fills the template, with no more than 4 MiB of text. It may take long where there are many values: see [`super::filled`].
    ///
    /// # Errors
    /// The template's own error, for the log.
    pub fn render(&self, values: &serde_json::Map<String, serde_json::Value>) -> Result<String, String> {
        let less;
        let environment = match bounds::fuel(values, FUEL) {
            FUEL => &*self.environment,
            fuel => {
                let mut environment = Environment::clone(&self.environment);
                environment.set_fuel(Some(fuel));
                less = environment;
                &less
            }
        };
        let template = environment.get_template(NAME).map_err(|e| e.to_string())?;
        let mut text = Bounded::begin();
        let values = minijinja::value::Serde(values);
        template.render_captured_to(values, &mut text).map_err(|e| detailed(&e))?;
        text.text()
    }
}

impl std::fmt::Debug for Jinja {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

impl PartialEq for Jinja {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Jinja {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// An error with what led to it.
fn detailed(error: &minijinja::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Filters that the template names and the engine does not have; the parser takes any name.
fn unknown_filters(environment: &Environment<'_>, text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut closing: Option<&str> = None;
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or("");
        match (closing, quote) {
            (None, _) => {
                closing = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
                    .into_iter()
                    .find_map(|(open, close)| rest.starts_with(open).then_some(close));
            }
            (Some(_), Some(open)) => quote = quote.filter(|_| first != open),
            (Some(close), None) if rest.starts_with(close) => closing = None,
            (Some("#}"), None) => {}
            (Some(_), None) if matches!(first, '"' | '\'') => quote = Some(first),
            (Some(_), None) if first == '|' => {
                let name = after.trim_start();
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
                let start = text.len() - name.len();
                let probe = format!("1|{}", name.get(..end).unwrap_or(""));
                let result = environment.compile_expression(&probe).and_then(|e| e.eval(()));
                if result.is_err_and(|e| e.kind() == minijinja::ErrorKind::UnknownFilter) {
                    found.push(start..start + end);
                }
            }
            (Some(_), None) => {}
        }
        rest = after;
    }
    found
}

/// Where `name` stands first as a whole word between `{{ … }}` or `{% … %}`.
fn place(text: &str, name: &str) -> std::ops::Range<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let found = text.match_indices(name).find(|(at, _)| {
        let before = text.get(..*at).unwrap_or("");
        let after = text.get(at + name.len()..).unwrap_or("");
        let inside =
            before.rfind(['{', '}']).is_some_and(|brace| before.get(brace..).unwrap_or("").starts_with('{'));
        let inside = inside || before.rfind("{%") > before.rfind("%}");
        inside && !before.ends_with(word) && !before.ends_with('.') && !after.starts_with(word)
    });
    found.map_or(0..text.len(), |(at, _)| at..at + name.len())
}

/// Functions that minijinja has without being told.
fn is_global(name: &str) -> bool {
    matches!(name, "range" | "dict" | "namespace" | "debug" | "loop" | "self")
}
