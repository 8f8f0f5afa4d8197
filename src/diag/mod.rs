//! What we tell the person who wrote the YAML: problems with their place in the text, a caret and help.
//! Every problem found in one run is kept and shown, sorted by place.

mod render;
mod span;

pub use render::{Format, render};
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
    /// If set, narrows `span` to the first occurrence of this text inside it.
    pub within: Option<String>,
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
        Self { severity, code, message, labels: Vec::new(), help: Vec::new() }
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
        self.labels.push(Label { span, within: Some(needle.into()), text: text.into() });
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
    /// Records one problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
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
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }
}
