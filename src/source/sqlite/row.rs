//! SQLite values to JSON. SQLite types values, not columns; a column's declared type only says which whole numbers are booleans.

use base64::Engine as _;
use serde_json::{Map, Number, Value};
use sqlx::sqlite::{Sqlite, SqliteRow, SqliteValueRef};
use sqlx::{Column as _, Decode, Row as _, TypeInfo as _, ValueRef as _};

use crate::source::database::put;

/// A row as an object in column order.
pub(super) fn to_json(row: &SqliteRow) -> Result<Value, sqlx::Error> {
    let mut map = Map::with_capacity(row.columns().len());
    for (index, column) in row.columns().iter().enumerate() {
        let value = value(row, index, column.type_info().name())?;
        put(&mut map, column.name(), value);
    }
    Ok(Value::Object(map))
}

/// Columns of `by` that hold bytes or an infinity in this row: what is shown of those is a text, which has another place in the order.
pub(super) fn unordered<'a>(row: &SqliteRow, by: &'a [String]) -> impl Iterator<Item = &'a String> {
    by.iter().filter(move |name| {
        let raw = row.try_get_raw(name.as_str());
        raw.is_ok_and(|raw| match raw.type_info().name() {
            "BLOB" => true,
            "REAL" => row.try_get_unchecked::<f64, _>(name.as_str()).is_ok_and(f64::is_infinite),
            _ => false,
        })
    })
}

fn value(row: &SqliteRow, index: usize, declared: &str) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = Kind::of(raw.type_info().name());
    Ok(match kind {
        Kind::Real => {
            let number = decoded::<f64>(raw)?;
            // JSON has no infinities: the words that PostgreSQL has for them. What is not a number is null to SQLite.
            let infinity = if number > 0.0 { "Infinity" } else { "-Infinity" };
            Number::from_f64(number).map_or_else(|| Value::from(infinity), Value::Number)
        }
        Kind::Blob => Value::from(base64::engine::general_purpose::STANDARD.encode(decoded::<&[u8]>(raw)?)),
        // SQLite does not check that it is UTF-8.
        Kind::Text => Value::from(String::from_utf8_lossy(decoded::<&[u8]>(raw)?)),
        Kind::Whole => match (declared, decoded::<i64>(raw)?) {
            ("BOOLEAN", 0) => Value::Bool(false),
            ("BOOLEAN", 1) => Value::Bool(true),
            (_, number) => Value::from(number),
        },
    })
}

/// How SQLite itself holds a value that is there.
#[derive(Clone, Copy)]
enum Kind {
    Whole,
    Real,
    Text,
    Blob,
}

impl Kind {
    /// By the driver's name of it.
    fn of(name: &str) -> Self {
        match name {
            "REAL" => Self::Real,
            "TEXT" => Self::Text,
            "BLOB" => Self::Blob,
            _ => Self::Whole,
        }
    }
}

fn decoded<'r, T: Decode<'r, Sqlite>>(raw: SqliteValueRef<'r>) -> Result<T, sqlx::Error> {
    T::decode(raw).map_err(sqlx::Error::Decode)
}
