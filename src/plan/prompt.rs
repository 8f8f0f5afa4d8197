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
            owner: owner.clone(),
            params: params.clone(),
            ops: value.ops(),
            output: &value.output,
            policy: &prompt.policy,
            all_used: false,
        };
        if let Some(route) = route::compile_route(parts, config, sources, diagnostics) {
            data.push((value_name.value.clone(), Arc::new(route)));
        }
    }
    if prompt.messages.is_empty() {
        let message = format!("{owner} has no messages");
        let help = "give a list of `user:` and `assistant:` messages";
        diagnostics.push(Diagnostic::error("no-messages", message).at(name.span, "").help(help));
    }
    let names: Vec<&str> = prompt.params.names().chain(prompt.data.names()).collect();
    let messages: Vec<_> = prompt
        .messages
        .iter()
        .map(|m| message(m.span, m.value.user.as_ref(), m.value.assistant.as_ref(), &names, diagnostics))
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
    user: Option<&Spanned<String>>,
    assistant: Option<&Spanned<String>>,
    names: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<MessagePlan> {
    let (role, text) = match (user, assistant) {
        (Some(text), None) => (Role::User, text),
        (None, Some(text)) => (Role::Assistant, text),
        _ => {
            let message = "a message is exactly one of `user`, `assistant`";
            diagnostics.push(Diagnostic::error("one-of", message).at(at, ""));
            return None;
        }
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    if let Err(error) = environment.add_template_owned(TEMPLATE.to_owned(), text.value.clone()) {
        let why = error.detail().map_or_else(|| error.to_string(), str::to_owned);
        let line = error
            .line()
            .and_then(|l| text.value.lines().nth(l.saturating_sub(1)))
            .map(|l| l.trim().to_owned());
        let problem = Diagnostic::error("bad-template", format!("this template does not parse: {why}"));
        diagnostics.push(match line {
            Some(line) if !line.is_empty() => problem.within(text.span, line, ""),
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
        diagnostics
            .push(Diagnostic::error("unknown-name", message).within(text.span, name.as_str(), "").help(help));
    }
    let plan = MessagePlan { role, text: text.value.clone(), environment: Arc::new(environment) };
    unknown.is_empty().then_some(plan)
}

/// Functions that minijinja has without being told.
fn is_global(name: &str) -> bool {
    matches!(name, "range" | "dict" | "namespace" | "debug" | "loop" | "self")
}
