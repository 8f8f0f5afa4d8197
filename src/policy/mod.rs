//! Policies: what stands between a caller and a source. Each policy is a file with its configuration, its compiled form, its live form
//! and its tests; this one holds the block of a route. What they guard they do not know.

mod breaker;
pub mod concurrency;
mod guard;
mod retry;

pub use breaker::{BreakerConfig, BreakerPlan, Health};
pub use concurrency::Concurrency;
pub use guard::{Entered, Guard, GuardPlan, Refusal};
pub use retry::{RetryConfig, RetryPlan};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Period;

/// `policy:` of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Policy")]
pub struct PolicyConfig {
    /// The most time the whole call may take. Default `30s`.
    pub timeout: Option<Spanned<Period>>,
    /// Trying again what failed for the moment. Without it everything is tried once. In `defaults` it holds for the routes that can
    /// be repeated without harm.
    pub retry: Option<Spanned<RetryConfig>>,
    /// How many calls of the route run at the same time; four times as many (at least 16) wait for a place. Default: as many as come.
    pub concurrency: Option<Spanned<u32>>,
}

/// `policy:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyPlan {
    /// The deadline of a call.
    pub timeout: Period,
    /// How it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPlan>,
    /// How many calls run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

/// Why an operation must not be tried twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepeatable {
    /// What it would do; ends the sentence "`retry` cannot be used: …".
    pub why: &'static str,
    /// What to do about it.
    pub help: &'static str,
}

impl PolicyConfig {
    /// Compiles, taking what is not written from `defaults`.
    pub fn compile(&self, defaults: &Self, diagnostics: &mut Diagnostics) -> PolicyPlan {
        let timeout = self.timeout.or(defaults.timeout);
        if let Some(zero) = timeout.filter(|t| t.value.0.is_zero()) {
            let message = "a call needs some time: the timeout is zero";
            diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
        }
        let inherited = defaults.retry.as_ref().map(|r| &r.value);
        let retry = match (&self.retry, inherited) {
            (Some(own), inherited) => own.compile(inherited, diagnostics),
            (None, Some(inherited)) => inherited.compile(None, diagnostics),
            (None, None) => None,
        };
        PolicyPlan {
            timeout: timeout.map_or(Period::seconds(30), |t| t.value),
            retry,
            concurrency: concurrency::check(self.concurrency.or(defaults.concurrency), diagnostics),
        }
    }

    /// Says that a `retry` that is written here, and not inherited, must not be.
    pub fn refuse_retry(&self, unrepeatable: &Unrepeatable, diagnostics: &mut Diagnostics) {
        if let Some(own) = &self.retry {
            let Unrepeatable { why, help } = unrepeatable;
            let message = format!("`retry` cannot be used here: {why}");
            diagnostics.push(Diagnostic::error("not-repeatable", message).at(own.span, "").help(*help));
        }
    }
}
