//! What a call says while it runs: progress and log lines, to a client that asked, before the answer and on its own stream.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::message::{legacy, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Gateway, Step, Upstream, text, until};

const CONFIG: &str = r#"
sources: { db: { sql: { url: "sqlite::memory:" } } }
tools:
  rehearsed:
    description: Says what it does.
    static:
      steps:
        - progress: { progress: 0, total: 2, message: begins }
        - log: { level: debug, data: a detail }
        - log: { level: warning, logger: press, data: { paper: low } }
        - progress: { progress: 1.5, total: 2 }
      text: printed
  counted: { description: Counts., sql: { source: db, query: "SELECT 1 AS one" } }
  plain: { description: Says hello., static: { text: hello } }
"#;

/// The messages of a reply, whether it is a stream or one object.
fn messages(body: &str) -> Vec<Value> {
    let events: Vec<&str> = body.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    let texts = if events.is_empty() { vec![body] } else { events };
    texts.into_iter().map(|t| serde_json::from_str(t).unwrap()).collect()
}

fn asking(tool: &str, level: Option<&str>, token: Option<Value>) -> Value {
    let mut request = modern("tools/call", json!({ "name": tool }));
    let envelope = &mut request["params"]["_meta"];
    if let Some(level) = level {
        envelope["io.modelcontextprotocol/logLevel"] = json!(level);
    }
    if let Some(token) = token {
        envelope["progressToken"] = token;
    }
    request
}

#[tokio::test]
async fn a_modern_client_hears_what_it_asked_for_and_nothing_else() {
    let gateway = Gateway::start(CONFIG).await;
    for (level, token, methods) in [
        (None, None, vec![]),
        (None, Some(json!("t")), vec!["progress", "progress"]),
        (Some("info"), None, vec!["message"]),
        (Some("debug"), Some(json!(7)), vec!["progress", "message", "message", "progress"]),
        (Some("emergency"), None, vec![]),
    ] {
        let request = asking("rehearsed", level, token.clone());
        let headers = modern_headers("tools/call", Some("rehearsed"));
        let reply = gateway.post(&headers, request.to_string().as_bytes()).await;
        let kind = if methods.is_empty() { "application/json" } else { "text/event-stream" };
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{level:?} {token:?}");
        let mut said = messages(&reply.text());
        let answer = said.pop().unwrap();
        assert_eq!(text(&answer["result"]), "printed");
        let heard: Vec<&str> = said.iter().map(|m| m["method"].as_str().unwrap()).collect();
        let wanted: Vec<String> = methods.iter().map(|m| format!("notifications/{m}")).collect();
        assert_eq!(heard, wanted, "{level:?} {token:?}");
        for progress in said.iter().filter(|m| m["method"] == "notifications/progress") {
            assert_eq!(progress["params"]["progressToken"], token.clone().unwrap());
        }
    }
    let request = asking("rehearsed", Some("warning"), None).to_string();
    let headers = modern_headers("tools/call", Some("rehearsed"));
    let said = messages(&gateway.post(&headers, request.as_bytes()).await.text());
    let line = json!({ "level": "warning", "logger": "press", "data": { "paper": "low" } });
    assert_eq!(said[0]["params"], line);
}

#[tokio::test]
async fn a_source_reports_its_stages() {
    let gateway = Gateway::start(CONFIG).await;
    let request = asking("counted", None, Some(json!("p"))).to_string();
    let headers = modern_headers("tools/call", Some("counted"));
    let said = messages(&gateway.post(&headers, request.as_bytes()).await.text());
    let stages: Vec<(i64, i64, &str)> = said
        .iter()
        .filter(|m| m["method"] == "notifications/progress")
        .map(|m| &m["params"])
        .map(|p| {
            (p["progress"].as_i64().unwrap(), p["total"].as_i64().unwrap(), p["message"].as_str().unwrap())
        })
        .collect();
    let wanted =
        [(0, 3, "started"), (1, 3, "waiting for the source"), (2, 3, "shaping the answer"), (3, 3, "done")];
    assert_eq!(stages, wanted);
    assert_eq!(said.last().unwrap()["result"]["structuredContent"], json!({ "rows": [{ "one": 1 }] }));
}

#[tokio::test]
async fn a_legacy_client_hears_log_lines_from_info_up_and_progress_under_its_token() {
    let gateway = Gateway::start(CONFIG).await;
    let mut request = legacy("tools/call", &json!({ "name": "rehearsed" }));
    request["params"]["_meta"] = json!({ "progressToken": 3 });
    let said = messages(&gateway.post(&plain_headers(), request.to_string().as_bytes()).await.text());
    let heard: Vec<&str> = said.iter().filter_map(|m| m["method"].as_str()).collect();
    assert_eq!(heard, ["notifications/progress", "notifications/message", "notifications/progress"]);
    assert_eq!(text(&said[3]["result"]), "printed");
    let plain = gateway.legacy("tools/call", &json!({ "name": "plain" })).await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn over_stdio_notifications_come_before_the_answer() {
    let folder: TempDir = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), CONFIG);
    process.say(&asking("rehearsed", Some("info"), Some(json!("s")))).await;
    let mut heard = Vec::new();
    loop {
        let message = process.message().await;
        if message.get("result").is_some() {
            break;
        }
        heard.push(message["method"].as_str().unwrap().to_owned());
    }
    assert_eq!(heard, ["notifications/progress", "notifications/message", "notifications/progress"]);
}

/// Sends a call and goes away while it runs.
async fn call_and_leave(
    (gateway, upstream): (&Gateway, &Upstream),
    headers: &[(String, String)],
    body: &str,
) {
    let mut connection = gateway.connect().await;
    let head: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let request = format!("POST /mcp HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let before = upstream.count();
    connection.write(request.as_bytes()).await.unwrap();
    until("the call arrives", async || upstream.count() > before).await;
}

#[tokio::test]
async fn going_away_cancels_a_modern_call_and_not_a_legacy_one() {
    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let yaml = format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools: {{ slow: {{ description: S., rest: {{ source: s, post: /notes }} }} }}\n",
        upstream.url()
    );
    let gateway = Gateway::start(&yaml).await;
    let modern_call = modern("tools/call", json!({ "name": "slow" })).to_string();
    call_and_leave((&gateway, &upstream), &modern_headers("tools/call", Some("slow")), &modern_call).await;
    until("the upstream's work is given up", async || upstream.left() == 1).await;
    assert_eq!(upstream.count(), 1);

    let streamed = asking("slow", None, Some(json!("t"))).to_string();
    call_and_leave((&gateway, &upstream), &modern_headers("tools/call", Some("slow")), &streamed).await;
    until("it is also when the reply is a stream", async || upstream.left() == 2).await;
    assert_eq!(upstream.count(), 2);

    let legacy_call = legacy("tools/call", &json!({ "name": "slow" })).to_string();
    call_and_leave((&gateway, &upstream), &plain_headers(), &legacy_call).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((upstream.count(), upstream.left()), (3, 2), "a legacy call goes on");
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_no_place_beyond_the_deadline() {
    let line = "x".repeat(256 << 10);
    let steps = format!("{{ log: {{ data: \"{line}\" }} }}, ").repeat(80);
    let config = format!(
        "server: {{ http: {{ max_concurrent_calls: 1 }} }}\n\
         tools: {{ talks: {{ description: T., static: {{ steps: [{steps}], text: done }}, policy: {{ timeout: 500ms }} }} }}\n"
    );
    let gateway = Gateway::start(&config).await;
    let request = asking("talks", Some("debug"), None).to_string();
    let legacy_call = legacy("tools/call", &json!({ "name": "talks" })).to_string();
    for (headers, body) in
        [(modern_headers("tools/call", Some("talks")), request), (plain_headers(), legacy_call)]
    {
        let mut stuck = gateway.connect().await;
        stuck.open_stream("POST", &headers, body.as_bytes()).await;
        // Nothing more is read.
        assert_eq!(gateway.modern("tools/list", json!({})).await.status, 503, "the only place is taken");
        let mut free = false;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            free = free || gateway.modern("tools/list", json!({})).await.status == 200;
            if free {
                break;
            }
        }
        assert!(free, "the place came back");
    }
}
