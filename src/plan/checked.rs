//! A configuration from its file to its plan, with all that was found on the way.

use std::path::Path;

use super::Plan;
use crate::config::{Config, Environment, Origin, Watched, load_from};
use crate::diag::{Diagnostics, SourceMap};

/// A configuration that was read and checked.
#[derive(Debug, Default)]
pub struct Checked {
    /// What was written, as far as it could be read.
    pub config: Option<Config>,
    /// The plan, if there was no error.
    pub plan: Option<Plan>,
    /// Everything that was found.
    pub diagnostics: Diagnostics,
    /// The texts that the diagnostics point into.
    pub sources: SourceMap,
    /// What was read for it.
    pub watched: Watched,
    /// Variables and files of `${…}` that were stood in for.
    pub unset: Vec<String>,
}

/// Loads and compiles; opens nothing.
#[must_use]
pub fn check(path: &Path, environment: &Environment) -> Checked {
    check_from(path, Origin::disk(environment))
}

/// Loads from wherever it is, and compiles; opens nothing.
#[must_use]
pub fn check_from(path: &Path, origin: Origin<'_>) -> Checked {
    let mut loaded = load_from(path, origin);
    let plan = match &loaded.config {
        Some(config) => super::compile(config, &mut loaded.diagnostics),
        None => None,
    };
    let plan = plan.filter(|_| !loaded.diagnostics.has_errors());
    Checked {
        config: loaded.config,
        plan,
        diagnostics: loaded.diagnostics,
        sources: loaded.sources,
        watched: loaded.watched,
        unset: loaded.unset,
    }
}
