//! Strings as JSON writes them (RFC 8259 section 7).

use crate::units::push_hex;

/// Appends a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, marked, after)) = next_marked(rest) {
        out.extend_from_slice(plain);
        match marked {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', marked]),
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
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// What stands before the next byte that a JSON string does not take as it is, that byte, and what comes after it.
fn next_marked(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    // Many at once: most texts have few.
    const BLOCK: usize = 32;
    let is_marked = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let clean = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_marked(*byte));
    let skipped = bytes.chunks_exact(BLOCK).take_while(clean).count() * BLOCK;
    let at = skipped + bytes.get(skipped..)?.iter().position(|byte| is_marked(*byte))?;
    let (plain, rest) = bytes.split_at_checked(at)?;
    let (marked, after) = rest.split_first()?;
    Some((plain, *marked, after))
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
