//! Clients that give up: whatever they do, in whichever era and over whichever transport, the upstream's connection is closed at
//! once and nothing more is said of the call.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::faults::{Faults, When};
use crate::support::message::{legacy, modern, modern_headers};
use crate::support::process::Process;
use crate::support::{Connection, Gateway, LATE, Step, structured};

/// How long an upstream may be kept waiting for nobody, on a busy machine; the calls themselves have thirty seconds.
const WITHIN: Duration = LATE;

/// At which point the upstream stands still.
fn points() -> Vec<(&'static str, When, Vec<Step>)> {
    let send = |text: &str| Step::Send(text.as_bytes().to_vec());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n";
    vec![
        ("connected", When::Connected, vec![Step::Hang]),
        ("asked", When::Asked, vec![Step::Hang]),
        ("head", When::Asked, vec![send("HTTP/1.1 200 OK\r\nX-A"), Step::Hang]),
        ("body", When::Asked, vec![send(head), send("{\"a\":"), Step::Hang]),
        ("drip", When::Asked, vec![send(head), Step::Drip(vec![b' '; 99], Duration::from_millis(300))]),
    ]
}

fn config(faults: &Faults) -> String {
    let sources =
        json!({ "s": { "rest": { "base_url": format!("http://{}", faults.address), "timeout": "30s" } } });
    let tools = json!({
        "slow": { "description": "S.", "rest": { "source": "s", "post": "/", "json": {} } },
        "quick": { "description": "Q.", "static": { "text": "quick" } },
    });
    json!({ "sources": sources, "tools": tools, "defaults": { "policy": { "timeout": "30s" } } }).to_string()
}

/// Waits until the upstream has the call.
async fn arrived(faults: &Faults, when: When) {
    let until = Instant::now() + Duration::from_secs(10);
    let there = |faults: &Faults| {
        faults
            .lines()
            .iter()
            .any(|line| line.closed.is_none() && (when == When::Connected || !line.requests.is_empty()))
    };
    while !there(faults) {
        assert!(Instant::now() < until, "the call never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What the upstream sends has to be there as well.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Waits until no connection of the upstream is open.
async fn released(faults: &Faults, what: &str) {
    let left = Instant::now();
    while faults.lines().iter().any(|line| line.closed.is_none()) {
        assert!(left.elapsed() < WITHIN, "{what}: the upstream's connection is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(faults.lines().len(), 1, "{what}: it was asked again");
}

/// The next call of a healed source works.
async fn works(faults: &Faults, gateway: &Gateway) {
    faults.heal();
    assert_eq!(structured(&gateway.call("slow", json!({})).await), &json!({ "fine": true }));
}

/// A modern call, with a stream for its progress if wanted.
async fn modern_call(gateway: &Gateway, streamed: bool) -> Connection {
    let mut request = modern("tools/call", json!({ "name": "slow" }));
    let headers = modern_headers("tools/call", Some("slow"));
    let mut connection = gateway.connect().await;
    if streamed {
        request["params"]["_meta"]["progressToken"] = json!("p");
        let head = connection.open_stream("POST", &headers, request.to_string().as_bytes()).await;
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
    } else {
        connection.begin("POST", "/mcp", &headers, request.to_string().as_bytes()).await.unwrap();
    }
    connection
}

#[tokio::test]
async fn a_modern_client_that_drops_its_connection_ends_the_call() {
    for (name, when, steps) in points() {
        for streamed in [false, true] {
            let faults = Faults::start(when, steps.clone()).await;
            let gateway = Gateway::start(&config(&faults)).await;
            let connection = modern_call(&gateway, streamed).await;
            arrived(&faults, when).await;
            drop(connection);
            released(&faults, &format!("{name}, streamed {streamed}")).await;
            works(&faults, &gateway).await;
        }
    }
}

fn cancelled(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id, "reason": "enough" } })
}

#[tokio::test]
async fn a_legacy_client_that_cancels_hears_nothing_more() {
    for (name, when, steps) in points() {
        let faults = Faults::start(when, steps).await;
        let gateway = Gateway::start(&config(&faults)).await;
        let session = gateway.session("2025-11-25", json!({})).await;
        let mut call = legacy("tools/call", &json!({ "name": "slow", "_meta": { "progressToken": "p" } }));
        call["id"] = json!("seven");
        let mut stream = gateway.connect().await;
        stream.open_stream("POST", &session, call.to_string().as_bytes()).await;
        arrived(&faults, when).await;
        let notice = cancelled(&json!("seven")).to_string();
        assert_eq!(gateway.post(&session, notice.as_bytes()).await.status, 202);
        released(&faults, name).await;
        // The progress of before is read; after it the stream ends without an answer.
        while let Some(message) = stream.event().await {
            assert_eq!(message["method"], "notifications/progress", "{name}: {message}");
        }
        works(&faults, &gateway).await;
    }
}

#[tokio::test]
async fn over_stdio_both_eras_cancel_by_notification_and_nothing_late_is_written() {
    for (name, when, steps) in points() {
        for call in [
            modern("tools/call", json!({ "name": "slow" })),
            legacy("tools/call", &json!({ "name": "slow" })),
        ] {
            let faults = Faults::start(when, steps.clone()).await;
            let folder = tempfile::tempdir().unwrap();
            let mut process = Process::stdio(folder.path(), &config(&faults));
            if call["params"].get("_meta").is_none() {
                process.say(&crate::support::message::initialize("2025-11-25")).await;
                process.message().await;
                process.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
            }
            process.say(&call).await;
            arrived(&faults, when).await;
            process.say(&cancelled(&json!(1))).await;
            released(&faults, name).await;
            assert!(process.is_silent(Duration::from_millis(300)).await, "{name}: something was said");
            process.close_input();
            assert!(process.end(LATE).await.success(), "{name}");
        }
    }
}
