//! Asking the person before a call runs. A yes counts for exactly the question that was shown, and, in the modern era, only with
//! the state of the round that showed it.

use serde_json::Value;

use super::CallError;
use crate::params::Arguments;
use crate::plan::{CONFIRM, ConfirmPlan};
use crate::talk::{Ask, Question, Talk};
use crate::telemetry::hidden;

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
        .render_as(arguments, |text| visible(&text).into())
        .ok_or_else(|| CallError::internal("an argument of the question is absent"))?;
    if message.len() > MAX_QUESTION {
        return Err(CallError::not_confirmable(MAX_QUESTION));
    }
    let question = Question {
        key: CONFIRM.to_owned(),
        ask: Ask::Form { message, schema: plan.form.value() },
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

/// An argument stays where it stands: it cannot move the rest of the question out of sight, turn it around, or hide a part of
/// itself.
fn visible(argument: &str) -> String {
    let mut shown = String::with_capacity(argument.len());
    for c in argument.chars() {
        match c {
            '\n' => shown.push('⏎'),
            c if c.is_whitespace() => {
                // One blank for any number of them.
                if !shown.ends_with(' ') {
                    shown.push(' ');
                }
            }
            c if c.is_control() || hidden(c) => shown.push('\u{FFFD}'),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_stays_where_it_stands_and_shows_all_of_itself() {
        assert_eq!(
            visible("a\u{202E}b\u{1b}[2J c\u{E0041}\u{3164}"),
            "a\u{FFFD}b\u{FFFD}[2J c\u{FFFD}\u{FFFD}"
        );
        assert_eq!(visible("draft?\n\nHarmless.\r\n   \t\u{2003} all"), "draft?⏎⏎Harmless. ⏎ all");
        assert_eq!(visible("Größe 10 → 12, 北京 🙂"), "Größe 10 → 12, 北京 🙂");
    }
}
