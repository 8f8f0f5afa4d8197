//! Prompts after compile: message templates parsed, their names checked, their data as routes.

use std::sync::Arc;

use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::RoutePlan;
use super::route::{self, Noun, RouteParts};
use crate::config::{Config, PromptConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{self, ParamsPlan};
use crate::policy::PolicyPlan;
use crate::source::SourcePlans;

/// How many steps one message may take to render, and how long it may become.
const FUEL: u64 = 200_000;

/// A compiled prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PromptPlan {
    /// Its name.
    pub name: String,
    /// A name for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its arguments.
    pub params: ParamsPlan,
    /// Argument titles and descriptions, in order.
    pub about: Vec<(Option<String>, Option<String>)>,
    /// Values fetched before rendering.
    pub data: Vec<(String, Arc<RoutePlan>)>,
    /// The messages.
    pub messages: Vec<MessagePlan>,
    /// The deadline for all of it.
    pub policy: PolicyPlan,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The assistant.
    Assistant,
}

/// A message with its parsed template. Equality and output are those of the text.
#[derive(Clone)]
pub struct MessagePlan {
    /// Who says it.
    pub role: Role,
    /// The template's text.
    pub text: String,
    environment: Arc<Environment<'static>>,
}

/// The name of the one template in each environment.
const TEMPLATE: &str = "message";

impl MessagePlan {
    /// Renders the message.
    ///
    /// # Errors
    /// The template's own error, for the log.
    pub fn render(&self, values: &serde_json::Map<String, serde_json::Value>) -> Result<String, String> {
        let template = self.environment.get_template(TEMPLATE).map_err(|e| e.to_string())?;
        template.render(minijinja::value::Serde(values)).map_err(|e| e.to_string())
    }
}

impl std::fmt::Debug for MessagePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {:?}", self.role, self.text)
    }
}

impl PartialEq for MessagePlan {
    fn eq(&self, other: &Self) -> bool {
        self.role == other.role && self.text == other.text
    }
}

impl Serialize for MessagePlan {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.role, &self.text)])
    }
}

pub(super) fn compile(
    name: &Spanned<String>,
    prompt: &PromptConfig,
    config: &Config,
    sources: &SourcePlans,
    diagnostics: &mut Diagnostics,
) -> Option<PromptPlan> {
    super::check_name("prompt", name, diagnostics);
    let owner = format!("prompt `{}`", name.value);
    let params = params::compile_prompt(&prompt.params, &owner, diagnostics)?;
    let mut data = Vec::new();
    for (value_name, value) in prompt.data.iter() {
        super::check_name("value", value_name, diagnostics);
        if let Some((param, _)) = prompt.params.iter().find(|(n, _)| n.value == value_name.value) {
            let message = format!("`{}` is both an argument and a fetched value", value_name.value);
            diagnostics.push(
                Diagnostic::error("name-twice", message)
                    .at(value_name.span, "")
                    .at(param.span, "the argument"),
            );
        }
        let parts = RouteParts {
            noun: Noun::PromptData,
            name: value_name,
            at: value_name.span,
            owner: format!("value `{}` of {owner}", value_name.value),
            params: params.clone(),
            ops: value.ops(),
            output: &value.output,
            policy: &prompt.policy,
            declared: None,
        };
        if let Some(route) = route::compile_route(parts, config, sources, diagnostics) {
            data.push((value_name.value.clone(), Arc::new(route)));
        }
    }
    if prompt.messages.is_empty() {
        let message = format!("{owner} has no messages");
        let help = "give a list of `user:` and `assistant:` messages";
        diagnostics.push(Diagnostic::error("no-messages", message).absence().at(name.span, "").help(help));
    }
    let names: Vec<&str> = prompt.params.names().chain(prompt.data.names()).collect();
    let messages: Vec<_> = prompt
        .messages
        .iter()
        .map(|m| message(m.span, &m.value.user, &m.value.assistant, &names, diagnostics))
        .collect();
    Some(PromptPlan {
        name: name.value.clone(),
        title: prompt.title.clone(),
        description: prompt.description.clone(),
        params,
        about: prompt.params.iter().map(|(_, p)| (p.title.clone(), p.description.clone())).collect(),
        data,
        messages: messages.into_iter().collect::<Option<_>>()?,
        policy: prompt.policy.compile(&config.defaults.policy, diagnostics),
    })
}

fn message(
    at: crate::diag::Span,
    user: &Option<Spanned<String>>,
    assistant: &Option<Spanned<String>>,
    names: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<MessagePlan> {
    let (role, text) = match (user, assistant) {
        (Some(text), None) => (Role::User, text),
        (None, Some(text)) => (Role::Assistant, text),
        _ => {
            let message = "a message is exactly one of `user`, `assistant`";
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(at, ""));
            return None;
        }
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    if let Err(error) = environment.add_template_owned(TEMPLATE.to_owned(), text.value.clone()) {
        let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
        let line = error.line().and_then(|l| text.value.split('\n').nth(l.saturating_sub(1))).map(str::trim);
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
    let used = environment.get_template(TEMPLATE).map(|t| t.undeclared_variables(false)).unwrap_or_default();
    let mut unknown: Vec<&String> =
        used.iter().filter(|u| !names.contains(&u.as_str()) && !is_global(u)).collect();
    unknown.sort();
    for name in &unknown {
        let message = format!("`{name}` is neither an argument nor a fetched value of this prompt");
        let help = crate::name::did_you_mean(name, names.iter().copied(), "names here");
        diagnostics.push(
            Diagnostic::error("unknown-name", message)
                .absence()
                .part(text.span, &text.value, place(&text.value, name), "")
                .help(help),
        );
    }
    let filters = unknown_filters(&environment, &text.value);
    for place in &filters {
        let shown = text.value.get(place.clone()).unwrap_or("");
        let problem = Diagnostic::error("unknown-filter", format!("there is no filter `{shown}`"));
        diagnostics.push(problem.part(text.span, &text.value, place.clone(), ""));
    }
    if !filters.is_empty() {
        return None;
    }
    let plan = MessagePlan { role, text: text.value.clone(), environment: Arc::new(environment) };
    unknown.is_empty().then_some(plan)
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
