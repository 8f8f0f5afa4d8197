//! Strings as JSON writes them (RFC 8259 section 7).

use super::marks::{TOGETHER, first_mark};
use crate::units::push_hex;

/// Appends a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Room for some marks too, so that most texts never have to move.
    out.reserve(text.len() + text.len() / 8 + TOGETHER + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((block, after)) = rest.split_first_chunk::<TOGETHER>() {
        // Whole, as that is one move; what does not belong there goes again.
        out.extend_from_slice(block);
        let Some(at) = first_mark(*block) else {
            rest = after;
            continue;
        };
        out.truncate(out.len() - (TOGETHER - at));
        rest = mark(out, rest.get(at..).unwrap_or_default());
    }
    while let Some(at) = rest.iter().position(|byte| is_marked(*byte)) {
        let (plain, marked) = rest.split_at_checked(at).unwrap_or_default();
        out.extend_from_slice(plain);
        rest = mark(out, marked);
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

const fn is_marked(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Appends the first byte as a string writes what does not stand for itself; gives those after it.
#[inline]
fn mark<'a>(out: &mut Vec<u8>, bytes: &'a [u8]) -> &'a [u8] {
    let Some((marked, after)) = bytes.split_first() else { return bytes };
    match *marked {
        marked @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', marked]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        other => {
            out.extend_from_slice(b"\\u00");
            push_hex(&[other], out);
        }
    }
    after
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
