//! Steps of a rehearsal: what a tool does before its canned answer, so that clients can be tried against it before its backend
//! exists.

use serde::Serialize;
use serde_json::Value;

use super::config::StepConfig;
use crate::diag::{Diagnostic, Diagnostics, Span};
use crate::talk::{Level, Said, Talk};
use crate::units::Period;

/// A compiled step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Progress { progress: f64, total: Option<f64>, message: Option<String> },
    Log { level: Level, logger: Option<String>, data: Value },
    Sleep(Period),
}

impl Step {
    pub(super) fn compile(config: &StepConfig, at: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        match (&config.progress, &config.log, &config.sleep) {
            (Some(p), None, None) => {
                Some(Self::Progress { progress: p.progress, total: p.total, message: p.message.clone() })
            }
            (None, Some(log), None) => {
                Some(Self::Log { level: log.level, logger: log.logger.clone(), data: log.data.to_value() })
            }
            (None, None, Some(period)) => Some(Self::Sleep(*period)),
            _ => {
                let message = "a step is exactly one of `progress`, `log`, `sleep`";
                diagnostics.push(Diagnostic::error("one-of", message).at(at, ""));
                None
            }
        }
    }

    pub(super) async fn run(&self, talk: &Talk) {
        match self {
            Self::Progress { progress, total, message } => {
                let said = Said::Progress { progress: *progress, total: *total, message: message.clone() };
                talk.say(said).await;
            }
            Self::Log { level, logger, data } => {
                talk.say(Said::Log { level: *level, logger: logger.clone(), data: data.clone() }).await;
            }
            Self::Sleep(period) => tokio::time::sleep(period.0).await,
        }
    }
}
