//! JSON that a database wrote, read without losing a digit: a number that no double holds becomes a text.

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::put;

/// Reads a JSON text.
pub(in crate::source) fn json(text: &str) -> Result<Value, serde_json::Error> {
    read(serde_json::from_str(text)?)
}

fn read(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    match text.as_bytes().first() {
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
                put(&mut map, &name, read(value)?);
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
            items.into_iter().map(read).collect::<Result<_, _>>().map(Value::Array)
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
    use serde_json::json;

    #[test]
    fn numbers_keep_every_digit() {
        let text = r#"{"a": 1, "b": 18446744073709551615, "c": 18446744073709551616, "d": 0.1, "e": 12345678901234567.891,
            "f": 1.50, "g": 0.30000000000000004, "h": 1e400, "i": -7, "j": [99999999999999999999, {"k": 1.0000000000000000001}]}"#;
        let wanted = json!({ "a": 1, "b": 18_446_744_073_709_551_615_u64, "c": "18446744073709551616", "d": 0.1,
            "e": "12345678901234567.891", "f": 1.5, "g": 0.300_000_000_000_000_04, "h": "1e400", "i": -7,
            "j": ["99999999999999999999", { "k": "1.0000000000000000001" }] });
        assert_eq!(super::json(text).unwrap(), wanted);
    }
}
