//! Traces: what is said of a request and of its tries, by OpenTelemetry's conventions, and what never is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::collector::Span;
use crate::support::upstream::{Step, Upstream, json as body, reply};
use crate::support::{Collector, Gateway, message};

fn failing(status: &str) -> Vec<Step> {
    vec![Step::Send(reply(status, "text/plain", b"zebra-of-the-upstream"))]
}

async fn upstream() -> Upstream {
    Upstream::start(|seen| match seen.path() {
        "/broken" => failing("503 Service Unavailable"),
        "/items/none" => failing("404 Not Found"),
        "/slow" => vec![Step::Wait(Duration::from_secs(30))],
        path => body(&json!({ "path": path }).to_string()),
    })
    .await
}

fn config(url: &str, collector: &str) -> Value {
    json!({
        "server": { "name": "shop", "version": "1.2.3", "telemetry": {
            "otlp": { "endpoint": collector, "headers": { "x-api-key": "hunter2-of-the-collector" } },
        } },
        "sources": {
            "api": { "rest": { "base_url": url, "credentials": { "bearer": "hunter2-of-the-api" } } },
            "db": { "sql": { "url": "sqlite::memory:" } },
            "notes": { "vector": {
                "sqlite": { "url": "sqlite:notes.db", "table": "chunks", "init": "init.sql" },
                "embedder": { "hash": { "dimensions": 512 } },
            } },
        },
        "tools": {
            "get": {
                "description": "D.", "params": { "id": { "type": "string", "maxLength": 60 } },
                "policy": { "cache": { "ttl": "60s" } },
                "rest": { "source": "api", "get": "/items/{id}" }
            },
            "again": {
                "description": "D.", "policy": { "retry": { "attempts": 2, "backoff": "1ms" } },
                "rest": { "source": "api", "get": "/broken" }
            },
            "slow": { "description": "D.", "rest": { "source": "api", "get": "/slow" } },
            "rows": { "description": "D.", "sql": { "source": "db", "query": "select 'zebra-of-the-text' AS n" } },
            "find": { "description": "D.", "params": { "q": { "type": "string" } }, "vector": { "source": "notes", "search": "{q}" } },
            "hello": { "description": "D.", "static": { "text": "x" } },
        },
        "resources": {
            "shop://items/{id}": { "name": "item", "params": { "id": { "type": "string" } }, "rest": { "source": "api", "get": "/items/{id}" } },
        },
        "prompts": { "ask": {
            "description": "D.", "params": { "who": { "description": "W." } },
            "data": { "item": { "rest": { "source": "api", "get": "/broken" } } },
            "messages": [{ "user": "{{ who }} {{ item }}" }],
        } },
    })
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/handbook.sql");
    std::fs::copy(script, folder.path().join("init.sql")).unwrap();
    folder
}

async fn start() -> (Gateway, Upstream, Collector) {
    let (upstream, collector) = (upstream().await, Collector::start().await);
    let yaml = config(&upstream.url(), &collector.url()).to_string();
    (Gateway::start_in(folder(), &yaml).await, upstream, collector)
}

/// What a span says, without what differs each time.
fn said(span: &Span) -> BTreeMap<&str, &str> {
    let mut said: BTreeMap<&str, &str> =
        span.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(said.remove("sidegate.request.id").map_or(8, str::len), 8);
    said.remove("server.port");
    said
}

#[tokio::test]
async fn a_call_is_a_span_and_its_try_is_one_below_it() {
    let (gateway, upstream, collector) = start().await;
    gateway.call("get", json!({ "id": "a" })).await;
    let spans = collector.spans(&gateway).await;
    let [call, attempt] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((call.name.as_str(), call.server, call.failed), ("tools/call get", true, false));
    assert_eq!((&call.parent, call.flags), (&None, 0x101));
    let wanted = [
        ("gen_ai.operation.name", "execute_tool"),
        ("gen_ai.tool.name", "get"),
        ("jsonrpc.request.id", "1"),
        ("mcp.method.name", "tools/call"),
        ("mcp.protocol.version", "2026-07-28"),
        ("network.protocol.name", "http"),
        ("network.transport", "tcp"),
        ("sidegate.cache", "miss"),
        ("sidegate.outcome", "ok"),
    ];
    assert_eq!(said(call), BTreeMap::from(wanted));
    assert_eq!((attempt.name.as_str(), attempt.server, attempt.failed), ("GET", false, false));
    assert_eq!((&attempt.trace, attempt.parent.as_ref()), (&call.trace, Some(&call.id)));
    let wanted = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("sidegate.source", "api"),
    ];
    assert_eq!(said(attempt), BTreeMap::from(wanted));
    assert_eq!(attempt.get("server.port"), Some(upstream.address.port().to_string().as_str()));
    let sent = upstream.take().remove(0);
    assert_eq!(sent.header("traceparent"), Some(format!("00-{}-{}-01", attempt.trace, attempt.id)));
    assert_eq!(sent.header("tracestate"), None);

    // The same answer again asks nobody.
    gateway.call("get", json!({ "id": "a" })).await;
    let spans = collector.spans(&gateway).await;
    assert_eq!((spans.len(), spans[0].get("sidegate.cache")), (1, Some("hit")));
}

#[tokio::test]
async fn each_try_is_a_span_that_says_how_often_it_was_made_again() {
    let (gateway, upstream, collector) = start().await;
    gateway.call("again", json!({})).await;
    let spans = collector.spans(&gateway).await;
    let [call, first, second] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((call.failed, call.get("error.type")), (true, Some("tool_error")));
    assert_eq!(call.get("sidegate.outcome"), Some("upstream_status"));
    for (attempt, again) in [(first, None), (second, Some("1"))] {
        assert_eq!(attempt.get("http.request.resend_count"), again);
        assert_eq!((attempt.failed, attempt.get("error.type")), (true, Some("503")));
        assert_eq!(attempt.get("http.response.status_code"), Some("503"));
        assert_eq!(attempt.parent.as_ref(), Some(&call.id));
    }
    let sent: Vec<_> = upstream.take().iter().map(|s| s.header("traceparent").unwrap()).collect();
    let wanted = [first, second].map(|s| format!("00-{}-{}-01", s.trace, s.id));
    assert_eq!(sent, wanted);
}

#[tokio::test]
async fn what_fails_on_our_side_is_an_error_and_what_a_client_got_wrong_is_none() {
    let (gateway, _upstream, collector) = start().await;
    let ask = async |method: &str, params: Value| {
        gateway.modern(method, params).await;
        collector.spans(&gateway).await
    };
    let code = "rpc.response.status_code";

    let spans = ask("prompts/get", json!({ "name": "ask", "arguments": { "who": "zebra" } })).await;
    let (get, attempt) = (&spans[0], &spans[1]);
    assert_eq!((get.name.as_str(), get.get("gen_ai.prompt.name")), ("prompts/get ask", Some("ask")));
    assert_eq!((get.failed, get.get("error.type"), get.get(code)), (true, Some("-32603"), Some("-32603")));
    assert_eq!((attempt.parent.as_ref(), attempt.failed), (Some(&get.id), true));

    let spans = ask("tools/call", json!({ "name": "zebra" })).await;
    assert_eq!((spans[0].name.as_str(), spans[0].get("gen_ai.tool.name")), ("tools/call", None));
    assert_eq!((spans[0].failed, spans[0].get(code)), (false, Some("-32602")));

    let spans = ask("zebra/method", json!({})).await;
    assert_eq!((spans[0].name.as_str(), spans[0].get(code)), ("_OTHER", Some("-32601")));

    let spans = ask("resources/read", json!({ "uri": "shop://items/zebra" })).await;
    assert_eq!(spans[0].name, "resources/read");
    assert_eq!(spans[0].get("mcp.resource.uri"), Some("shop://items/{id}"));
    let spans = ask("resources/read", json!({ "uri": "shop://items/none" })).await;
    assert_eq!((spans[0].failed, spans[1].failed), (false, true));
    assert_eq!(
        (spans[0].get("sidegate.outcome"), spans[1].get("error.type")),
        (Some("not_found"), Some("404"))
    );

    let spans = ask("tools/list", json!({})).await;
    assert_eq!((spans.len(), spans[0].name.as_str(), spans[0].failed), (1, "tools/list", false));
}

#[tokio::test]
async fn databases_and_collections_say_what_they_are() {
    let (gateway, _upstream, collector) = start().await;
    gateway.call("rows", json!({})).await;
    let spans = collector.spans(&gateway).await;
    assert_eq!(spans[1].name, "SELECT");
    let wanted = [("db.query.summary", "SELECT"), ("db.system.name", "sqlite"), ("sidegate.source", "db")];
    assert_eq!(said(&spans[1]), BTreeMap::from(wanted));
    gateway.call("find", json!({ "q": "zebra" })).await;
    let spans = collector.spans(&gateway).await;
    assert_eq!(spans[1].name, "search");
    let wanted =
        [("db.operation.name", "search"), ("db.system.name", "sqlite"), ("sidegate.source", "notes")];
    assert_eq!(said(&spans[1]), BTreeMap::from(wanted));
    gateway.call("hello", json!({})).await;
    assert_eq!(collector.spans(&gateway).await.len(), 1, "nobody is asked for what is written");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_ends_its_spans_and_is_no_failure() {
    let (gateway, upstream, collector) = start().await;
    let held = gateway.call_and_hold("slow").await;
    let start = Instant::now();
    while upstream.count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(held);
    let mut spans = Vec::new();
    while spans.len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(10), "{spans:?}");
        spans.extend(collector.spans(&gateway).await);
    }
    for span in &spans {
        assert_eq!((span.failed, span.get("error.type")), (false, Some("cancelled")));
    }
    assert_eq!(spans.iter().find(|s| s.server).unwrap().get("sidegate.outcome"), Some("cancelled"));
}

#[tokio::test]
async fn nothing_that_is_secret_or_said_by_a_caller_leaves() {
    let (gateway, _upstream, collector) = start().await;
    let legacy = gateway.session("2025-06-18", json!({})).await;
    let session = legacy.iter().find(|(n, _)| n == "Mcp-Session-Id").unwrap().1.clone();
    for (tool, arguments) in [
        ("get", json!({ "id": "zebra-of-the-arguments" })),
        ("get", json!({ "id": 7, "zebra": 1 })),
        ("again", json!({})),
        ("rows", json!({})),
        ("find", json!({ "q": "zebra" })),
    ] {
        let params = json!({ "name": tool, "arguments": arguments });
        gateway.modern("tools/call", params.clone()).await;
        gateway.post(&legacy, message::legacy("tools/call", &params).to_string().as_bytes()).await;
    }
    gateway.modern("tools/call", json!({ "name": "zebra", "arguments": { "zebra": "zebra" } })).await;
    gateway.modern("resources/read", json!({ "uri": "shop://items/zebra" })).await;
    gateway.modern("prompts/get", json!({ "name": "ask", "arguments": { "who": "zebra" } })).await;
    gateway.modern("zebra", json!({ "zebra": "zebra" })).await;
    sidegate::app::flush(&gateway.live).await;
    let sent = collector.0.take();
    assert!(crate::support::collector::read(&sent).len() > 20);
    for request in &sent {
        assert_eq!(request.header("x-api-key").as_deref(), Some("hunter2-of-the-collector"));
        let body = String::from_utf8(request.body.clone()).unwrap();
        for secret in ["zebra", "hunter2", "/items/a", session.as_str()] {
            assert!(!body.contains(secret), "`{secret}` in {body}");
        }
    }
}
