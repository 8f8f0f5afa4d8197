//! The kinds of collection behind one contract: the nearest rows to a vector, the rows with the words of a question.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::config::{DistanceConfig, VectorConfig};
use super::filter::Check;
use super::pgvector::{Pgvector, PgvectorPlan};
use super::qdrant::{Qdrant, QdrantPlan};
use super::sqlite::{SqliteTable, SqliteTablePlan};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::source::database::Engine;
use crate::source::{Attempt, OpenError, SourceCx, SourceError, one_kind};

/// A compiled collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CollectionPlan {
    Sqlite(SqliteTablePlan),
    Pgvector(PgvectorPlan),
    Qdrant(QdrantPlan),
}

/// A live collection.
#[derive(Debug)]
pub(super) enum Collection {
    Sqlite(SqliteTable),
    Pgvector(Pgvector),
    Qdrant(Qdrant),
}

/// The columns of a table, or the keys of a payload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Columns {
    pub id: String,
    pub text: String,
    pub embedding: String,
    pub metadata: Option<Vec<String>>,
}

/// What a collection is asked, beside the vector or the words.
pub(super) struct Query<'a> {
    pub limit: usize,
    pub checks: &'a [Check],
    pub ef_search: Option<u32>,
    pub distance: DistanceConfig,
    pub attempt: Attempt<'a>,
}

/// A row with its score, higher is nearer.
pub(super) struct Match {
    pub id: Value,
    pub score: f64,
    pub text: Value,
    pub metadata: Map<String, Value>,
}

/// Matches, best first.
#[derive(Default)]
pub(super) struct Found {
    pub matches: Vec<Match>,
    /// Whether the cap on bytes ended the reading.
    pub more: bool,
}

impl CollectionPlan {
    pub(super) fn compile(config: &VectorConfig, cx: &mut SourceCx<'_>) -> Option<Self> {
        let distance = config.distance.map_or_else(DistanceConfig::default, |d| d.value);
        match (&config.sqlite, &config.pgvector, &config.qdrant) {
            (Some(table), None, None) => {
                if let (DistanceConfig::InnerProduct, Some(written)) = (distance, config.distance) {
                    let message = "SQLite has no inner product";
                    let help = "`cosine` or `l2`; for vectors of length 1 the order is the same by all three";
                    let problem = Diagnostic::error("no-inner-product", message).at(written.span, "");
                    cx.diagnostics.push(problem.help(help));
                }
                SqliteTablePlan::compile(table, cx).map(Self::Sqlite)
            }
            (None, Some(table), None) => PgvectorPlan::compile(table, cx).map(Self::Pgvector),
            (None, None, Some(collection)) => QdrantPlan::compile(collection, cx).map(Self::Qdrant),
            (sqlite, pgvector, qdrant) => {
                let written = [
                    sqlite.is_some().then_some("sqlite"),
                    pgvector.is_some().then_some("pgvector"),
                    qdrant.is_some().then_some("qdrant"),
                ];
                let written: Vec<&str> = written.into_iter().flatten().collect();
                let what = format!("the collection of the source `{}`", cx.name.value);
                let problem = one_kind(&what, cx.name.span, &written, "`sqlite`, `pgvector`, `qdrant`");
                cx.diagnostics.push(problem);
                None
            }
        }
    }

    /// The column that a condition names.
    pub(super) fn condition_column(
        &self,
        name: &Spanned<String>,
        diagnostics: &mut Diagnostics,
    ) -> Option<String> {
        let (column, columns) = match self {
            Self::Sqlite(plan) => (super::sqlite::identifier(name, diagnostics)?, &plan.columns),
            Self::Pgvector(plan) => (super::pgvector::column(name, diagnostics)?, &plan.columns),
            Self::Qdrant(plan) => (super::qdrant::key(name, diagnostics)?, &plan.columns),
        };
        if let Some(known) = &columns.metadata
            && !known.contains(&column)
            && column != columns.id
        {
            let message = format!("`{column}` is not among the source's metadata columns");
            let help =
                crate::name::did_you_mean(&column, known.iter().map(String::as_str), "metadata columns");
            diagnostics.push(Diagnostic::error("unknown-column", message).at(name.span, "").help(help));
            return None;
        }
        Some(column)
    }

    pub(super) fn open(&self, name: &str) -> Result<Collection, OpenError> {
        Ok(match self {
            Self::Sqlite(plan) => Collection::Sqlite(SqliteTable::open(plan)),
            Self::Pgvector(plan) => Collection::Pgvector(Pgvector::open(plan)),
            Self::Qdrant(plan) => Collection::Qdrant(
                Qdrant::open(plan).map_err(|reason| OpenError { name: name.to_owned(), reason })?,
            ),
        })
    }
}

impl Collection {
    /// Its name in OpenTelemetry's conventions (`db.system.name`).
    pub(super) const fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => Engine::Sqlite.system(),
            Self::Pgvector(_) => Engine::Postgres.system(),
            Self::Qdrant(_) => "qdrant",
        }
    }

    /// The rows whose vectors are nearest.
    pub(super) async fn nearest(&self, vector: &[f32], query: &Query<'_>) -> Result<Found, SourceError> {
        match self {
            Self::Sqlite(table) => table.nearest(vector, query).await,
            Self::Pgvector(table) => table.nearest(vector, query).await,
            Self::Qdrant(collection) => collection.nearest(vector, query).await,
        }
    }

    /// The rows that hold most of a question's words.
    pub(super) async fn worded(&self, question: &str, query: &Query<'_>) -> Result<Found, SourceError> {
        match self {
            Self::Sqlite(table) => table.worded(question, query).await,
            Self::Pgvector(table) => table.worded(question, query).await,
            Self::Qdrant(collection) => collection.worded(question, query).await,
        }
    }

    /// Whether it is there and fits: its vectors have this length, as far as both are known, and its distance is that of the source.
    pub(super) async fn probe(
        &self,
        length: Option<usize>,
        distance: DistanceConfig,
    ) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(table) => table.probe().await,
            Self::Pgvector(table) => table.probe(length).await,
            Self::Qdrant(collection) => collection.probe(length, distance).await,
        }
    }

    /// Searches as a call does, so that what would fail there fails here.
    pub(super) async fn try_out(&self, vector: &[f32], query: &Query<'_>) -> Result<(), SourceError> {
        self.nearest(vector, query).await?;
        match self {
            Self::Sqlite(_) | Self::Pgvector(_) => self.worded("length", query).await.map(drop),
            // Without an index of words it has no search by words, which not every source wants.
            Self::Qdrant(_) => Ok(()),
        }
    }

    /// What is to be said of a collection that works and could work better.
    pub(super) async fn advice(
        &self,
        distance: DistanceConfig,
        limit: Duration,
    ) -> Result<Option<String>, SourceError> {
        match self {
            Self::Pgvector(table) => table.advice(distance, limit).await,
            // SQLite has no index of vectors, Qdrant always one.
            Self::Sqlite(_) | Self::Qdrant(_) => Ok(None),
        }
    }
}

/// Refuses a vector of another length than the collection's.
pub(super) fn check_length(vector: usize, collection: Option<usize>) -> Result<(), SourceError> {
    match collection {
        Some(wanted) if wanted != vector => {
            Err(another_length(format!("{vector} numbers from the embedder, {wanted} in the collection")))
        }
        _ => Ok(()),
    }
}

/// A vector that cannot be compared with those of the collection.
pub(super) fn another_length(detail: String) -> SourceError {
    let reason = "the embedder's vectors have another length than those of the collection";
    SourceError::Unfit { reason, detail }
}

/// The score of a distance, as an engine gives it: pgvector's inner product is negative.
pub(super) fn score(kind: DistanceConfig, distance: f64) -> f64 {
    match kind {
        DistanceConfig::Cosine => 1.0 - distance,
        DistanceConfig::L2 => 1.0 / (1.0 + distance),
        DistanceConfig::InnerProduct => -distance,
    }
}

/// Takes a column out of a row. SQLite gives it the name that it was made with, in whatever case.
fn take(row: &mut Map<String, Value>, column: &str) -> Option<Value> {
    row.shift_remove(column).or_else(|| {
        let name = row.keys().find(|name| name.eq_ignore_ascii_case(column))?.clone();
        row.shift_remove(&name)
    })
}

/// Rows with `$rank` as matches, best first. A rank that is no number (the angle of a zero vector) is no match.
pub(super) fn matches(rows: Vec<Value>, columns: &Columns, score: impl Fn(f64) -> f64) -> Vec<Match> {
    let mut matches: Vec<Match> = rows
        .into_iter()
        .filter_map(|row| {
            let Value::Object(mut row) = row else { return None };
            let rank = row.shift_remove("$rank")?.as_f64()?;
            let id = take(&mut row, &columns.id).unwrap_or_default();
            take(&mut row, &columns.embedding);
            let text = take(&mut row, &columns.text).unwrap_or_default();
            Some(Match { id, score: score(rank), text, metadata: row })
        })
        .collect();
    matches.sort_by(|a, b| b.score.total_cmp(&a.score));
    matches
}
