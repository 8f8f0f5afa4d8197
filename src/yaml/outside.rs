//! Which parts of a text came from `${…}`: they are values, and nothing in them means anything, whatever they look like.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::diag::Span;

/// What stands for a byte of a value in a masked text; nothing that means anything anywhere.
pub const MASK: char = '\0';

/// The parts of scalar values that `${…}` gave, by the places of the scalars.
#[derive(Clone, Debug, Default)]
pub struct Outside(Arc<HashMap<Span, Arc<[Range<usize>]>>>);

/// It follows from the values themselves, and from their places, which are no part of what was written.
impl PartialEq for Outside {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Outside {
    /// Notes the byte ranges of the text at `span` that came from outside.
    pub(super) fn note(&mut self, span: Span, mut parts: Vec<Range<usize>>) {
        parts.retain(|part| !part.is_empty());
        if !parts.is_empty() {
            Arc::make_mut(&mut self.0).insert(span, parts.into());
        }
    }

    /// The byte ranges of the text at `span` that came from outside, in order.
    #[must_use]
    pub fn of(&self, span: Span) -> Arc<[Range<usize>]> {
        self.0.get(&span).cloned().unwrap_or_default()
    }
}

/// The text with every byte of `parts` masked, so that looking through it finds only what was written in the file. It is as long as the
/// text, so that places in it are places in the text.
#[must_use]
pub fn masked<'a>(text: &'a str, parts: &[Range<usize>]) -> Cow<'a, str> {
    // What does not fit is of another text: an alias with another value, where values are stood in for.
    if parts.is_empty() || parts.iter().any(|part| text.get(part.clone()).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for part in parts {
        out.push_str(text.get(from..part.start).unwrap_or(""));
        out.extend(std::iter::repeat_n(MASK, part.len()));
        from = part.end;
    }
    out.push_str(text.get(from..).unwrap_or(""));
    Cow::Owned(out)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of places, of which there is one")]
mod tests {
    use super::*;

    #[test]
    fn a_masked_text_is_as_long_and_shows_only_what_was_written() {
        assert_eq!(masked("a{x}b", &[]), "a{x}b");
        assert_eq!(masked("a{x}b", &[1..4]), "a\0\0\0b");
        assert_eq!(masked("é{x}", &[0..2, 3..4]), "\0\0{\0}");
    }
}
