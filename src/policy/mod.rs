//! Policies of a route: what stands between a caller and the source. Each policy is a file with its configuration,
//! its compiled form and its tests; this one holds the block they are written in.

pub mod cache;
pub mod flight;
pub mod rate_limit;

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
}

/// `policy:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyPlan {
    /// The deadline of a call.
    pub timeout: Period,
}

impl PolicyConfig {
    /// Compiles, taking what is not written from `defaults`.
    pub fn compile(&self, defaults: &Self, diagnostics: &mut Diagnostics) -> PolicyPlan {
        let timeout = self.timeout.or(defaults.timeout);
        if let Some(zero) = timeout.filter(|t| t.value.0.is_zero()) {
            let message = "a call needs some time: the timeout is zero";
            diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
        }
        PolicyPlan { timeout: timeout.map_or(Period::seconds(30), |t| t.value) }
    }
}
