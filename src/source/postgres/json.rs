//! Rows that PostgreSQL wrote as JSON, with their columns of bytes as base64.

use base64::Engine as _;
use serde_json::Value;

use crate::source::database::exact;
use crate::units::from_hex;

/// Reads one row; `bytes` are its columns of bytes.
pub(super) fn row(text: &str, bytes: &[String]) -> Result<Value, serde_json::Error> {
    let mut row = exact::json(text)?;
    if let Some(row) = row.as_object_mut() {
        for name in bytes {
            if let Some(Value::String(hex)) = row.get(name)
                && let Some(decoded) = hex.strip_prefix("\\x").and_then(from_hex)
            {
                row.insert(name.clone(), base64::engine::general_purpose::STANDARD.encode(decoded).into());
            }
        }
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_become_base64() {
        let names = ["b".to_owned()];
        assert_eq!(
            row(r#"{"a":"\\x6869","b":"\\x6869"}"#, &names).unwrap(),
            json!({ "a": "\\x6869", "b": "aGk=" })
        );
        assert_eq!(row(r#"{"b":null}"#, &names).unwrap(), json!({ "b": null }));
    }
}
