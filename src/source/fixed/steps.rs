//! Steps of a rehearsal: what a tool does before its canned answer, so that clients can be tried against it before its backend
//! exists.

use serde::Serialize;
use serde_json::{Map, Value};

use super::ask::QuestionPlan;
use super::config::StepConfig;
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::talk::{Change, Level, Said, Talk};
use crate::units::Period;

/// A compiled step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Progress { progress: f64, total: Option<f64>, message: Option<String> },
    Log { level: Level, logger: Option<String>, data: Value },
    Sleep(Period),
    Ask(Vec<QuestionPlan>),
    Require(Value),
    Announce(Change),
}

impl Step {
    pub(super) fn compile(
        config: &StepConfig,
        at: Span,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let StepConfig { progress, log, sleep, ask, require, announce } = config;
        match (progress, log, sleep, ask, require, announce) {
            (Some(p), None, None, None, None, None) => {
                Some(Self::Progress { progress: p.progress, total: p.total, message: p.message.clone() })
            }
            (None, Some(log), None, None, None, None) => {
                Some(Self::Log { level: log.level, logger: log.logger.clone(), data: log.data.to_value() })
            }
            (None, None, Some(period), None, None, None) => Some(Self::Sleep(*period)),
            (None, None, None, Some(questions), None, None) => {
                if questions.is_empty() {
                    let message = "an `ask` step has at least one question";
                    diagnostics.push(Diagnostic::error("no-questions", message).absence().at(at, ""));
                }
                let plans: Vec<_> = questions
                    .iter()
                    .map(|(key, question)| QuestionPlan::compile(key, question, scope, diagnostics))
                    .collect();
                Some(Self::Ask(plans.into_iter().collect::<Option<_>>()?))
            }
            (None, None, None, None, Some(capabilities), None) => {
                let value = capabilities.to_value();
                let sound =
                    value.as_object().is_some_and(|m| !m.is_empty() && m.values().all(Value::is_object));
                if !sound {
                    let message = "`require` is a map of client capabilities";
                    let problem = Diagnostic::error("bad-capabilities", message).at(capabilities.span, "");
                    diagnostics.push(
                        problem.help("for example `{ sampling: {} }` or `{ elicitation: { form: {} } }`"),
                    );
                }
                sound.then_some(Self::Require(value))
            }
            (None, None, None, None, None, Some(what)) => change(what, diagnostics).map(Self::Announce),
            _ => {
                let message =
                    "a step is exactly one of `progress`, `log`, `sleep`, `ask`, `require`, `announce`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(at, ""));
                None
            }
        }
    }

    /// The questions it asks.
    pub(super) fn questions(&self) -> &[QuestionPlan] {
        match self {
            Self::Ask(questions) => questions,
            _ => &[],
        }
    }

    /// Whether every round takes it: questions give their answers again, and what is required is required each time.
    pub(super) const fn repeats(&self) -> bool {
        matches!(self, Self::Ask(_) | Self::Require(_))
    }

    /// Takes the step; answers are added to `answers`.
    pub(super) async fn run(
        &self,
        arguments: &Arguments,
        answers: &mut Map<String, Value>,
        talk: &Talk,
    ) -> Result<(), SourceError> {
        match self {
            Self::Progress { progress, total, message } => {
                let said = Said::Progress { progress: *progress, total: *total, message: message.clone() };
                talk.say(said).await;
            }
            Self::Log { level, logger, data } => {
                talk.say(Said::Log { level: *level, logger: logger.clone(), data: data.clone() }).await;
            }
            Self::Sleep(period) => tokio::time::sleep(period.0).await,
            Self::Ask(questions) => {
                let questions: Vec<_> =
                    questions.iter().map(|q| q.fill(arguments)).collect::<Result<_, _>>()?;
                for (key, mut answer) in talk.ask(&questions).await? {
                    // A person who declined has filled in nothing; templates can still look.
                    if let Some(form) = answer.as_object_mut().filter(|a| a.contains_key("action")) {
                        form.entry("content").or_insert_with(|| Value::Object(Map::new()));
                    }
                    answers.insert(key, answer);
                }
            }
            Self::Require(capabilities) => talk.require(capabilities)?,
            Self::Announce(change) => talk.announce(change.clone()),
        }
        Ok(())
    }
}

fn change(what: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Change> {
    match what.value.as_str() {
        "tools" => Some(Change::Tools),
        "prompts" => Some(Change::Prompts),
        "resources" => Some(Change::Resources),
        uri if uri.contains(':') => Some(Change::Resource(uri.to_owned())),
        other => {
            let message = format!("`{other}` is not something that clients are told of");
            let help = "`tools`, `prompts`, `resources`, or the URI of a resource";
            diagnostics.push(Diagnostic::error("bad-announcement", message).at(what.span, "").help(help));
            None
        }
    }
}

/// The first step that has not been taken in an earlier round of the same request: the last whose questions have answers,
/// as long as those before it have theirs.
pub(super) fn first(steps: &[Step], talk: &Talk) -> usize {
    let Some(known) = talk.known() else { return 0 };
    let mut first = 0;
    for (index, step) in steps.iter().enumerate().filter(|(_, s)| !s.questions().is_empty()) {
        if !step.questions().iter().any(|q| known.given.contains_key(&q.key)) {
            break;
        }
        first = index;
    }
    first
}
