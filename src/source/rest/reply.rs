//! What an answer of an API is: a reply by its media type, or a failure with the words that the caller reads of it.

use serde::Serialize;
use serde_json::Value;

use super::config::RestOpConfig;
use super::plan::{Method, RestOp};
use super::table;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::output::{DEEPEST, Reply, deeper_than, sound};
use crate::params::{Arguments, Scope};
use crate::source::http::{self, Answer};
use crate::source::mask::Mask;
use crate::source::{Said, SourceError};
use crate::template::Template;

/// The most characters of the upstream's own words that a caller reads.
const MAX_WORDS: usize = 300;
/// The most characters of a configured sentence once it is filled.
const MAX_SENTENCE: usize = 1000;
/// The byte order mark.
const MARK: char = '\u{feff}';
/// The largest failed body that is searched for a message.
const MAX_SEARCHED: usize = 64 << 10;

/// Which statuses are successes, and what is said of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Statuses {
    /// The successes; 200 to 299 if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expect: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<(Match, Template)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Match {
    One(u16),
    /// All of a hundred.
    Class(u16),
}

impl Statuses {
    pub fn compile(config: &RestOpConfig, scope: &mut Scope, diagnostics: &mut Diagnostics) -> Option<Self> {
        let before = diagnostics.errors();
        let mut statuses = Self::default();
        for status in config.expect.iter().flat_map(|e| &e.value) {
            if (200..=599).contains(&status.value) {
                statuses.expect.push(status.value);
            } else {
                diagnostics
                    .push(bad_status(&status.value.to_string()).at(status.span, "").help("200 to 599"));
            }
        }
        if let Some(empty) = config.expect.as_ref().filter(|e| e.value.is_empty()) {
            let message = "`expect` names no status: nothing could ever succeed";
            diagnostics.push(Diagnostic::error("too-small", message).absence().at(empty.span, ""));
        }
        for (name, sentence) in config.errors.iter() {
            let matching = statuses.matching(name, diagnostics);
            let template = Template::compile(sentence, scope, diagnostics);
            if sentence.value.trim().is_empty() {
                let message = "an empty sentence tells the model nothing";
                diagnostics.push(Diagnostic::error("empty-text", message).at(sentence.span, ""));
            }
            if let (Some(matching), Some(template)) = (matching, template)
                && template.always_full(sentence, scope, diagnostics)
            {
                statuses.errors.push((matching, template));
            }
        }
        (diagnostics.errors() == before).then_some(statuses)
    }

    fn matching(&self, name: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Match> {
        let matching = match name.value.as_str() {
            "4xx" => Some(Match::Class(4)),
            "5xx" => Some(Match::Class(5)),
            other => other.parse().ok().filter(|status| (200..=599).contains(status)).map(Match::One),
        };
        match matching {
            Some(Match::One(status)) if self.succeeds(status) => {
                let message = format!("{status} is a success here, so this sentence is never said");
                let help = "`expect` lists the statuses that are successes; without it those are 200 to 299";
                diagnostics.push(Diagnostic::error("bad-status", message).at(name.span, "").help(help));
                None
            }
            None => {
                let help = "a status such as `404`; `4xx` and `5xx` stand for those that are not named";
                diagnostics.push(bad_status(&name.value).at(name.span, "").help(help));
                None
            }
            good => good,
        }
    }

    pub(super) fn succeeds(&self, status: u16) -> bool {
        if self.expect.is_empty() { (200..=299).contains(&status) } else { self.expect.contains(&status) }
    }

    /// The configured sentence for a status; the status itself wins over its hundred.
    fn sentence(&self, status: u16, arguments: &Arguments) -> Option<String> {
        let find = |wanted| self.errors.iter().find(|(m, _)| *m == wanted);
        let (_, template) = find(Match::One(status)).or_else(|| find(Match::Class(status / 100)))?;
        template.render(arguments).map(|text| capped(&text, MAX_SENTENCE))
    }
}

fn bad_status(written: &str) -> Diagnostic {
    Diagnostic::error("bad-status", format!("`{written}` is no status that an answer can have"))
}

/// The reply in an answer, with at most `max_rows` rows where it is a table. `mask` takes what is secret out of a text.
pub(super) fn reply(
    answer: Answer,
    op: &RestOp,
    arguments: &Arguments,
    max_rows: usize,
    mask: &Mask,
) -> Result<Reply, SourceError> {
    if op.statuses.succeeds(answer.status) {
        content(answer, op.method, max_rows, mask)
    } else {
        Err(failure(&answer, op, arguments, mask))
    }
}

fn failure(answer: &Answer, op: &RestOp, arguments: &Arguments, mask: &Mask) -> SourceError {
    let status = answer.status;
    let body = mask.excerpt(&answer.body);
    if let Some(sentence) = op.statuses.sentence(status, arguments) {
        return SourceError::Answered { status, said: Said::Configured(sentence), body };
    }
    // What is said about credentials, and what a server says when it breaks, is not for the caller.
    let telling = matches!(status, 400..=499) && !matches!(status, 401 | 403 | 407);
    match message(answer).filter(|_| telling).map(|text| words(&text, mask)) {
        Some(words) if !words.is_empty() => {
            SourceError::Answered { status, said: Said::Upstream(words), body }
        }
        _ if matches!(status, 404 | 410) => SourceError::NotFound,
        _ => SourceError::Status { status, body },
    }
}

/// The message in a failed JSON answer, where APIs usually put it.
fn message(answer: &Answer) -> Option<String> {
    let kind = http::media_type(answer.content_type.as_deref());
    if !kind.as_deref().is_none_or(is_json) || answer.body.len() > MAX_SEARCHED {
        return None;
    }
    let value: Value = serde_json::from_slice(&answer.body).ok()?;
    let places = ["/message", "/error", "/error/message", "/detail", "/title"];
    let mut texts = places.iter().filter_map(|place| value.pointer(place)?.as_str());
    texts.find(|text| !text.trim().is_empty()).map(str::to_owned)
}

/// The upstream's words as one short line that cannot end its own quotation.
fn words(text: &str, mask: &Mask) -> String {
    let plain = text.chars().filter(|c| !invisible(*c)).map(|c| match c {
        c if c.is_control() => ' ',
        '"' => '\'',
        c => c,
    });
    // Masked before it is cut, so that no part of a secret is left at the end.
    let line = mask.hide(plain.collect()).split_whitespace().collect::<Vec<_>>().join(" ");
    capped(&line, MAX_WORDS)
}

/// Characters that steer or hide text without being seen.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn capped(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

/// What a success is: JSON if it says so or says nothing and is; rows of CSV; XML as JSON; text; bytes; nothing.
pub(super) fn content(
    answer: Answer,
    method: Method,
    max_rows: usize,
    mask: &Mask,
) -> Result<Reply, SourceError> {
    let Answer { content_type, body, .. } = answer;
    if body.is_empty() || method == Method::Head {
        return Ok(Reply::Empty);
    }
    let kind = http::media_type(content_type.as_deref());
    let kind = kind.as_deref().unwrap_or("");
    // RFC 4180 section 3: it says so if the first line holds no names.
    let mut settings = content_type.iter().flat_map(|t| t.split(';').skip(1));
    let headless = settings.any(|s| s.trim().eq_ignore_ascii_case("header=absent"));
    let is_json = is_json(kind);
    let textual = kind.is_empty() || kind.starts_with("text/") || kind.ends_with("xml") || is_json;
    if !textual {
        return Ok(Reply::Bytes { data: body, mime: kind.to_owned() });
    }
    let Ok(mut text) = String::from_utf8(body.into()) else {
        return Err(SourceError::BadReply { reason: "text that is not UTF-8", detail: kind.to_owned() });
    };
    // What some software puts before UTF-8 is no part of the text (RFC 8259 section 8.1).
    if text.starts_with(MARK) {
        text.drain(..MARK.len_utf8());
    }
    let valid = || serde_json::from_str::<serde::de::IgnoredAny>(&text).map(drop);
    match kind {
        "text/html" | "application/xhtml+xml" => {
            let detail = mask.excerpt(text.as_bytes());
            Err(SourceError::BadReply { reason: "an HTML page instead of data", detail })
        }
        _ if (is_json || kind.is_empty()) && sound(&text, DEEPEST) => Ok(Reply::Json(text)),
        // It says what is wrong.
        _ if is_json => match valid() {
            Ok(()) if deeper_than(&text, DEEPEST) => {
                let detail = format!("more than {DEEPEST} levels");
                Err(SourceError::BadReply { reason: "JSON that is too deeply nested", detail })
            }
            Ok(()) => Ok(Reply::Json(text)),
            Err(error) => {
                Err(SourceError::BadReply { reason: "JSON that is not valid", detail: error.to_string() })
            }
        },
        "text/csv" if !headless => table::csv(&text, max_rows).map(Reply::Rows),
        "text/xml" | "application/xml" => table::xml(&text).map(Reply::Value),
        _ if kind.ends_with("+xml") && !kind.starts_with("image/") => table::xml(&text).map(Reply::Value),
        "" if valid().is_ok() && !deeper_than(&text, DEEPEST) => Ok(Reply::Json(text)),
        _ => Ok(Reply::Text { text, mime: (!kind.is_empty()).then(|| kind.to_owned()) }),
    }
}
