//! Strings as JSON writes them (RFC 8259 section 7).

use super::marks::{BLOCK, all_marks};
use crate::units::hex_digits;

/// How much is written before it is appended.
const PIECE: usize = 512;
/// The longest that one byte becomes.
const LONGEST: usize = 6;

/// Appends a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + text.len() / 8 + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    let mut piece = [0; PIECE];
    while !rest.is_empty() {
        let length;
        (length, rest) = fill(&mut piece, rest);
        out.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    out.push(b'"');
}

/// Writes as much as has room; gives how long that is, and what is left.
fn fill<'a>(piece: &mut [u8; PIECE], text: &'a [u8]) -> (usize, &'a [u8]) {
    let (mut at, mut rest) = (0, text);
    // Room for all of a block as marks, and for the move after the last of them.
    while at < PIECE - BLOCK * (LONGEST + 1) {
        let Some((block, after)) = rest.split_first_chunk::<BLOCK>() else { break };
        let (mut marks, mut done) = (all_marks(*block), 0);
        // Whole, as that is one move; what comes next is written over what does not belong there.
        put(piece, at, *block);
        while marks != 0 {
            let place = marks.trailing_zeros() as usize;
            marks &= marks - 1;
            at = mark(piece, at + (place - done), block.get(place).copied().unwrap_or_default());
            done = place + 1;
            // What comes after it, in one move too.
            match rest.get(done..).and_then(<[u8]>::first_chunk::<BLOCK>) {
                Some(again) => put(piece, at, *again),
                None => last(piece, at, block.get(done..).unwrap_or_default()),
            }
        }
        (at, rest) = (at + (BLOCK - done), after);
    }
    while at < PIECE - LONGEST && rest.len() < BLOCK {
        let Some((byte, after)) = rest.split_first() else { break };
        if is_marked(*byte) {
            at = mark(piece, at, *byte);
        } else {
            put(piece, at, [*byte]);
            at += 1;
        }
        rest = after;
    }
    (at, rest)
}

const fn is_marked(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

#[inline]
fn put<const N: usize>(piece: &mut [u8; PIECE], at: usize, bytes: [u8; N]) {
    if let Some(place) = piece.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
}

/// Writes the last bytes of a text.
fn last(piece: &mut [u8; PIECE], at: usize, bytes: &[u8]) {
    if let Some(place) = piece.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Writes a byte that does not stand for itself as a string has it; gives where the next one goes.
#[inline]
fn mark(piece: &mut [u8; PIECE], at: usize, marked: u8) -> usize {
    let letter = match marked {
        marked @ (b'"' | b'\\') => marked,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        other => {
            let [high, low] = hex_digits(other);
            put(piece, at, [b'\\', b'u', b'0', b'0', high, low]);
            return at + LONGEST;
        }
    };
    put(piece, at, [b'\\', letter]);
    at + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_serde_writes_them() {
        let every: String = (0..0x300_u32).filter_map(char::from_u32).collect();
        let mut texts = vec![String::new(), every, "\u{1f600}".repeat(20)];
        // A mark at each place of a block, and after it.
        for at in 0..70 {
            for mark in ["\"", "\\", "\n", "\u{1}", "\u{7f}", "\u{e9}"] {
                texts.push(format!("{}{mark}{}{mark}", "x".repeat(at), "y".repeat(at % 37)));
                // Around the end of a piece.
                texts.push(format!("{}{}", "x".repeat(PIECE - 40 + at), mark.repeat(at)));
                texts.push(mark.repeat(PIECE / 8 + at));
                // The end of a piece within a block of nearly all marks, with others after it.
                for marks in 12..=BLOCK {
                    let before = "x".repeat(PIECE - BLOCK * LONGEST - 70 + at);
                    texts.push(format!("\"\"{before}{}A{}", mark.repeat(marks), "B\"C".repeat(20)));
                }
            }
        }
        for text in texts {
            let mut out = b"[".to_vec();
            push_string(&mut out, &text);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("[{}", serde_json::to_string(&text).unwrap())
            );
        }
    }
}
