//! What an engine says of a statement that it has not run: the columns it gives, the types it wants, and what is wrong with it.

use std::ops::Range;

use serde_json::Value;

use super::SqlText;
use crate::source::SourceError;

/// A statement in the engine's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// What a row has; nothing where the engine cannot say.
    pub columns: Vec<Column>,
    /// What each bind wants, in their order; nothing where the engine does not say.
    pub params: Vec<ParamType>,
    /// Whether it changes something.
    pub writes: bool,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The JSON Schema of its values.
    pub schema: Value,
    /// Whether the engine puts its values in order by what is shown of them, as far as it is known.
    pub ordered: bool,
}

/// The type of a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamType {
    /// The engine's name of it.
    pub name: String,
    /// What JSON can be read as it.
    pub class: Class,
}

/// What JSON can be read as a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Numbers, and texts that are one.
    Number,
    /// True and false, and texts that say so.
    Boolean,
    /// Texts of a certain form: dates, UUIDs, addresses.
    Form,
    /// Lists.
    List,
    /// Anything.
    Any,
}

/// How a JSON type goes with a [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Every value can be read.
    Well,
    /// Some values can.
    Sometimes,
    /// None can.
    Never,
}

impl Class {
    /// How a JSON type of JSON Schema goes with it.
    #[must_use]
    pub fn fit(self, json: &str) -> Fit {
        match (self, json) {
            (Self::Any, _)
            | (_, "null")
            | (Self::Number, "integer" | "number")
            | (Self::Boolean, "boolean")
            | (Self::List, "array")
            | (Self::Form, "string") => Fit::Well,
            (Self::Number | Self::Boolean | Self::List, "string") | (Self::Boolean, "integer") => {
                Fit::Sometimes
            }
            _ => Fit::Never,
        }
    }
}

/// Why a statement could not be described.
#[derive(Debug)]
pub enum Undescribed {
    /// The engine does not take it.
    Wrong(Box<Wrong>),
    /// The engine was not asked.
    Source(SourceError),
}

/// What is wrong with a statement, in the engine's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrong {
    /// A sentence without a stop.
    pub message: String,
    /// Where, in the text with the engine's placeholders.
    pub at: Option<Range<usize>>,
    /// A word of the text that it is about, where the place is not known.
    pub word: Option<String>,
    /// What the engine suggests.
    pub help: Option<String>,
    /// Whether it is the role that may not do it.
    pub denied: bool,
}

impl SqlText {
    /// The range of the text as it was written for a range of the text as the engine takes it; `names` are the parameters in the order
    /// of the binds.
    pub(in crate::source) fn written(&self, range: &Range<usize>, names: &[&str]) -> Range<usize> {
        self.written_at(range.start, names)..self.written_at(range.end, names)
    }

    fn written_at(&self, offset: usize, names: &[&str]) -> usize {
        let mut engine = 0;
        let mut written = 0;
        for (index, (before, number)) in self.parts.iter().enumerate() {
            if offset <= engine + before.len() {
                break;
            }
            engine += before.len();
            written += before.len();
            let mark = self.mark(index, engine);
            if offset < engine + mark {
                return written;
            }
            engine += mark;
            written += 1 + names.get(*number).map_or(0, |n| n.len());
        }
        written + (offset - engine)
    }

    /// The length of the placeholder after a part, by what follows it.
    fn mark(&self, index: usize, at: usize) -> usize {
        let next = self.parts.get(index + 1).map_or(&*self.tail, |(before, _)| before.as_str());
        let rest = self.whole.get(at..).unwrap_or_default();
        let digits = rest.chars().skip(1).take_while(char::is_ascii_digit).count();
        // What follows may begin with digits only if nothing separates them, which no dialect allows.
        debug_assert!(rest.get(1 + digits..).is_some_and(|r| r.starts_with(next)));
        1 + digits
    }
}

/// The word at an offset: letters, digits, `_`, `.` and quoted parts; one character of anything else.
pub(in crate::source) fn word_at(text: &str, offset: usize) -> Range<usize> {
    let rest = text.get(offset..).unwrap_or_default();
    let mut quoted = false;
    let length = rest.char_indices().find(|(_, c)| {
        if matches!(c, '"' | '`') {
            quoted = !quoted;
        }
        !(quoted || c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '`'))
    });
    let end = match length.map(|(at, _)| at) {
        Some(0) => rest.chars().next().map_or(0, char::len_utf8),
        Some(at) => at,
        None => rest.len(),
    };
    offset..offset + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_the_text_as_it_was_written() {
        let parts = vec![("SELECT ".to_owned(), 0), (", ".to_owned(), 1), (" WHERE x = ".to_owned(), 0)];
        let text = SqlText {
            whole: "SELECT $1, $2 WHERE x = $1 ORDER BY yy".into(),
            parts: parts.into(),
            tail: " ORDER BY yy".into(),
            ..SqlText::default()
        };
        let written = "SELECT :first, :b WHERE x = :first ORDER BY yy";
        let names = ["first", "b"];
        for word in ["WHERE", "x", "yy", "SELECT"] {
            let at = text.whole.find(word).unwrap();
            let range = text.written(&(at..at + word.len()), &names);
            assert_eq!(&written[range], word);
        }
        let at = text.whole.find("$2").unwrap();
        assert_eq!(&written[text.written(&(at..at + 2), &names)], ":b");
    }

    #[test]
    fn words_end_where_names_end() {
        for (text, wanted) in
            [("o.total, x", "o.total"), ("\"a b\".c=1", "\"a b\".c"), ("(x", "("), ("é", "é"), ("", "")]
        {
            assert_eq!(&text[word_at(text, 0)], wanted);
        }
    }
}
