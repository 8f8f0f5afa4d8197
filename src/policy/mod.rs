//! Policies: what stands between a caller and a source. Each policy is a file with its configuration, its compiled form, its live form
//! and its tests; this one holds the block of a route. What they guard they do not know.

mod auth;
mod breaker;
pub mod cache;
pub mod concurrency;
pub mod flight;
mod guard;
pub mod rate_limit;
mod retry;
pub mod store;

pub use auth::{Condition, Denied, RouteAuthConfig, RouteAuthPlan, Viewer, check_args, scopes};
pub use breaker::{BreakerConfig, BreakerPlan, Health};
pub use concurrency::Concurrency;
pub use guard::{Entered, Guard, GuardPlan, Refusal};
pub use retry::{RetryConfig, RetryPlan};

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
    /// Tools and resources whose kept answers are forgotten when a call of this one ends.
    pub invalidates: Vec<Spanned<String>>,
    /// Trying again what failed for the moment. Without it everything is tried once. In `defaults` it holds for the routes that can
    /// be repeated without harm.
    pub retry: Option<Spanned<RetryConfig>>,
    /// How many calls of the route run at the same time; four times as many (at least 16) wait for a place. Default: as many as come.
    pub concurrency: Option<Spanned<u32>>,
    /// Who may use it. `none` lets in callers without any credentials. Default: everybody that `auth` lets in. What a route says
    /// stands instead of what `defaults` say, not beside it.
    pub auth: Option<Spanned<TextOr<RouteAuthConfig>>>,
}

/// `policy:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyPlan {
    /// The deadline of a call.
    pub timeout: Period,
    /// Who may use it.
    #[serde(skip_serializing_if = "RouteAuthPlan::is_plain")]
    pub auth: RouteAuthPlan,
    /// How often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimitPlan>,
    /// How long answers may be given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachePlan>,
    /// Routes whose kept answers a success makes wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invalidates: Vec<String>,
    /// How it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPlan>,
    /// How many calls run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
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
    pub fn compile(&self, defaults: &Self, of: &Traits, diagnostics: &mut Diagnostics) -> PolicyPlan {
        let timeout = self.timeout.or(defaults.timeout);
        if let Some(zero) = timeout.filter(|t| t.value.0.is_zero()) {
            let message = "a call needs some time: the timeout is zero";
            diagnostics.push(Diagnostic::error("too-small", message).at(zero.span, ""));
        }
        let limit = block(self.rate_limit.as_ref(), "rate_limit", diagnostics)
            .unwrap_or_else(|| block(defaults.rate_limit.as_ref(), "rate_limit", diagnostics).flatten());
        let inherited = defaults.retry.as_ref().map(|r| &r.value);
        let retry = match (&self.retry, inherited) {
            (Some(own), inherited) => own.compile(inherited, diagnostics),
            (None, Some(inherited)) => inherited.compile(None, diagnostics),
            (None, None) => None,
        };
        let auth = auth::compile(self.auth(defaults), diagnostics);
        PolicyPlan {
            auth,
            timeout: timeout.map_or(Period::seconds(30), |t| t.value),
            rate_limit: limit.and_then(|limit| limit.compile(diagnostics)),
            cache: self.cache(defaults, of, diagnostics),
            invalidates: self.invalidates.iter().map(|name| name.value.clone()).collect(),
            retry,
            concurrency: concurrency::check(self.concurrency.or(defaults.concurrency), diagnostics),
        }
    }

    /// What is written about who may use it, here or in `defaults`.
    #[must_use]
    pub fn auth<'a>(&'a self, defaults: &'a Self) -> Option<&'a Spanned<TextOr<RouteAuthConfig>>> {
        self.auth.as_ref().or(defaults.auth.as_ref())
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

    /// Says that a `retry` that is written here, and not inherited, must not be.
    pub fn refuse_retry(&self, unrepeatable: &Unrepeatable, diagnostics: &mut Diagnostics) {
        if let Some(own) = &self.retry {
            let Unrepeatable { why, help } = unrepeatable;
            let message = format!("`retry` cannot be used here: {why}");
            diagnostics.push(Diagnostic::error("not-repeatable", message).at(own.span, "").help(*help));
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
