//! A collection in Qdrant, over its REST API: nearest points by a query, words by its full-text index.

mod facts;
mod plan;

pub(super) use plan::{QdrantPlan, key};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::collection::{self, Found, Match, Query, check_length};
use super::config::DistanceConfig;
use super::filter::{Check, Checked};
use super::search::words;
use crate::source::http::{self, Answer};
use crate::source::mask::Mask;
use crate::source::{Attempt, SourceError};
use facts::Facts;
use plan::path;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 << 20;
/// How many points with one of the words are ranked: Qdrant finds words and does not rank by them.
const MAX_WORDED: usize = 1000;
/// The longest a probe takes.
const PROBE: Duration = Duration::from_secs(5);

/// A live collection.
#[derive(Debug)]
pub(super) struct Qdrant {
    plan: QdrantPlan,
    client: reqwest::Client,
    /// What the server said of the collection. Held for single operations only.
    facts: Mutex<Option<Arc<Facts>>>,
}

impl Qdrant {
    pub(super) fn open(plan: &QdrantPlan) -> Result<Self, String> {
        let client = http::client(plan.url.starts_with("https:"))?;
        Ok(Self { plan: plan.clone(), client, facts: Mutex::default() })
    }

    pub(super) async fn probe(
        &self,
        length: Option<usize>,
        distance: DistanceConfig,
    ) -> Result<(), SourceError> {
        self.forget();
        let facts = self.facts(PROBE).await?;
        facts.measured_by(distance)?;
        length.map_or(Ok(()), |length| check_length(length, facts.length))
    }

    pub(super) async fn nearest(&self, vector: &[f32], query: &Query<'_>) -> Result<Found, SourceError> {
        let fits = |facts: &Facts| {
            facts.measured_by(query.distance)?;
            check_length(vector.len(), facts.length)
        };
        if fits(&*self.facts(self.left(query.attempt)).await?).is_err() {
            // The collection may be another one by now.
            self.forget();
            fits(&*self.facts(self.left(query.attempt)).await?)?;
        }
        let mut body = Map::new();
        body.insert("query".to_owned(), json!(vector));
        if let Some(name) = &self.plan.vector_name {
            body.insert("using".to_owned(), json!(name));
        }
        body.insert("filter".to_owned(), json!({ "must": conditions(query.checks)? }));
        if let Some(ef_search) = query.ef_search {
            body.insert("params".to_owned(), json!({ "hnsw_ef": ef_search }));
        }
        body.insert("limit".to_owned(), json!(query.limit));
        body.insert("with_payload".to_owned(), self.payload());
        let answer = self.post("query", body, query.attempt).await?;
        let score = |score: f64| match query.distance {
            // Qdrant gives the cosine and the product themselves, of L2 the distance.
            DistanceConfig::Cosine | DistanceConfig::InnerProduct => score,
            DistanceConfig::L2 => collection::score(DistanceConfig::L2, score),
        };
        let matches = points(answer)?.into_iter().filter_map(|point| {
            let scored = score(point.get("score")?.as_f64()?);
            Some(self.read(point, scored))
        });
        let mut matches: Vec<Match> = matches.collect();
        matches.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Found { matches, more: false })
    }

    pub(super) async fn worded(&self, question: &str, query: &Query<'_>) -> Result<Found, SourceError> {
        let words = words(question);
        if words.is_empty() {
            return Ok(Found::default());
        }
        if !self.facts(self.left(query.attempt)).await?.words {
            // It may have one by now, at the next call.
            self.forget();
            let detail =
                format!("no full-text index on `{}` of {}", self.plan.columns.text, self.plan.collection);
            let reason = "its collection has no full-text index on the text, which `text` and `hybrid` need";
            return Err(SourceError::Unfit { reason, detail });
        }
        let text = path(&self.plan.columns.text);
        let any: Vec<Value> =
            words.iter().map(|word| json!({ "key": text, "match": { "text": word } })).collect();
        let mut must = conditions(query.checks)?;
        must.push(json!({ "should": any }));
        let mut body = Map::new();
        body.insert("filter".to_owned(), json!({ "must": must }));
        body.insert("limit".to_owned(), json!(MAX_WORDED));
        body.insert("with_payload".to_owned(), self.payload());
        let answer = self.post("scroll", body, query.attempt).await?;
        let mut matches: Vec<Match> = points(answer)?
            .into_iter()
            .map(|point| {
                let mut found = self.read(point, 0.0);
                found.score = share(&words, found.text.as_str().unwrap_or_default());
                found
            })
            .collect();
        matches.sort_by(|a, b| b.score.total_cmp(&a.score));
        matches.truncate(query.limit);
        Ok(Found { matches, more: false })
    }

    /// Which keys of the payload come back.
    fn payload(&self) -> Value {
        match &self.plan.columns.metadata {
            None => json!(true),
            Some(keys) => {
                let keys = std::iter::once(&self.plan.columns.text).chain(keys);
                json!(keys.map(|key| path(key)).collect::<Vec<_>>())
            }
        }
    }

    fn read(&self, mut point: Map<String, Value>, score: f64) -> Match {
        let id = point.remove("id").unwrap_or_default();
        let mut metadata = match point.remove("payload") {
            Some(Value::Object(payload)) => payload,
            _ => Map::new(),
        };
        let text = take(&mut metadata, &self.plan.columns.text).unwrap_or_default();
        Match { id, score, text, metadata }
    }

    async fn post(
        &self,
        what: &str,
        body: Map<String, Value>,
        attempt: Attempt<'_>,
    ) -> Result<Value, SourceError> {
        let url = format!("{}/points/{what}", self.plan.url);
        let request = self.client.post(url).header("content-type", "application/json");
        let request = request.body(Value::Object(body).to_string());
        let result = self.ask(request, self.left(attempt)).await;
        if matches!(result, Err(SourceError::Status { .. } | SourceError::Unfit { .. })) {
            // The collection may have been made anew.
            self.forget();
        }
        result
    }

    /// `result` of an answer.
    async fn ask(&self, request: reqwest::RequestBuilder, limit: Duration) -> Result<Value, SourceError> {
        let request = match &self.plan.api_key {
            Some(key) => request.header("api-key", key.expose()),
            None => request,
        };
        let Answer { status, body, .. } = http::fetch(request, MAX_ANSWER, limit).await?;
        let mask = Mask::new(self.plan.api_key.clone());
        match status {
            200 => {}
            404 => {
                let detail = mask.excerpt(&body);
                return Err(SourceError::Unfit { reason: "its collection is not there", detail });
            }
            status => return Err(SourceError::Status { status, body: mask.excerpt(&body) }),
        }
        let mut answer: Value = serde_json::from_slice(&body)
            .map_err(|e| SourceError::BadReply { reason: "no JSON from Qdrant", detail: e.to_string() })?;
        Ok(answer.get_mut("result").map(Value::take).unwrap_or_default())
    }

    fn left(&self, attempt: Attempt<'_>) -> Duration {
        attempt.left(self.plan.timeout.0)
    }

    fn forget(&self) {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the server says of the collection, asked once.
    async fn facts(&self, limit: Duration) -> Result<Arc<Facts>, SourceError> {
        let lock = || self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = lock().clone() {
            return Ok(facts);
        }
        let answer = self.ask(self.client.get(&self.plan.url), limit).await?;
        let facts = Arc::new(Facts::read(&self.plan, &answer)?);
        *lock() = Some(facts.clone());
        Ok(facts)
    }
}

fn points(mut answer: Value) -> Result<Vec<Map<String, Value>>, SourceError> {
    let Some(Value::Array(points)) = answer.get_mut("points").map(Value::take) else {
        return Err(SourceError::BadReply { reason: "no points from Qdrant", detail: String::new() });
    };
    let objects = points.into_iter().filter_map(|point| match point {
        Value::Object(point) => Some(point),
        _ => None,
    });
    Ok(objects.collect())
}

/// The share of the words that a text holds. Qdrant found one in another form (by its tokenizer) where we find none.
#[expect(clippy::cast_precision_loss, reason = "at most 32 words")]
fn share(words: &[String], text: &str) -> f64 {
    let text = text.to_lowercase();
    let held = words.iter().filter(|word| text.contains(word.as_str())).count();
    held.max(1) as f64 / words.len() as f64
}

/// The conditions as `must`, each of which Qdrant applies.
fn conditions(checks: &[Check]) -> Result<Vec<Value>, SourceError> {
    checks.iter().map(|Check { column, test }| condition(column, test)).collect()
}

fn condition(column: &str, test: &Checked) -> Result<Value, SourceError> {
    let key = path(column);
    Ok(match test {
        Checked::Equals(value) => equals(column, &key, value)?,
        // An empty list would be no condition to Qdrant; it never comes here.
        Checked::In(values) => {
            let any: Result<Vec<Value>, _> = values.iter().map(|v| equals(column, &key, v)).collect();
            json!({ "should": any? })
        }
        Checked::Bound(bound, value) => {
            if value.as_str().is_some_and(|text| !is_date(text)) {
                let sentence =
                    format!("`{column}` takes a number or a date such as 2026-01-31 as its bound.");
                return Err(SourceError::Argument(sentence));
            }
            if value.is_number() && !is_exact(value) {
                return Err(too_large(column));
            }
            json!({ "key": key, "range": { bound.key(): value } })
        }
    })
}

/// `match` knows texts, booleans and whole numbers, and takes 3 and 3.0 for two numbers; `range` compares as 64-bit floats.
fn equals(column: &str, key: &str, value: &Value) -> Result<Value, SourceError> {
    let matched = json!({ "key": key, "match": { "value": value } });
    let within = || json!({ "key": key, "range": { "gte": value, "lte": value } });
    Ok(match value {
        Value::Number(n) if n.is_i64() && is_exact(value) => json!({ "should": [matched, within()] }),
        Value::Number(n) if n.is_i64() => matched,
        Value::Number(_) if is_exact(value) => within(),
        Value::Number(_) => return Err(too_large(column)),
        _ => matched,
    })
}

/// Whether no other whole number is the same 64-bit float.
fn is_exact(number: &Value) -> bool {
    number.as_f64().is_some_and(|n| n.abs() < 9_007_199_254_740_992.0)
}

fn too_large(column: &str) -> SourceError {
    SourceError::Argument(format!("The number for `{column}` is larger than this source can compare."))
}

/// Whether a text begins like a date, which is all that Qdrant compares beside numbers.
fn is_date(text: &str) -> bool {
    let digits = |part: Option<&str>, n: usize| {
        part.is_some_and(|p| p.len() == n && p.chars().all(|c| c.is_ascii_digit()))
    };
    let mut parts = text.get(..10).unwrap_or_default().split('-');
    digits(parts.next(), 4) && digits(parts.next(), 2) && digits(parts.next(), 2) && parts.next().is_none()
}

/// Takes what a key names out of a payload; `a.b` is `b` inside `a`.
fn take(payload: &mut Map<String, Value>, key: &str) -> Option<Value> {
    if let Some(value) = payload.shift_remove(key) {
        return Some(value);
    }
    let (first, rest) = key.split_once('.')?;
    let inner = payload.get_mut(first)?.as_object_mut()?;
    let value = take(inner, rest)?;
    if inner.is_empty() {
        payload.shift_remove(first);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_dots_is_taken_from_inside() {
        let Value::Object(mut payload) =
            json!({ "doc": { "body": "a", "page": 3 }, "b.c": 1, "alone": { "x": 2 } })
        else {
            unreachable!()
        };
        assert_eq!(take(&mut payload, "doc.body"), Some(json!("a")));
        assert_eq!(take(&mut payload, "b.c"), Some(json!(1)));
        assert_eq!(take(&mut payload, "alone.x"), Some(json!(2)));
        assert_eq!(take(&mut payload, "doc.nothing"), None);
        assert_eq!(Value::Object(payload), json!({ "doc": { "page": 3 } }));
    }
}
