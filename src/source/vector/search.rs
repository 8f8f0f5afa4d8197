//! One search: by vector, by words, or both merged by reciprocal rank.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::client::Vector;
use super::collection::{Found, Match, Query};
use super::config::ModeConfig;
use super::filter;
use super::plan::{MAX_LIMIT, VectorOp};
use crate::output::{Reply, Rows};
use crate::params::Arguments;
use crate::source::{Attempt, SourceError};

/// The constant of reciprocal rank fusion.
const RRF: f64 = 60.0;
/// How many words of a question are looked for.
pub(super) const MAX_WORDS: usize = 32;
/// The longest question, in bytes.
const MAX_QUESTION: usize = 32 << 10;

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
        let Some(checks) = filter::checks(&op.filter, arguments)? else {
            return Ok(reply(Vec::new(), false));
        };
        let query = |limit| Query {
            limit,
            checks: &checks,
            ef_search: op.ef_search,
            distance: self.plan.distance,
            attempt,
        };
        let Found { matches, more } = match op.mode {
            ModeConfig::Vector => self.nearest(&question, &query(limit)).await?,
            ModeConfig::Text => self.collection.worded(&question, &query(limit)).await?,
            ModeConfig::Hybrid => {
                // Each list is read deeper than the answer, so that what is middling in both can rise.
                let query = query((limit * 4).clamp(20, MAX_LIMIT));
                let near = self.nearest(&question, &query).await?;
                let worded = self.collection.worded(&question, &query).await?;
                let more = near.more || worded.more;
                Found { matches: fuse(near.matches, worded.matches, limit), more }
            }
        };
        let floor = op.min_score.unwrap_or(f64::NEG_INFINITY);
        let kept = matches.into_iter().filter(|m| m.score >= floor);
        let items: Vec<Value> = kept.map(present).collect();
        // Fewer than asked for because of a cap, not because there are no more.
        let more = more || limit < asked && items.len() == limit;
        Ok(reply(items, more))
    }

    async fn nearest(&self, question: &str, query: &Query<'_>) -> Result<Found, SourceError> {
        let vector = self.embedder.embed(question, query.attempt.left(Duration::MAX)).await?;
        if vector.iter().all(|x| *x == 0.0) {
            return Ok(Found::default());
        }
        self.collection.nearest(&vector, query).await
    }
}

fn reply(items: Vec<Value>, more: bool) -> Reply {
    Reply::Rows(Rows { member: "matches", items, more, page: Vec::new() })
}

/// The words of a question: runs of letters and digits, in lower case.
pub(super) fn words(question: &str) -> Vec<String> {
    question
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .take(MAX_WORDS)
        .map(str::to_lowercase)
        .collect()
}

/// `{id, score, text, metadata}`.
fn present(found: Match) -> Value {
    let Match { id, score, text, metadata } = found;
    let score = (score * 1e4).round() / 1e4;
    let mut item = Map::new();
    item.insert("id".to_owned(), id);
    item.insert("score".to_owned(), json!(score));
    item.insert("text".to_owned(), text);
    if !metadata.is_empty() {
        item.insert("metadata".to_owned(), Value::Object(metadata));
    }
    Value::Object(item)
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
    let share = |rank: u32| (RRF + 1.0) / (RRF + f64::from(rank)) / 2.0;
    let mut merged: Vec<(Match, bool)> = (1..)
        .zip(near)
        .map(|(rank, mut found)| {
            found.score = share(rank);
            (found, false)
        })
        .collect();
    let first = merged.len();
    for (rank, mut found) in (1..).zip(worded) {
        // Once each, also where an id is not unique: a row that is in both lists is one row, two rows of a list are two.
        let mut same = merged.iter_mut().take(first).filter(|(known, met)| !met && known.id == found.id);
        let known = if found.id.is_null() { None } else { same.find(|(known, _)| known.text == found.text) };
        match known {
            Some((known, met)) => {
                known.score += share(rank);
                *met = true;
            }
            None => {
                found.score = share(rank);
                merged.push((found, false));
            }
        }
    }
    let mut merged: Vec<Match> = merged.into_iter().map(|(found, _)| found).collect();
    merged.sort_by(|a, b| b.score.total_cmp(&a.score));
    merged.truncate(limit);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fusion_prefers_what_both_lists_find() {
        let found = |id: i64| Match { id: id.into(), score: 9.0, text: Value::Null, metadata: Map::new() };
        let fused = fuse(vec![found(1), found(2), found(3)], vec![found(2), found(4)], 3);
        let ids: Vec<i64> = fused.iter().filter_map(|m| m.id.as_i64()).collect();
        assert_eq!(ids, [2, 1, 4]);
        let both = fuse(vec![found(1)], vec![found(1)], 3);
        assert!((both[0].score - 1.0).abs() < 1e-9);
        let twins = fuse(vec![found(1), found(1), found(1)], vec![found(1), found(1)], 9);
        assert_eq!(twins.len(), 3);
        assert!(twins.iter().all(|m| m.score <= 1.0 + 1e-9));
        let nobody = || Match { id: Value::Null, score: 9.0, text: Value::Null, metadata: Map::new() };
        assert_eq!(fuse(vec![nobody(), nobody()], vec![nobody()], 9).len(), 3);
    }
}
