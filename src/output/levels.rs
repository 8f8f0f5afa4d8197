//! How deeply lists and objects stand in each other in a JSON text. Most texts have fewer of them than would be too deep, which is
//! counted many bytes at a time.

/// How many lists and objects begin in a text, with those that only seem to, inside of strings.
pub(super) fn openings(json: &[u8]) -> usize {
    // `[` and `{` differ in one bit, which no other byte shares with them. Small counts add up side by side.
    let part = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(usize::from(u8::MAX)).map(|bytes| usize::from(part(bytes))).sum()
}

/// Whether lists and objects of valid JSON stand in each other more than so many levels deep.
#[must_use]
pub fn deeper_than(json: &str, most: usize) -> bool {
    openings(json.as_bytes()) > most && depth(json) > most
}

/// How deeply lists and objects stand in each other in valid JSON.
fn depth(json: &str) -> usize {
    let (mut deepest, mut now, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opening_is_counted_and_nothing_else() {
        for byte in 0..=u8::MAX {
            assert_eq!(openings(&[byte]), usize::from(matches!(byte, b'[' | b'{')), "{byte}");
        }
        for count in [0, 1, 254, 255, 256, 510, 1000] {
            assert_eq!(openings("[".repeat(count).as_bytes()), count);
        }
    }

    #[test]
    fn brackets_side_by_side_or_in_strings_are_not_deep() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (json, levels) in [
            (nested(7), 7),
            (format!("[{}]", vec!["{}"; 500].join(",")), 2),
            (format!("\"{}\"", "[{".repeat(500)), 0),
            (r#"["\"[[[",{"a\\":[]}]"#.to_owned(), 3),
        ] {
            assert!(!deeper_than(&json, levels), "{json}");
            assert!(levels == 0 || deeper_than(&json, levels - 1), "{json}");
        }
    }
}
