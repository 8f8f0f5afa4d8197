//! What PostgreSQL says of a collection's table: its columns, the length of its vectors, what its pgvector can do.

use std::time::Duration;

use serde_json::Value;

use super::{Columns, PgvectorPlan, quoted};
use crate::source::SourceError;
use crate::source::database::{Bind, Engine, Statement};
use crate::source::vector::config::DistanceConfig;
use crate::source::vector::statement::Builder;

/// Types that no reader wants to see.
const HIDDEN: [&str; 4] = ["vector", "halfvec", "sparsevec", "tsvector"];
/// The first pgvector whose indexes go on until enough rows fulfil the conditions.
const ITERATIVE: (u32, u32) = (0, 8);

/// What is known of a table.
#[derive(Debug)]
pub(super) struct Facts {
    /// The columns that are read, as SQL.
    pub listed: String,
    /// The length of the column's vectors, if it is declared.
    pub length: Option<usize>,
    pub iterative: bool,
}

impl Facts {
    /// The statement whose rows say it.
    pub(super) fn question(plan: &PgvectorPlan, limit: Duration, max_bytes: usize) -> Statement {
        let mut sql = Builder::new(Engine::Postgres);
        sql.push(
            "SELECT a.attname::text AS name, y.typname::text AS kind, a.atttypmod AS modifier, \
             (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'vector') AS version \
             FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid \
             WHERE a.attrelid = to_regclass(",
        );
        sql.bind(Bind::Value(plan.table.as_str().into()));
        sql.push(") AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum");
        statement(sql, limit, max_bytes.max(1 << 20))
    }

    /// The statement that says whether a table, and not a view, has no index that orders by a distance.
    pub(super) fn index_question(
        plan: &PgvectorPlan,
        distance: DistanceConfig,
        limit: Duration,
    ) -> Statement {
        let family = match distance {
            DistanceConfig::Cosine => "%cosine_ops",
            DistanceConfig::L2 => "%l2_ops",
            DistanceConfig::InnerProduct => "%ip_ops",
        };
        let mut sql = Builder::new(Engine::Postgres);
        sql.push(
            "SELECT c.relkind IN ('r', 'p') AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index AS i \
             JOIN pg_catalog.pg_opclass AS o ON o.oid = ANY(i.indclass) WHERE i.indrelid = c.oid AND i.indisvalid AND o.opcname LIKE ",
        );
        sql.bind(Bind::Value(family.into()));
        sql.push(") AS unindexed FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass(");
        sql.bind(Bind::Value(plan.table.as_str().into()));
        sql.push(")");
        statement(sql, limit, 1 << 20)
    }

    pub(super) fn read(plan: &PgvectorPlan, rows: &[Value]) -> Result<Self, SourceError> {
        let unfit = |reason, detail| Err(SourceError::Unfit { reason, detail });
        let Columns { id, text, embedding, metadata } = &plan.columns;
        let Some(first) = rows.first() else {
            return unfit("its table is not there", format!("no table {} on the search path", plan.table));
        };
        let said =
            |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let wanted = [id, text, embedding].into_iter().chain(metadata.iter().flatten()).chain(&plan.words);
        for name in wanted {
            if !rows.iter().any(|row| said(row, "name") == *name) {
                let detail = format!("no column {} in {}", quoted(name), plan.table);
                return unfit("its table has not all columns that the configuration names", detail);
            }
        }
        let column = rows.iter().find(|row| said(row, "name") == *embedding).unwrap_or(first);
        if said(first, "version").is_empty() {
            return unfit("its database has no pgvector", "no extension `vector`".to_owned());
        }
        let mut listed = vec![id.clone(), text.clone()];
        match metadata {
            Some(names) => listed.extend(names.iter().cloned()),
            None => {
                let shown = rows.iter().filter(|row| !HIDDEN.contains(&said(row, "kind").as_str()));
                listed.extend(shown.map(|row| said(row, "name")).filter(|name| name != embedding));
            }
        }
        let mut seen = Vec::new();
        for name in listed.iter().map(|name| format!("t.{}", quoted(name))) {
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        let length = column.get("modifier").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let version = version(&said(first, "version"));
        Ok(Self { listed: seen.join(", "), length, iterative: version >= ITERATIVE })
    }
}

fn statement(sql: Builder, limit: Duration, max_bytes: usize) -> Statement {
    Statement { max_rows: 1600, max_bytes, ..Statement::read(sql.build(), limit) }
}

fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(version("0.8.0") >= ITERATIVE && version("0.10") >= ITERATIVE && version("1.0") >= ITERATIVE);
        assert!(version("0.7.4") < ITERATIVE && version("") < ITERATIVE);
    }
}
