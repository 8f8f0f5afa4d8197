//! Policies of a route: what stands between a caller and the source. Each policy is a file with its configuration,
//! its compiled form, its live part and its tests; this one holds the block they are written in.

pub mod cache;
pub mod flight;
pub mod rate_limit;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Period;
use crate::yaml::TextOr;
use cache::{CacheConfig, CachePlan, Identifies};
use rate_limit::{RateLimitConfig, RateLimitPlan};

/// `policy:` of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Policy")]
pub struct PolicyConfig {
    /// The most time the whole call may take. Default `30s`.
    pub timeout: Option<Spanned<Period>>,
    /// How often it may be called. `none` takes back what `defaults` say.
    pub rate_limit: Option<Spanned<TextOr<RateLimitConfig>>>,
    /// How long answers may be given again, for routes that only read. `none` takes back what `defaults` say.
    pub cache: Option<Spanned<TextOr<CacheConfig>>>,
    /// Tools and resources whose kept answers are forgotten when a call of this one has succeeded.
    pub invalidates: Vec<Spanned<String>>,
}

/// `policy:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyPlan {
    /// The deadline of a call.
    pub timeout: Period,
    /// How often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitPlan>,
    /// How long answers may be given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePlan>,
    /// Routes whose kept answers a success makes wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invalidates: Vec<String>,
}

/// What of an operation its policies have to know.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// Whether it only reads.
    pub reads_only: bool,
    /// Whether its answer is made for this one call: it asks, or says something while it runs.
    pub personal: bool,
    /// What of the caller it uses.
    pub identifies: Identifies,
}

impl PolicyConfig {
    /// Compiles, taking what is not written from `defaults`.
    pub fn compile(&self, defaults: &Self, of: &Traits, diagnostics: &mut Diagnostics) -> PolicyPlan {
        let timeout = self.timeout.or(defaults.timeout);
        if let Some(zero) = timeout.filter(|t| t.value.0.is_zero()) {
            let message = "a call needs some time: the timeout is zero";
            diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
        }
        let limit = block(self.rate_limit.as_ref(), "rate_limit", diagnostics)
            .unwrap_or_else(|| block(defaults.rate_limit.as_ref(), "rate_limit", diagnostics).flatten());
        PolicyPlan {
            timeout: timeout.map_or(Period::seconds(30), |t| t.value),
            rate_limit: limit.and_then(|limit| limit.compile(diagnostics)),
            cache: self.cache(defaults, of, diagnostics),
            invalidates: self.invalidates.iter().map(|name| name.value.clone()).collect(),
        }
    }

    fn cache(&self, defaults: &Self, of: &Traits, diagnostics: &mut Diagnostics) -> Option<CachePlan> {
        let fits = of.reads_only && !of.personal;
        match block(self.cache.as_ref(), "cache", diagnostics) {
            Some(written) => {
                let cache = written?;
                if !fits {
                    let message = if of.reads_only {
                        "answers of this route are made for one call, and cannot be given again"
                    } else {
                        "this route changes something: an answer given again would hide that nothing was done"
                    };
                    let at = self.cache.as_ref().map_or(cache.ttl.span, |c| c.span);
                    let help =
                        "a route that reads can have a `cache`, and this one can name it under `invalidates`";
                    diagnostics.push(Diagnostic::error("cache-of-write", message).at(at, "").help(help));
                }
                Some(cache.compile(&of.identifies, diagnostics))
            }
            None => {
                let cache =
                    block(defaults.cache.as_ref(), "cache", diagnostics).flatten().filter(|_| fits)?;
                Some(cache.compile(&of.identifies, diagnostics))
            }
        }
    }
}

/// What was written under a key that takes a block or the word `none`: nothing, `none`, or the block.
pub fn block<'a, T>(
    written: Option<&'a Spanned<TextOr<T>>>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Option<&'a T>> {
    match &written?.value {
        TextOr::Block(block) => Some(Some(block)),
        TextOr::Text(text) => {
            if text.value != "none" {
                let message = format!("`{key}` is a block, or the word `none`");
                diagnostics.push(Diagnostic::error("not-a-block", message).at(text.span, ""));
            }
            Some(None)
        }
    }
}
