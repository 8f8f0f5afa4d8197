//! SIGTERM: what runs is answered, nothing new is let in, and the end comes in time whatever the others do.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::support::message::{initialize, legacy, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Connection, Gateway, LATE, Reply, Step, Upstream, until, upstream};

fn config(url: &str, drain: &str) -> String {
    format!(
        "server: {{ http: {{ drain: {drain} }} }}\n\
         sources: {{ s: {{ rest: {{ base_url: \"{url}\", timeout: 30s }} }} }}\n\
         tools:\n\
         \x20 slow: {{ description: S., rest: {{ source: s, get: / }} }}\n\
         \x20 tell: {{ description: T., static: {{ steps: [{{ announce: tools }}], text: told }} }}"
    )
}

async fn ask(address: std::net::SocketAddr) -> std::io::Result<Reply> {
    let body = modern("tools/call", json!({ "name": "slow" })).to_string();
    let mut connection = Connection::open(address).await?;
    connection.send("POST", "/mcp", &modern_headers("tools/call", Some("slow")), body.as_bytes()).await
}

/// A legacy session's open stream.
async fn session(address: std::net::SocketAddr) -> Connection {
    let mut connection = Connection::open(address).await.unwrap();
    let begin = initialize("2025-11-25").to_string();
    let reply = connection.send("POST", "/mcp", &plain_headers(), begin.as_bytes()).await.unwrap();
    let mut headers = plain_headers();
    headers.push(("Mcp-Session-Id".to_owned(), reply.header("mcp-session-id").unwrap().to_owned()));
    let head = connection.open_stream("GET", &headers, b"").await;
    assert_eq!(head.status, 200);
    connection
}

async fn all_arrived(upstream: &Upstream, count: usize) {
    until(&format!("{count} calls arrive"), async || upstream.count() >= count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_in_flight_are_answered_and_nobody_new_is_let_in() {
    let (slow, gate) = Upstream::gated().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &config(&slow.url(), "60s")).await;
    // One listener of each era.
    let mut listens = Connection::open(address).await.unwrap();
    let listen = modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let head = listens
        .open_stream("POST", &modern_headers("subscriptions/listen", None), listen.to_string().as_bytes())
        .await;
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(listens.event().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    let mut session = session(address).await;
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(ask(address))).collect();
    all_arrived(&slow, 200).await;
    process.signal("TERM");
    // Both ends are said at once, not after the calls.
    let completion = listens.event().await.unwrap();
    assert_eq!(
        (&completion["id"], completion["result"]["resultType"].as_str()),
        (&json!(1), Some("complete"))
    );
    assert_eq!((listens.event().await, session.event().await), (None, None));
    assert!(calls.iter().all(|call| !call.is_finished()), "the calls had ended already");
    assert!(TcpStream::connect(address).await.is_err(), "a new connection was taken");
    gate.open();
    for call in calls {
        let reply = call.await.unwrap().expect("a call was lost");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.json()["result"]["structuredContent"], json!({}));
    }
    assert_eq!(process.end(LATE).await.code(), Some(0));
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

#[tokio::test]
async fn a_call_whose_legacy_client_has_gone_is_let_end_too() {
    let (slow, gate) = Upstream::gated().await;
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit.jsonl");
    let yaml = config(&slow.url(), "60s").replace("server: {", "server: { audit: { file: audit.jsonl },");
    let (mut process, address) = Process::serve(folder.path(), &yaml).await;
    let mut connection = Connection::open(address).await.unwrap();
    let call = legacy("tools/call", &json!({ "name": "slow" })).to_string();
    connection.begin("POST", "/mcp", &plain_headers(), call.as_bytes()).await.unwrap();
    all_arrived(&slow, 1).await;
    drop(connection);
    tokio::time::sleep(Duration::from_millis(200)).await;
    process.signal("TERM");
    until("it begins to stop", async || process.log().contains("stopping")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(slow.left(), 0, "the call was dropped");
    gate.open();
    assert_eq!(process.end(LATE).await.code(), Some(0));
    let line = std::fs::read_to_string(audit).unwrap();
    assert!(line.contains("\"outcome\":\"ok\""), "{line}");
    assert!(!process.log().contains("cut off"), "{}", process.log());
}

#[tokio::test]
async fn after_the_grace_what_still_runs_is_cut_off() {
    let stuck = Upstream::start(|_| vec![Step::Hang]).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &config(&stuck.url(), "700ms")).await;
    let call = tokio::spawn(ask(address));
    all_arrived(&stuck, 1).await;
    let started = Instant::now();
    process.signal("TERM");
    process.end(LATE).await;
    assert!(started.elapsed() >= Duration::from_millis(600), "the grace was not given");
    assert!(call.await.unwrap().is_err(), "a half answer");
    assert!(process.log().contains("cut off"), "{}", process.log());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let stuck = Upstream::start(|_| vec![Step::Hang]).await;
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, address) = Process::serve(folder.path(), &config(&stuck.url(), "60s")).await;
        stuck.take();
        let call = tokio::spawn(ask(address));
        all_arrived(&stuck, 1).await;
        process.signal(first);
        until("it begins to stop", async || process.log().contains("stopping")).await;
        process.signal(second);
        // Before the call has had its time, and long before the grace is over.
        process.end(LATE).await;
        assert!(call.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn connections_that_do_nothing_do_not_hold_the_end() {
    let idle = Upstream::recorder().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &config(&idle.url(), "60s")).await;
    // One never said a word, one waits between two requests.
    let silent = TcpStream::connect(address).await.unwrap();
    let mut kept = Connection::open(address).await.unwrap();
    let body = modern("tools/call", json!({ "name": "slow" })).to_string();
    let list = modern_headers("tools/call", Some("slow"));
    assert_eq!(kept.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap().status, 200);
    assert!(kept.is_silent(Duration::from_millis(100)).await);
    process.signal("TERM");
    assert_eq!(process.end(LATE).await.code(), Some(0));
    assert!(kept.is_closed().await);
    drop(silent);
}

#[tokio::test]
async fn a_server_in_this_process_stops_the_same_way() {
    let slow =
        Upstream::start(|_| [vec![Step::Wait(Duration::from_millis(500))], upstream::json("{}")].concat())
            .await;
    let gateway = Gateway::start(&config(&slow.url(), "10s")).await;
    let address = gateway.address;
    let call = tokio::spawn(ask(address));
    all_arrived(&slow, 1).await;
    gateway.stop().await;
    assert_eq!(call.await.unwrap().unwrap().status, 200);
    assert!(TcpStream::connect(address).await.is_err());
}
