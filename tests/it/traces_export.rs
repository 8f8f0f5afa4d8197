//! The way of traces to their collector: nobody waits for it, what it does not take is counted and bounded, it may ask for time, and what
//! is there at the end is sent. The log and the audit name the trace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate::call::Caller;
use sidegate::config::{Environment, load_text};
use sidegate::live::{Live, LiveHandle};
use sidegate::mcp::{self, Answer, Context, Peers};
use sidegate::{app, plan};

use crate::support::collector::read;
use crate::support::message::{headers, modern, modern_headers};
use crate::support::process::Process;
use crate::support::upstream::{Step, json as body, reply};
use crate::support::{Collector, Connection, Gateway, Upstream};

fn config(collector: &str) -> String {
    json!({
        "server": { "telemetry": { "otlp": collector, "metrics": "/metrics" } },
        "tools": { "hello": { "description": "D.", "static": { "text": "x" } } },
    })
    .to_string()
}

fn compile(yaml: &str) -> plan::Plan {
    let mut loaded = load_text("gateway.yaml", yaml, std::path::Path::new("."), &Environment::default());
    plan::compile(loaded.config.as_ref().unwrap(), &mut loaded.diagnostics).unwrap()
}

/// So many calls, each of which has to be answered well.
async fn calls(live: &LiveHandle, number: usize) {
    let (peers, text) = (Peers::default(), modern("tools/call", json!({ "name": "hello" })).to_string());
    for _ in 0..number {
        let cx = Context::local(live.load(), Caller::Local, &peers);
        let Answer::Reply { body, .. } = mcp::answer_bytes(text.as_bytes(), None, &cx).await else {
            panic!("no answer")
        };
        let body = body.into_vec();
        assert!(body.windows(9).any(|w| w == b"\"content\""), "{}", String::from_utf8_lossy(&body));
    }
}

fn counted(live: &LiveHandle) -> (u64, u64) {
    let live = live.load();
    (live.metrics.spans_exported.get(), live.metrics.spans_lost.get())
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_do_not_wait_for_a_collector_and_what_waits_is_bounded() {
    let hanging = Collector::scripted(|_| vec![Step::Hang]).await;
    let refusing = Upstream::refusing().await;
    for url in [hanging.url(), format!("http://{refusing}")] {
        let live = app::open(compile(&config(&url))).unwrap();
        calls(&live, 10_000).await;
        // One batch is being sent, and 2048 spans wait.
        let (exported, lost) = counted(&live);
        assert!(
            exported == 0 && (10_000 - 2048 - 512..10_000).contains(&lost),
            "{exported} and {lost} of {url}"
        );
        let start = Instant::now();
        app::flush(&live).await;
        assert!(start.elapsed() < Duration::from_secs(10), "the end does not wait for it");
    }
    // One that says that it cannot use them is not asked twice for the same.
    let failing = vec![Step::Send(reply("500 Internal Server Error", "text/plain", b"no"))];
    let failing = Collector::scripted(move |_| failing.clone()).await;
    let live = app::open(compile(&config(&failing.url()))).unwrap();
    calls(&live, 1000).await;
    app::flush(&live).await;
    assert_eq!(counted(&live), (0, 1000));
    assert_eq!(read(&failing.0.take()).len(), 1000);
}

#[tokio::test]
async fn a_collector_that_asks_for_time_gets_it_and_then_the_same_spans() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let collector = Collector::scripted(move |_| match counter.fetch_add(1, Ordering::Relaxed) {
        0 => vec![Step::Send(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )],
        1 => vec![Step::Close],
        _ => body("{\"partialSuccess\":{\"rejectedSpans\":\"12\"}}"),
    })
    .await;
    let live = app::open(compile(&config(&collector.url()))).unwrap();
    let start = Instant::now();
    // A full batch leaves at once.
    calls(&live, 512).await;
    until("the batch was not taken", || counted(&live) == (500, 12)).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "it was asked too early");
    let sent = collector.0.take();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|request| request.body == sent[0].body));
}

#[tokio::test]
async fn what_a_collector_has_taken_is_not_sent_again_however_long_the_rest_of_its_answer_takes() {
    let collector = Collector::scripted(|_| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec()), Step::Hang]
    })
    .await;
    let live = app::open(compile(&config(&collector.url()))).unwrap();
    calls(&live, 512).await;
    until("the batch was not taken", || counted(&live) == (512, 0)).await;
    assert_eq!(collector.0.take().len(), 1);
}

#[tokio::test]
async fn spans_leave_by_themselves_a_while_after_the_first() {
    let collector = Collector::start().await;
    let live = app::open(compile(&config(&collector.url()))).unwrap();
    calls(&live, 2).await;
    until("nothing left", || counted(&live) == (2, 0)).await;
    assert_eq!(read(&collector.0.take()).len(), 2);
    assert!(live.load().metrics.write(&live.load().figures()).contains("sidegate_spans_exported_total 2"));
}

#[tokio::test]
async fn a_reload_keeps_an_equal_exporter_and_what_another_one_was_given_is_sent() {
    let (one, other) = (Collector::start().await, Collector::start().await);
    let live = app::open(compile(&config(&one.url()))).unwrap();
    calls(&live, 3).await;
    let first = live.load();
    let same = Live::open(compile(&config(&one.url()).replace("\"x\"", "\"y\"")), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(same.exporter.as_ref().unwrap(), first.exporter.as_ref().unwrap()));
    let next = Live::open(compile(&config(&other.url())), Some(&first)).unwrap();
    drop((first, same));
    live.store(next);
    calls(&live, 4).await;
    until("what the first one had was not sent", || counted(&live).0 == 3).await;
    app::flush(&live).await;
    assert_eq!((read(&one.0.take()).len(), read(&other.0.take()).len()), (3, 4));
    let none =
        Live::open(compile("tools: { hello: { description: D., static: { text: x } } }"), None).unwrap();
    assert!(none.exporter.is_none());
}

async fn call(address: SocketAddr, parent: &str) {
    let mut list = modern_headers("tools/call", Some("get"));
    list.extend(headers(&[("traceparent", parent)]));
    let body = modern("tools/call", json!({ "name": "get" })).to_string();
    let mut connection = Connection::open(address).await.unwrap();
    let reply = connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn sigterm_sends_what_is_there_and_the_log_names_the_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (collector, refusing) = (Collector::start().await, Upstream::refusing().await);
    let yaml = json!({
        "server": { "telemetry": { "otlp": collector.url() }, "audit": { "file": "audit.jsonl" } },
        "sources": { "api": { "rest": { "base_url": format!("http://{refusing}") } } },
        "tools": { "get": { "description": "D.", "rest": { "source": "api", "get": "/" } } },
    });
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &yaml.to_string()).await;
    call(address, &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    call(address, "none").await;
    process.signal("TERM");
    assert!(process.end(Duration::from_secs(15)).await.success());
    let spans = read(&collector.0.take());
    assert_eq!(spans.len(), 4);
    assert!(spans.iter().filter(|s| !s.server).all(|s| s.get("error.type") == Some("unavailable")));
    assert!(process.log().contains(&format!("trace={TRACE}")), "{}", process.log());
    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = audit.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines[0]["trace_id"], TRACE);
    let own = spans.iter().find(|s| s.server && s.trace != TRACE).unwrap();
    assert_eq!(lines[1]["trace_id"], own.trace.as_str());
}

#[tokio::test]
async fn a_file_that_begins_to_ask_for_traces_gets_them_without_a_restart() {
    let collector = Collector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let before = "tools: { get: { description: D., static: { text: x } } }";
    let (mut process, address) = Process::serve(folder.path(), before).await;
    call(address, "none").await;
    let after = format!("server: {{ name: shop, telemetry: {{ otlp: \"{}\" }} }}\n{before}", collector.url());
    std::fs::write(folder.path().join("gateway.yaml"), after).unwrap();
    until("it was not reloaded", || process.log().contains("generation 2")).await;
    call(address, "none").await;
    process.signal("TERM");
    assert!(process.end(Duration::from_secs(15)).await.success());
    let sent = collector.0.take();
    assert_eq!(read(&sent).len(), 1);
    assert!(String::from_utf8_lossy(&sent[0].body).contains("{\"stringValue\":\"shop\"}"));
}

#[tokio::test]
async fn the_end_waits_for_the_spans_of_collectors_that_a_reload_replaced() {
    // It takes a second to take them.
    let slow = Collector::scripted(|_| [vec![Step::Wait(Duration::from_secs(1))], body("{}")].concat()).await;
    let other = Collector::start().await;
    let none = "tools: { hello: { description: D., static: { text: x } } }".to_owned();
    for (after, spans) in [(config(&other.url()), 1), (none, 0)] {
        let live = app::open(compile(&config(&slow.url()))).unwrap();
        calls(&live, 1).await;
        let next = Live::open(compile(&after), Some(&live.load())).unwrap();
        live.store(next);
        calls(&live, 1).await;
        app::flush(&live).await;
        assert_eq!(read(&slow.0.take()).len(), 1, "{after}");
        assert_eq!(counted(&live), (1 + spans, 0), "the end did not wait for it: {after}");
        assert_eq!(read(&other.0.take()).len() as u64, spans);
    }
}

#[tokio::test]
async fn without_a_trace_the_audit_names_none() {
    let yaml = json!({
        "server": { "audit": { "file": "audit.jsonl" } },
        "tools": { "hello": { "description": "D.", "static": { "text": "x" } } },
    });
    // The folder is that of the gateway.
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_in(folder, &yaml.to_string()).await;
    gateway.call("hello", json!({})).await;
    app::flush(&gateway.live).await;
    let audit = std::fs::read_to_string(gateway.folder().join("audit.jsonl")).unwrap();
    assert!(audit.contains("\"route\":\"hello\"") && !audit.contains("trace_id"), "{audit}");
}
