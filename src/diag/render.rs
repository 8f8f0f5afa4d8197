//! Problems as text with carets, as JSON, or as pipeline annotations.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::json;

use super::{Diagnostic, Diagnostics, FileId, Label, Severity, SourceMap};

/// How problems are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: the lines with carets and help. The flag says whether to colour.
    Text {
        /// ANSI colours.
        colour: bool,
    },
    /// One JSON document with a `diagnostics` array.
    Json,
    /// `::error file=…` lines that a pipeline turns into annotations.
    Github,
}

/// Renders all problems, sorted by place. Secrets that the map hides stay hidden.
#[must_use]
pub fn render(diagnostics: &Diagnostics, sources: &SourceMap, format: Format) -> String {
    match format {
        Format::Text { colour } => text(diagnostics, sources, colour),
        Format::Json => json(diagnostics, sources),
        Format::Github => github(diagnostics, sources),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Cuts a many-line range to its first line, and widens an empty one to a character.
fn first_line(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = text.get(range.clone()).unwrap_or("");
    let line = slice.lines().next().unwrap_or("").trim_end();
    let end = range.start + line.len();
    if end > range.start || range.start >= text.len() {
        return range.start..end;
    }
    let next = text
        .get(range.start..)
        .and_then(|t| t.chars().next())
        .filter(|c| *c != '\n')
        .map_or(0, char::len_utf8);
    range.start..range.start + next
}

fn text(diagnostics: &Diagnostics, sources: &SourceMap, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for diagnostic in diagnostics.sorted() {
        let files = files_of(diagnostic);
        let shown: Vec<String> = files.iter().map(|f| sources.shown(*f)).collect();
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code));
        for (file, source) in files.iter().zip(&shown) {
            let mut snippet = Snippet::source(source).path(sources.name(*file)).fold(true);
            for (index, label) in diagnostic.labels.iter().enumerate() {
                if label.span.file == *file {
                    snippet = snippet.annotation(annotation(label, index == 0, sources));
                }
            }
            group = group.element(snippet);
        }
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

fn annotation<'a>(label: &'a Label, primary: bool, sources: &SourceMap) -> annotate_snippets::Annotation<'a> {
    let range = sources.locate(label.span, label.within.as_ref());
    let range = first_line(sources.text(label.span.file), range);
    let kind = if primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let annotation = kind.span(range);
    if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
}

fn files_of(diagnostic: &Diagnostic) -> Vec<FileId> {
    let mut files = Vec::new();
    for label in &diagnostic.labels {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    files
}

fn place(label: &Label, sources: &SourceMap) -> serde_json::Value {
    let file = label.span.file;
    let range = sources.locate(label.span, label.within.as_ref());
    let range = first_line(sources.text(file), range);
    let (line, column) = sources.line_column(file, range.start);
    let (end_line, end_column) = sources.line_column(file, range.end);
    json!({
        "file": sources.name(file), "line": line, "column": column,
        "end_line": end_line, "end_column": end_column, "label": label.text,
    })
}

fn json(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let list: Vec<_> = diagnostics
        .sorted()
        .into_iter()
        .map(|d| {
            let mut places = d.labels.iter().map(|l| place(l, sources));
            let mut entry = json!({
                "severity": word(d.severity), "code": d.code, "message": d.message,
            });
            // Without a place the keys are there all the same, so that readers need not ask.
            let first = places.next().unwrap_or_else(|| {
                json!({
                    "file": null, "line": null, "column": null,
                    "end_line": null, "end_column": null, "label": "",
                })
            });
            if let (Some(map), Some(first)) = (entry.as_object_mut(), first.as_object()) {
                map.extend(first.clone());
                map.insert("related".to_owned(), places.collect());
                map.insert("help".to_owned(), json!(d.help));
            }
            entry
        })
        .collect();
    let document = json!({
        "errors": diagnostics.errors(), "warnings": diagnostics.warnings(), "diagnostics": list,
    });
    format!("{document:#}\n")
}

/// The primary place of a problem as `file:line:column`.
#[must_use]
pub fn place_of(diagnostic: &Diagnostic, sources: &SourceMap) -> Option<String> {
    let label = diagnostic.labels.first()?;
    let file = label.span.file;
    let (line, column) = sources.line_column(file, sources.locate(label.span, label.within.as_ref()).start);
    Some(format!("{}:{line}:{column}", sources.name(file)))
}

/// Escapes a value of a workflow command (its data part).
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

fn github(diagnostics: &Diagnostics, sources: &SourceMap) -> String {
    let mut out = String::new();
    for d in diagnostics.sorted() {
        let mut message = d.message.clone();
        for help in &d.help {
            let _ = write!(message, "\nhelp: {help}");
        }
        let mut properties = String::new();
        if let Some(label) = d.labels.first() {
            let range = sources.locate(label.span, label.within.as_ref());
            let range = first_line(sources.text(label.span.file), range);
            let (line, column) = sources.line_column(label.span.file, range.start);
            let (_, end) = sources.line_column(label.span.file, range.end);
            let file = escape_property(sources.name(label.span.file));
            let _ = write!(properties, "file={file},line={line},col={column},endColumn={end},");
        }
        let _ =
            writeln!(out, "::{} {properties}title={}::{}", word(d.severity), d.code, escape_data(&message));
    }
    out
}
