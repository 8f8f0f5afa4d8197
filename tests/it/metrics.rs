//! Metrics: who may read them and where, what they count, that labels are names of the configuration only, and that a reload takes
//! nothing back.
#![allow(
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is counted is whole"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate::config::{Environment, load_text};
use sidegate::live::Live;
use sidegate::{app, plan};

use crate::support::message::{headers, modern, modern_headers};
use crate::support::upstream::{Step, Upstream, json as body, reply};
use crate::support::{Connection, Gateway};

const KEY: &str = "a-key-that-nobody-may-see";

/// Samples by name with labels, as written. Every line is of the form that OpenMetrics has.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"# EOF"), "{text}");
    for line in &lines[..lines.len() - 1] {
        if let Some(comment) = line.strip_prefix("# ") {
            let kind = comment.split(' ').next().unwrap();
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        assert!(name.starts_with("sidegate_"), "{line}");
        assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
    }
    samples
}

async fn scrape(gateway: &Gateway) -> BTreeMap<String, f64> {
    let reply = gateway.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    samples(&reply.text())
}

/// What the address of those who run it says.
pub async fn scrape_admin(gateway: &Gateway) -> BTreeMap<String, f64> {
    let headers = headers(&[("Host", "localhost")]);
    let mut connection = Connection::open(gateway.admin.unwrap()).await.unwrap();
    samples(&connection.send("GET", "/metrics", &headers, b"").await.unwrap().text())
}

fn config(url: &str) -> Value {
    json!({
        "server": { "telemetry": { "metrics": "/metrics" } },
        "sources": {
            "api": { "rest": { "base_url": url, "concurrency": 4, "circuit_breaker": { "failures": 3 } } },
            "db": { "sql": { "url": "sqlite::memory:" } },
        },
        "tools": {
            "get": {
                "description": "D.", "params": { "id": { "type": "string", "maxLength": 60 } },
                "policy": { "cache": { "ttl": "60s" } },
                "rest": { "source": "api", "get": "/items/{id}" }
            },
            "again": {
                "description": "D.", "policy": { "retry": { "attempts": 3, "backoff": "1ms" } },
                "rest": { "source": "api", "get": "/broken" }
            },
            "rows": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 AS n" } },
            "seldom": { "description": "D.", "policy": { "rate_limit": { "rate": "1/h", "burst": 1 } }, "static": { "text": "x" } },
        },
        "resources": { "shop://now": { "name": "now", "static": { "text": "now" } } },
        "prompts": { "hello": {
            "description": "D.", "params": { "who": { "description": "W." } },
            "data": { "row": { "sql": { "source": "db", "query": "SELECT 2 AS n" } } },
            "messages": [{ "user": "{{ who }} {{ row.rows[0].n }}" }],
        } },
    })
}

#[tokio::test]
async fn calls_are_counted_by_route_and_outcome_and_nothing_a_caller_sends_is_a_label() {
    let upstream = Upstream::start(|seen| match seen.path() {
        "/broken" => vec![Step::Send(reply("503 Service Unavailable", "text/plain", b""))],
        "/items/none" => vec![Step::Send(reply("404 Not Found", "text/plain", b""))],
        path => body(&json!({ "path": path }).to_string()),
    })
    .await;
    let gateway = Gateway::start(&config(&upstream.url()).to_string()).await;
    for id in ["a", "a", "none", "zebra-in-the-arguments"] {
        gateway.call("get", json!({ "id": id })).await;
    }
    gateway.call("get", json!({ "id": 7 })).await;
    gateway.call("rows", json!({})).await;
    gateway.call("again", json!({})).await;
    for _ in 0..3 {
        gateway.modern("tools/call", json!({ "name": "seldom" })).await;
    }
    assert!(gateway.modern("tools/call", json!({ "name": "zebra-tool" })).await.json()["error"].is_object());
    gateway.modern("resources/read", json!({ "uri": "shop://now" })).await;
    gateway.modern("resources/read", json!({ "uri": "shop://zebra" })).await;
    gateway.modern("prompts/get", json!({ "name": "hello", "arguments": { "who": "zebra" } })).await;
    gateway.modern("prompts/get", json!({ "name": "hello" })).await;
    gateway.get("/zebra").await;
    let _session = gateway.session("2025-06-18", json!({})).await;

    // A connection goes back to its pool a moment after its answer.
    let start = Instant::now();
    let mut found = scrape(&gateway).await;
    while found[r#"sidegate_pool_idle{source="db"}"#] < 1.0 && start.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        found = scrape(&gateway).await;
    }
    let outcome = |noun: &str, route: &str, outcome: &str| {
        let name = format!("sidegate_calls_total{{noun=\"{noun}\",route=\"{route}\",outcome=\"{outcome}\"}}");
        found.get(&name).copied().unwrap_or_default() as u64
    };
    assert_eq!(outcome("tool", "get", "ok"), 3);
    assert_eq!(outcome("tool", "get", "not_found"), 1);
    assert_eq!(outcome("tool", "get", "invalid_arguments"), 1);
    assert_eq!(outcome("tool", "again", "upstream_status"), 1);
    assert_eq!((outcome("tool", "seldom", "ok"), outcome("tool", "seldom", "rate_limited")), (1, 2));
    assert_eq!(outcome("resource", "shop://now", "ok"), 1);
    assert_eq!((outcome("prompt", "hello", "ok"), outcome("prompt", "hello", "invalid_arguments")), (1, 1));
    assert_eq!(outcome("prompt_data", "hello.row", "ok"), 1);
    for (name, value) in [
        (r#"sidegate_cache_answers_total{noun="tool",route="get",state="hit"}"#, 1.0),
        (r#"sidegate_cache_answers_total{noun="tool",route="get",state="miss"}"#, 2.0),
        ("sidegate_cache_entries", 2.0),
        (r#"sidegate_attempt_duration_seconds_count{source="api"}"#, 6.0),
        (r#"sidegate_attempt_duration_seconds_count{source="db"}"#, 2.0),
        (r#"sidegate_attempt_duration_seconds_bucket{le="+Inf",source="api"}"#, 6.0),
        (r#"sidegate_call_duration_seconds_count{noun="tool",route="get"}"#, 5.0),
        (r#"sidegate_attempt_failures_total{source="api"}"#, 3.0),
        (r#"sidegate_retries_total{source="api"}"#, 2.0),
        (r#"sidegate_breaker_state{source="api",state="open"}"#, 1.0),
        (r#"sidegate_breaker_state{source="api",state="closed"}"#, 0.0),
        (r#"sidegate_places{source="api"}"#, 4.0),
        (r#"sidegate_places_used{source="api"}"#, 0.0),
        (r#"sidegate_pool_connections{source="db"}"#, 1.0),
        (r#"sidegate_pool_idle{source="db"}"#, 1.0),
        ("sidegate_calls_running", 0.0),
        ("sidegate_sessions", 1.0),
        ("sidegate_listen_streams", 0.0),
        ("sidegate_config_generation", 1.0),
        (concat!("sidegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name} in {found:#?}");
    }
    assert!(found["sidegate_cache_size_bytes"] > 0.0 && found["sidegate_uptime_seconds"] > 0.0);
    assert!(found[r#"sidegate_http_requests_total{status="2xx"}"#] >= 10.0);
    assert!(found[r#"sidegate_http_requests_total{status="4xx"}"#] >= 2.0);
    assert!(found.keys().all(|name| !name.contains("zebra")), "{found:#?}");
}

#[tokio::test]
async fn what_runs_now_is_seen_while_it_runs() {
    let upstream = Upstream::start(|_| vec![Step::Wait(Duration::from_secs(30))]).await;
    let gateway = Gateway::start(&config(&upstream.url()).to_string()).await;
    let held = gateway.call_and_hold("again").await;
    let until = async |running: f64, used: f64| {
        let start = Instant::now();
        loop {
            let found = scrape(&gateway).await;
            let now = (found["sidegate_calls_running"], found[r#"sidegate_places_used{source="api"}"#]);
            if now == (running, used) {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{now:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    until(1.0, 1.0).await;
    drop(held);
    let found = until(0.0, 0.0).await;
    assert_eq!(found[r#"sidegate_calls_total{noun="tool",route="again",outcome="cancelled"}"#], 1.0);
}

#[tokio::test]
async fn they_are_off_unless_written_and_guarded_like_calls() {
    let tools = json!({ "hello": { "description": "D.", "static": { "text": "x" } } });
    let off = Gateway::start(&json!({ "tools": tools }).to_string()).await;
    assert_eq!(off.get("/metrics").await.status, 404);

    let auth = json!({ "api_keys": [{ "name": "prometheus", "key": KEY }] });
    let on = json!({ "server": { "telemetry": { "metrics": "/figures" } }, "auth": auth, "tools": tools });
    let gateway = Gateway::start(&on.to_string()).await;
    let refused = gateway.get("/figures").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert!(!refused.text().contains("sidegate_"));
    let send = async |method: &str, host: &str| {
        let headers = headers(&[("Host", host), ("Authorization", &format!("Bearer {KEY}"))]);
        gateway.connect().await.send(method, "/figures", &headers, b"").await.unwrap()
    };
    let told = send("GET", "localhost").await;
    assert_eq!(told.status, 200);
    samples(&told.text());
    assert!(!told.text().contains(KEY) && !told.text().contains("prometheus"));
    assert_eq!(send("POST", "localhost").await.status, 405);
    assert_eq!(send("GET", "evil.example").await.status, 403, "a rebound name");
    let page = async |origin: &str| {
        let headers = headers(&[
            ("Host", "localhost"),
            ("Origin", origin),
            ("Authorization", &format!("Bearer {KEY}")),
        ]);
        gateway.connect().await.send("GET", "/figures", &headers, b"").await.unwrap().status
    };
    assert_eq!((page("http://localhost:3000").await, page("https://evil.example").await), (200, 403));
    assert_eq!(gateway.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn a_route_for_everybody_does_not_open_the_metrics() {
    let yaml = json!({
        "server": { "telemetry": { "metrics": "/metrics" } },
        "auth": { "api_keys": [{ "name": "prometheus", "key": KEY }] },
        "tools": { "hello": { "description": "D.", "policy": { "auth": "none" }, "static": { "text": "x" } } },
    });
    let gateway = Gateway::start(&yaml.to_string()).await;
    gateway.call("hello", json!({})).await;
    let refused = gateway.get("/metrics").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some() && !refused.text().contains("sidegate_"));
    assert_eq!(gateway.get("/readyz").await.json(), json!({ "ready": true }));
}

#[tokio::test]
async fn an_address_of_its_own_serves_metrics_and_health_and_no_calls() {
    let yaml = json!({
        "server": { "admin": { "listen": "127.0.0.1:0" } },
        "auth": { "api_keys": [{ "name": "ci", "key": KEY }] },
        "sources": { "db": { "sql": { "url": "sqlite::memory:" } } },
        "tools": { "rows": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 AS n" } } },
    });
    let gateway = Gateway::start(&yaml.to_string()).await;
    assert_eq!(gateway.get("/metrics").await.status, 404, "not beside the endpoint");
    let admin = gateway.admin.unwrap();
    let get = async |path: &str, host: &str| {
        let headers = headers(&[("Host", host)]);
        Connection::open(admin).await.unwrap().send("GET", path, &headers, b"").await.unwrap()
    };
    let told = get("/metrics", "localhost").await;
    assert_eq!(told.status, 200, "loopback asks nobody who they are");
    assert!(samples(&told.text()).contains_key("sidegate_config_generation"));
    assert_eq!(get("/healthz", "localhost").await.text(), r#"{"alive":true}"#);
    let ready = get("/readyz", "localhost").await;
    assert_eq!((ready.status, &ready.json()["sources"]["db"]), (200, &json!("ready")));
    assert_eq!(get("/readyz", "evil.example").await.json(), json!({ "ready": true }));
    assert_eq!(get("/metrics", "evil.example").await.status, 403, "a rebound name");
    let page = headers(&[("Host", "localhost"), ("Origin", "https://evil.example")]);
    let refused = Connection::open(admin).await.unwrap().send("GET", "/metrics", &page, b"").await.unwrap();
    assert_eq!(refused.status, 403, "a page of somebody else");
    let mut headers = modern_headers("tools/call", Some("rows"));
    headers.push(("Authorization".to_owned(), format!("Bearer {KEY}")));
    let call = modern("tools/call", json!({ "name": "rows" })).to_string();
    let reply = Connection::open(admin).await.unwrap().send("POST", "/mcp", &headers, call.as_bytes()).await;
    assert_eq!(reply.unwrap().status, 404);
}

fn compile(yaml: &str) -> plan::Plan {
    let mut loaded = load_text("gateway.yaml", yaml, std::path::Path::new("."), &Environment::default());
    plan::compile(loaded.config.as_ref().unwrap(), &mut loaded.diagnostics).unwrap()
}

#[tokio::test]
async fn a_reload_takes_nothing_back_and_every_series_keeps_its_name() {
    let before = config("http://127.0.0.1:9").to_string();
    let first = app::open(compile(&before)).unwrap().load();
    for _ in 0..3 {
        let meter = &first.tool("rows").unwrap().route.meter;
        meter.begin();
        meter.end(0, "ok", Duration::from_millis(1));
    }
    let names = |live: &Live| -> BTreeSet<String> {
        samples(&live.metrics.write(&live.figures())).into_keys().collect()
    };
    let second = Live::open(compile(&before.replace("SELECT 1", "SELECT 3")), Some(&first)).unwrap();
    let meter = &second.tool("rows").unwrap().route.meter;
    meter.begin();
    meter.end(0, "ok", Duration::from_millis(1));
    let found = samples(&second.metrics.write(&second.figures()));
    assert_eq!(found[r#"sidegate_calls_total{noun="tool",route="rows",outcome="ok"}"#], 4.0);
    assert_eq!(found["sidegate_config_generation"], 2.0);
    assert_eq!(names(&first), names(&second));
}
