//! Whether a text is JSON (RFC 8259), found out without building anything of it.

use super::marks::{self, first_mark};

/// How deeply lists and objects of an answer may stand in each other. Readers of the client's side give up at 128, some of whose levels
/// are those of the message around it.
pub const DEEPEST: usize = 100;
/// How many bytes of a string are passed over together.
const TOGETHER: usize = 16;

/// Whether a text is surely one JSON value with lists and objects at most so many levels deep, which are no more than 128. What is not
/// surely so has to be looked at by a reader that says what is wrong with it.
#[must_use]
pub fn sound(json: &str, most: usize) -> bool {
    value(json.as_bytes(), most.min(128)).is_some()
}

fn value(json: &[u8], most: usize) -> Option<()> {
    // For each level whether it is an object, the innermost in the lowest bit.
    let (mut levels, mut objects) = (0_usize, 0_u128);
    let mut rest = json;
    loop {
        let (first, after) = blank(rest).split_first()?;
        rest = match first {
            b'"' => text(after)?,
            b'{' | b'[' if levels == most => return None,
            b'{' => match blank(after).strip_prefix(b"}") {
                Some(after) => after,
                None => {
                    (levels, objects) = (levels + 1, objects << 1 | 1);
                    rest = name(after)?;
                    continue;
                }
            },
            b'[' => match blank(after).strip_prefix(b"]") {
                Some(after) => after,
                None => {
                    (levels, objects) = (levels + 1, objects << 1);
                    rest = after;
                    continue;
                }
            },
            b'-' | b'0'..=b'9' => number(blank(rest))?,
            b't' => after.strip_prefix(b"rue")?,
            b'f' => after.strip_prefix(b"alse")?,
            b'n' => after.strip_prefix(b"ull")?,
            _ => return None,
        };
        // What follows a value: the ends of what it is in, and then another one.
        loop {
            rest = blank(rest);
            if levels == 0 {
                return rest.is_empty().then_some(());
            }
            let (next, after) = rest.split_first()?;
            let object = objects & 1 == 1;
            match next {
                b',' => {
                    rest = if object { name(after)? } else { after };
                    break;
                }
                b'}' if object => {}
                b']' if !object => {}
                _ => return None,
            }
            (levels, objects, rest) = (levels - 1, objects >> 1, after);
        }
    }
}

/// What comes after white space.
fn blank(json: &[u8]) -> &[u8] {
    let mut rest = json;
    while let [b' ' | b'\n' | b'\r' | b'\t', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// What comes after the name of a member and its colon.
fn name(json: &[u8]) -> Option<&[u8]> {
    let after = text(blank(json).strip_prefix(b"\"")?)?;
    blank(after).strip_prefix(b":")
}

/// What comes after a string whose quote is open.
fn text(json: &[u8]) -> Option<&[u8]> {
    let ends = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
    let mut rest = json;
    loop {
        // Most strings are short, and their end is among the first bytes; of long ones more are passed over at a time.
        let (mut at, mut long) = (None, false);
        while let Some((part, after)) = rest.split_first_chunk::<{ marks::TOGETHER }>() {
            at = first_mark(*part);
            if at.is_some() {
                break;
            }
            rest = after;
            while long
                && let Some((part, after)) = rest.split_first_chunk::<TOGETHER>()
                && plain(*part)
            {
                rest = after;
            }
            long = true;
        }
        let at = at.or_else(|| rest.iter().position(ends))?;
        let (found, after) = rest.get(at..)?.split_first()?;
        rest = match (found, after) {
            (b'"', after) => return Some(after),
            (b'\\', [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..]) => after,
            (b'\\', [b'u', a, b, c, d, after @ ..]) => {
                [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit).then_some(after)?
            }
            _ => return None,
        };
    }
}

/// Whether all these bytes stand for themselves in a string, found out without a jump for each.
fn plain(part: [u8; TOGETHER]) -> bool {
    let odd = |byte: u8| u8::from(byte < b' ') | u8::from(byte == b'"') | u8::from(byte == b'\\');
    part.into_iter().fold(0, |any, byte| any | odd(byte)) == 0
}

/// What comes after a number.
fn number(json: &[u8]) -> Option<&[u8]> {
    let rest = match json.strip_prefix(b"-").unwrap_or(json) {
        [b'0', after @ ..] => after,
        whole => digits(whole)?,
    };
    let rest = match rest {
        [b'.', after @ ..] => digits(after)?,
        _ => rest,
    };
    match rest {
        [b'e' | b'E', b'+' | b'-', after @ ..] | [b'e' | b'E', after @ ..] => digits(after),
        _ => Some(rest),
    }
}

/// What comes after one digit or more.
fn digits(json: &[u8]) -> Option<&[u8]> {
    let [b'0'..=b'9', rest @ ..] = json else { return None };
    let mut rest = rest;
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn valid(json: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(json).is_ok()
    }

    proptest! {
        #[test]
        fn what_is_nearly_json_is_sound_exactly_when_serde_json_takes_it(
            json in "[ \n]?([\\[\\]{}:,\" ]|\"a\"|\"[a\\\\u0Dé\"\n]{0,6}\"|\"k\":|-|0|1|\\.|e|E|\\+|true|fals|null|[1-9][0-9]){0,9}"
        ) {
            prop_assert_eq!(sound(&json, 100), valid(&json), "{}", json);
        }

        #[test]
        fn json_is_sound_and_with_a_byte_changed_it_is_so_for_both(
            json in any::<Vec<(String, f64, Option<bool>, Vec<i64>)>>(), at in any::<usize>(), byte in 0_u8..0x80,
        ) {
            let mut text = serde_json::to_string_pretty(&serde_json::json!({ "all": json })).unwrap();
            prop_assert!(sound(&text, 100));
            let at = at % text.len();
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..=at, char::from(byte).encode_utf8(&mut [0; 4]));
                prop_assert_eq!(sound(&text, 100), valid(&text), "{}", text);
            }
        }

        #[test]
        fn numbers_are_sound_exactly_when_serde_json_takes_them(json in "-?[0-9]{0,3}\\.?[0-9]{0,2}[eE]?[+-]?[0-9]{0,2}") {
            prop_assert_eq!(sound(&json, 100), valid(&json), "{}", json);
        }
    }

    #[test]
    fn no_more_levels_are_sound_than_are_wanted() {
        for most in [0, 1, 2, 99, 100, 128] {
            let nested = |levels: usize| {
                let (open, close) = (["[", "{\"a\":"], ["]", "}"]);
                let opened: String = (0..levels).map(|n| open[n % 2]).collect();
                opened + "1" + &(0..levels).rev().map(|n| close[n % 2]).collect::<String>()
            };
            let empty = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            for of in [&nested as &dyn Fn(usize) -> String, &empty] {
                assert!(sound(&of(most.max(1)), 128), "{most}");
                assert!(most == 0 || sound(&of(most), most), "{most}");
                assert!(!sound(&of(most + 1), most), "{most}");
            }
        }
        assert!(!sound(&"[".repeat(1_000_000), usize::MAX));
        assert!(!sound("", 100) && sound(" 1\r\n", 0) && !sound("1 1", 100));
    }
}
