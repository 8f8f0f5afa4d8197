//! One search: by vector, by words, or both merged by reciprocal rank.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Vector;
use super::config::{DistanceConfig, ModeConfig};
use super::plan::{MAX_LIMIT, VectorOp};
use crate::output::{Reply, Rows};
use crate::params::Arguments;
use crate::source::database::{Access, Bind, Statement};
use crate::source::{Attempt, SourceError};

/// The constant of reciprocal rank fusion.
const RRF: f64 = 60.0;
/// How many words of a question are looked for.
const MAX_WORDS: usize = 32;
/// The longest question, in bytes.
const MAX_QUESTION: usize = 32 << 10;

/// A row with its score, higher is nearer.
struct Match {
    id: Value,
    score: f64,
    row: Map<String, Value>,
}

impl Vector {
    pub(super) async fn search(
        &self,
        op: &VectorOp,
        arguments: &Arguments,
        attempt: Attempt<'_>,
    ) -> Result<Reply, SourceError> {
        let question = op.search.render(arguments).unwrap_or_default();
        if question.trim().is_empty() {
            return Err(SourceError::Argument("The text to search for is empty.".to_owned()));
        }
        if question.len() > MAX_QUESTION {
            return Err(SourceError::Argument(format!(
                "The text to search for is longer than {MAX_QUESTION} bytes."
            )));
        }
        let asked = limit(op, arguments)?;
        let limit = asked.min(attempt.max_rows);
        let matches = match op.mode {
            ModeConfig::Vector => self.by_vector(op, arguments, &question, limit, attempt).await?,
            ModeConfig::Text => self.by_words(op, arguments, &question, limit, attempt).await?,
            ModeConfig::Hybrid => {
                // Each list is read deeper than the answer, so that what is middling in both can rise.
                let depth = (limit * 4).clamp(20, MAX_LIMIT);
                let near = self.by_vector(op, arguments, &question, depth, attempt).await?;
                let worded = self.by_words(op, arguments, &question, depth, attempt).await?;
                fuse(near, worded, limit)
            }
        };
        let floor = op.min_score.unwrap_or(f64::NEG_INFINITY);
        let kept = matches.into_iter().filter(|m| m.score >= floor);
        let items: Vec<Value> = kept.map(|m| self.present(m)).collect();
        // Fewer than asked for because of the cap, not because there are no more.
        let more = limit < asked && items.len() == limit;
        Ok(Reply::Rows(Rows { member: "matches", items, more, page: Vec::new() }))
    }

    async fn by_vector(
        &self,
        op: &VectorOp,
        arguments: &Arguments,
        question: &str,
        limit: usize,
        attempt: Attempt<'_>,
    ) -> Result<Vec<Match>, SourceError> {
        let vector = self.embedder.embed(question, attempt.left(Duration::MAX)).await?;
        if vector.iter().all(|x| *x == 0.0) {
            return Ok(Vec::new());
        }
        let vector = Bind::Blob(vector.iter().flat_map(|x| x.to_le_bytes()).collect());
        let rows = self.rows(&op.by_vector, vector, op, arguments, limit, attempt).await?;
        let score = |distance: f64| match self.plan.distance {
            DistanceConfig::Cosine => 1.0 - distance,
            DistanceConfig::L2 => 1.0 / (1.0 + distance),
        };
        Ok(self.matches(rows, score))
    }

    async fn by_words(
        &self,
        op: &VectorOp,
        arguments: &Arguments,
        question: &str,
        limit: usize,
        attempt: Attempt<'_>,
    ) -> Result<Vec<Match>, SourceError> {
        let words: Vec<String> = question
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .take(MAX_WORDS)
            .map(str::to_lowercase)
            .collect();
        if words.is_empty() {
            return Ok(Vec::new());
        }
        if self.has_index(attempt).await? {
            // Every word quoted: nothing of the question is read as FTS5 syntax.
            let query: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
            let query = Bind::Value(Value::from(query.join(" OR ")));
            let rows = self.rows(&op.by_index, query, op, arguments, limit, attempt).await?;
            // bm25 is negative, better is lower, and its size depends on the whole collection: scores are relative to the best.
            let best = rows.first().and_then(|r| r.get("$rank")).and_then(Value::as_f64).unwrap_or(-1.0);
            return Ok(self.matches(rows, |rank| if best < 0.0 { rank / best } else { 1.0 }));
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 32 words")]
        let total = words.len() as f64;
        let words = Bind::Value(json!(words));
        let rows = self.rows(&op.by_scan, words, op, arguments, limit, attempt).await?;
        Ok(self.matches(rows, |rank| -rank / total))
    }

    async fn has_index(&self, attempt: Attempt<'_>) -> Result<bool, SourceError> {
        let look = || async {
            let statement = Statement {
                text: Arc::<str>::from("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1")
                    .into(),
                binds: vec![Bind::Value(Value::from(format!("{}_fts", self.plan.columns.table)))],
                session: Vec::new(),
                access: Access::Read,
                count: false,
                max_rows: 1,
                max_bytes: 1024,
                limit: attempt.left(Duration::MAX),
            };
            self.sqlite.run(statement).await.map(|a| !a.rows.is_empty())
        };
        self.indexed.get_or_try_init(look).await.copied()
    }

    async fn rows(
        &self,
        text: &Arc<str>,
        first: Bind,
        op: &VectorOp,
        arguments: &Arguments,
        limit: usize,
        attempt: Attempt<'_>,
    ) -> Result<Vec<Value>, SourceError> {
        let mut binds = vec![first, Bind::Value(Value::from(limit))];
        for condition in &op.filter {
            let value = condition.render(arguments).filter(|v| !v.is_null());
            binds.push(Bind::Value(Value::from(i64::from(value.is_some()))));
            binds.push(Bind::Value(value.unwrap_or_default()));
        }
        let statement = Statement {
            text: text.clone().into(),
            binds,
            session: Vec::new(),
            access: Access::Read,
            count: false,
            max_rows: limit,
            max_bytes: usize::MAX,
            limit: attempt.left(Duration::MAX),
        };
        self.sqlite.run(statement).await.map(|a| a.rows)
    }

    fn matches(&self, rows: Vec<Value>, score: impl Fn(f64) -> f64) -> Vec<Match> {
        let objects = rows.into_iter().filter_map(|row| match row {
            Value::Object(map) => Some(map),
            _ => None,
        });
        objects
            .map(|mut row| {
                let rank = row.remove("$rank").and_then(|r| r.as_f64()).unwrap_or(f64::INFINITY);
                let id = row.get(&self.plan.columns.id).cloned().unwrap_or_default();
                Match { id, score: score(rank), row }
            })
            .collect()
    }

    /// `{id, score, text, metadata}`; the vector itself is left out.
    fn present(&self, found: Match) -> Value {
        let columns = &self.plan.columns;
        let Match { id, score, mut row } = found;
        row.shift_remove(&columns.id);
        row.shift_remove(&columns.embedding);
        let text = row.shift_remove(&columns.text).unwrap_or_default();
        let score = (score * 1e4).round() / 1e4;
        let mut item = Map::new();
        item.insert("id".to_owned(), id);
        item.insert("score".to_owned(), json!(score));
        item.insert("text".to_owned(), text);
        if !row.is_empty() {
            item.insert("metadata".to_owned(), Value::Object(row));
        }
        Value::Object(item)
    }
}

fn limit(op: &VectorOp, arguments: &Arguments) -> Result<usize, SourceError> {
    let value = op.limit.render(arguments).unwrap_or(json!(10));
    match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
        Some(n) if (1..=MAX_LIMIT).contains(&n) => Ok(n),
        _ => Err(SourceError::Argument(format!("The limit is a number from 1 to {MAX_LIMIT}."))),
    }
}

/// Reciprocal rank fusion, scaled so that being first in both lists is 1.
fn fuse(near: Vec<Match>, worded: Vec<Match>, limit: usize) -> Vec<Match> {
    let mut merged: Vec<Match> = Vec::new();
    for list in [near, worded] {
        for (rank, mut found) in (1_u32..).zip(list) {
            let share = (RRF + 1.0) / (RRF + f64::from(rank)) / 2.0;
            match merged.iter_mut().find(|m| m.id == found.id) {
                Some(known) => known.score += share,
                None => {
                    found.score = share;
                    merged.push(found);
                }
            }
        }
    }
    merged.sort_by(|a, b| b.score.total_cmp(&a.score));
    merged.truncate(limit);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusion_prefers_what_both_lists_find() {
        let found = |id: i64| Match { id: id.into(), score: 9.0, row: Map::new() };
        let fused = fuse(vec![found(1), found(2), found(3)], vec![found(2), found(4)], 3);
        let ids: Vec<i64> = fused.iter().filter_map(|m| m.id.as_i64()).collect();
        assert_eq!(ids, [2, 1, 4]);
        let both = fuse(vec![found(1)], vec![found(1)], 3);
        assert!((both[0].score - 1.0).abs() < 1e-9);
    }
}
