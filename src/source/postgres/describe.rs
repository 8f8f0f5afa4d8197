//! What PostgreSQL says of a statement without running it, and of the role that would run it.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgDatabaseError, PgErrorPosition, PgTypeInfo, PgTypeKind};
use sqlx::{AssertSqlSafe, Executor as _, Row as _, TypeInfo as _};

use super::known::{ANY, Prepared};
use super::{Postgres, fault};
use crate::source::SourceError;
use crate::source::database::{Class, Column, Described, ParamType, SqlText, Undescribed, Wrong, word_at};

impl Postgres {
    /// Describes a statement.
    ///
    /// # Errors
    /// What the server does not take in it, or why it was not asked.
    pub(in crate::source) async fn describe(
        &self,
        text: &SqlText,
        limit: Duration,
    ) -> Result<Described, Undescribed> {
        let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", limit.as_millis().max(1));
        let (mut held, _) = self.0.opened(&begin, None).await.map_err(Undescribed::Source)?;
        let (connection, facts) = held.parts().map_err(Undescribed::Source)?;
        // The driver forgets what it has prepared.
        *facts = None;
        let result = describe(connection, text).await;
        held.settled = sqlx::raw_sql("ROLLBACK").execute(connection).await.is_ok();
        result
    }

    /// What the role may do beyond reading, as a sentence.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub(in crate::source) async fn powers(&self) -> Result<Option<&'static str>, SourceError> {
        let text = "SELECT EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
            WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
            AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')), \
            (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)";
        let (mut held, _) = self.0.opened("SELECT 1", None).await?;
        let row = held.connection()?.fetch_one(text).await.map_err(fault)?;
        held.settled = true;
        Ok(match (row.try_get(0).map_err(fault)?, row.try_get(1).map_err(fault)?) {
            (_, true) => Some("the role of this source is a superuser, and the source only reads"),
            (true, false) => Some("the role of this source may change tables, and the source only reads"),
            (false, false) => None,
        })
    }
}

async fn describe(connection: &mut PgConnection, text: &SqlText) -> Result<Described, Undescribed> {
    let prepared = Prepared::of(connection, text).await.map_err(|e| wrong(e, Some(&text.whole)))?;
    // Whether it may be read and changes nothing, as the planner sees it. From PostgreSQL 16 on; before, nobody is asked.
    let explain = format!("EXPLAIN (GENERIC_PLAN, FORMAT JSON) {}", prepared.inner);
    sqlx::raw_sql("SAVEPOINT plan").execute(&mut *connection).await.map_err(asked)?;
    let writes = match sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await {
        Ok(row) => {
            let plan: String = row.try_get_unchecked(0).map_err(asked)?;
            plan.contains("\"ModifyTable\"") || plan.contains("\"LockRows\"")
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
            return Err(Undescribed::Wrong(Box::new(Wrong {
                message: error.message().to_owned(),
                word: error.message().rsplit(' ').next().map(str::to_owned),
                denied: true,
                ..Wrong::default()
            })));
        }
        Err(sqlx::Error::Database(_)) => {
            sqlx::raw_sql("ROLLBACK TO plan").execute(&mut *connection).await.map_err(asked)?;
            false
        }
        Err(error) => return Err(asked(error)),
    };
    let columns = prepared.columns.into_iter().filter(|(name, _)| name != ANY);
    let columns =
        columns.map(|(name, kind)| Column { name, schema: schema(&kind), ordered: ordered(&kind) }).collect();
    let params = prepared.params.into_iter().map(|name| ParamType { class: class(&name), name }).collect();
    Ok(Described { columns, params, writes })
}

fn asked(error: sqlx::Error) -> Undescribed {
    Undescribed::Source(fault(error))
}

fn wrong(error: sqlx::Error, text: Option<&str>) -> Undescribed {
    let sqlx::Error::Database(database) = &error else { return asked(error) };
    let Some(known) = database.try_downcast_ref::<PgDatabaseError>() else { return asked(error) };
    // Syntax, names and types; what is left is about the server.
    if !known.code().starts_with("42") && !known.code().starts_with("22") {
        return asked(error);
    }
    let at = match (known.position(), text) {
        (Some(PgErrorPosition::Original(place)), Some(text)) => {
            // Counted in characters from 1.
            let offset = text.char_indices().nth(place.saturating_sub(1)).map_or(text.len(), |(at, _)| at);
            Some(word_at(text, offset))
        }
        _ => None,
    };
    let help = known.hint().or(known.detail()).map(str::to_owned);
    Undescribed::Wrong(Box::new(Wrong {
        message: known.message().to_owned(),
        at,
        help,
        denied: known.code() == "42501",
        ..Wrong::default()
    }))
}

/// Whether a value of JSON says where it stands in the order of its column.
pub(super) fn ordered(kind: &PgTypeInfo) -> bool {
    match kind.kind() {
        PgTypeKind::Domain(base) => ordered(base),
        PgTypeKind::Composite(_) | PgTypeKind::Array(_) => false,
        _ => !matches!(kind.name(), "BYTEA" | "JSON" | "JSONB" | "RECORD") && !kind.name().ends_with("[]"),
    }
}

/// The schema of a column as the server writes it in JSON.
fn schema(kind: &PgTypeInfo) -> Value {
    match kind.kind() {
        PgTypeKind::Domain(base) => return schema(base),
        PgTypeKind::Composite(_) => return json!({ "type": ["object", "null"] }),
        PgTypeKind::Array(_) => return json!({ "type": ["array", "null"] }),
        // Not as `enum`: a type may gain a word while we run.
        PgTypeKind::Enum(words) => {
            let about = format!("One of: {}", words.join(", "));
            return json!({ "type": ["string", "null"], "description": about });
        }
        _ => {}
    }
    match kind.name() {
        "BOOL" => json!({ "type": ["boolean", "null"] }),
        "INT2" | "INT4" | "INT8" => json!({ "type": ["integer", "null"] }),
        "FLOAT4" | "FLOAT8" | "NUMERIC" => json!({ "type": ["number", "string", "null"] }),
        "JSON" | "JSONB" => json!({}),
        "RECORD" => json!({ "type": ["object", "null"] }),
        "BYTEA" => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        "TEXT" | "VARCHAR" | "CHAR" | "BPCHAR" | "NAME" | "UUID" | "INET" | "CIDR" | "MACADDR" | "DATE"
        | "TIME" | "TIMETZ" | "TIMESTAMP" | "TIMESTAMPTZ" | "INTERVAL" | "MONEY" => {
            json!({ "type": ["string", "null"] })
        }
        name if name.ends_with("[]") => json!({ "type": ["array", "null"] }),
        _ => json!({}),
    }
}

/// What JSON the server can read as a type of this name (`format_type`).
fn class(name: &str) -> Class {
    match name {
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "oid" => Class::Number,
        "boolean" => Class::Boolean,
        "uuid" | "date" | "inet" | "cidr" | "macaddr" | "bytea" | "interval" => Class::Form,
        name if name.starts_with("timestamp") || name.starts_with("time ") => Class::Form,
        name if name.ends_with("[]") => Class::List,
        _ => Class::Any,
    }
}
