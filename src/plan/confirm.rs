//! `confirm:` after compile: the question a person answers before a tool runs.

use serde::Serialize;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{self, InputSchema, Scope};
use crate::source::OpPlan;
use crate::template::Template;
use crate::yaml::Entries;

/// The name of the question among those of a call.
pub const CONFIRM: &str = "confirm";

/// A question with places for arguments, and its form: yes or no, nothing to fill in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfirmPlan {
    /// The question.
    pub message: Template,
    /// The form.
    #[serde(skip)]
    pub form: InputSchema,
}

pub(super) fn compile(
    text: &Spanned<String>,
    op: Option<&OpPlan>,
    scope: &mut Scope,
    diagnostics: &mut Diagnostics,
) -> Option<ConfirmPlan> {
    if text.value.trim().is_empty() {
        let message = "`confirm` asks nothing";
        let help = "write the question the person reads: `Cancel order {id}?`";
        diagnostics.push(Diagnostic::error("no-message", message).at(text.span, "").help(help));
        return None;
    }
    if op.is_some_and(|op| op.questions().any(|q| q == CONFIRM)) {
        let message =
            format!("a question of this tool is called `{CONFIRM}`, which is the name of `confirm:` itself");
        diagnostics.push(Diagnostic::error("name-twice", message).at(text.span, ""));
    }
    let message = Template::compile(text, scope, diagnostics)?;
    message.always_full(text, scope, diagnostics).then_some(())?;
    let form = params::compile_form(&Entries::default(), &scope.owner, diagnostics)?;
    Some(ConfirmPlan { message, form })
}
