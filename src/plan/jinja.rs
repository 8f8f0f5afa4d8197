//! Jinja templates of prompts: parsed at load, strict about names (an absent optional argument may be tested, not printed), with fuel, and without the means to reach out.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior};
use serde::{Serialize, Serializer};

use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// How many steps one template may take to render.
const FUEL: u64 = 200_000;
/// The name of the one template in each environment.
const NAME: &str = "message";

/// A parsed template. Equality and output are those of its text.
#[derive(Clone)]
pub(super) struct Jinja {
    text: String,
    environment: Arc<Environment<'static>>,
}

impl Jinja {
    /// Parses a template; errors and unknown names are recorded.
    pub(super) fn compile(
        text: &Spanned<String>,
        names: &[&str],
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        if let Err(error) = environment.add_template_owned(NAME.to_owned(), text.value.clone()) {
            let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
            let line = error.line().and_then(|l| text.value.lines().nth(l.saturating_sub(1)));
            let problem = Diagnostic::error("bad-template", format!("this template does not parse: {why}"));
            diagnostics.push(match line.map(str::trim) {
                Some(line) if !line.is_empty() => problem.within(text.span, line, ""),
                _ => problem.at(text.span, ""),
            });
            return None;
        }
        let used = environment.get_template(NAME).map(|t| t.undeclared_variables(false)).unwrap_or_default();
        let mut unknown: Vec<&String> =
            used.iter().filter(|u| !names.contains(&u.as_str()) && !is_global(u)).collect();
        unknown.sort();
        for name in &unknown {
            let message = format!("`{name}` is neither an argument nor a fetched value of this prompt");
            let help = crate::name::did_you_mean(name, names.iter().copied(), "names here");
            let problem = Diagnostic::error("unknown-name", message);
            diagnostics.push(problem.within(text.span, name.as_str(), "").help(help));
        }
        let sound = unknown.is_empty();
        sound.then(|| Self { text: text.value.clone(), environment: Arc::new(environment) })
    }

    /// Fills the template.
    ///
    /// # Errors
    /// The template's own error, for the log.
    pub(super) fn render(
        &self,
        values: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|e| e.to_string())?;
        template.render(minijinja::value::Serde(values)).map_err(|e| e.to_string())
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

/// Functions that minijinja has without being told.
fn is_global(name: &str) -> bool {
    matches!(name, "range" | "dict" | "namespace" | "debug" | "loop" | "self")
}
