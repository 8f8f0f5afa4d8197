//! JSON that a database wrote, read without losing a digit: a number that no double holds becomes a text.

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::put;

/// Reads a JSON text.
pub(in crate::source) fn json(text: &str) -> Result<Value, serde_json::Error> {
    // A name that occurs twice is lost in one go.
    if let Some(count) = members_beside_short_numbers(text.as_bytes())
        && let Ok(value) = serde_json::from_str(text)
        && members(&value) == count
    {
        return Ok(value);
    }
    // What is written again as it was has lost nothing.
    if let Ok(value) = serde_json::from_str::<Value>(text)
        && serde_json::to_vec(&value).is_ok_and(|again| again == text.as_bytes())
    {
        return Ok(value);
    }
    read(serde_json::from_str(text)?, DEPTH)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Array(items) => items.iter().map(members).sum(),
        _ => 0,
    }
}

/// How many members the objects of a text have, if every number has at most 15 digits and no exponent, so that any reader takes it as
/// it is. Nearly all texts are such, and can be read in one go.
fn members_beside_short_numbers(mut text: &[u8]) -> Option<usize> {
    let mut members = 0;
    let mut digits = 0;
    let mut quoted = false;
    while let Some((byte, rest)) = text.split_first() {
        text = rest;
        match byte {
            b'\\' if quoted => text = rest.get(1..).unwrap_or_default(),
            b'"' => (quoted, digits) = (!quoted, 0),
            _ if quoted => {}
            b'0'..=b'9' => {
                digits += 1;
                if digits > 15 {
                    return None;
                }
            }
            b'.' => {}
            // Else it is of `true` or `false`.
            b'e' | b'E' if digits > 0 => return None,
            // A whole zero has no sign.
            b'-' if rest.first() == Some(&b'0') && rest.get(1) != Some(&b'.') => return None,
            b':' => (members, digits) = (members + 1, 0),
            _ => digits = 0,
        }
    }
    Some(members)
}

/// How deep lists and objects are read; serde_json's own limit is near. What is deeper stays the text that it is.
const DEPTH: usize = 100;

fn read(raw: &RawValue, depth: usize) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == 0 => Ok(text.into()),
        Some(b'{') => {
            struct Members;
            impl<'de> Visitor<'de> for Members {
                type Value = Vec<(String, &'de RawValue)>;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut members = Vec::new();
                    while let Some(member) = map.next_entry()? {
                        members.push(member);
                    }
                    Ok(members)
                }
            }
            let members = serde_json::Deserializer::from_str(text).deserialize_map(Members)?;
            let mut map = Map::with_capacity(members.len());
            for (name, value) in members {
                put(&mut map, &name, read(value, depth - 1)?);
            }
            Ok(Value::Object(map))
        }
        Some(b'[') => {
            struct Items;
            impl<'de> Visitor<'de> for Items {
                type Value = Vec<&'de RawValue>;
                fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                    let mut items = Vec::new();
                    while let Some(item) = seq.next_element()? {
                        items.push(item);
                    }
                    Ok(items)
                }
            }
            let items = serde_json::Deserializer::from_str(text).deserialize_seq(Items)?;
            items.into_iter().map(|item| read(item, depth - 1)).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => Ok(number(text)),
        _ => serde_json::from_str(text),
    }
}

/// A number if reading it back gives the same one, else its text.
pub(in crate::source) fn number(text: &str) -> Value {
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    if let Ok(whole) = text.parse::<u64>() {
        return whole.into();
    }
    let real = text.parse::<f64>().ok().and_then(Number::from_f64);
    match real {
        Some(real) if digits(text) <= 15 || decimal(&real.to_string()) == decimal(text) => {
            Value::Number(real)
        }
        _ => text.into(),
    }
}

/// The significant digits, without zeros at either end.
fn digits(text: &str) -> usize {
    decimal(text).0.len()
}

/// A number as its digits and the power of ten of the first.
fn decimal(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let point = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0);
    (all.trim_matches('0').to_owned(), point + exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        let text = r#"{"a": 1, "b": 18446744073709551615, "c": 18446744073709551616, "d": 0.1, "e": 12345678901234567.891,
            "f": 1.50, "g": 0.30000000000000004, "h": 1e400, "i": -7, "j": [99999999999999999999, {"k": 1.0000000000000000001}]}"#;
        let wanted = serde_json::json!({ "a": 1, "b": 18_446_744_073_709_551_615_u64, "c": "18446744073709551616", "d": 0.1,
            "e": "12345678901234567.891", "f": 1.5, "g": 0.300_000_000_000_000_04, "h": "1e400", "i": -7,
            "j": ["99999999999999999999", { "k": "1.0000000000000000001" }] });
        assert_eq!(json(text).unwrap(), wanted);
    }

    #[test]
    fn short_numbers_read_in_one_go_are_the_same() {
        let short = r#"{"a":[0, 7, -7, -0.5, -0.0, 1.50, 100.0, 123456789012345, 0.00000012345, true, false, null],
            "b \"1e5\\":"-12345678901234567890 1e400","c":{},"d":[],"a":{"x":1}}"#;
        assert_eq!(members_beside_short_numbers(short.as_bytes()), Some(6));
        assert_eq!(json(short).unwrap().to_string(), slowly(short).to_string());
        for long in ["1234567890123456", "[1.234567890123456]", "1e400", "[0E1]", "-0", "[\"a\",-0]"] {
            assert_eq!(members_beside_short_numbers(long.as_bytes()), None, "{long}");
            assert_eq!(json(long).unwrap().to_string(), slowly(long).to_string());
        }
        // Long ones that are written as they are read.
        let long =
            r#"{"a":0.8167866734971799,"b":18446744073709551615,"c":-1.7976931348623157e+308,"d":[5e-324]}"#;
        assert_eq!(json(long).unwrap().to_string(), slowly(long).to_string());
        assert_eq!(json(long).unwrap()["a"], 0.816_786_673_497_179_9);
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(json(&deep(DEPTH)).unwrap().to_string(), deep(DEPTH));
        let bottomless = json(&deep(100_000)).unwrap().to_string();
        assert!(bottomless.contains(&format!("[\"{}\"]", deep(100_000 - DEPTH))));
        for broken in ["", "{", "[1,]", "\"\\", "{\"a\"}"] {
            assert!(json(broken).is_err(), "{broken}");
        }
    }

    fn slowly(text: &str) -> Value {
        read(serde_json::from_str(text).unwrap(), DEPTH).unwrap()
    }
}
