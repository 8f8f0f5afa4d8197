//! What we tell the person who wrote the YAML: problems with their place in the text, a caret and help.
//! Every problem found in one run is kept and shown, sorted by place.

mod render;
mod span;

use std::ops::Range;

pub use render::{Format, place_of, render};
pub(crate) use span::SPANNED;
pub use span::{FileId, SourceMap, Span, Spanned};

/// How bad a problem is. Errors stop the load; warnings fail `check --strict` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot run as it is.
    Error,
    /// It runs, but probably not as meant.
    Warning,
}

/// A place in the text and what to say there.
#[derive(Clone, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// If set, narrows `span` to an occurrence of this text inside it: the first one, or the one after so many.
    pub within: Option<(String, usize)>,
    /// The words beside the caret; may be empty.
    pub text: String,
}

/// One problem: a stable code, a sentence, its place, related places, and what to do.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable kebab-case code, such as `unknown-key`.
    pub code: &'static str,
    /// One sentence without the place.
    pub message: String,
    /// The first label is the primary place; the others are related places.
    pub labels: Vec<Label>,
    /// What to do about it, one line each.
    pub help: Vec<String>,
    /// Whether it says that something is not there. Such a problem may follow from another one: see
    /// [`Diagnostics::forget_absences`].
    pub absence: bool,
}

impl Diagnostic {
    /// An error with its code and sentence.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message.into())
    }

    /// A warning with its code and sentence.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message.into())
    }

    fn new(severity: Severity, code: &'static str, message: String) -> Self {
        Self { severity, code, message, labels: Vec::new(), help: Vec::new(), absence: false }
    }

    /// Adds a place; the first one added is the primary.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, within: None, text: text.into() });
        self
    }

    /// Adds the place of `needle` inside `span` (the whole span if it is not found there).
    #[must_use]
    pub fn within(mut self, span: Span, needle: impl Into<String>, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, within: Some((needle.into(), 0)), text: text.into() });
        self
    }

    /// Adds the place of `part`, a range of the value that stands at `span`. The value is not the text byte for byte
    /// (quotes, indentation), so the place is found by counting how often the same characters come before.
    #[must_use]
    pub fn part(mut self, span: Span, value: &str, part: Range<usize>, text: impl Into<String>) -> Self {
        let needle = value.get(part.clone()).unwrap_or("").to_owned();
        let before = value.get(..part.start).unwrap_or("");
        let nth = if needle.is_empty() { 0 } else { before.matches(needle.as_str()).count() };
        self.labels.push(Label { span, within: Some((needle, nth)), text: text.into() });
        self
    }

    /// Says that this is about something that is not there.
    #[must_use]
    pub const fn absence(mut self) -> Self {
        self.absence = true;
        self
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a line of help if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help.extend(help);
        self
    }
}

/// All problems of one run.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Records one problem, once: what several routes take from `defaults` is wrong in one place.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let place = |d: &Diagnostic| d.labels.first().map(|l| (l.span, l.within.clone()));
        let same = |d: &Diagnostic| {
            d.code == diagnostic.code && d.message == diagnostic.message && place(d) == place(&diagnostic)
        };
        if !self.list.iter().any(same) {
            self.list.push(diagnostic);
        }
    }

    /// How many there are; a mark for [`Self::forget_absences`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Drops the problems from `mark` on that say that something is not there: it was lost by another mistake, which
    /// has been told.
    pub fn forget_absences(&mut self, mark: usize) {
        let mut index = 0;
        self.list.retain(|d| {
            index += 1;
            index <= mark || !d.absence
        });
    }

    /// Whether one of them has this code.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.list.iter().any(|d| d.code == code)
    }

    /// Whether any of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|d| d.severity == severity).count()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sorted by place, errors before warnings at the same place.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut list: Vec<&Diagnostic> = self.list.iter().collect();
        list.sort_by_key(|d| {
            let place = d.labels.first().map(|l| (l.span.file, l.span.start));
            (place, d.severity)
        });
        list
    }

    /// Moves all problems of `other` here.
    pub fn append(&mut self, other: Self) {
        for diagnostic in other.list {
            self.push(diagnostic);
        }
    }
}
