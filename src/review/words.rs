//! Sentences with words of the configuration in them, which are strangers' texts: they are kept apart, so that each form can write them
//! in a way in which they stay texts.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use crate::telemetry::one_line;

/// Around a word of the configuration. Neither can be in one: control characters are escaped.
const OPEN: char = '\u{2}';
const CLOSE: char = '\u{3}';
/// The longest word that is shown, in characters.
const MAX_WORD: usize = 120;
/// How much of what two long words share is shown before the first difference, in characters.
const LED_BY: usize = 20;

/// A sentence. As text its foreign words stand between backticks.
#[derive(Clone, PartialEq, Eq)]
pub struct Sentence(String);

impl From<String> for Sentence {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Sentence {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Sentence {
    /// With something before it.
    pub(super) fn after(&self, before: &str) -> Self {
        Self(format!("{before}{}", self.0))
    }

    /// For a cell of a markdown table.
    pub(super) fn markdown(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once(OPEN) {
            out.push_str(before);
            let (word, after) = after.split_once(CLOSE).unwrap_or((after, ""));
            markdown_word(word, &mut out);
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if matches!(c, OPEN | CLOSE) { '`' } else { c }))
    }
}

impl fmt::Debug for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sentence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A word of the configuration for a sentence.
pub(super) fn word(text: impl fmt::Display) -> String {
    format!("{OPEN}{}{CLOSE}", shown(&text.to_string()))
}

/// Two words that differ, both cut around the first difference where they are long.
pub(super) fn apart(old: &str, new: &str) -> (String, String) {
    let lines = [one_line(old.trim()), one_line(new.trim())];
    let [before, after] = &lines;
    let same = before.chars().zip(after.chars()).take_while(|(one, other)| one == other).count();
    if same < MAX_WORD / 2 || lines.iter().all(|line| line.chars().count() <= MAX_WORD) {
        return (word(old), word(new));
    }
    let cut = |line: &str| {
        let mut rest = line.chars().skip(same - LED_BY);
        let shown: String = rest.by_ref().take(MAX_WORD - LED_BY).collect();
        let more = if rest.next().is_some() { "…" } else { "" };
        format!("{OPEN}…{shown}{more}{CLOSE}")
    };
    (cut(before), cut(after))
}

/// Several of them.
pub(super) fn words<T: fmt::Display>(list: impl IntoIterator<Item = T>) -> String {
    list.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

/// On one line and of bounded length.
pub(super) fn shown(text: &str) -> String {
    let line = one_line(text.trim());
    match line.char_indices().nth(MAX_WORD) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or("")),
        None => line,
    }
}

/// A text in which nothing means anything to markdown or HTML.
pub(super) fn markdown_word(text: &str, out: &mut String) {
    out.push_str("<code>");
    for c in text.chars() {
        if c.is_alphanumeric() || c == ' ' {
            out.push(c);
        } else {
            let _ = write!(out, "&#{};", u32::from(c));
        }
    }
    out.push_str("</code>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_word_stays_a_text_in_every_form() {
        let nasty = "a|b `c` <img src=x> \n[l](javascript:1) @all \u{2}\u{3}";
        let sentence = Sentence::from(format!("{} is new", word(nasty)));
        assert_eq!(
            sentence.to_string(),
            "`a|b `c` <img src=x> \\n[l](javascript:1) @all \\u{2}\\u{3}` is new"
        );
        let markdown = sentence.markdown();
        let inner = markdown.strip_prefix("<code>").and_then(|m| m.strip_suffix("</code> is new")).unwrap();
        assert!(!inner.contains(['|', '`', '<', '>', '\n', '[', '(', '@', '\\', '*']), "{inner}");
    }

    #[test]
    fn two_long_words_are_cut_around_what_differs() {
        let of = |end: &str| format!("{}{end}{}", "é".repeat(500), "z".repeat(300));
        let (old, new) = apart(&of("a"), &of("b"));
        let led = "é".repeat(LED_BY);
        assert!(
            old.starts_with(&format!("{OPEN}…{led}azz")) && old.ends_with(&format!("z…{CLOSE}")),
            "{old}"
        );
        assert!(new.starts_with(&format!("{OPEN}…{led}bzz")), "{new}");
        assert!(old.chars().count() <= MAX_WORD + 4);
        assert_eq!(apart("a", "b"), (word("a"), word("b")));
        let (short, long) = apart(&"a".repeat(130), &"a".repeat(140));
        assert_ne!(short, long);
        let (first, second) = apart(&format!("b{}", "a".repeat(500)), &"a".repeat(500));
        assert_ne!(first, second);
    }

    #[test]
    fn a_long_word_is_cut() {
        assert_eq!(word("é".repeat(500)).chars().count(), MAX_WORD + 3);
    }
}
