//! What MySQL and MariaDB say of a statement without running it, and of the account that would run it. Parameters have no types there.

use serde_json::{Value, json};
use sqlx::mysql::{MySqlColumn, MySqlDatabaseError, MySqlStatement};
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _, TypeInfo as _,
};

use super::row::{is_text, may_be_json, ordered};
use super::{Mysql, fault};
use crate::source::SourceError;
use crate::source::database::{Column, Described, SqlText, Undescribed, Wrong, unique, word_at};

impl Mysql {
    /// Describes a statement.
    ///
    /// # Errors
    /// What the server does not take in it, or why it was not asked.
    pub(in crate::source) async fn describe(&self, text: &SqlText) -> Result<Described, Undescribed> {
        let mut connection = self.0.acquire().await.map_err(Undescribed::Source)?;
        // The driver keeps what it was told of a text on each connection; a table may have changed since.
        connection.clear_cached_statements().await.map_err(asked)?;
        let whole = AssertSqlSafe(text.whole.clone()).into_sql_str();
        let known = (&mut *connection).prepare(whole).await;
        let known: MySqlStatement = known.map_err(|error| wrong(error, &text.whole))?;
        // Before its values are known the server guesses what an expression gives.
        let bound = !text.parts.is_empty();
        let columns = sqlx::Statement::columns(&known);
        let names = unique(columns.iter().map(MySqlColumn::name));
        let columns = names.into_iter().zip(columns).map(|(name, column)| {
            let sure = !bound || column.origin().table_column().is_some();
            let schema = if sure { schema(column) } else { json!({}) };
            Column { name, schema, ordered: !sure || ordered(column.type_info()) }
        });
        Ok(Described { columns: columns.collect(), ..Described::default() })
    }

    /// What the account may do beyond reading, as a sentence.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub(in crate::source) async fn powers(&self) -> Result<Option<&'static str>, SourceError> {
        let mut connection = self.0.acquire().await?;
        let rows = (&mut *connection).fetch_all("SHOW GRANTS").await.map_err(fault)?;
        let grants = rows.iter().filter_map(|row| row.try_get::<String, _>(0).ok());
        Ok(powers(&grants.collect::<Vec<_>>()))
    }
}

fn powers(grants: &[String]) -> Option<&'static str> {
    let mut changes = false;
    for grant in grants {
        let Some((rights, on)) = grant.strip_prefix("GRANT ").and_then(|g| g.split_once(" ON ")) else {
            continue;
        };
        for right in rights.split(", ") {
            match right.split(' ').next().unwrap_or_default() {
                "FILE" | "SUPER" => return Some(FILES),
                "ALL" if on.starts_with("*.*") => return Some(FILES),
                "ALL" | "INSERT" | "UPDATE" | "DELETE" | "CREATE" | "DROP" | "ALTER" => changes = true,
                _ => {}
            }
        }
    }
    changes.then_some("the account of this source may change tables, and the source only reads")
}

const FILES: &str = "the account of this source may write files or settings of the server, which no read-only transaction stops";

fn asked(error: sqlx::Error) -> Undescribed {
    Undescribed::Source(fault(error))
}

fn wrong(error: sqlx::Error, text: &str) -> Undescribed {
    let sqlx::Error::Database(database) = &error else { return asked(error) };
    let Some(known) = database.try_downcast_ref::<MySqlDatabaseError>() else { return asked(error) };
    // Syntax, names and rights; what is left is about the server.
    if !known.code().is_some_and(|code| code.starts_with("42") || code.starts_with("21")) {
        return asked(error);
    }
    let said = known.message();
    let quoted = || said.split('\'').nth(1).unwrap_or_default();
    let mut wrong = Wrong { message: said.to_owned(), ..Wrong::default() };
    match known.number() {
        // What follows the mistake is quoted, up to 80 characters of it.
        1064 => {
            let near = said.split_once("near '").and_then(|(_, rest)| rest.rsplit_once("' at line"));
            let near = near.map_or("", |(near, _)| near);
            said.split("; check").next().unwrap_or(said).clone_into(&mut wrong.message);
            wrong.at = if near.is_empty() { None } else { text.rfind(near).map(|at| word_at(text, at)) };
        }
        // `FUNCTION shop.lenght does not exist`
        1305 => wrong.word = said.split(' ').nth(1).and_then(|n| n.rsplit('.').next()).map(str::to_owned),
        // `Table 'shop.ordres' doesn't exist`; `Unknown column 'o.totl' in …`
        1146 => wrong.word = quoted().rsplit('.').next().map(str::to_owned),
        _ => wrong.word = Some(quoted().to_owned()).filter(|w| !w.is_empty()),
    }
    Undescribed::Wrong(Box::new(wrong))
}

/// The schema of a column as `row` writes it.
fn schema(column: &MySqlColumn) -> Value {
    let kind = column.type_info();
    match kind.name() {
        "BOOLEAN" => json!({ "type": ["boolean", "integer", "null"] }),
        "YEAR" | "BIT" => json!({ "type": ["integer", "null"] }),
        name if name.contains("INT") && name != "POINT" => json!({ "type": ["integer", "null"] }),
        "FLOAT" | "DOUBLE" => json!({ "type": ["number", "null"] }),
        "DECIMAL" => json!({ "type": ["number", "string", "null"] }),
        "DATE" | "DATETIME" | "TIMESTAMP" | "TIME" => json!({ "type": ["string", "null"] }),
        // NULL is what the server says where it does not know.
        "JSON" | "NULL" => json!({}),
        // It may be JSON for MariaDB.
        _ if may_be_json(column) => json!({}),
        _ if is_text(kind) => json!({ "type": ["string", "null"] }),
        _ => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_known_by_its_grants() {
        let powers = |grants: &[&str]| powers(&grants.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>());
        let usage = "GRANT USAGE ON *.* TO `r`@`%` IDENTIFIED BY PASSWORD '*AB ON FILE, FILE'";
        assert_eq!(
            powers(&[usage, "GRANT SELECT, SHOW VIEW ON `shop`.* TO `r`@`%`", "GRANT `a` TO `r`@`%`"]),
            None
        );
        assert!(
            powers(&[usage, "GRANT SELECT, UPDATE (`a`) ON `s`.`t` TO `r`@`%`"]).unwrap().contains("tables")
        );
        assert!(powers(&["GRANT ALL PRIVILEGES ON `s`.* TO `r`@`%`"]).unwrap().contains("tables"));
        assert!(powers(&["GRANT SELECT, FILE ON *.* TO `r`@`%`"]).unwrap().contains("files"));
        assert!(powers(&["GRANT ALL PRIVILEGES ON *.* TO `r`@`%`"]).unwrap().contains("files"));
    }
}
