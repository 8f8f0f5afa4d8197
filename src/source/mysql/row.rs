//! Values of the binary protocol to JSON: <https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/resultset-row>.

use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Map, Number, Value};
use sqlx::mysql::{MySqlColumn, MySqlRow, MySqlTypeInfo};
use sqlx::{Column as _, Decode, MySql, Row as _, Type, TypeInfo as _, ValueRef as _};

use crate::source::database::{exact, put};

/// A text that comes from a column of a table as it is there.
pub(super) struct Text {
    pub index: usize,
    /// `database.table`
    pub table: Arc<str>,
    pub name: Arc<str>,
}

/// The columns that may be JSON columns of MariaDB. They are `LONGTEXT`, of which the server says no more than `BLOB`.
pub(super) fn texts_of_tables(row: &MySqlRow) -> Vec<Text> {
    let columns = row.columns().iter().enumerate().filter(|(_, column)| may_be_json(column));
    let texts = columns.filter_map(|(index, column)| {
        let origin = column.origin();
        let from = origin.table_column()?;
        Some(Text { index, table: from.table.clone(), name: from.name.clone() })
    });
    texts.collect()
}

/// Whether it is a long text of a table.
pub(super) fn may_be_json(column: &MySqlColumn) -> bool {
    let kind = column.type_info();
    let long = kind.name().ends_with("TEXT") || kind.name().ends_with("BLOB");
    long && is_text(kind) && column.origin().table_column().is_some()
}

/// Reads a column of a row as the JSON that it is.
pub(super) fn read_json(row: &mut Value, index: usize) {
    let value = row.as_object_mut().and_then(|row| row.values_mut().nth(index));
    if let Some(value) = value
        && let Value::String(text) = value
        && let Ok(json) = exact::json(text)
    {
        *value = json;
    }
}

/// How many bytes its values have, as they were sent.
pub(super) fn size(row: &MySqlRow) -> usize {
    let values = (0..row.columns().len()).filter_map(|index| row.try_get_raw(index).ok());
    values.map(|raw| <&[u8] as Decode<MySql>>::decode(raw).map_or(0, <[u8]>::len)).sum()
}

/// A row as an object in column order.
pub(super) fn to_json(row: &MySqlRow) -> Result<Value, sqlx::Error> {
    let mut map = Map::with_capacity(row.columns().len());
    for (index, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(index)?;
        let kind = raw.type_info().into_owned();
        // Asked for bytes, as the driver takes zero dates for NULL.
        let value = match <&[u8] as Decode<MySql>>::decode(raw) {
            Ok(bytes) => value(bytes, &kind),
            Err(_) => Value::Null,
        };
        put(&mut map, column.name(), value);
    }
    Ok(Value::Object(map))
}

/// Whether it is text, of whatever character set: the server sends all as UTF-8.
pub(super) fn is_text(kind: &MySqlTypeInfo) -> bool {
    <str as Type<MySql>>::compatible(kind)
}

/// Whether what is shown of a value says where it stands in the order of its column. Words of a list stand in the order of the list,
/// and of a FLOAT more is kept than is shown.
pub(super) fn ordered(kind: &MySqlTypeInfo) -> bool {
    match kind.name() {
        "FLOAT" | "ENUM" | "SET" | "JSON" => false,
        "BOOLEAN" | "YEAR" | "DOUBLE" | "DECIMAL" | "BIT" | "DATE" | "DATETIME" | "TIMESTAMP" | "TIME"
        | "NULL" => true,
        name if name.contains("INT") && name != "POINT" => true,
        _ => is_text(kind),
    }
}

fn value(bytes: &[u8], kind: &MySqlTypeInfo) -> Value {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match kind.name() {
        "BOOLEAN" => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => whole(bytes, *kind == <u8 as Type<MySql>>::type_info()),
        },
        name if name.ends_with(" UNSIGNED") => whole(bytes, true),
        "YEAR" => whole(bytes, true),
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => whole(bytes, false),
        "FLOAT" => {
            let four = bytes.try_into().map_or(f32::NAN, f32::from_le_bytes);
            // By its shortest decimal: 1.1 is not to become 1.10000002384.
            real(four.to_string().parse().unwrap_or(f64::NAN))
        }
        "DOUBLE" => real(bytes.try_into().map_or(f64::NAN, f64::from_le_bytes)),
        "DECIMAL" => exact::number(&text()),
        "BIT" => bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)).into(),
        "DATE" | "DATETIME" | "TIMESTAMP" => moment(bytes, kind.name()).unwrap_or_default().into(),
        "TIME" => time(bytes).unwrap_or_default().into(),
        "JSON" => exact::json(&text()).unwrap_or_else(|_| text().into()),
        _ if is_text(kind) => text().into(),
        // BINARY, VARBINARY, BLOB, GEOMETRY
        _ => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
    }
}

fn whole(bytes: &[u8], unsigned: bool) -> Value {
    let mut eight = [0; 8];
    let minus = !unsigned && bytes.last().is_some_and(|b| b & 0x80 != 0);
    if minus {
        eight = [0xff; 8];
    }
    for (to, from) in eight.iter_mut().zip(bytes) {
        *to = *from;
    }
    if unsigned { u64::from_le_bytes(eight).into() } else { i64::from_le_bytes(eight).into() }
}

fn real(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

/// A date, or a date and a time in ISO 8601; with the zone where the type is a point in time. Zeros are written as they are.
fn moment(bytes: &[u8], kind: &str) -> Option<String> {
    let (_, parts) = bytes.split_first()?;
    let (date, clock_bytes) = parts.split_at_checked(4).unwrap_or((&[0; 4], &[]));
    let [low, high, month, day] = date else { return None };
    let date = format!("{:04}-{month:02}-{day:02}", u16::from_le_bytes([*low, *high]));
    let clock = match clock_bytes {
        [] => clock(0, 0, 0, &[]),
        [hour, minute, second, micros @ ..] => clock(u64::from(*hour), *minute, *second, micros),
        _ => return None,
    };
    Some(match kind {
        "DATE" => date,
        "TIMESTAMP" if !parts.is_empty() => format!("{date}T{clock}+00:00"),
        _ => format!("{date}T{clock}"),
    })
}

/// A length of time: up to 838 hours, and less than none.
fn time(bytes: &[u8]) -> Option<String> {
    let (_, parts) = bytes.split_first()?;
    let [minus, d0, d1, d2, d3, hour, minute, second, micros @ ..] = parts else {
        return Some(clock(0, 0, 0, &[]));
    };
    let hours = u64::from(u32::from_le_bytes([*d0, *d1, *d2, *d3])) * 24 + u64::from(*hour);
    let sign = if *minus == 0 { "" } else { "-" };
    Some(format!("{sign}{}", clock(hours, *minute, *second, micros)))
}

fn clock(hours: u64, minute: u8, second: u8, micros: &[u8]) -> String {
    let micros = micros.try_into().map_or(0, u32::from_le_bytes);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{hours:02}:{minute:02}:{second:02}{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_of_every_width_keep_their_sign() {
        assert_eq!(whole(&[0x80], false), json!(-128));
        assert_eq!(whole(&[0x80], true), json!(128));
        assert_eq!(whole(&[0xff, 0xff, 0xff, 0xff], false), json!(-1));
        assert_eq!(whole(&[0xff; 8], true), json!(u64::MAX));
        assert_eq!(whole(&[0, 0, 0, 0, 0, 0, 0, 0x80], false), json!(i64::MIN));
    }

    #[test]
    fn times_of_every_length_are_written_and_broken_ones_are_nothing() {
        assert_eq!(moment(&[0], "DATE").as_deref(), Some("0000-00-00"));
        assert_eq!(moment(&[0], "TIMESTAMP").as_deref(), Some("0000-00-00T00:00:00"));
        assert_eq!(moment(&[4, 0xea, 7, 11, 0], "DATETIME").as_deref(), Some("2026-11-00T00:00:00"));
        assert_eq!(
            moment(&[11, 0xea, 7, 11, 21, 6, 5, 4, 0x20, 0xa1, 7, 0], "TIMESTAMP").as_deref(),
            Some("2026-11-21T06:05:04.5+00:00")
        );
        assert_eq!(time(&[0]).as_deref(), Some("00:00:00"));
        assert_eq!(time(&[8, 1, 34, 0, 0, 0, 22, 59, 59]).as_deref(), Some("-838:59:59"));
        assert_eq!((moment(&[], "DATE"), moment(&[5, 0, 0, 0, 0, 1], "DATETIME")), (None, None));
    }
}
