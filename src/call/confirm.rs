//! Asking the person before a call runs. A yes counts for exactly the question that was shown, and, in the modern era, only with
//! the state of the round that showed it.

use serde_json::Value;

use super::CallError;
use crate::params::Arguments;
use crate::plan::{CONFIRM, ConfirmPlan};
use crate::talk::{Ask, Question, Talk};

/// The longest question, in bytes: what a person cannot read they cannot confirm.
const MAX_QUESTION: usize = 8 << 10;

/// Asks, if this route wants to.
pub(super) async fn confirm(
    plan: Option<&ConfirmPlan>,
    arguments: &Arguments,
    talk: &Talk,
) -> Result<(), CallError> {
    let Some(plan) = plan else { return Ok(()) };
    let message = plan
        .message
        .render(arguments)
        .ok_or_else(|| CallError::internal("an argument of the question is absent"))?;
    if message.len() > MAX_QUESTION {
        return Err(CallError::not_confirmable(MAX_QUESTION));
    }
    let question = Question {
        key: CONFIRM.to_owned(),
        ask: Ask::Form { message: visible(&message), schema: plan.form.value.clone() },
        form: Some(&plan.form),
        optional: false,
        bound: true,
    };
    let answers = talk.ask(&[question]).await.map_err(CallError::unanswered)?;
    match answers.get(CONFIRM).and_then(|a| a.get("action")).and_then(Value::as_str) {
        Some("accept") => Ok(()),
        _ => Err(CallError::declined()),
    }
}

/// An argument cannot move the rest of the question out of sight or turn it around.
fn visible(message: &str) -> String {
    let hidden = |c: char| {
        c != '\n'
            && (c.is_control()
                || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'))
    };
    message.chars().map(|c| if hidden(c) { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_hide_a_part_of_the_question_is_shown() {
        assert_eq!(visible("Delete a\u{202E}b\r\u{1b}[2J\nc?"), "Delete a\u{FFFD}b\u{FFFD}\u{FFFD}[2J\nc?");
        assert_eq!(visible("Größe 10 → 12?"), "Größe 10 → 12?");
    }
}
