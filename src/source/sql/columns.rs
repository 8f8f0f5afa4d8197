//! The columns that a statement gives, by its text: for saying what another statement in its place no longer gives.

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};

use super::statement::query;

/// The names of the columns in their order; nothing where the text does not tell them all. What has no name of its own stands as it is
/// written.
pub(super) fn columns(text: &str) -> Option<Vec<String>> {
    // The engine is not known here; a statement that one of them reads otherwise is one of another engine.
    let dialects: [&dyn Dialect; 3] = [&PostgreSqlDialect {}, &SQLiteDialect {}, &MySqlDialect {}];
    of(&*dialects.into_iter().find_map(|dialect| query(dialect, text, &[]))?)
}

fn of(query: &Query) -> Option<Vec<String>> {
    let mut body = &query.body;
    loop {
        match body.as_ref() {
            SetExpr::Select(select) => return select.projection.iter().map(name).collect(),
            // The first part names them.
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(inner) => body = &inner.body,
            _ => return None,
        }
    }
}

fn name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(|name| name.value.clone()),
        SelectItem::UnnamedExpr(other) => Some(other.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_rows_have() {
        for (text, names) in [
            ("SELECT id, o.total AS sum, o.state FROM orders o WHERE x = ?1", Some("id sum state")),
            ("SELECT `a b` FROM t WHERE c = ?", Some("a b")),
            ("WITH x AS (SELECT 1 AS z) SELECT count(*), max(\"Id\") AS m FROM x", Some("COUNT(*) m")),
            ("(SELECT a FROM t) UNION ALL SELECT b FROM u", Some("a")),
            ("SELECT * FROM t", None),
            ("SELECT t.*, a FROM t", None),
            ("VALUES (1)", None),
            ("INSERT INTO t VALUES (1) RETURNING id", None),
            ("SELECT (((", None),
        ] {
            let joined = columns(text).map(|names| names.join(" "));
            assert_eq!(joined.as_deref().map(str::to_lowercase), names.map(str::to_lowercase), "{text}");
        }
    }
}
