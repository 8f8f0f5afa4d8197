//! A collection in a table of PostgreSQL with pgvector: vectors in binary, nearness by an operator alone so that an index is used,
//! words by the engine's full-text search.

mod facts;
mod plan;

pub(super) use plan::{PgvectorPlan, column};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::collection::{self, Columns, Found, Query, another_length, check_length};
use super::config::DistanceConfig;
use super::plan::MAX_LIMIT;
use super::search::MAX_WORDS;
use super::statement::{Builder, quoted};
use crate::source::database::{Answer, Bind, Engine, Statement};
use crate::source::postgres::Postgres;
use crate::source::{Attempt, SourceError};
use facts::Facts;

/// The longest a probe takes.
const PROBE: Duration = Duration::from_secs(5);

/// How many rows a plan is made for at most; few, as each has a statement of its own.
const AT_MOST: [usize; 4] = [10, 50, 200, MAX_LIMIT];
/// How many candidates an HNSW index gives unless told otherwise (pgvector, "Query Options").
const CANDIDATES: usize = 40;

fn at_most(limit: usize) -> Option<usize> {
    AT_MOST.into_iter().find(|most| limit <= *most)
}

/// Whether an index most likely gives enough rows without going on, for which it keeps what it has passed.
fn enough_at_first(query: &Query<'_>) -> bool {
    let candidates = query.ef_search.and_then(|n| usize::try_from(n).ok()).unwrap_or(CANDIDATES);
    query.checks.is_empty() && query.limit <= candidates
}

/// A live table.
#[derive(Debug)]
pub(super) struct Pgvector {
    plan: PgvectorPlan,
    database: Postgres,
    /// What the server said of the table. Held for single operations only.
    facts: Mutex<Option<Arc<Facts>>>,
}

impl Pgvector {
    pub(super) fn open(plan: &PgvectorPlan) -> Self {
        Self { plan: plan.clone(), database: Postgres::open(&plan.server), facts: Mutex::default() }
    }

    pub(super) async fn probe(&self, length: Option<usize>) -> Result<(), SourceError> {
        self.forget();
        let facts = self.facts(PROBE, usize::MAX).await?;
        length.map_or(Ok(()), |length| check_length(length, facts.length))
    }

    /// Whether no index gives the order of the distance.
    pub(super) async fn advice(
        &self,
        distance: DistanceConfig,
        limit: Duration,
    ) -> Result<Option<String>, SourceError> {
        let answer = self.database.run(Facts::index_question(&self.plan, distance, limit)).await?;
        let said = answer.rows.first().and_then(|row| row.get("unindexed")).and_then(Value::as_bool);
        let text = || {
            format!("no index of {} orders by this distance: every search reads all rows", self.plan.table)
        };
        Ok(said.unwrap_or(false).then(text))
    }

    pub(super) async fn nearest(&self, vector: &[f32], query: &Query<'_>) -> Result<Found, SourceError> {
        let facts = self.fitting(vector.len(), query.attempt).await?;
        let mut local = Vec::new();
        if let Some(ef_search) = query.ef_search {
            local.push(("hnsw.ef_search", ef_search.to_string()));
        }
        let score = |distance| collection::score(query.distance, distance);
        if !facts.iterative || enough_at_first(query) {
            let found =
                self.run(self.by_nearness(&facts, vector, query), local.clone(), query, score).await?;
            if !facts.iterative || found.more || found.matches.len() >= query.limit {
                return Ok(found);
            }
        }
        // Conditions, and what is no longer there, are taken from what an index gives: it goes on until enough rows are left.
        local.push(("hnsw.iterative_scan", "relaxed_order".to_owned()));
        local.push(("ivfflat.iterative_scan", "relaxed_order".to_owned()));
        self.run(self.by_nearness(&facts, vector, query), local, query, score).await
    }

    /// The statement of a search by a vector.
    fn by_nearness(&self, facts: &Facts, vector: &[f32], query: &Query<'_>) -> Builder {
        let operator = match query.distance {
            DistanceConfig::Cosine => "<=>",
            DistanceConfig::L2 => "<->",
            DistanceConfig::InnerProduct => "<#>",
        };
        let Facts { listed, .. } = facts;
        let column = format!("t.{}", quoted(&self.plan.columns.embedding));
        // With conditions it is planned anew for each call, by their values. Without them one plan does for all calls, but only where
        // the server sees how many rows are wanted at most.
        let most = if query.checks.is_empty() { at_most(query.limit) } else { None };
        let mut sql = Builder::new(Engine::Postgres);
        if most.is_some() {
            sql.push("SELECT * FROM (");
        }
        let wanted =
            sql.push(&format!("SELECT {listed}, {column} {operator} ")).bind(Bind::Vector(vector.into()));
        sql.push(&format!(" AS \"$rank\" FROM {} AS t WHERE {column} IS NOT NULL", self.plan.table));
        sql.conditions(query.checks);
        // Nothing but the operator, or no index could give this order.
        sql.push(&format!(" ORDER BY {column} {operator} ")).again(wanted);
        if let Some(most) = most {
            sql.push(&format!(" LIMIT {most}) AS nearest"));
        }
        sql.push(" LIMIT ").bind(Bind::Value(query.limit.into()));
        sql
    }

    pub(super) async fn worded(&self, question: &str, query: &Query<'_>) -> Result<Found, SourceError> {
        // The engine splits words itself; each is quoted, so that nothing of the question is read as its syntax.
        let words: Vec<String> = question
            .split_whitespace()
            .map(|word| word.replace('"', ""))
            .filter(|word| !word.is_empty())
            .take(MAX_WORDS)
            .map(|word| format!("\"{word}\""))
            .collect();
        if words.is_empty() {
            return Ok(Found::default());
        }
        let facts = self.facts(self.left(query.attempt), query.attempt.max_bytes).await?;
        let PgvectorPlan { table, columns, language, words: column, .. } = &self.plan;
        let language = format!("'{}'::regconfig", language.replace('\'', "''"));
        let searched = match column {
            Some(column) => format!("t.{}", quoted(column)),
            None => format!("to_tsvector({language}, t.{})", quoted(&columns.text)),
        };
        let mut sql = Builder::new(Engine::Postgres);
        let head = format!(
            "SELECT {}, ts_rank({searched}, q)::float8 AS \"$rank\" FROM {table} AS t, websearch_to_tsquery({language}, ",
            facts.listed
        );
        sql.push(&head).bind(Bind::Value(words.join(" or ").into()));
        sql.push(&format!(") AS q WHERE {searched} @@ q"));
        sql.conditions(query.checks);
        let order = format!(" ORDER BY \"$rank\" DESC, t.{} LIMIT ", quoted(&columns.id));
        sql.push(&order).bind(Bind::Value(query.limit.into()));
        let mut found = self.run(sql, Vec::new(), query, |rank| rank).await?;
        // The size of a rank says nothing by itself: scores are relative to the best.
        let best = found.matches.first().map_or(1.0, |m| m.score);
        for found in &mut found.matches {
            found.score = if best > 0.0 { found.score / best } else { 1.0 };
        }
        Ok(found)
    }

    async fn run(
        &self,
        sql: Builder,
        local: Vec<(&'static str, String)>,
        query: &Query<'_>,
        score: impl Fn(f64) -> f64,
    ) -> Result<Found, SourceError> {
        let statement = Statement {
            // The text says how many; this is the same for all calls, as what is known of a text depends on it.
            max_rows: MAX_LIMIT,
            max_bytes: query.attempt.max_bytes,
            local,
            ..Statement::read(sql.build(), self.left(query.attempt))
        };
        let result = self.database.run(statement).await;
        if matches!(result, Err(SourceError::Internal(_) | SourceError::Argument(_))) {
            // The table may have changed.
            self.forget();
        }
        let Answer { rows, more, .. } = match result {
            // A column without a length of its own; the values are right, the vector is not.
            Err(SourceError::Argument(why)) if why.contains(" dimensions ") => {
                return Err(another_length(why));
            }
            result => result?,
        };
        Ok(Found { matches: collection::matches(rows, &self.plan.columns, score), more })
    }

    /// What is known of the table, for vectors of this length. What does not fit is asked again: the table may be another one by now.
    async fn fitting(&self, length: usize, attempt: Attempt<'_>) -> Result<Arc<Facts>, SourceError> {
        let facts = self.facts(self.left(attempt), attempt.max_bytes).await?;
        if check_length(length, facts.length).is_ok() {
            return Ok(facts);
        }
        self.forget();
        let facts = self.facts(self.left(attempt), attempt.max_bytes).await?;
        check_length(length, facts.length).map(|()| facts)
    }

    fn left(&self, attempt: Attempt<'_>) -> Duration {
        attempt.left(self.plan.statement_timeout.0)
    }

    fn forget(&self) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the server says of the table, asked once.
    async fn facts(&self, limit: Duration, max_bytes: usize) -> Result<Arc<Facts>, SourceError> {
        let lock = || self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = lock().clone() {
            return Ok(facts);
        }
        let statement = Facts::question(&self.plan, limit, max_bytes);
        let answer = self.database.run(statement).await?;
        let facts = Arc::new(Facts::read(&self.plan, &answer.rows)?);
        *lock() = Some(facts.clone());
        Ok(facts)
    }
}
