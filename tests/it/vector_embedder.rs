//! Embeddings services: retries that end with the deadline, vectors that are asked for once, batches; and a real model, behind
//! `TEST_EMBEDDER_URL` where `tests/run.sh` brings it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate::source::vector::hash::HashEmbedder;

use crate::postgres::Own;
use crate::support::upstream::{self, Step, Upstream, reply};
use crate::support::{Gateway, LATE, failure, structured};

fn good() -> Vec<Step> {
    upstream::json("{\"data\":[{\"index\":0,\"embedding\":[1,0]}]}")
}

async fn gateway(service: &str, timeout: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let script = "CREATE TABLE c (id INTEGER PRIMARY KEY, content TEXT, embedding TEXT); INSERT INTO c VALUES (1, 'a', '[1,0]');";
    std::fs::write(folder.path().join("init.sql"), script).unwrap();
    let config = json!({
        "sources": { "c": { "vector": { "sqlite": { "url": "sqlite:c.db", "table": "c", "init": "init.sql" },
            "embedder": { "openai": { "base_url": service, "model": "m", "timeout": timeout } } } } },
        "tools": { "find": { "description": "F.", "params": { "q": { "type": "string" } }, "vector": { "source": "c", "search": "{q}" } } }
    });
    Gateway::start_in(folder, &config.to_string()).await
}

fn count(result: &Value) -> usize {
    structured(result)["matches"].as_array().unwrap().len()
}

/// A service that fails as often as this before it answers.
async fn failing(times: usize, failure: Vec<Step>) -> Upstream {
    let asked = AtomicUsize::new(0);
    Upstream::start(
        move |_| {
            if asked.fetch_add(1, Ordering::Relaxed) < times { failure.clone() } else { good() }
        },
    )
    .await
}

#[tokio::test]
async fn a_fault_that_passes_is_asked_again_twice_and_no_more() {
    let page = |line: &str| vec![Step::Send(reply(line, "text/plain", b"later"))];
    for (what, fault) in [
        ("503", page("503 Service Unavailable")),
        ("500", page("500 Internal Server Error")),
        ("429", page("429 Too Many Requests")),
        ("closed", vec![Step::Close]),
        (
            "broken off",
            vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()), Step::Close],
        ),
    ] {
        let service = failing(2, fault.clone()).await;
        let healed = gateway(&service.url(), "5s").await;
        assert_eq!(count(&healed.call("find", json!({ "q": "a" })).await), 1, "{what}");
        assert_eq!(service.count(), 3, "{what}");
        let service = failing(3, fault).await;
        let failed = gateway(&service.url(), "5s").await;
        let result = failed.call("find", json!({ "q": "a" })).await;
        let said = failure(&result);
        assert!(said.contains("The embedder of the source `c`"), "{what}: {said}");
        assert_eq!(service.count(), 3, "{what}");
        // A failure is not kept.
        assert_eq!(count(&failed.call("find", json!({ "q": "a" })).await), 1, "{what}");
    }
    for line in ["400 Bad Request", "401 Unauthorized", "404 Not Found"] {
        let service = failing(1, page(line)).await;
        let refused = gateway(&service.url(), "5s").await;
        failure(&refused.call("find", json!({ "q": "a" })).await);
        assert_eq!(service.count(), 1, "{line}");
    }
}

#[tokio::test]
async fn a_service_that_says_when_is_asked_then_or_not_at_all() {
    let wait = |seconds: &str| {
        let head =
            format!("HTTP/1.1 429 Too Many Requests\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n");
        vec![Step::Send(head.into_bytes())]
    };
    let service = failing(1, wait("1")).await;
    let patient = gateway(&service.url(), "5s").await;
    let started = Instant::now();
    assert_eq!(count(&patient.call("find", json!({ "q": "a" })).await), 1);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    let endless = failing(1, wait("18446744073709551615")).await;
    let said = gateway(&endless.url(), "5s").await.call("find", json!({ "q": "a" })).await;
    assert!(failure(&said).contains("takes no more requests"), "{}", failure(&said));
    let service = failing(1, wait("3600")).await;
    let hasty = gateway(&service.url(), "5s").await;
    let started = Instant::now();
    let said = hasty.call("find", json!({ "q": "a" })).await;
    assert!(failure(&said).contains("takes no more requests"), "{}", failure(&said));
    assert!(started.elapsed() < LATE && service.count() == 1);
}

#[tokio::test]
async fn a_service_that_hangs_or_is_down_costs_no_more_than_its_time() {
    let hanging = Upstream::start(|_| vec![Step::Hang]).await;
    let down = Upstream::refusing().await;
    for (url, wanted) in
        [(hanging.url(), "gave no answer within"), (format!("http://{down}"), "cannot be reached")]
    {
        let gateway = gateway(&url, "900ms").await;
        let started = Instant::now();
        let said = gateway.call("find", json!({ "q": "a" })).await;
        assert!(failure(&said).contains(wanted), "{}", failure(&said));
        assert!(failure(&said).starts_with("The embedder of the source `c`"), "{}", failure(&said));
        assert!(started.elapsed() < LATE, "{:?}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_embedded_once_however_many_ask() {
    let service = Upstream::start(|_| [vec![Step::Wait(Duration::from_millis(300))], good()].concat()).await;
    let gateway = gateway(&service.url(), "5s").await;
    let calls = (0..20).map(|_| gateway.call("find", json!({ "q": "the same" })));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(count(&result), 1);
    }
    assert_eq!(service.count(), 1);
    // The exact text: no trimming, no folding of case.
    for question in ["the same", "the same ", "The same"] {
        assert_eq!(count(&gateway.call("find", json!({ "q": question })).await), 1);
    }
    assert_eq!(service.count(), 3);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_kept_by_nobody() {
    let refusal = reply("400 Bad Request", "text/plain", b"no");
    let service = failing(1, vec![Step::Wait(Duration::from_millis(300)), Step::Send(refusal)]).await;
    let gateway = gateway(&service.url(), "5s").await;
    let calls = (0..5).map(|_| gateway.call("find", json!({ "q": "a" })));
    let failed = futures_util::future::join_all(calls).await;
    assert!(failed.iter().any(|r| r["isError"] == true), "{failed:?}");
    assert!(service.count() <= 2, "{}", service.count());
    assert_eq!(count(&gateway.call("find", json!({ "q": "a" })).await), 1);
}

/// Passages and questions that share no word with the passage that answers them.
const PASSAGES: [&str; 6] = [
    "Customers get their money back within thirty days of purchase.",
    "Our shop opens at nine in the morning on weekdays.",
    "The cat slept on the warm windowsill all afternoon.",
    "Turn off the main power switch before replacing a fuse.",
    "Employees may work from home two days a week.",
    "The recipe needs flour, butter and three eggs.",
];
const PARAPHRASES: [(&str, usize); 4] = [
    ("How do I request a refund for an item I bought?", 1),
    ("a napping kitten", 3),
    ("Is telecommuting allowed for staff?", 5),
    ("baking ingredients list", 6),
];

/// The vector of a text by the model.
async fn model(url: &str, text: &str) -> Vec<f32> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let body = json!({ "model": "all-minilm-l6-v2", "input": text }).to_string();
    let request =
        client.post(format!("{url}/embeddings")).header("content-type", "application/json").body(body);
    let bytes = request.send().await.unwrap().bytes().await.unwrap();
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
    serde_json::from_value(answer["data"][0]["embedding"].take()).unwrap()
}

fn rows(table: &str, vectors: &[Vec<f32>]) -> String {
    let rows = PASSAGES.iter().zip(vectors).enumerate().map(|(n, (text, vector))| {
        format!("INSERT INTO {table} VALUES ({}, '{text}', '{}');", n + 1, json!(vector))
    });
    rows.collect()
}

#[tokio::test]
async fn a_real_model_finds_a_paraphrase_that_no_word_gives_away() {
    let Ok(url) = std::env::var("TEST_EMBEDDER_URL") else { return };
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| w.len() > 3).map(str::to_lowercase).collect()
    };
    for (question, wanted) in PARAPHRASES {
        let passage = words(PASSAGES[wanted - 1]);
        assert!(words(question).iter().all(|word| !passage.contains(word)), "{question}");
    }
    let mut meaning = Vec::new();
    for passage in PASSAGES {
        meaning.push(model(&url, passage).await);
    }
    let hashed: Vec<Vec<f32>> = PASSAGES.iter().map(|p| HashEmbedder::new(384).embed(p)).collect();
    let folder = tempfile::tempdir().unwrap();
    let table = |name: &str, kind: &str, vectors: &[Vec<f32>]| {
        format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, content TEXT, embedding {kind});")
            + &rows(name, vectors)
    };
    let script = table("meaning", "TEXT", &meaning) + &table("words", "TEXT", &hashed);
    std::fs::write(folder.path().join("init.sql"), script).unwrap();
    let own = Own::open(
        "model",
        &(table("meaning", "vector(384)", &meaning) + &table("words", "vector(384)", &hashed)),
    )
    .await;
    let asked = json!({ "openai": { "base_url": url, "model": "all-minilm-l6-v2", "dimensions": 384 } });
    let hash = json!({ "hash": { "dimensions": 384 } });
    let mut sources = json!({});
    let mut tools = json!({});
    for (table, embedder) in [("meaning", &asked), ("words", &hash)] {
        let sqlite = json!({ "url": "sqlite:c.db", "table": table, "init": "init.sql" });
        sources[format!("sqlite-{table}")] = json!({ "vector": { "sqlite": sqlite, "embedder": embedder } });
        if let Some(own) = &own {
            let pgvector = json!({ "url": own.url, "table": format!("{}.{table}", own.schema) });
            sources[format!("pgvector-{table}")] =
                json!({ "vector": { "pgvector": pgvector, "embedder": embedder } });
        }
    }
    for (name, _) in sources.as_object().unwrap() {
        let op = json!({ "source": name, "search": "{q}", "limit": 1 });
        tools[name] = json!({ "description": "D.", "params": { "q": { "type": "string" } }, "vector": op });
    }
    let gateway = Gateway::start_in(folder, &json!({ "sources": sources, "tools": tools }).to_string()).await;
    for engine in if own.is_some() { vec!["sqlite", "pgvector"] } else { vec!["sqlite"] } {
        for (question, wanted) in PARAPHRASES {
            let result = gateway.call(&format!("{engine}-meaning"), json!({ "q": question })).await;
            let first = &structured(&result)["matches"][0];
            assert_eq!(first["id"], json!(wanted), "{engine}: {question}: {first}");
            assert!(first["score"].as_f64().unwrap() > 0.3, "{engine}: {question}: {first}");
            // Without a word in common there is nothing for hashed words to find.
            let result = gateway.call(&format!("{engine}-words"), json!({ "q": question })).await;
            let first = &structured(&result)["matches"][0];
            let found = first["id"] == json!(wanted) && first["score"].as_f64().unwrap() > 0.1;
            assert!(!found, "{engine}: {question}: {first}");
        }
    }
    if let Some(own) = own {
        own.gone().await;
    }
}
