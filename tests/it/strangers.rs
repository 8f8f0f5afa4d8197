//! Ten thousand calls of those who prove nothing: turned away before a source, a pool, a cache or an issuer hears of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::metrics::scrape_admin;
use crate::support::Gateway;
use crate::support::issuer::{Issuer, Pair};
use crate::support::message::{modern, modern_headers};
use crate::support::upstream::Upstream;

const KEY: &str = "a-key-that-nobody-may-see";
/// What a call leaves behind wherever it gets: tries on sources, connections, places, kept answers.
const TRACES: [&str; 6] = [
    "sidegate_attempt",
    "sidegate_retries",
    "sidegate_pool",
    "sidegate_places",
    "sidegate_breaker",
    "sidegate_cache",
];

fn config(upstream: &Upstream, issuer: &Issuer, public: bool) -> Value {
    let cached = json!({ "cache": { "ttl": "60s" } });
    let rest = json!({ "source": "api", "get": "/x" });
    let sql = json!({ "source": "db", "query": "SELECT 1 AS n" });
    let mut auth = issuer.auth();
    auth["api_keys"] = json!([{ "name": "ci", "key": KEY }]);
    let mut config = json!({
        "server": { "admin": { "listen": "127.0.0.1:0" } },
        "auth": auth,
        "sources": {
            "api": { "rest": { "base_url": upstream.url(), "concurrency": 4, "circuit_breaker": { "failures": 3 } } },
            "db": { "sql": { "url": "sqlite::memory:" } },
        },
        "tools": {
            "api": { "description": "D.", "rest": rest, "policy": cached },
            "rows": { "description": "D.", "sql": sql, "policy": cached },
        },
        "resources": { "shop://x": { "rest": rest, "policy": cached } },
        "prompts": { "p": { "data": { "row": { "sql": sql } }, "messages": [{ "user": "{{ row.rows[0].n }}" }] } },
    });
    if public {
        config["tools"]["open"] =
            json!({ "description": "D.", "static": { "text": "x" }, "policy": { "auth": "none" } });
    }
    config
}

/// The samples that a call leaves behind.
async fn traces(gateway: &Gateway) -> BTreeMap<String, f64> {
    let mut samples = scrape_admin(gateway).await;
    samples.retain(|name, _| TRACES.iter().any(|trace| name.starts_with(trace)));
    samples
}

/// The samples once the start is over: its look at the database has given the connection back.
async fn at_rest(gateway: &Gateway) -> BTreeMap<String, f64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let samples = traces(gateway).await;
        let of = |name: &str| samples.get(&format!("{name}{{source=\"db\"}}")).copied();
        if of("sidegate_pool_idle") == Some(1.0) && of("sidegate_pool_connections") == Some(1.0) {
            return samples;
        }
        assert!(Instant::now() < deadline, "the database never comes to rest: {samples:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn turned_away(public: bool) {
    let (pair, upstream) = (Pair::ec("k"), Upstream::recorder().await);
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Arc::new(Gateway::start(&config(&upstream, &issuer, public).to_string()).await);
    let before = at_rest(&gateway).await;
    let mut foreign = issuer.claims();
    foreign["iss"] = json!("https://evil.example");
    let given = [None, Some("key-of-eve".to_owned()), Some("a.b.c".to_owned()), Some(pair.token(&foreign))];
    let asked = [
        ("tools/call", json!({ "name": "api" })),
        ("tools/call", json!({ "name": "rows" })),
        ("resources/read", json!({ "uri": "shop://x" })),
        ("prompts/get", json!({ "name": "p" })),
    ];
    let callers = given.map(|given| {
        let (gateway, asked) = (gateway.clone(), asked.clone());
        tokio::spawn(async move {
            let mut connection = gateway.connect().await;
            for (method, params) in asked.iter().cycle().take(1250) {
                let name = params.get("name").or(params.get("uri")).and_then(Value::as_str);
                let mut headers = modern_headers(method, name);
                headers.extend(given.iter().map(|g| ("Authorization".to_owned(), format!("Bearer {g}"))));
                let body = modern(method, params.clone()).to_string();
                let reply = connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
                assert_eq!(reply.status, 401, "{}", reply.text());
            }
        })
    });
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(upstream.count(), 0);
    // They are read once when it starts, which may be still on its way.
    assert!(issuer.reads() <= 1, "no keys are read for a token of somebody else");
    assert_eq!(traces(&gateway).await, before);
    // The same figures tell of a call that is let in.
    let mut headers = modern_headers("tools/call", Some("api"));
    headers.push(("Authorization".to_owned(), format!("Bearer {KEY}")));
    let body = modern("tools/call", json!({ "name": "api" })).to_string();
    assert_eq!(gateway.post(&headers, body.as_bytes()).await.status, 200);
    assert_ne!(traces(&gateway).await, before);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_calls_of_strangers_touch_nothing() {
    turned_away(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_more_touch_nothing_where_something_is_for_everybody() {
    turned_away(true).await;
}
