//! What was found to differ, one sentence each, and what it means for those who use the server.

use serde::Serialize;

use super::words::Sentence;

/// What a difference means for those who use the server, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// What worked before may fail.
    Breaking,
    /// More is allowed, or to more callers, than before.
    Loosening,
    /// Clients may notice it, and everything works on.
    Compatible,
    /// Clients do not notice it.
    Invisible,
}

impl Effect {
    /// All, the gravest first.
    pub const ALL: [Self; 4] = [Self::Breaking, Self::Loosening, Self::Compatible, Self::Invisible];

    /// The effect as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaking => "breaking",
            Self::Loosening => "loosening",
            Self::Compatible => "compatible",
            Self::Invisible => "invisible",
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it means.
    pub effect: Effect,
    /// What it is.
    pub sentence: Sentence,
}

/// Differences as they are found.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Difference>);

impl Notes {
    pub(super) fn add(&mut self, effect: Effect, sentence: impl Into<Sentence>) {
        self.0.push(Difference { effect, sentence: sentence.into() });
    }

    pub(super) fn breaking(&mut self, sentence: impl Into<Sentence>) {
        self.add(Effect::Breaking, sentence);
    }

    pub(super) fn loosening(&mut self, sentence: impl Into<Sentence>) {
        self.add(Effect::Loosening, sentence);
    }

    pub(super) fn compatible(&mut self, sentence: impl Into<Sentence>) {
        self.add(Effect::Compatible, sentence);
    }

    pub(super) fn invisible(&mut self, sentence: impl Into<Sentence>) {
        self.add(Effect::Invisible, sentence);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// What was found of a part, which `before` names, and not of the whole.
    pub(super) fn append_of(&mut self, before: &str, part: Self) {
        let more: Vec<_> = part.0.into_iter().filter(|found| !self.0.contains(found)).collect();
        self.0.extend(more.into_iter().map(|d| Difference { sentence: d.sentence.after(before), ..d }));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The gravest first, else as they were found.
    pub(super) fn sorted(mut self) -> Vec<Difference> {
        self.0.sort_by_key(|difference| difference.effect);
        self.0
    }
}
