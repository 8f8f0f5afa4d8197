//! Vector search: the built-in embedder on the example handbook, filters and modes, and an embeddings service over real
//! HTTP that also misbehaves.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use sidegate::source::vector::hash::HashEmbedder;
use tempfile::TempDir;

use crate::naughty::STRINGS;
use crate::support::upstream::{self, Seen, reply};
use crate::support::{Gateway, LATE, Step, Upstream, failure, structured};

fn handbook() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handbook.sql");
    std::fs::copy(script, folder.path().join("init.sql")).unwrap();
    folder
}

const HANDBOOK: &str = r#"
sources:
  h: { vector: { sqlite: { url: "sqlite:h.db", table: chunks, init: init.sql }, embedder: { hash: { dimensions: 512 } } } }
  l2: { vector: { sqlite: { url: "sqlite:h2.db", table: chunks, init: init.sql }, distance: l2, embedder: { hash: { dimensions: 512 } } } }
  short: { vector: { sqlite: { url: "sqlite:h3.db", table: chunks, init: init.sql }, embedder: { hash: { dimensions: 256 } } } }
tools:
  vector: { description: V., params: { q: { type: string }, topic: { type: [string, "null"], optional: true }, limit: { type: integer, default: 3 } }, vector: { source: h, search: "{q}", limit: "{limit}", where: { topic: "{topic}" } } }
  text: { description: T., params: { q: { type: string }, topic: { type: string, optional: true } }, vector: { source: h, search: "{q}", limit: 3, mode: text, where: { topic: "{topic}" } } }
  hybrid: { description: H., params: { q: { type: string }, topic: { type: string, optional: true } }, vector: { source: h, search: "{q}", limit: 3, mode: hybrid, where: { topic: "{topic}" } } }
  floor: { description: F., params: { q: { type: string } }, vector: { source: h, search: "{q}", min_score: 0.2 } }
  tenant: { description: N., params: { q: { type: string }, topic: { const: returns } }, vector: { source: h, search: "{q}", limit: 1000, where: { topic: "{topic}" } } }
  l2: { description: L., params: { q: { type: string } }, vector: { source: l2, search: "{q}", limit: 3 } }
  short: { description: S., params: { q: { type: string } }, vector: { source: short, search: "{q}" } }
"#;

fn matches(result: &Value) -> &Vec<Value> {
    structured(result)["matches"].as_array().unwrap()
}

fn topics(result: &Value) -> Vec<&str> {
    matches(result).iter().map(|m| m["metadata"]["topic"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_handbook_answers_questions_in_every_mode() {
    let gateway = Gateway::start_in(handbook(), HANDBOOK).await;
    for tool in ["vector", "text", "hybrid", "l2"] {
        for (question, topic) in [
            ("How long do customers have to return an item for a refund?", "returns"),
            ("personal data requests and passwords", "support"),
        ] {
            let result = gateway.call(tool, json!({ "q": question })).await;
            let found = matches(&result);
            assert_eq!(found.len(), 3, "{tool}");
            assert_eq!(found[0]["metadata"]["topic"], topic, "{tool}: {question}: {}", found[0]);
            let scores: Vec<f64> = found.iter().map(|m| m["score"].as_f64().unwrap()).collect();
            assert!(
                scores.is_sorted_by(|a, b| a >= b)
                    && scores[0] <= 1.0
                    && scores[0] > scores[2]
                    && scores[2] >= 0.0,
                "{tool}: {scores:?}"
            );
            let keys: Vec<_> = found[0].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["id", "score", "text", "metadata"], "{tool}");
            assert!(found[0]["metadata"].get("embedding").is_none());
        }
    }
    let same = gateway.call("vector", json!({ "q": "refund of a returned item" })).await;
    assert_eq!(same, gateway.call("vector", json!({ "q": "refund of a returned item" })).await);
}

#[tokio::test]
async fn filters_limits_and_floors_hold() {
    let gateway = Gateway::start_in(handbook(), HANDBOOK).await;
    for tool in ["vector", "text", "hybrid"] {
        let result = gateway.call(tool, json!({ "q": "order customer parcel", "topic": "shipping" })).await;
        assert_eq!(topics(&result), ["shipping"; 3], "{tool}");
        let none = gateway.call(tool, json!({ "q": "order customer parcel", "topic": "nothing" })).await;
        assert_eq!(matches(&none).len(), 0, "{tool}");
        let hostile = gateway.call(tool, json!({ "q": "order", "topic": "x' OR '1'='1" })).await;
        assert_eq!(matches(&hostile).len(), 0, "{tool}");
    }
    for arguments in
        [json!({ "q": "order", "topic": null, "limit": 100 }), json!({ "q": "order", "limit": 100 })]
    {
        let result = gateway.call("vector", arguments).await;
        let all: std::collections::BTreeSet<_> = topics(&result).into_iter().collect();
        assert_eq!(all.len(), 4, "{all:?}");
    }
    // A pinned condition cannot be changed, whatever is asked.
    for question in ["shipping parcel carrier", "payments card", "' OR 1=1 --"] {
        let result = gateway.call("tenant", json!({ "q": question })).await;
        assert!(topics(&result).iter().all(|t| *t == "returns"), "{question}");
        assert!(
            failure(&gateway.call("tenant", json!({ "q": question, "topic": "shipping" })).await)
                .contains("topic")
        );
    }
    for limit in [1, 2, 7] {
        assert_eq!(
            matches(&gateway.call("vector", json!({ "q": "order", "limit": limit })).await).len(),
            limit
        );
    }
    for limit in [0, -1, 1001, 1_000_000_000] {
        let result = gateway.call("vector", json!({ "q": "order", "limit": limit })).await;
        assert!(failure(&result).contains("from 1 to 1000"), "{limit}: {}", failure(&result));
    }
    let floor = gateway.call("floor", json!({ "q": "How long do customers have to return an item?" })).await;
    let scores: Vec<f64> = matches(&floor).iter().map(|m| m["score"].as_f64().unwrap()).collect();
    assert!(!scores.is_empty() && scores.len() < 10 && scores.iter().all(|s| *s >= 0.2), "{scores:?}");
}

#[tokio::test]
async fn any_question_is_answered_or_refused_and_nothing_of_it_runs() {
    let gateway = Gateway::start_in(handbook(), HANDBOOK).await;
    let operators = [
        "\"",
        "a\" OR \"b",
        "NEAR(a b)",
        "content:order",
        "order*",
        "AND",
        "NOT",
        "(",
        "^order",
        "order AND",
    ];
    for tool in ["vector", "text", "hybrid"] {
        for question in STRINGS.iter().chain(&operators) {
            let result = gateway.call(tool, json!({ "q": question })).await;
            if question.trim().is_empty() {
                assert!(failure(&result).contains("is empty"), "{tool}: {question:?}");
            } else {
                assert!(matches(&result).len() <= 3, "{tool}: {question:?}");
            }
        }
        assert!(
            failure(&gateway.call(tool, json!({ "q": "x".repeat(40_000) })).await).contains("longer than")
        );
    }
    assert_eq!(matches(&gateway.call("vector", json!({ "q": "order", "limit": 100 })).await).len(), 16);
}

#[tokio::test]
async fn a_table_made_with_another_length_is_told() {
    let gateway = Gateway::start_in(handbook(), HANDBOOK).await;
    let result = gateway.call("short", json!({ "q": "order" })).await;
    let sentence = failure(&result);
    assert!(sentence.contains("`short`") && sentence.contains("(request "), "{sentence}");
    assert!(!sentence.contains("vec_distance") && !sentence.contains("SELECT"), "{sentence}");
    assert_eq!(matches(&gateway.call("vector", json!({ "q": "order" })).await).len(), 3);
}

#[tokio::test]
async fn words_are_found_without_an_index_too() {
    let folder = tempfile::tempdir().unwrap();
    let script = "CREATE TABLE c (key INTEGER PRIMARY KEY, body TEXT, vec TEXT, lang TEXT, hidden TEXT);
        INSERT INTO c VALUES (1, 'red apple pie', '[1,0]', 'en', 'no'), (2, 'green apple', '[0,1]', 'en', 'no'), (3, 'Apfel', NULL, 'de', 'no');";
    std::fs::write(folder.path().join("init.sql"), script).unwrap();
    let yaml = r#"
sources: { c: { vector: { sqlite: { url: "sqlite:c.db", table: c, init: init.sql, id: key, text: body, embedding: vec, metadata: [lang] }, embedder: { hash: { dimensions: 16 } } } } }
tools: { find: { description: F., params: { q: { type: string } }, vector: { source: c, search: "{q}", mode: text } } }
"#;
    let gateway = Gateway::start_in(folder, yaml).await;
    let result = gateway.call("find", json!({ "q": "Red APPLE?" })).await;
    assert_eq!(
        *matches(&result),
        [
            json!({ "id": 1, "score": 1.0, "text": "red apple pie", "metadata": { "lang": "en" } }),
            json!({ "id": 2, "score": 0.5, "text": "green apple", "metadata": { "lang": "en" } }),
        ]
    );
    assert_eq!(matches(&gateway.call("find", json!({ "q": "banana" })).await).len(), 0);
}

const DIMENSIONS: usize = 512;
const KEY: &str = "sk-embed-Key-77";

/// An embeddings service: the built-in vectors over HTTP; the model's name says how it misbehaves.
fn service(seen: &Seen) -> Vec<Step> {
    let ask: Value = serde_json::from_slice(&seen.body).unwrap();
    let answer =
        |vector: &str| upstream::json(&format!("{{\"data\":[{{\"index\":0,\"embedding\":[{vector}]}}]}}"));
    let page = |status, kind, body: &[u8]| vec![Step::Send(reply(status, kind, body))];
    match ask["model"].as_str().unwrap() {
        "good" => {
            let vector = HashEmbedder::new(DIMENSIONS).embed(ask["input"].as_str().unwrap());
            answer(&vector.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        "wrong-length" => answer("1,2,3"),
        "no-vector" => answer(""),
        "nan" => answer(&["NaN"; DIMENSIONS].join(",")),
        "infinite" => answer(&["1e39"; DIMENSIONS].join(",")),
        "texts" => answer(&["\"1\""; DIMENSIONS].join(",")),
        "no-data" => upstream::json("{\"data\":[]}"),
        "another-shape" => upstream::json("{\"object\":\"list\"}"),
        "status-500" => page("500 Internal Server Error", "text/plain", b"embed-body-secret"),
        "status-401" => page("401 Unauthorized", "text/plain", b"bad key sk-embed"),
        "html" => page("200 OK", "text/html", b"<html>embed-body-secret</html>"),
        "endless" => vec![
            Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
            Step::Repeat([b"10000\r\n", vec![b' '; 65536].as_slice(), b"\r\n"].concat(), 1000),
        ],
        _ => vec![Step::Hang],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embeddings_service_is_asked_over_http_and_its_faults_are_told() {
    const BAD: [&str; 12] = [
        "wrong-length",
        "no-vector",
        "nan",
        "infinite",
        "texts",
        "no-data",
        "another-shape",
        "status-500",
        "status-401",
        "html",
        "endless",
        "slow",
    ];
    let embedder = Upstream::start(service).await;
    let mut yaml = String::from("sources:\n");
    let mut tools = String::from("tools:\n");
    for model in BAD.iter().chain(&["good"]) {
        yaml.push_str(&format!(
            "  s-{model}: {{ vector: {{ sqlite: {{ url: \"sqlite:h.db\", table: chunks, init: init.sql }}, embedder: {{ openai: {{ base_url: \"{}/v1/\", model: {model}, api_key: {KEY}, dimensions: {DIMENSIONS}, timeout: 700ms }} }} }} }}\n",
            embedder.url()
        ));
        tools.push_str(&format!(
            "  {model}: {{ description: D., params: {{ q: {{ type: string }} }}, vector: {{ source: s-{model}, search: \"{{q}}\", limit: 3 }} }}\n"
        ));
    }
    let gateway = Gateway::start_in(handbook(), &(yaml + &tools)).await;
    let question = "personal \"data\" requests\nand passwords";
    let good = gateway.call("good", json!({ "q": question })).await;
    assert!(matches(&good)[0]["text"].as_str().unwrap().contains("Personal data"), "{good}");
    let seen = embedder.take().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/embeddings"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}")));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body, json!({ "model": "good", "input": question }));
    let port = embedder.address.port().to_string();
    for model in BAD {
        let started = Instant::now();
        let result = gateway.call(model, json!({ "q": question })).await;
        assert!(started.elapsed() < LATE, "{model}: {:?}", started.elapsed());
        let sentence = failure(&result);
        assert!(
            sentence.contains("(request ") && sentence.contains(&format!("`s-{model}`")),
            "{model}: {sentence}"
        );
        for hidden in [KEY, "sk-embed", "embed-body-secret", port.as_str(), "127.0.0.1"] {
            assert!(!sentence.contains(hidden), "{model}: {hidden} in {sentence}");
        }
        assert_eq!(matches(&gateway.call("good", json!({ "q": "order" })).await).len(), 3, "after {model}");
    }
}
