//! The audit: a line for each call, whatever came of it, that says who and what and gives no secret and no argument away.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::message::{modern, modern_headers, modern_with_id};
use crate::support::process::{self, Process};
use crate::support::upstream::{Step, Upstream, json as body, reply};
use crate::support::{Connection, Gateway, LATE};

const KEY: &str = "a-key-that-nobody-may-see";

fn config(url: &str, audit: &Value) -> Value {
    json!({
        "server": { "audit": audit },
        "auth": { "api_keys": [{ "name": "ci", "key": KEY }] },
        "sources": { "api": { "rest": { "base_url": url, "credentials": { "bearer": "upstream-secret" } } } },
        "tools": {
            "get": {
                "description": "D.",
                "params": { "id": { "type": "string", "maxLength": 2000 }, "pin": { "type": "string", "optional": true, "writeOnly": true } },
                "policy": { "cache": { "ttl": "60s" } },
                "rest": { "source": "api", "get": "/items/{id}", "query": { "pin": "{pin}" } }
            },
            "again": {
                "description": "D.", "policy": { "retry": { "attempts": 3, "backoff": "1ms" } },
                "rest": { "source": "api", "get": "/broken" }
            },
            "slow": { "description": "D.", "rest": { "source": "api", "get": "/slow" } },
            "seldom": { "description": "D.", "policy": { "rate_limit": { "rate": "1/h", "burst": 1 } }, "static": { "text": "x" } },
        },
        "resources": { "shop://now": { "name": "now", "static": { "text": "now" } } },
        "prompts": { "hello": {
            "description": "D.", "params": { "who": { "description": "W." } },
            "data": { "item": { "rest": { "source": "api", "get": "/items/p" } } },
            "messages": [{ "user": "{{ who }} {{ item.path }}" }],
        } },
    })
}

async fn upstream() -> Upstream {
    Upstream::start(|seen| match seen.path() {
        "/broken" => vec![Step::Send(reply("503 Service Unavailable", "text/plain", b""))],
        "/slow" => vec![Step::Wait(Duration::from_secs(30))],
        "/items/none" => vec![Step::Send(reply("404 Not Found", "text/plain", b""))],
        path => body(&json!({ "path": path }).to_string()),
    })
    .await
}

/// The lines of an audit once there are so many. Each is one JSON object without anything that a terminal obeys.
pub async fn lines(path: &Path, wanted: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() >= wanted && text.ends_with('\n') {
            assert_eq!(lines.len(), wanted, "{text}");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            assert!(!text.contains(KEY) && !text.contains("upstream-secret"));
            return lines.into_iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {wanted} lines: {text}", lines.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn send(gateway: &Gateway, method: &str, params: Value) -> Value {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let mut headers = modern_headers(method, name.as_deref());
    headers.push(("X-API-Key".to_owned(), KEY.to_owned()));
    gateway.post(&headers, modern(method, params).to_string().as_bytes()).await.json()
}

async fn call(gateway: &Gateway, tool: &str, arguments: Value) -> Value {
    send(gateway, "tools/call", json!({ "name": tool, "arguments": arguments })).await
}

#[tokio::test]
async fn every_call_has_one_line_that_says_who_what_and_what_came_of_it() {
    let upstream = upstream().await;
    let gateway =
        Gateway::start(&config(&upstream.url(), &json!({ "file": "calls.jsonl" })).to_string()).await;
    let file = gateway.folder().join("calls.jsonl");
    for id in ["a", "a", "none"] {
        call(&gateway, "get", json!({ "id": id })).await;
    }
    let refused =
        call(&gateway, "get", json!({ "id": "\u{1b}[31m\n{\"decision\":\"allowed\"}", "more": 1 })).await;
    call(&gateway, "again", json!({})).await;
    call(&gateway, "seldom", json!({})).await;
    call(&gateway, "seldom", json!({})).await;
    send(&gateway, "resources/read", json!({ "uri": "shop://now" })).await;
    send(&gateway, "prompts/get", json!({ "name": "hello", "arguments": { "who": "you" } })).await;
    let all = lines(&file, 9 + 1).await;

    let seen = |n: usize| {
        let line = &all[n];
        ["noun", "route", "decision", "outcome"]
            .map(|member| line[member].as_str().unwrap().to_owned())
            .join(" ")
    };
    assert_eq!(seen(0), "tool get allowed ok");
    assert_eq!((&all[0]["cache"], &all[0]["attempts"]), (&json!("miss"), &json!(1)));
    assert_eq!((&all[1]["cache"], &all[1]["attempts"]), (&json!("hit"), &json!(0)));
    assert_eq!(seen(2), "tool get allowed not_found");
    assert_eq!(seen(3), "tool get invalid_arguments invalid_arguments");
    assert_eq!(all[3].get("arguments_sha256"), None, "what was refused has no form");
    assert_eq!(seen(4), "tool again allowed upstream_status");
    assert_eq!((&all[4]["attempts"], &all[4]["source"]), (&json!(3), &json!("api")));
    assert_eq!(
        (seen(5).as_str(), seen(6).as_str()),
        ("tool seldom allowed ok", "tool seldom rate_limited rate_limited")
    );
    assert_eq!(seen(7), "resource shop://now allowed ok");
    assert_eq!(
        (seen(8).as_str(), seen(9).as_str()),
        ("prompt_data hello.item allowed ok", "prompt hello allowed ok")
    );
    assert_eq!(all[8]["request"], all[9]["request"], "what a prompt fetches belongs to it");

    for line in &all {
        assert_eq!(
            [&line["caller"], &line["proof"], &line["ip"]],
            [&json!("ci"), &json!("key"), &json!("127.0.0.1")]
        );
        assert_eq!([&line["transport"], &line["era"]], [&json!("http"), &json!("modern")]);
        assert!(line["ms"].is_u64() && line["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{line}");
        assert_eq!(line.get("arguments"), None, "values are written only where they are asked for");
    }
    let digest = |n: usize| all[n]["arguments_sha256"].as_str().unwrap();
    assert!(digest(0).len() == 64 && digest(0) == digest(1) && digest(0) != digest(2));
    // The id leads from what the caller reads to the line.
    let failed = call(&gateway, "again", json!({})).await;
    let last = lines(&file, 11).await.pop().unwrap();
    assert!(failed.to_string().contains(last["request"].as_str().unwrap()), "{failed} {last}");
    assert!(refused.to_string().contains("isError"));
}

#[tokio::test]
async fn values_are_written_where_they_are_asked_for_but_for_secrets_and_with_an_end() {
    let upstream = upstream().await;
    let audit = json!({ "file": "calls.jsonl", "arguments": "redacted" });
    let gateway = Gateway::start(&config(&upstream.url(), &audit).to_string()).await;
    call(&gateway, "get", json!({ "id": "a\nb\u{9b}", "pin": "1234-5678" })).await;
    call(&gateway, "get", json!({ "id": "x".repeat(1500) })).await;
    let all = lines(&gateway.folder().join("calls.jsonl"), 2).await;
    assert_eq!(all[0]["arguments"], json!({ "id": "a\nb\u{9b}", "pin": "***" }));
    assert_eq!(all[1]["arguments"]["id"].as_str().unwrap().chars().count(), 257);
    assert!(all[0]["arguments_sha256"].is_string());

    let none = json!({ "file": "calls.jsonl", "arguments": "none" });
    let gateway = Gateway::start(&config(&upstream.url(), &none).to_string()).await;
    call(&gateway, "get", json!({ "id": "a" })).await;
    let all = lines(&gateway.folder().join("calls.jsonl"), 1).await;
    assert!(all[0].get("arguments").is_none() && all[0].get("arguments_sha256").is_none());
}

#[tokio::test]
async fn a_call_whose_client_went_away_has_its_line_and_full_files_move_aside() {
    let upstream = upstream().await;
    let audit = json!({ "file": "calls.jsonl", "max_size": "1KiB", "keep": 100 });
    let gateway = Gateway::start(&config(&upstream.url(), &audit).to_string()).await;
    let mut connection = Connection::open(gateway.address).await.unwrap();
    let mut headers = modern_headers("tools/call", Some("slow"));
    headers.push(("X-API-Key".to_owned(), KEY.to_owned()));
    let body = modern("tools/call", json!({ "name": "slow" })).to_string();
    connection.begin("POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
    let start = Instant::now();
    while upstream.count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(connection);
    let line = lines(&gateway.folder().join("calls.jsonl"), 1).await.remove(0);
    assert_eq!((&line["route"], &line["outcome"]), (&json!("slow"), &json!("cancelled")));

    for n in 0..40 {
        call(&gateway, "get", json!({ "id": n.to_string() })).await;
    }
    let start = Instant::now();
    loop {
        let names = std::fs::read_dir(gateway.folder()).unwrap().map(|entry| entry.unwrap().path());
        let texts: Vec<String> = names
            .filter(|p| p.to_string_lossy().contains("calls.jsonl"))
            // One that moved aside since it was listed is read in the next round.
            .filter_map(|p| std::fs::read_to_string(p).ok())
            .collect();
        let ids: BTreeSet<String> = texts
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["request"].to_string())
            .collect();
        if ids.len() == 41 {
            assert!(texts.len() > 10 && texts.iter().all(|text| text.len() <= 1024));
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{} lines", ids.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn over_stdio_it_goes_to_stderr_and_is_whole_at_the_end() {
    let yaml = r"
server: { audit: {}, log: { level: error } }
tools:
  hello: { description: Says hello., static: { text: hello } }
";
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), yaml);
    for id in 0..200 {
        process.say(&modern_with_id(&json!(id), "tools/call", json!({ "name": "hello" }))).await;
        // Every line of stdout is an answer.
        assert_eq!(process.message().await["id"], id);
    }
    process.close_input();
    assert!(process.end(LATE).await.success());
    let log = process.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 200);
    for line in lines {
        let members = [&line["caller"], &line["transport"], &line["ip"], &line["outcome"]];
        assert_eq!(members, [&json!("local"), &json!("local"), &Value::Null, &json!("ok")]);
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_has_written_every_line() {
    let yaml = r"
server: { audit: { file: calls.jsonl } }
tools:
  hello: { description: Says hello., static: { text: hello } }
";
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), yaml).await;
    for _ in 0..50 {
        process::call(address, "hello").await;
    }
    process.signal("TERM");
    assert!(process.end(LATE).await.success());
    let text = std::fs::read_to_string(folder.path().join("calls.jsonl")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(r#""outcome":"ok""#)).count(), 50);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_ends_the_start_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let yaml = r"
server: { audit: { file: file/calls.jsonl } }
tools:
  hello: { description: Says hello., static: { text: hello } }
";
    let mut process = Process::stdio(folder.path(), yaml);
    assert!(!process.end(LATE).await.success());
    assert!(process.log().contains("cannot open the audit `"), "{}", process.log());
}
