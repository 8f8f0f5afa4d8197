//! JSON texts to the values of jq and back, without any other form between. What is not plain here goes the way of jaq's own reader and
//! writer, which know more than JSON.

use std::sync::Arc;

use bytes::Bytes;
use jaq_json::{Map, Num, Val};
use serde_json::Value;

use super::escape::push_string;
use super::fuel;
use super::held::{Bounded, MAX_DEPTH};

/// Reads one JSON value.
pub(super) fn read(json: &str) -> Result<Val, String> {
    let whole = Bytes::copy_from_slice(json.as_bytes());
    let mut reader = Reader { whole: &whole, at: 0 };
    match reader.value(MAX_DEPTH) {
        Some(value) if reader.peek().is_none() => Ok(value),
        _ => jaq_json::read::parse_single(json.as_bytes()).map_err(|e| e.to_string()),
    }
}

/// Reads plain JSON; texts without escapes stay where they are.
struct Reader<'a> {
    whole: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.whole.get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn value(&mut self, levels: u16) -> Option<Val> {
        match self.peek()? {
            b'"' => self.text(),
            b'{' => self.object(levels.checked_sub(1)?),
            b'[' => self.list(levels.checked_sub(1)?),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true", Val::Bool(true)),
            b'f' => self.word(b"false", Val::Bool(false)),
            b'n' => self.word(b"null", Val::Null),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], value: Val) -> Option<Val> {
        let after = self.whole.get(self.at..)?.strip_prefix(word)?;
        self.at = self.whole.len() - after.len();
        Some(value)
    }

    fn object(&mut self, levels: u16) -> Option<Val> {
        let mut map = Map::default();
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(Val::obj(map));
        }
        loop {
            let name = (self.peek()? == b'"').then(|| self.text())??;
            if self.next()? != b':' {
                return None;
            }
            let value = self.value(levels)?;
            map.insert(name, value);
            match self.next()? {
                b',' => {}
                b'}' => return Some(Val::obj(map)),
                _ => return None,
            }
        }
    }

    fn list(&mut self, levels: u16) -> Option<Val> {
        let mut items = Vec::new();
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(Val::Arr(Arc::new(items)));
        }
        loop {
            items.push(self.value(levels)?);
            match self.next()? {
                b',' => {}
                b']' => return Some(Val::Arr(Arc::new(items))),
                _ => return None,
            }
        }
    }

    fn text(&mut self) -> Option<Val> {
        let quote = self.at;
        let rest = self.whole.get(quote + 1..)?;
        let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if rest.get(plain) == Some(&b'"') {
            self.at = quote + plain + 2;
            return Some(Val::utf8_str(self.whole.slice(quote + 1..quote + 1 + plain)));
        }
        let (mut length, mut escaped) = (plain, false);
        loop {
            match rest.get(length)? {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
            length += 1;
        }
        self.at = quote + length + 2;
        jaq_json::read::parse_single(self.whole.get(quote..self.at)?).ok()
    }

    fn number(&mut self) -> Option<Val> {
        let rest = self.whole.get(self.at..)?;
        let part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let text = rest.get(..rest.iter().take_while(part).count())?;
        self.at += text.len();
        let text = std::str::from_utf8(text).ok()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !text.ends_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        Some(Val::Num(if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            Num::from_str_radix(text, 10)?
        } else {
            // It is known to be a number where it is one of JSON.
            serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
            Num::Dec(Arc::new(text.to_owned()))
        }))
    }
}

/// Why a value is not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It would be too long, or takes too long.
    Long,
    /// It is none of JSON.
    Other(String),
}

/// Appends a value as JSON of at most `most` bytes; what shares its parts in memory may be without end on paper.
pub(super) fn write(out: &mut Vec<u8>, value: &Val, most: usize) -> Result<(), Unwritten> {
    let begin = out.len();
    let end = begin.saturating_add(most);
    match push(out, value, end) {
        Err(Odd::NotPlain) => {
            out.truncate(begin);
            write_odd(out, value, most)
        }
        Err(Odd::Long) => Err(Unwritten::Long),
        Ok(()) if out.len() > end => Err(Unwritten::Long),
        Ok(()) => Ok(()),
    }
}

/// By jaq's writer, which also writes what is no JSON.
fn write_odd(out: &mut Vec<u8>, value: &Val, most: usize) -> Result<(), Unwritten> {
    let mut text = Bounded { bytes: Vec::new(), most };
    jaq_json::write::write(&mut text, &jaq_json::write::Pp::default(), 0, value)
        .map_err(|_| Unwritten::Long)?;
    let text = String::from_utf8_lossy(&text.bytes);
    let value: Value = serde_json::from_str(&text).map_err(|e| Unwritten::Other(e.to_string()))?;
    serde_json::to_writer(out, &value).map_err(|e| Unwritten::Other(e.to_string()))
}

enum Odd {
    Long,
    NotPlain,
}

fn push(out: &mut Vec<u8>, value: &Val, end: usize) -> Result<(), Odd> {
    if out.len() > end || !fuel::step(0) {
        return Err(Odd::Long);
    }
    match value {
        Val::Null => out.extend_from_slice(b"null"),
        Val::Bool(true) => out.extend_from_slice(b"true"),
        Val::Bool(false) => out.extend_from_slice(b"false"),
        // Writing a whole number into a vector cannot fail.
        Val::Num(Num::Int(number)) => serde_json::to_writer(out, number).map_err(|_| Odd::NotPlain)?,
        Val::Num(number) => {
            // As serde_json has it: no zeros that say nothing.
            let number: serde_json::Number = number.to_string().parse().map_err(|_| Odd::NotPlain)?;
            serde_json::to_writer(out, &number).map_err(|_| Odd::NotPlain)?;
        }
        Val::TStr(text) => push_text(out, text)?,
        Val::BStr(_) => return Err(Odd::NotPlain),
        Val::Arr(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                push(out, item, end)?;
            }
            out.push(b']');
        }
        Val::Obj(map) => {
            out.push(b'{');
            for (index, (name, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let Val::TStr(name) = name else { return Err(Odd::NotPlain) };
                push_text(out, name)?;
                out.push(b':');
                push(out, value, end)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Odd> {
    push_string(out, std::str::from_utf8(text).map_err(|_| Odd::NotPlain)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_jaq(json: &str) -> Result<Val, String> {
        jaq_json::read::parse_single(json.as_bytes()).map_err(|e| e.to_string())
    }

    /// The same, down to how a number was written.
    fn shown(value: &Result<Val, String>) -> String {
        format!("{value:?}")
    }

    fn written(value: &Val) -> Result<String, Unwritten> {
        let mut out = b"before".to_vec();
        write(&mut out, value, 1 << 20)?;
        Ok(String::from_utf8(out.split_off(6)).unwrap())
    }

    /// As it was written before there was a way without a tree.
    fn by_tree(value: &Val) -> Result<String, Unwritten> {
        let mut out = Vec::new();
        write_odd(&mut out, value, 1 << 20)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn json() -> impl Strategy<Value = String> {
        let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?";
        let text = "\"([a-zé€😀 /\u{7f}]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,8}\"";
        let leaf = prop_oneof![number.prop_map(|n| n), text.prop_map(|t| t), "null|true|false"];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|all| format!("[ {} ]", all.join(" ,\n")));
            let member = (text, inner).prop_map(|(name, value)| format!("{name}\t: {value}"));
            let object = prop::collection::vec(member, 0..6).prop_map(|all| format!("{{{}}}", all.join(",")));
            prop_oneof![list, object]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_jaq_reads_it_and_written_as_through_a_tree(json in json()) {
            let value = read(&json);
            prop_assert_eq!(shown(&value), shown(&by_jaq(&json)));
            if let Ok(value) = &value {
                prop_assert_eq!(written(value), by_tree(value));
            }
        }

        #[test]
        fn what_is_no_json_is_read_as_jaq_reads_it(text in "[-+0-9.eEntrufalsb\\[\\]{}:,\"\\\\ #\nNaI]{0,12}") {
            prop_assert_eq!(shown(&read(&text)), shown(&by_jaq(&text)));
        }
    }

    #[test]
    fn what_json_has_not_is_refused_as_ever() {
        let object = |name: Val| Val::obj(Map::from_iter([(name, Val::Null)]));
        let float = |number: f64| Val::Num(Num::Float(number));
        for value in [
            Val::byte_str(b"ab".to_vec()),
            object(Val::Num(Num::Int(1))),
            object(Val::byte_str(b"ab".to_vec())),
            float(f64::NAN),
            float(f64::INFINITY),
            Val::Num(Num::Dec(Arc::new("1e999".to_owned()))),
        ] {
            assert!(matches!(written(&value), Err(Unwritten::Other(_))), "{value:?}");
            assert_eq!(written(&value), by_tree(&value), "{value:?}");
        }
        for value in [
            Val::utf8_str(b"a\xff\"b".to_vec()),
            object(Val::utf8_str(b"\xc3".to_vec())),
            Val::utf8_str("\u{7f}\u{1}"),
            float(1e300),
            float(-0.0),
            float(2.0),
            Val::Num(Num::Dec(Arc::new("1.10".to_owned()))),
            Val::Num(Num::from_str_radix("123456789012345678901234567890", 10).unwrap()),
            Val::Num(Num::Int(isize::MIN)),
        ] {
            assert_eq!(written(&value), by_tree(&value), "{value:?}");
            assert!(written(&value).is_ok(), "{value:?}");
        }
    }

    #[test]
    fn what_is_shared_many_times_ends_at_the_bound() {
        let mut value = Val::utf8_str("0123456789");
        for _ in 0..40 {
            value = Val::Arr(Arc::new(vec![value.clone(), value]));
        }
        let mut out = Vec::new();
        assert_eq!(write(&mut out, &value, 100_000), Err(Unwritten::Long));
        assert!(out.len() < 200_000);
    }
}
