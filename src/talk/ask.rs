//! Questions to the person or the model behind a client, and their answers. A question is the same in both eras; only its
//! way differs.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::params::InputSchema;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The person, by a form (MCP 2026-07-28, client/elicitation).
    Form {
        /// What the person reads.
        message: String,
        /// The form: a flat JSON Schema.
        schema: Value,
    },
    /// The model: the params of `sampling/createMessage`.
    Sample(Value),
    /// The folders the client works in.
    Roots,
}

impl Ask {
    /// The method that asks.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Form { .. } => "elicitation/create",
            Self::Sample(_) => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Its params.
    #[must_use]
    pub fn params(&self) -> Value {
        match self {
            Self::Form { message, schema } => json!({ "message": message, "requestedSchema": schema }),
            Self::Sample(params) => params.clone(),
            Self::Roots => json!({}),
        }
    }

    /// The capability that a client needs for it.
    #[must_use]
    pub fn needs(&self) -> Value {
        match self {
            Self::Form { .. } => json!({ "elicitation": { "form": {} } }),
            Self::Sample(_) => json!({ "sampling": {} }),
            Self::Roots => json!({ "roots": {} }),
        }
    }

    /// A short digest of the whole question, so that an answer belongs to what was really asked.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = format!("{} {}", self.method(), self.params());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        URL_SAFE_NO_PAD.encode(digest.as_ref().get(..16).unwrap_or_default())
    }

    /// Whether a client's result object answers it.
    fn fits(&self, answer: &Value, form: Option<&InputSchema>) -> bool {
        match self {
            Self::Form { .. } => match answer.get("action").and_then(Value::as_str) {
                Some("accept") => form.is_none_or(|form| {
                    let content = answer.get("content").cloned().unwrap_or_else(|| json!({}));
                    form.is_valid(&content)
                }),
                Some("decline" | "cancel") => true,
                _ => false,
            },
            Self::Sample(_) => {
                answer.get("role").is_some_and(Value::is_string)
                    && answer.get("content").is_some_and(|c| c.is_object() || c.is_array())
            }
            Self::Roots => answer.get("roots").is_some_and(Value::is_array),
        }
    }
}

/// A question under its key.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Names the answer.
    pub key: String,
    /// The question.
    pub ask: Ask,
    /// The form's schema with what checks answers against it.
    pub form: Option<&'a InputSchema>,
    /// Whether it is left out where the client cannot be asked.
    pub optional: bool,
    /// Whether only an answer counts that came with the state of a round that asked exactly this.
    pub bound: bool,
}

impl Question<'_> {
    /// Whether a client's result object answers it.
    #[must_use]
    pub fn fits(&self, answer: &Value) -> bool {
        self.ask.fits(answer, self.form)
    }
}

/// What came back in the rounds of a request so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Result objects by key.
    pub given: Map<String, Value>,
    /// Digests of the questions that rounds of this request have asked, by key.
    pub asked: HashMap<String, String>,
}

impl Answers {
    /// The answers to questions, if all are there and fit.
    pub(super) fn of(&self, questions: &[&Question<'_>]) -> Result<Map<String, Value>, Unanswered> {
        let mut answers = Map::new();
        let mut open = Vec::new();
        for question in questions {
            let digest = question.ask.digest();
            let asked = self.asked.get(&question.key) == Some(&digest);
            let given = self.given.get(&question.key).filter(|v| question.fits(v));
            match given.filter(|_| asked || !question.bound) {
                Some(value) => {
                    answers.insert(question.key.clone(), value.clone());
                }
                None => open.push((question.key.clone(), question.ask.clone())),
            }
        }
        if open.is_empty() { Ok(answers) } else { Err(Unanswered::Open(Asked { open })) }
    }
}

/// What a round of a request ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Questions by key.
    pub open: Vec<(String, Ask)>,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Not yet: the client is asked by the result of this round.
    Open(Asked),
    /// The client did not declare these capabilities.
    Missing(Value),
    /// There is nobody to ask: no client, or one without a stream of its own.
    Nobody,
    /// Too many people are asked already.
    Crowded,
    /// The client refused to ask, or is gone.
    Refused,
    /// The client's answer is not of the form that was asked for.
    Unfit,
    /// No answer came in time.
    Late,
}
