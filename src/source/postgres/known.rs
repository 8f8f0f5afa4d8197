//! What the server says of a statement before it runs: the types of its parameters and columns. From it the statement is written
//! that really runs: every parameter a text that the server itself reads as its type, every row a JSON object.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sqlx::postgres::{PgStatement, PgTypeInfo};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Either, Executor as _, PgConnection, Row as _,
    SqlSafeStr as _, TypeInfo as _,
};

use super::describe::ordered;
use super::fault;
use super::run::seeds;
use crate::source::SourceError;
use crate::source::database::{Access, Bind, SqlText, Statement, unique};

/// What the text that runs is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    text: Arc<str>,
    access: Access,
    count: bool,
    max_rows: usize,
    longest: usize,
}

impl Key {
    pub(super) fn of(statement: &Statement) -> Self {
        let Statement { access, count, max_rows, .. } = *statement;
        Self { text: statement.text.whole.clone(), access, count, max_rows, longest: statement.longest() }
    }
}

/// A statement ready to run.
#[derive(Debug)]
pub(super) struct Known {
    /// No other has the same.
    pub number: u64,
    pub text: Arc<str>,
    /// The text as it was written, in one line, for those who look at what the server does.
    pub shown: String,
    /// Whether it may set the seed of `random()`.
    pub seeds: bool,
    /// Whether it gives rows as JSON; else it only changes some.
    pub rows: bool,
    /// Columns of bytes, which the server writes in hexadecimal.
    pub bytes: Vec<String>,
    /// Columns of which the JSON says nothing about their order.
    pub unordered: Vec<String>,
    /// The values of `$1`, `$2`, …: which bind, and how it is written as text.
    pub values: Vec<(usize, Kind)>,
}

/// How a value is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Array,
    Json,
}

impl Kind {
    /// By the server's name of a type.
    fn of(name: &str) -> Self {
        match name {
            "json" | "jsonb" => Self::Json,
            name if name.ends_with("[]") => Self::Array,
            _ => Self::Scalar,
        }
    }
}

/// What the server was told and what it said: before anything of it is put to use.
pub(super) struct Prepared {
    /// The columns, with the driver's names of their types. None where the driver cannot name one of them.
    pub columns: Vec<(String, PgTypeInfo)>,
    /// The server's names of the binds' types.
    pub params: Vec<String>,
    /// The values of `inner`: which bind, and how it is written as text.
    pub values: Vec<(usize, Kind)>,
    /// The statement with every parameter a text that is cast to its type.
    pub inner: String,
}

impl Prepared {
    /// Asks the server, inside a transaction.
    pub(super) async fn of(connection: &mut PgConnection, text: &SqlText) -> Result<Self, sqlx::Error> {
        // The driver keeps what it was told of a text on each connection; a table may have changed since.
        connection.clear_cached_statements().await?;
        connection.execute("SAVEPOINT learn").await?;
        let numbers: Vec<usize> = text.parts.iter().map(|(_, number)| *number).collect();
        let error = match Told::of(connection, &text.whole).await {
            Ok(told) => return Ok(told.prepared(text, &numbers)),
            Err(error) => error,
        };
        if !text.parts.is_empty() && code(&error).is_some_and(|code| TYPES.contains(&code.as_str())) {
            connection.execute("ROLLBACK TO learn").await?;
            // A value that is met twice as different types, or once where nothing says its type (`:since IS NULL`): each place of
            // it is asked about by itself. Not at first, as then the server no longer sees that two places are the same.
            if let Ok(prepared) = Self::by_place(connection, text).await {
                return Ok(prepared);
            }
        }
        Err(error)
    }

    async fn by_place(connection: &mut PgConnection, text: &SqlText) -> Result<Self, sqlx::Error> {
        let places: Vec<usize> = (0..text.parts.len()).collect();
        let mut texts = vec![false; places.len()];
        loop {
            let mut asked = String::new();
            for (place, (before, _)) in text.parts.iter().enumerate() {
                let cast = if texts.get(place) == Some(&true) { "::text" } else { "" };
                asked.push_str(&format!("{before}${}{cast}", place + 1));
            }
            asked.push_str(&text.tail);
            let error = match Told::of(connection, &asked).await {
                Ok(told) => return Ok(told.prepared(text, &places)),
                Err(error) => error,
            };
            // The server names the first place of which it knows nothing: that one is a text.
            let named = code(&error).filter(|code| code == UNDETERMINED).and_then(|_| place_in(&error));
            match named.and_then(|place| texts.get_mut(place)).filter(|text| !**text) {
                Some(text) => *text = true,
                None => return Err(error),
            }
            connection.execute("ROLLBACK TO learn").await?;
        }
    }
}

/// indeterminate_datatype
const UNDETERMINED: &str = "42P18";
/// What is said where the type of a parameter is the trouble: beside that ambiguous_parameter, undefined_function, datatype_mismatch,
/// cannot_coerce.
const TYPES: [&str; 5] = [UNDETERMINED, "42P08", "42883", "42804", "42846"];

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

/// The place of the parameter that an error names as `$n`, from 0.
fn place_in(error: &sqlx::Error) -> Option<usize> {
    let (_, rest) = error.as_database_error()?.message().split_once('$')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// What the server said of a text.
struct Told {
    columns: Vec<(String, PgTypeInfo)>,
    /// Its names of the types of `$1`, `$2`, …
    types: Vec<String>,
}

impl Told {
    async fn of(connection: &mut PgConnection, text: &str) -> Result<Self, sqlx::Error> {
        let whole = AssertSqlSafe(text.to_owned()).into_sql_str();
        let (prepared, named): (PgStatement, bool) = match (&mut *connection).prepare(whole).await {
            Ok(prepared) => (prepared, true),
            Err(error @ sqlx::Error::Database(_)) => return Err(error),
            // A column of a type that the driver cannot name (multiranges). The server can: as text it is seen by no driver.
            Err(_) => {
                let text = format!("SELECT row_to_json(q.*)::text FROM (\n{text}\n) AS q");
                ((&mut *connection).prepare(AssertSqlSafe(text).into_sql_str()).await?, false)
            }
        };
        let mut types = Vec::new();
        if let Some(Either::Left(given)) = sqlx::Statement::parameters(&prepared) {
            for param in given {
                let oid = param.oid().map_or(25, |oid| i64::from(oid.0));
                // Not without a length: a `character` without one has a single letter, `bpchar` has as many as there are.
                let name: String = sqlx::query("SELECT format_type($1::bigint::oid, -1)")
                    .bind(oid)
                    .fetch_one(&mut *connection)
                    .await
                    .and_then(|row| row.try_get(0))?;
                types.push(name);
            }
        }
        let columns = sqlx::Statement::columns(&prepared).iter();
        let names = unique(columns.clone().map(|c| if named { c.name() } else { ANY }));
        let columns = names.into_iter().zip(columns.map(|c| c.type_info().clone()));
        Ok(Self { columns: columns.collect(), types })
    }

    /// The statement with the types in the places of its binds; `numbers` says which type a place has.
    fn prepared(self, text: &SqlText, numbers: &[usize]) -> Prepared {
        let mut values: Vec<(usize, Kind)> = Vec::new();
        let mut params: Vec<String> = Vec::new();
        let mut inner = String::new();
        for ((before, bind), number) in text.parts.iter().zip(numbers) {
            let name = self.types.get(*number).map_or("text", String::as_str);
            let value = (*bind, Kind::of(name));
            let at = values.iter().position(|known| *known == value).unwrap_or_else(|| {
                values.push(value);
                values.len() - 1
            });
            if params.len() <= *bind {
                params.resize(bind + 1, "text".to_owned());
            }
            // Where only one place says what is wanted, that is what is wanted.
            if let Some(wanted) = params.get_mut(*bind).filter(|wanted| *wanted == "text") {
                name.clone_into(wanted);
            }
            let from = if text.binary.contains(bind) { "" } else { "::text" };
            inner.push_str(&format!("{before}CAST(${}{from} AS {name})", at + 1));
        }
        inner.push_str(&text.tail);
        Prepared { columns: self.columns, params, values, inner }
    }
}

/// In the place of columns that have no names here.
pub(super) const ANY: &str = "*";

impl Known {
    /// Asks the server.
    pub(super) async fn learn(
        connection: &mut PgConnection,
        statement: &Statement,
    ) -> Result<Self, SourceError> {
        let Prepared { columns, values, inner, .. } =
            Prepared::of(connection, &statement.text).await.map_err(fault)?;
        let bytes = columns.iter().filter(|(_, kind)| kind.name() == "BYTEA").map(|(name, _)| name.clone());
        let unordered = columns.iter().filter(|(_, kind)| !ordered(kind)).map(|(name, _)| name.clone());
        let unordered = unordered.collect();
        let rows = !columns.is_empty();
        // The line breaks end comments that the statement may end with.
        let text = match (rows, statement.access, statement.count) {
            (false, ..) => inner,
            (true, Access::Write, _) => {
                format!(
                    "WITH q AS (\n{inner}\n) {}",
                    fitting("SELECT row_to_json(q.*)::text AS j FROM q", statement)
                )
            }
            (true, Access::Read, true) => format!("SELECT count(*)::text FROM (\n{inner}\n) AS q"),
            (true, Access::Read, false) => {
                let limit = statement.max_rows.saturating_add(1);
                let rows =
                    format!("SELECT row_to_json(q.*)::text AS j FROM (\n{inner}\n) AS q LIMIT {limit}");
                fitting(&rows, statement)
            }
        };
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let (shown, seeds) = (shown(&statement.text.whole), seeds(&statement.text.whole));
        Ok(Self { number, text: text.into(), shown, seeds, rows, bytes: bytes.collect(), unordered, values })
    }
}

/// Numbers of statements.
static NUMBERS: AtomicU64 = AtomicU64::new(0);
/// How much of a text is shown: the server keeps no more than 1,024 bytes, some of which are taken.
const SHOWN: usize = 400;

/// A text as a comment may hold it that ends with its line.
fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    let text = text.get(..end).unwrap_or_default();
    text.replace(|c: char| c.is_control() || c.is_whitespace(), " ")
}

/// The values of a statement as they may stand in its text, in brackets and quotes: numbers, truth values, nothing, and lists of them.
/// None if there is any other: what people write stays out of a text, which a server may log, and so nothing of it can become syntax.
pub(super) fn plain(known: &Known, binds: &[Bind]) -> Option<String> {
    let mut values = String::new();
    for (bind, kind) in &known.values {
        values.push(if values.is_empty() { '(' } else { ',' });
        let value = match binds.get(*bind) {
            Some(Bind::Value(value)) if numeric(value) => text(value, *kind),
            Some(Bind::Value(_)) => return None,
            Some(Bind::Vector(vector)) => {
                push_vector(&mut values, vector)?;
                continue;
            }
            None => None,
        };
        match value {
            Some(value) if value.bytes().all(harmless) => {
                values.push('\'');
                values.push_str(&value);
                values.push('\'');
            }
            Some(_) => return None,
            None => values.push_str("NULL"),
        }
    }
    if !values.is_empty() {
        values.push(')');
    }
    Some(values)
}

/// The most numbers beside zeros that a vector has where its text is worth it: each costs both sides more than one in the server's own
/// form, and 100 of them as much as the ways to the server that are saved.
const DENSE: usize = 100;

/// Writes a vector in quotes, if that is worth it. Not one with a number that the server would not take, or might take for another.
fn push_vector(values: &mut String, vector: &[f32]) -> Option<()> {
    if vector.iter().filter(|x| x.to_bits() != 0).count() > DENSE {
        return None;
    }
    let mut text = Vec::with_capacity(2 * vector.len() + 10 * DENSE + 4);
    text.extend_from_slice(b"'[");
    // Vectors made of words are mostly empty.
    for (at, x) in vector.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        if x.to_bits() == 0 {
            text.push(b'0');
        } else if x.is_normal() {
            serde_json::to_writer(&mut text, x).ok()?;
        } else {
            return None;
        }
    }
    text.extend_from_slice(b"]'");
    values.push_str(&String::from_utf8(text).ok()?);
    Some(())
}

fn numeric(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(items) => items.iter().all(numeric),
        Value::String(_) | Value::Object(_) => false,
    }
}

/// What lists of numbers are made of, and nothing that ends a literal or escapes in it.
fn harmless(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.,[]{}".contains(&byte)
}

/// Rows, with NULL in the place of one that is too long to be sent.
fn fitting(rows: &str, statement: &Statement) -> String {
    let longest = statement.longest().min(1 << 30);
    // OFFSET keeps the planner from making the JSON twice.
    format!("SELECT CASE WHEN octet_length(j) <= {longest} THEN j END FROM ({rows} OFFSET 0) AS r")
}

/// A value as the text that the server reads.
pub(super) fn text(value: &Value, kind: Kind) -> Option<String> {
    match (value, kind) {
        (Value::Null, _) => None,
        (value, Kind::Json) => Some(value.to_string()),
        (Value::Array(items), Kind::Array) => Some(array(items)),
        (Value::String(text), _) => Some(text.clone()),
        (other, _) => Some(other.to_string()),
    }
}

/// An array literal (PostgreSQL, Array Value Input): every text quoted.
fn array(items: &[Value]) -> String {
    let items = items.iter().map(|item| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(inner) => array(inner),
        Value::String(text) => quoted(text),
        Value::Object(_) => quoted(&item.to_string()),
        other => other.to_string(),
    });
    format!("{{{}}}", items.collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A statement of one value for each bind, all of a kind.
    fn of(kind: Kind, count: usize) -> Known {
        Known {
            number: 0,
            text: "".into(),
            shown: String::new(),
            seeds: false,
            rows: true,
            bytes: Vec::new(),
            unordered: Vec::new(),
            values: (0..count).map(|bind| (bind, kind)).collect(),
        }
    }

    #[test]
    fn numbers_may_stand_in_a_text_and_nothing_else_may() {
        let plain = |kind, values: &[Value]| {
            let binds: Vec<_> = values.iter().cloned().map(Bind::Value).collect();
            plain(&of(kind, binds.len()), &binds)
        };
        assert_eq!(plain(Kind::Scalar, &[]).as_deref(), Some(""));
        let values = [json!(-1.5e300), json!(null), json!(true), json!(u64::MAX)];
        let wanted = "('-1.5e+300',NULL,'true','18446744073709551615')";
        assert_eq!(plain(Kind::Scalar, &values).as_deref(), Some(wanted));
        assert_eq!(plain(Kind::Array, &[json!([1, null, [2.5]])]).as_deref(), Some("('{1,NULL,{2.5}}')"));
        assert_eq!(plain(Kind::Json, &[json!([1, true])]).as_deref(), Some("('[1,true]')"));
        for other in [json!("1"), json!(""), json!(["1"]), json!({}), json!([[{}]])] {
            for kind in [Kind::Scalar, Kind::Array, Kind::Json] {
                assert_eq!(plain(kind, &[json!(1), other.clone()]), None, "{other}");
            }
        }
        let vector = |values: &[f32]| super::plain(&of(Kind::Scalar, 1), &[Bind::Vector(values.into())]);
        assert_eq!(vector(&[0.1, 0.0, -2.0, 1e-30]).as_deref(), Some("('[0.1,0,-2.0,1e-30]')"));
        assert_eq!(vector(&[]).as_deref(), Some("('[]')"));
        assert!(vector(&[[1.0; DENSE], [0.0; DENSE]].concat()).is_some());
        assert_eq!(vector(&[1.0; DENSE + 1]), None);
        for odd in [f32::NAN, f32::INFINITY, 1e-45, -0.0] {
            assert_eq!(vector(&[1.0, odd]), None, "{odd}");
        }
        assert_eq!(super::plain(&of(Kind::Scalar, 1), &[]).as_deref(), Some("(NULL)"));
    }

    #[test]
    fn a_text_is_shown_in_one_line() {
        assert_eq!(shown("SELECT 1 -- a\r\n, 'é'\u{2028}\u{85}\0"), "SELECT 1 -- a  , 'é'   ");
        assert_eq!(shown(&"é".repeat(300)).len(), SHOWN);
        assert_eq!(shown(&format!("x{}", "é".repeat(300))).len(), SHOWN - 1);
    }

    #[test]
    fn values_are_written_as_the_server_reads_them() {
        assert_eq!(text(&json!(null), Kind::Array), None);
        assert_eq!(text(&json!(1.5), Kind::Scalar).as_deref(), Some("1.5"));
        assert_eq!(text(&json!("a\"b"), Kind::Json).as_deref(), Some(r#""a\"b""#));
        let list = json!(["a", "b,c", "d\"e\\f", null, "NULL", "", 5, true, [1, 2]]);
        assert_eq!(
            text(&list, Kind::Array).as_deref(),
            Some(r#"{"a","b,c","d\"e\\f",NULL,"NULL","",5,true,{1,2}}"#)
        );
        assert_eq!(text(&json!({ "a": 1 }), Kind::Scalar).as_deref(), Some(r#"{"a":1}"#));
    }
}
