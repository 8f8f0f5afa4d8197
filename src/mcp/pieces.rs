//! What goes back for a message: one JSON object, in pieces where a long part of it is shared by many answers and copied for none.

use bytes::Bytes;

/// Shorter ones are copied: three pieces cost more than that.
const COPIED: usize = 16 << 10;

/// JSON without line breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    before: Vec<u8>,
    shared: Bytes,
    after: Vec<u8>,
}

impl Pieces {
    /// A part that others have too, and the end of this one.
    pub(super) fn sharing(shared: &Bytes, after: [&str; 2]) -> Self {
        Self { shared: shared.clone(), after: after.concat().into(), ..Self::default() }
    }

    /// The same with something before and behind it.
    pub(super) fn within(mut self, before: &[&[u8]], after: u8) -> Self {
        let copied = if self.shared.len() > COPIED { 0 } else { self.shared.len() + self.after.len() };
        let length: usize = before.iter().map(|part| part.len()).sum();
        let mut whole = Vec::with_capacity(length + self.before.len() + copied + 1);
        for part in before {
            whole.extend_from_slice(part);
        }
        whole.append(&mut self.before);
        if self.shared.len() > COPIED {
            self.after.push(after);
        } else {
            whole.extend_from_slice(&std::mem::take(&mut self.shared));
            whole.append(&mut self.after);
            whole.push(after);
        }
        self.before = whole;
        self
    }

    /// In one piece.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        self.before.extend_from_slice(&self.shared);
        self.before.append(&mut self.after);
        self.before
    }

    /// What is sent one after the other; some may be empty.
    #[must_use]
    pub fn into_pieces(self) -> [Bytes; 3] {
        [self.before.into(), self.shared, self.after.into()]
    }
}

impl From<String> for Pieces {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(before: Vec<u8>) -> Self {
        Self { before, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_part_is_shared_a_short_one_is_not_and_both_say_the_same() {
        for (length, pieces) in [(0, 1), (COPIED, 1), (COPIED + 1, 3)] {
            let list = Bytes::from("l".repeat(length));
            let text = Pieces::sharing(&list, ["ta", "il"]).within(&[b"head", b","], b'}');
            let whole = format!("head,{}tail}}", "l".repeat(length));
            assert_eq!(text.clone().into_vec(), whole.as_bytes());
            let parts = text.into_pieces();
            assert_eq!(parts.concat(), whole.as_bytes());
            assert_eq!(parts.iter().filter(|part| !part.is_empty()).count(), pieces, "of {length}");
            // All that is empty may be at the same place.
            let shares = !parts[1].is_empty() && parts[1].as_ptr() == list.as_ptr();
            assert_eq!(shares, pieces == 3, "of {length}");
        }
        assert_eq!(Pieces::from(b"{}".to_vec()).within(&[b"1"], b'2').into_vec(), b"1{}2");
    }
}
