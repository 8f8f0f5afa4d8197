//! What is remembered of the configurations of this process, in all generations: since when the one in use is in use, what it changed,
//! and why the files cannot be used as they are now.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::plan::Changes;

/// The longest rendered text of a refusal that is kept, in bytes.
const MAX_TEXT: usize = 16 << 10;

/// Why files cannot be used as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The stable code of the first problem, where it is one of the text.
    pub code: Option<&'static str>,
    /// Its place: `file:line:column`.
    pub place: Option<String>,
    /// It in one sentence.
    pub message: String,
    /// All problems with their carets, as the log has them; no secrets. Cut where it is long.
    pub text: String,
}

impl Refused {
    /// One that is told in a sentence and has no place in a file.
    #[must_use]
    pub fn plain(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { text: message.clone(), message, ..Self::default() }
    }

    /// The same, not longer than what is kept.
    fn cut(mut self) -> Self {
        if self.text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
            self.text.truncate(end);
            self.text.push_str("\n… and more, in the log");
        }
        self
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is known now.
#[derive(Clone, Debug)]
pub struct Known {
    /// When the configuration in use was put to use.
    pub since: SystemTime,
    /// What that changed; nothing at the start.
    pub changes: Option<Arc<Changes>>,
    /// Why the files cannot be used as they are now, and when that was found.
    pub refused: Option<(SystemTime, Arc<Refused>)>,
    /// What was warned of in the configuration in use.
    pub warnings: Arc<Vec<Warning>>,
}

/// A warning of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The stable code.
    pub code: &'static str,
    /// Its place: `file:line:column`.
    pub place: Option<String>,
    /// It in one sentence.
    pub message: String,
    /// What to do about it.
    #[serde(skip)]
    pub help: String,
}

/// Where it is kept: written by the reload alone, read by everybody.
#[derive(Debug)]
pub struct History(ArcSwap<Known>);

impl Default for History {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(Known {
            since: SystemTime::now(),
            changes: None,
            refused: None,
            warnings: Arc::default(),
        }))
    }
}

impl History {
    /// What is known now.
    #[must_use]
    pub fn load(&self) -> Arc<Known> {
        self.0.load_full()
    }

    /// Another configuration is in use.
    pub fn applied(&self, changes: Changes) {
        let changes = Some(Arc::new(changes));
        let known = Known { since: SystemTime::now(), changes, refused: None, ..Known::clone(&self.load()) };
        self.0.store(Arc::new(known));
    }

    /// The same configuration is in use, with more said of what `changes` names.
    pub fn described(&self, changes: Changes) {
        let (since, changes) = (SystemTime::now(), Some(Arc::new(changes)));
        self.0.store(Arc::new(Known { since, changes, ..Known::clone(&self.load()) }));
    }

    /// The files say what is in use.
    pub fn same(&self) {
        self.0.store(Arc::new(Known { refused: None, ..Known::clone(&self.load()) }));
    }

    /// This was warned of in the configuration in use.
    pub fn warned(&self, warnings: Vec<Warning>) {
        let warnings = Arc::new(warnings);
        self.0.store(Arc::new(Known { warnings, ..Known::clone(&self.load()) }));
    }

    /// The files cannot be used as they are.
    pub fn refused(&self, why: Refused) {
        let refused = Some((SystemTime::now(), Arc::new(why.cut())));
        self.0.store(Arc::new(Known { refused, ..Known::clone(&self.load()) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_kept_until_the_files_can_be_used_and_is_never_long() {
        let history = History::default();
        let since = history.load().since;
        history.refused(Refused::plain("é".repeat(MAX_TEXT)));
        let known = history.load();
        let text = &known.refused.as_ref().unwrap().1.text;
        assert!(text.len() < MAX_TEXT + 64 && text.ends_with("in the log"), "{}", text.len());
        assert_eq!(known.since, since);
        history.same();
        assert!(history.load().refused.is_none());
        history.refused(Refused::plain("no"));
        history.applied(Changes::default());
        let known = history.load();
        assert!(known.refused.is_none() && known.changes.is_some() && known.since >= since);
    }
}
