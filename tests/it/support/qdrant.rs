//! A Qdrant for the tests: the real one of `TEST_QDRANT_URL`, else a contract server. That one speaks the documented part of its
//! REST API over real HTTP, keeps points in memory, computes real scores and filters, and refuses every key that the API has not.

mod filter;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::upstream::{Seen, Step, Upstream, reply};
use super::{Connection, message};
use filter::holds;

/// What the contract server wants as `api-key`.
pub const KEY: &str = "qdrant-key-31337";

/// Where the tests' collections are.
pub struct Qdrant {
    pub url: String,
    address: SocketAddr,
    /// The contract server; `None` is a real Qdrant.
    pub contract: Option<Upstream>,
    made: Mutex<Vec<String>>,
}

impl Qdrant {
    pub async fn start() -> Self {
        let (url, address, contract) = match std::env::var("TEST_QDRANT_URL") {
            Ok(url) => {
                let url = url.trim_end_matches('/').to_owned();
                let host = url.strip_prefix("http://").expect("TEST_QDRANT_URL begins with http://");
                let address = tokio::net::lookup_host(host).await.unwrap().next().unwrap();
                (url, address, None)
            }
            Err(_) => {
                let server = contract().await;
                (server.url(), server.address, Some(server))
            }
        };
        Self { url, address, contract, made: Mutex::default() }
    }

    /// Makes a collection with a full-text index on `content`, of points `(id, vector, payload)`.
    pub async fn collection(&self, name: &str, vectors: Value, points: Value) -> String {
        let name = format!("{name}_{}", std::process::id());
        let at = format!("/collections/{name}");
        let _ = self.send("DELETE", &at, &Value::Null).await;
        self.made.lock().unwrap().push(at.clone());
        assert_eq!(self.send("PUT", &at, &json!({ "vectors": vectors })).await.0, 200);
        let index = json!({ "field_name": "content", "field_schema": "text" });
        assert_eq!(self.send("PUT", &format!("{at}/index?wait=true"), &index).await.0, 200);
        let (status, said) =
            self.send("PUT", &format!("{at}/points?wait=true"), &json!({ "points": points })).await;
        assert_eq!(status, 200, "{said}");
        name
    }

    /// Removes what was made.
    pub async fn gone(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        for at in made {
            self.send("DELETE", &at, &Value::Null).await;
        }
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = message::headers(&[
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("api-key", KEY),
        ]);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let mut connection = Connection::open(self.address).await.unwrap();
        let reply = connection.send(method, path, &headers, &body).await.unwrap();
        (reply.status, reply.json())
    }
}

/// Points by their id, and how they are measured.
struct Collection {
    vectors: Value,
    texts: Vec<String>,
    points: BTreeMap<u64, Point>,
}

struct Point {
    vector: Value,
    payload: Map<String, Value>,
}

type Answer = Result<Value, (u16, String)>;

fn bad<T>(why: impl Into<String>) -> Result<T, (u16, String)> {
    Err((400, why.into()))
}

async fn contract() -> Upstream {
    let state: Mutex<BTreeMap<String, Collection>> = Mutex::default();
    Upstream::start(move |seen| {
        let answer = match seen.header("api-key") {
            Some(key) if key == KEY => answer(seen, &mut state.lock().unwrap()),
            _ => Err((401, "Must provide an API key or an Authorization bearer token".to_owned())),
        };
        let (status, body) = match answer {
            Ok(result) => ("200 OK", json!({ "result": result, "status": "ok", "time": 0.001 })),
            Err((status, why)) => {
                let line = match status {
                    401 => "401 Unauthorized",
                    404 => "404 Not Found",
                    _ => "400 Bad Request",
                };
                (line, json!({ "status": { "error": why }, "time": 0.0 }))
            }
        };
        vec![Step::Send(reply(status, "application/json", body.to_string().as_bytes()))]
    })
    .await
}

fn answer(seen: &Seen, all: &mut BTreeMap<String, Collection>) -> Answer {
    let parts: Vec<&str> = seen.path().trim_start_matches('/').split('/').collect();
    let ["collections", name, rest @ ..] = parts.as_slice() else { return Err((404, String::new())) };
    let name = percent_encoding::percent_decode_str(name).decode_utf8().unwrap().into_owned();
    let body: Value = match seen.body.as_slice() {
        b"" => Value::Null,
        bytes => {
            serde_json::from_slice(bytes).map_err(|e| (400, format!("Format error in JSON body: {e}")))?
        }
    };
    if !seen.body.is_empty() && seen.header("content-type").as_deref() != Some("application/json") {
        return bad("Content type error");
    }
    match (seen.method.as_str(), rest) {
        ("PUT", []) => {
            only(&body, &["vectors"])?;
            let vectors = body["vectors"].clone();
            all.insert(name, Collection { vectors, texts: vec![], points: BTreeMap::new() });
            return Ok(json!(true));
        }
        ("DELETE", []) => return Ok(json!(all.remove(&name).is_some())),
        _ => {}
    }
    let missing = || (404, format!("Not found: Collection `{name}` doesn't exist!"));
    let collection = all.get_mut(&name).ok_or_else(missing)?;
    match (seen.method.as_str(), rest) {
        ("GET", []) => {
            let index =
                collection.texts.iter().map(|t| (t.clone(), json!({ "data_type": "text", "points": 0 })));
            Ok(json!({
                "status": "green", "optimizer_status": "ok", "segments_count": 1, "points_count": collection.points.len(),
                "config": { "params": { "vectors": collection.vectors, "shard_number": 1 } },
                "payload_schema": index.collect::<Map<_, _>>()
            }))
        }
        ("PUT", ["index"]) => {
            only(&body, &["field_name", "field_schema"])?;
            collection.texts.push(body["field_name"].as_str().unwrap().to_owned());
            Ok(json!({ "operation_id": 1, "status": "completed" }))
        }
        ("PUT", ["points"]) => {
            for point in body["points"].as_array().ok_or((400, "no points".to_owned()))? {
                only(point, &["id", "vector", "payload"])?;
                let payload = point["payload"].as_object().cloned().unwrap_or_default();
                let point_id = point["id"].as_u64().ok_or((400, "no id".to_owned()))?;
                collection.points.insert(point_id, Point { vector: point["vector"].clone(), payload });
            }
            Ok(json!({ "operation_id": 2, "status": "completed" }))
        }
        ("POST", ["points", "query"]) => query(&body, collection),
        ("POST", ["points", "scroll"]) => scroll(&body, collection),
        _ => Err((404, String::new())),
    }
}

/// Refuses a key that is not one of these.
fn only(body: &Value, keys: &[&str]) -> Result<(), (u16, String)> {
    let Some(body) = body.as_object() else { return bad("Format error in JSON body: an object is expected") };
    match body.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(unknown) => bad(format!("Format error in JSON body: unknown field `{unknown}`")),
        None => Ok(()),
    }
}

fn query(body: &Value, collection: &Collection) -> Answer {
    only(
        body,
        &[
            "query",
            "using",
            "filter",
            "params",
            "limit",
            "offset",
            "with_payload",
            "with_vector",
            "score_threshold",
        ],
    )?;
    if let Some(params) = body.get("params") {
        only(params, &["hnsw_ef", "exact", "indexed_only", "quantization"])?;
        if params["hnsw_ef"].as_u64().is_none() {
            return bad("hnsw_ef is no number");
        }
    }
    let using = body.get("using").and_then(Value::as_str);
    let kind = match using {
        Some(name) => collection.vectors.get(name),
        None => Some(&collection.vectors).filter(|v| v.get("size").is_some()),
    };
    let Some(kind) = kind else {
        return bad(format!("Wrong input: Not existing vector name error: {}", using.unwrap_or_default()));
    };
    let wanted = numbers(&body["query"]).ok_or((400, "the query is no vector".to_owned()))?;
    let size = kind["size"].as_u64().unwrap();
    if wanted.len() as u64 != size {
        return bad(format!(
            "Wrong input: Vector dimension error: expected dim: {size}, got {}",
            wanted.len()
        ));
    }
    let mut scored = Vec::new();
    for (id, point) in &collection.points {
        if !holds(body.get("filter"), &point.payload, &collection.texts)? {
            continue;
        }
        let stored = numbers(using.map_or(&point.vector, |name| &point.vector[name])).unwrap();
        scored.push((score(kind["distance"].as_str().unwrap(), &wanted, &stored), *id, point));
    }
    let nearer_is_less = kind["distance"] == "Euclid";
    scored.sort_by(|a, b| if nearer_is_less { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) });
    let limit = limit(body)?;
    let points: Result<Vec<Value>, _> = scored
        .into_iter()
        .take(limit)
        .map(|(score, id, point)| {
            let payload = shown(body.get("with_payload"), &point.payload)?;
            Ok(json!({ "id": id, "version": 0, "score": score, "payload": payload }))
        })
        .collect();
    Ok(json!({ "points": points? }))
}

fn scroll(body: &Value, collection: &Collection) -> Answer {
    only(body, &["filter", "limit", "offset", "with_payload", "with_vector", "order_by"])?;
    let limit = limit(body)?;
    let mut points = Vec::new();
    for (id, point) in &collection.points {
        if points.len() < limit && holds(body.get("filter"), &point.payload, &collection.texts)? {
            points.push(json!({ "id": id, "payload": shown(body.get("with_payload"), &point.payload)? }));
        }
    }
    Ok(json!({ "points": points, "next_page_offset": null }))
}

fn limit(body: &Value) -> Result<usize, (u16, String)> {
    match body["limit"].as_u64() {
        Some(limit @ 1..) => Ok(usize::try_from(limit).unwrap()),
        _ => bad("Validation error in JSON body: [limit: value below minimum 1]"),
    }
}

fn numbers(vector: &Value) -> Option<Vec<f64>> {
    vector.as_array()?.iter().map(Value::as_f64).collect()
}

fn score(distance: &str, a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    match distance {
        "Cosine" => dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
        "Dot" => dot(a, b),
        "Euclid" => a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt(),
        other => panic!("{other}"),
    }
}

/// The keys of the payload that are asked for.
fn shown(wanted: Option<&Value>, payload: &Map<String, Value>) -> Result<Value, (u16, String)> {
    match wanted {
        Some(Value::Bool(true)) => Ok(json!(payload)),
        None | Some(Value::Bool(false)) => Ok(Value::Null),
        Some(Value::Array(keys)) => {
            let kept = payload.iter().filter(|(key, _)| keys.contains(&json!(key)));
            Ok(kept.map(|(k, v)| (k.clone(), v.clone())).collect::<Map<_, _>>().into())
        }
        Some(_) => bad("with_payload has another form than it may have"),
    }
}
