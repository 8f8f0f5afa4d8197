//! The audit of those who were not let through: who they are, whose word that is, and what they wanted; and that strangers who are
//! turned away at the door cannot fill it.

use serde_json::{Value, json};

use crate::audit::lines;
use crate::support::issuer::{Issuer, Pair};
use crate::support::message::{legacy, modern, modern_headers, plain_headers};
use crate::support::{Gateway, Reply};

const KEY: &str = "a-key-that-nobody-may-see";

fn config(issuer: &Issuer) -> Value {
    let tool =
        |auth: Value| json!({ "description": "D.", "static": { "text": "x" }, "policy": { "auth": auth } });
    let mut auth = issuer.auth();
    auth["api_keys"] = json!([{ "name": "ci", "key": KEY, "scopes": ["read"] }]);
    let region = json!({ "region": { "type": "string" } });
    let mut by_region = tool(json!({ "when": "args.region == 'eu'" }));
    by_region["params"] = region;
    json!({
        "server": { "audit": { "file": "calls.jsonl" }, "telemetry": { "metrics": "/metrics" } },
        "auth": auth,
        "tools": {
            "plain": { "description": "D.", "static": { "text": "x" } },
            "write": tool(json!({ "scopes": ["read", "write"] })),
            "staff": tool(json!({ "when": "caller.claims.dept == 'support'" })),
            "region": by_region,
        },
        "resources": { "shop://secret": { "static": { "text": "x" }, "policy": { "auth": { "scopes": ["admin"] } } } },
        "prompts": { "secret": { "messages": [{ "user": "x" }], "policy": { "auth": { "scopes": ["admin"] } } } },
    })
}

async fn send(gateway: &Gateway, credentials: Option<&str>, method: &str, params: Value) -> Reply {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let mut headers = modern_headers(method, name.as_deref());
    headers.extend(credentials.map(|text| ("Authorization".to_owned(), format!("Bearer {text}"))));
    gateway.post(&headers, modern(method, params).to_string().as_bytes()).await
}

/// Who, what, and what came of it.
fn told(line: &Value) -> String {
    let members = ["caller", "proof", "noun", "route", "decision", "outcome", "era"];
    members.map(|member| line[member].as_str().unwrap_or("-")).join(" ")
}

#[tokio::test]
async fn whoever_may_not_has_a_line_too_with_who_says_who_they_are() {
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let mut config = config(&issuer);
    config["tools"]["hours"] =
        json!({ "description": "D.", "static": { "text": "x" }, "policy": { "auth": "none" } });
    let gateway = Gateway::start(&config.to_string()).await;
    let token = pair.token(&issuer.claims());
    let tool = |name: &str| json!({ "name": name });
    let region = json!({ "name": "region", "arguments": { "region": "us" } });
    let (key, token) = (Some(KEY), Some(token.as_str()));
    let rows = [
        (key, "tools/call", tool("plain"), 200, "ci key tool plain allowed ok modern"),
        (key, "tools/call", tool("write"), 403, "ci key tool write forbidden forbidden modern"),
        (key, "tools/call", tool("staff"), 200, "ci key tool staff forbidden forbidden modern"),
        (key, "tools/call", region, 200, "ci key tool region forbidden forbidden modern"),
        (key, "prompts/get", tool("secret"), 403, "ci key prompt secret forbidden forbidden modern"),
        (
            key,
            "resources/read",
            json!({ "uri": "shop://secret" }),
            403,
            "ci key resource shop://secret forbidden forbidden modern",
        ),
        (token, "tools/call", tool("plain"), 200, "ada jwt tool plain allowed ok modern"),
        (token, "tools/call", tool("write"), 403, "ada jwt tool write forbidden forbidden modern"),
        (None, "tools/call", tool("hours"), 200, "anonymous none tool hours allowed ok modern"),
        (
            None,
            "tools/call",
            tool("plain"),
            401,
            "anonymous none tool plain unauthenticated unauthenticated modern",
        ),
        (
            None,
            "prompts/get",
            tool("secret"),
            401,
            "anonymous none prompt secret unauthenticated unauthenticated modern",
        ),
    ];
    for (credentials, method, params, status, _) in &rows {
        let reply = send(&gateway, *credentials, method, params.clone()).await;
        assert_eq!(reply.status, *status, "{method} {params}: {}", reply.text());
    }
    // One message of the other era, and two in a batch.
    let mut headers = plain_headers();
    headers.push(("Authorization".to_owned(), format!("Bearer {KEY}")));
    let one = legacy("tools/call", &tool("write"));
    assert_eq!(gateway.post(&headers, one.to_string().as_bytes()).await.status, 403);
    headers.push(("MCP-Protocol-Version".to_owned(), "2025-03-26".to_owned()));
    let batch = json!([one, legacy("prompts/get", &tool("secret"))]);
    assert_eq!(gateway.post(&headers, batch.to_string().as_bytes()).await.status, 200);
    // What is no call has none: a list, and a subscription to what may not be read.
    send(&gateway, key, "tools/list", json!({})).await;
    let subscribe = legacy("resources/subscribe", &json!({ "uri": "shop://secret" }));
    assert_eq!(gateway.post(&headers[..4], subscribe.to_string().as_bytes()).await.status, 403);

    let all = lines(&gateway.folder().join("calls.jsonl"), rows.len() + 3).await;
    for (line, (.., wanted)) in all.iter().zip(&rows) {
        assert_eq!(told(line), *wanted);
        let issued = if line["proof"] == "jwt" { json!(issuer.url()) } else { Value::Null };
        assert_eq!(line["issuer"], issued, "{line}");
        assert_eq!((&line["ip"], &line["transport"]), (&json!("127.0.0.1"), &json!("http")));
        assert!(line["decision"] == "allowed" || line["attempts"] == 0, "{line}");
    }
    let mut others: Vec<String> = all[rows.len()..].iter().map(told).collect();
    others[1..].sort();
    assert_eq!(others[0], "ci key tool write forbidden forbidden legacy");
    assert_eq!(others[1], "ci key prompt secret forbidden forbidden legacy");
    assert_eq!(others[2], "ci key tool write forbidden forbidden legacy");
    // Counted as well as written.
    let mut headers = crate::support::message::headers(&[("Host", "localhost")]);
    headers.push(("Authorization".to_owned(), format!("Bearer {KEY}")));
    let metrics = gateway.connect().await.send("GET", "/metrics", &headers, b"").await.unwrap().text();
    for wanted in [
        "sidegate_calls_total{noun=\"tool\",route=\"write\",outcome=\"forbidden\"} 4",
        "sidegate_calls_total{noun=\"tool\",route=\"plain\",outcome=\"unauthenticated\"} 1",
        "sidegate_calls_total{noun=\"prompt\",route=\"secret\",outcome=\"forbidden\"} 2",
        "sidegate_calls_running 0",
    ] {
        assert!(metrics.lines().any(|line| line == wanted), "{wanted} in {metrics}");
    }
}

#[tokio::test]
async fn strangers_at_the_door_write_nothing() {
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start(&config(&issuer).to_string()).await;
    let mut foreign = issuer.claims();
    foreign["aud"] = json!("https://other.example/mcp");
    let foreign = pair.token(&foreign);
    for credentials in [None, Some("key-of-eve"), Some("a.b.c"), Some(foreign.as_str())] {
        assert_eq!(send(&gateway, credentials, "tools/call", json!({ "name": "plain" })).await.status, 401);
    }
    assert_eq!(send(&gateway, Some(KEY), "tools/call", json!({ "name": "plain" })).await.status, 200);
    let all = lines(&gateway.folder().join("calls.jsonl"), 1).await;
    assert_eq!(told(&all[0]), "ci key tool plain allowed ok modern");
}
