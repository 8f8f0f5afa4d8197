//! Questions of a rehearsal: forms, messages for the client's model, roots; compiled from the configuration, filled with the
//! arguments of a call.

use serde::Serialize;
use serde_json::{Value, json};

use super::config::{FormConfig, QuestionConfig, SampleConfig};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::params::{self, Arguments, InputSchema, Scope};
use crate::source::SourceError;
use crate::talk::{Ask, Question};
use crate::template::Template;

/// How many tokens a sample may have where nothing is said.
const MAX_TOKENS: u32 = 1000;

/// A compiled question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct QuestionPlan {
    pub key: String,
    kind: Kind,
    optional: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Form { message: Template, schema: InputSchema },
    Sample { messages: Vec<(&'static str, Template)>, system: Option<Template>, rest: Value },
    Roots,
}

impl QuestionPlan {
    pub(super) fn compile(
        key: &Spanned<String>,
        config: &QuestionConfig,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        if !crate::name::is_valid(key) {
            let message = format!("`{}` cannot be the name of a question", key.value);
            let help = "a letter or `_`, then letters, digits, `_`, `-`, `.`";
            diagnostics.push(Diagnostic::error("bad-name", message).at(key.span, "").help(help));
        }
        let kind = match (&config.form, &config.sample, &config.roots) {
            (Some(form), None, None) => compile_form(key, form, scope, diagnostics)?,
            (None, Some(sample), None) => compile_sample(key, sample, scope, diagnostics)?,
            (None, None, Some(_)) => Kind::Roots,
            _ => {
                let message = "a question is exactly one of `form`, `sample`, `roots`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(key.span, ""));
                return None;
            }
        };
        Some(Self { key: key.value.clone(), kind, optional: config.optional })
    }

    /// The question of one call.
    pub(super) fn fill(&self, arguments: &Arguments) -> Result<Question<'_>, SourceError> {
        let text = |template: &Template| {
            template
                .render(arguments)
                .ok_or_else(|| SourceError::Internal("an argument is absent".to_owned()))
        };
        let (ask, form) = match &self.kind {
            Kind::Form { message, schema } => {
                let ask = Ask::Form { message: text(message)?, schema: schema.value() };
                (ask, Some(schema))
            }
            Kind::Sample { messages, system, rest } => {
                let mut params = serde_json::Map::new();
                let messages = messages.iter().map(|(role, template)| {
                    Ok(json!({ "role": role, "content": { "type": "text", "text": text(template)? } }))
                });
                params
                    .insert("messages".to_owned(), messages.collect::<Result<Vec<_>, SourceError>>()?.into());
                if let Some(system) = system {
                    params.insert("systemPrompt".to_owned(), text(system)?.into());
                }
                params.extend(rest.as_object().cloned().unwrap_or_default());
                (Ask::Sample(Value::Object(params)), None)
            }
            Kind::Roots => (Ask::Roots, None),
        };
        Ok(Question { key: self.key.clone(), ask, form, optional: self.optional, bound: false })
    }
}

/// A text with placeholders for arguments that every call has.
fn compile_text(
    text: &Spanned<String>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Template> {
    let template = Template::compile(text, scope, diagnostics)?;
    template.always_full(text, scope, diagnostics).then_some(template)
}

fn compile_form(
    key: &Spanned<String>,
    form: &FormConfig,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Kind> {
    let owner = format!("form `{}`", key.value);
    let schema = params::compile_form(&form.fields, &owner, diagnostics);
    let Some(message) = &form.message else {
        let text = format!("the {owner} has no message");
        let help = "say what the person is asked: `message: Who travels?`";
        diagnostics.push(Diagnostic::error("no-message", text).absence().at(key.span, "").help(help));
        return None;
    };
    Some(Kind::Form { message: compile_text(message, scope, diagnostics)?, schema: schema? })
}

fn compile_sample(
    key: &Spanned<String>,
    sample: &SampleConfig,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<Kind> {
    if let Some(zero) = sample.max_tokens.filter(|m| m.value == 0) {
        let message = "`max_tokens` is zero: the model could say nothing";
        diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
    }
    if sample.messages.is_empty() {
        let text = format!("the sample `{}` has no messages", key.value);
        let help = "say what the model is asked: `messages: [{ user: … }]`";
        diagnostics.push(Diagnostic::error("no-messages", text).absence().at(key.span, "").help(help));
        return None;
    }
    let mut one = |message: &Spanned<super::SampleMessageConfig>| {
        let (role, text) = match (&message.value.user, &message.value.assistant) {
            (Some(text), None) => ("user", text),
            (None, Some(text)) => ("assistant", text),
            _ => return not_one(message.span, diagnostics),
        };
        Some((role, compile_text(text, scope, diagnostics)?))
    };
    let messages: Vec<_> = sample.messages.iter().map(&mut one).collect();
    let system = match &sample.system {
        Some(text) => Some(compile_text(text, scope, diagnostics)?),
        None => None,
    };
    let mut rest = json!({ "maxTokens": sample.max_tokens.map_or(MAX_TOKENS, |m| m.value) });
    if let (Some(temperature), Some(rest)) = (sample.temperature, rest.as_object_mut()) {
        rest.insert("temperature".to_owned(), json!(temperature));
    }
    Some(Kind::Sample { messages: messages.into_iter().collect::<Option<_>>()?, system, rest })
}

fn not_one<T>(at: Span, diagnostics: &mut Diagnostics) -> Option<T> {
    let text = "a message is exactly one of `user`, `assistant`";
    diagnostics.push(Diagnostic::error("one-of", text).absence().at(at, ""));
    None
}
