//! Prompts after compile: message templates parsed, their names checked, their data as routes.

use std::sync::Arc;

use serde::Serialize;

use super::RoutePlan;
use super::complete::{self, CompletionPlan};
use super::listed::{self, ListedPlan};
use super::route::{self, Noun, RouteParts};
use crate::config::{Config, MessageConfig, PromptConfig};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::output::Content;
use crate::params::{self, ParamsPlan};
use crate::policy::{PolicyPlan, Traits};
use crate::source::SourcePlans;
use crate::source::fixed::{self, ContentConfig, FixedConfig};
use crate::template::Jinja;
use crate::yaml::{Outside, TextOr};

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
    pub messages: Arc<[MessagePlan]>,
    /// Suggestions for its arguments.
    pub completions: Vec<(String, CompletionPlan)>,
    /// The deadline for all of it.
    pub policy: PolicyPlan,
    /// What else the list says.
    #[serde(flatten)]
    pub listed: ListedPlan,
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

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MessagePlan {
    /// Who says it.
    pub role: Role,
    content: MessageContent,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MessageContent {
    Text(Jinja),
    Resource { uri: Jinja, mime: Option<String>, text: Option<Jinja>, blob: Option<String> },
    Ready(Content),
}

impl MessagePlan {
    /// The message's content with its templates filled.
    ///
    /// # Errors
    /// The template's own error, for the log.
    pub fn render(&self, values: &serde_json::Map<String, serde_json::Value>) -> Result<Content, String> {
        Ok(match &self.content {
            MessageContent::Text(template) => Content::Text(template.render(values)?),
            MessageContent::Resource { uri, mime, text, blob } => Content::Resource {
                uri: uri.render(values)?,
                mime: mime.clone(),
                text: text.as_ref().map(|t| t.render(values)).transpose()?,
                blob: blob.clone(),
            },
            MessageContent::Ready(content) => content.clone(),
        })
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
    let listed = listed::compile(&prompt.icons, &prompt.meta, diagnostics);
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
            confirm: None,
            declared: None,
        };
        if let Some(route) = route::compile_route(parts, config, sources, diagnostics) {
            data.push((value_name.value.clone(), Arc::new(route)));
        }
    }
    check_questions(prompt, &owner, diagnostics);
    if prompt.messages.is_empty() {
        let message = format!("{owner} has no messages");
        let help = "give a list of `user:` and `assistant:` messages";
        diagnostics.push(Diagnostic::error("no-messages", message).absence().at(name.span, "").help(help));
    }
    let of = complete::Owner { what: &owner, params: &params, policy: &prompt.policy };
    let completions = complete::compile(&prompt.complete, &of, config, sources, diagnostics);
    let names: Vec<&str> = prompt.params.names().chain(prompt.data.names()).collect();
    let reads = Traits { reads_only: true, ..Traits::default() };
    let mut policy = prompt.policy.compile(&config.defaults.policy, &reads, diagnostics);
    policy.auth = super::auth::of_route(policy.auth, &prompt.policy, config, &params, &owner, diagnostics);
    let messages: Vec<_> =
        prompt.messages.iter().map(|m| message(m, &config.outside, &names, &owner, diagnostics)).collect();
    Some(PromptPlan {
        name: name.value.clone(),
        title: prompt.title.clone(),
        description: prompt.description.clone(),
        params,
        about: prompt.params.iter().map(|(_, p)| (p.title.clone(), p.description.clone())).collect(),
        data,
        completions,
        messages: messages.into_iter().collect::<Option<_>>()?,
        policy,
        listed,
    })
}

/// The answers of one request are told apart by the names of their questions.
fn check_questions(prompt: &PromptConfig, owner: &str, diagnostics: &mut Diagnostics) {
    let mut seen: Vec<(&Spanned<String>, &str)> = Vec::new();
    for (value, data) in prompt.data.iter() {
        for name in data.fixed.iter().flat_map(FixedConfig::questions) {
            if let Some((first, _)) = seen.iter().find(|(n, of)| n.value == name.value && *of != value.value)
            {
                let message = format!("two questions of {owner} are called `{}`", name.value);
                let problem = Diagnostic::error("name-twice", message);
                diagnostics.push(problem.at(name.span, "").at(first.span, "the other one"));
            }
            seen.push((name, &value.value));
        }
    }
}

fn message(
    message: &Spanned<MessageConfig>,
    outside: &Outside,
    names: &[&str],
    owner: &str,
    diagnostics: &mut Diagnostics,
) -> Option<MessagePlan> {
    let (role, said) = match (&message.value.user, &message.value.assistant) {
        (Some(said), None) => (Role::User, said),
        (None, Some(said)) => (Role::Assistant, said),
        _ => {
            let text = "a message is exactly one of `user`, `assistant`";
            diagnostics.push(Diagnostic::error("one-of", text).absence().at(message.span, ""));
            return None;
        }
    };
    let block = match said {
        TextOr::Text(text) => {
            let content = MessageContent::Text(Jinja::compile(text, outside, names, owner, diagnostics)?);
            return Some(MessagePlan { role, content });
        }
        TextOr::Block(block) => fixed::compile_content(block, message.span, diagnostics)?,
    };
    // A text that was given has a place of its own, where what came from outside is known.
    let (text_at, uri_at) = places(said, message.span);
    let mut template =
        |text: String, at: Span| Jinja::compile(&Spanned::new(text, at), outside, names, owner, diagnostics);
    let content = match block {
        Content::Text(text) => MessageContent::Text(template(text, text_at)?),
        Content::Resource { uri, mime, text, blob } => MessageContent::Resource {
            uri: template(uri, uri_at)?,
            mime,
            text: match text {
                Some(text) => Some(template(text, text_at)?),
                None => None,
            },
            blob,
        },
        ready => MessageContent::Ready(ready),
    };
    Some(MessagePlan { role, content })
}

/// The places of the text and of the URI of a piece of content; that of all of it where there is none.
fn places(said: &TextOr<ContentConfig>, all: Span) -> (Span, Span) {
    let TextOr::Block(content) = said else { return (all, all) };
    let resource = content.resource.as_ref();
    let text = content.text.as_ref().or_else(|| resource.and_then(|resource| resource.text.as_ref()));
    (text.map_or(all, |text| text.span), resource.map_or(all, |resource| resource.uri.span))
}
