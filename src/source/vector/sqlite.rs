//! A collection in a table of SQLite: vectors compared row by row by sqlite-vec, words by FTS5 or row by row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::collection::{self, Columns, Found, Query};
use super::config::{DistanceConfig, SqliteCollectionConfig};
use super::search::words;
use super::statement::Builder;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::source::database::{Bind, Engine, PoolPlan, SqlText, Statement};
use crate::source::sql::PoolConfig;
use crate::source::sqlite::{Sqlite, SqlitePlan};
use crate::source::{Attempt, SourceCx, SourceError};

/// A compiled table; all names are plain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SqliteTablePlan {
    database: SqlitePlan,
    table: String,
    pub columns: Columns,
}

/// A live table.
#[derive(Debug)]
pub(super) struct SqliteTable {
    plan: SqliteTablePlan,
    database: Sqlite,
    /// Whether `<table>_fts` was there when it was last looked for.
    indexed: AtomicBool,
}

pub(super) fn identifier(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = &written.value;
    let plain = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain {
        let message = format!("`{text}` cannot be the name of a table or column here");
        let help = "letters, digits and `_`; make a view for anything else";
        diagnostics.push(Diagnostic::error("bad-identifier", message).at(written.span, "").help(help));
    }
    plain.then(|| text.clone())
}

impl SqliteTablePlan {
    pub(super) fn compile(written: &SqliteCollectionConfig, cx: &mut SourceCx<'_>) -> Option<Self> {
        let mut column = |name: &Option<Spanned<String>>, default: &str| match name {
            Some(name) => identifier(name, cx.diagnostics),
            None => Some(default.to_owned()),
        };
        let id = column(&written.id, "id");
        let text = column(&written.text, "content");
        let embedding = column(&written.embedding, "embedding");
        let table = identifier(&written.table, cx.diagnostics);
        let metadata = match &written.metadata {
            None => Some(None),
            Some(names) => {
                let names: Vec<_> = names.iter().map(|n| identifier(n, cx.diagnostics)).collect();
                names.into_iter().collect::<Option<Vec<_>>>().map(Some)
            }
        };
        let pool = PoolPlan::compile(&PoolConfig::default(), cx.diagnostics)?;
        let database = SqlitePlan::compile(&written.url, written.init.as_ref(), pool, cx);
        let columns = Columns { id: id?, text: text?, embedding: embedding?, metadata: metadata? };
        Some(Self { database: database?, table: table?, columns })
    }

    fn listed(&self) -> String {
        let Columns { id, text, metadata, .. } = &self.columns;
        match metadata {
            None => "t.*".to_owned(),
            Some(names) => {
                let mut listed: Vec<&String> = vec![id, text];
                for name in names {
                    if !listed.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                        listed.push(name);
                    }
                }
                listed.iter().map(|n| format!("t.\"{n}\"")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl SqliteTable {
    pub(super) fn open(plan: &SqliteTablePlan) -> Self {
        let database = Sqlite::open(&plan.database);
        Self { plan: plan.clone(), database, indexed: AtomicBool::new(false) }
    }

    pub(super) async fn probe(&self) -> Result<(), SourceError> {
        self.database.probe().await
    }

    pub(super) async fn nearest(&self, vector: &[f32], query: &Query<'_>) -> Result<Found, SourceError> {
        let SqliteTablePlan { table, columns, .. } = &self.plan;
        let Columns { id, embedding, .. } = columns;
        let distance = match query.distance {
            DistanceConfig::L2 => "vec_distance_L2",
            // The inner product is refused at load.
            DistanceConfig::Cosine | DistanceConfig::InnerProduct => "vec_distance_cosine",
        };
        let mut sql = Builder::new(Engine::Sqlite);
        let listed = self.plan.listed();
        sql.push(&format!("SELECT {listed}, {distance}(t.\"{embedding}\", "))
            .bind(Bind::Vector(vector.into()));
        sql.push(&format!(") AS \"$rank\" FROM \"{table}\" AS t WHERE t.\"{embedding}\" IS NOT NULL"));
        sql.conditions(query.checks);
        // The angle of a zero vector is NULL, which SQLite puts before all numbers.
        sql.push(&format!(" ORDER BY \"$rank\" IS NULL, \"$rank\", t.\"{id}\" LIMIT "));
        sql.bind(Bind::Value(query.limit.into()));
        let (rows, more) = self.rows(sql.build(), query.limit, query.attempt).await.map_err(|e| match e {
            // sqlite-vec says both numbers, and writes the word in its own way.
            SourceError::Internal(text) if text.contains("dimension") => collection::another_length(text),
            other => other,
        })?;
        let score = |distance| collection::score(query.distance, distance);
        Ok(Found { matches: collection::matches(rows, columns, score), more })
    }

    pub(super) async fn worded(&self, question: &str, query: &Query<'_>) -> Result<Found, SourceError> {
        let words = words(question);
        if words.is_empty() {
            return Ok(Found::default());
        }
        if !self.has_index(query.attempt).await? {
            return self.by_scan(&words, query).await;
        }
        let found = self.by_index(&words, query).await;
        if matches!(found, Err(SourceError::Internal(_))) {
            // It may be gone; the next search looks again.
            self.indexed.store(false, Ordering::Relaxed);
        }
        found
    }

    async fn by_index(&self, words: &[String], query: &Query<'_>) -> Result<Found, SourceError> {
        let SqliteTablePlan { table, columns, .. } = &self.plan;
        let (listed, id) = (self.plan.listed(), &columns.id);
        let mut sql = Builder::new(Engine::Sqlite);
        let head = format!(
            "SELECT {listed}, f.rank AS \"$rank\" FROM \"{table}_fts\" AS f JOIN \"{table}\" AS t ON t.\"{id}\" = f.rowid \
             WHERE \"{table}_fts\" MATCH "
        );
        // Every word quoted: nothing of the question is read as FTS5 syntax.
        let wanted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
        sql.push(&head).bind(Bind::Value(Value::from(wanted.join(" OR "))));
        sql.conditions(query.checks);
        sql.push(&format!(" ORDER BY f.rank, t.\"{id}\" LIMIT ")).bind(Bind::Value(query.limit.into()));
        let (rows, more) = self.rows(sql.build(), query.limit, query.attempt).await?;
        // bm25 is negative, better is lower, and its size depends on the whole collection: scores are relative to the best.
        let best = rows.first().and_then(|r| r.get("$rank")).and_then(Value::as_f64).unwrap_or(-1.0);
        let score = |rank| if best < 0.0 { rank / best } else { 1.0 };
        Ok(Found { matches: collection::matches(rows, columns, score), more })
    }

    async fn by_scan(&self, words: &[String], query: &Query<'_>) -> Result<Found, SourceError> {
        let SqliteTablePlan { table, columns, .. } = &self.plan;
        let (listed, text) = (self.plan.listed(), &columns.text);
        let mut sql = Builder::new(Engine::Sqlite);
        sql.push(&format!("SELECT * FROM (SELECT {listed}, -(SELECT count(*) FROM json_each("))
            .bind(Bind::Value(words.iter().map(|word| forms(word)).collect()));
        sql.push(&format!(
            ") AS w WHERE EXISTS (SELECT 1 FROM json_each(w.value) AS f WHERE instr(lower(t.\"{text}\"), f.value) > 0)) \
             AS \"$rank\" FROM \"{table}\" AS t WHERE 1"
        ));
        sql.conditions(query.checks);
        sql.push(") WHERE \"$rank\" < 0 ORDER BY \"$rank\" LIMIT ").bind(Bind::Value(query.limit.into()));
        let (rows, more) = self.rows(sql.build(), query.limit, query.attempt).await?;
        #[expect(clippy::cast_precision_loss, reason = "at most 32 words")]
        let total = words.len() as f64;
        Ok(Found { matches: collection::matches(rows, columns, |rank| -rank / total), more })
    }

    async fn has_index(&self, attempt: Attempt<'_>) -> Result<bool, SourceError> {
        if self.indexed.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let text: Arc<str> =
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1 COLLATE NOCASE".into();
        let name = Bind::Value(Value::from(format!("{}_fts", self.plan.table)));
        let (rows, _) = self.rows((text.into(), vec![name]), 1, attempt).await?;
        self.indexed.store(!rows.is_empty(), Ordering::Relaxed);
        Ok(!rows.is_empty())
    }

    async fn rows(
        &self,
        text: (SqlText, Vec<Bind>),
        limit: usize,
        attempt: Attempt<'_>,
    ) -> Result<(Vec<Value>, bool), SourceError> {
        let statement = Statement {
            max_rows: limit,
            max_bytes: attempt.max_bytes,
            ..Statement::read(text, attempt.left(Duration::MAX))
        };
        self.database.run(statement).await.map(|a| (a.rows, a.more))
    }
}

/// A word as it may stand in a text of which SQLite has made the ASCII letters small, and no others.
fn forms(word: &str) -> Value {
    let mut letters = word.chars();
    let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let mut forms = vec![word.to_owned()];
    for form in [title, word.to_uppercase()] {
        let form = form.to_ascii_lowercase();
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    json!(forms)
}
