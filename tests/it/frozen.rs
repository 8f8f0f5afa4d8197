//! Frozen lists: two tools that stay the same reach every other one, and a call through them is what a direct call is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::message::{initialize, legacy, modern, modern_headers, modern_with_id, plain_headers};
use crate::support::process::Process;
use crate::support::upstream::{Upstream, json as body};
use crate::support::{Connection, Gateway, Reply, failure, text};

const CI: &str = "ci-key-0123456789abcdef";
const OPS: &str = "ops-key-0123456789abcdef";

async fn gateway() -> (Gateway, Upstream) {
    let upstream = Upstream::start(|_| body(r#"{"n":1}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.sql"), "CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (0);")
        .unwrap();
    let yaml = json!({
        "server": {
            "lists": { "frozen": true, "rate_limit": "none" }, "telemetry": { "metrics": "/metrics" },
            "audit": { "file": "audit.jsonl" },
        },
        "auth": { "api_keys": [{ "name": "ci", "key": CI }, { "name": "ops", "key": OPS, "scopes": ["ops"] }] },
        "sources": {
            "api": { "rest": { "base_url": upstream.url() } },
            "db": { "sql": { "url": "sqlite:a.db", "init": "a.sql", "read_only": false } },
        },
        "tools": {
            "get_number": { "description": "Look up one number.",
                "params": { "id": { "type": "integer", "minimum": 1 }, "tenant": { "type": "string", "optional": true, "x-mcp-header": "Tenant" } },
                "rest": { "source": "api", "get": "/{id}", "query": { "tenant": "{tenant}" } },
                "policy": { "cache": { "ttl": "1h" } } },
            "raise_number": { "description": "Raise the number.", "confirm": "Raise it?",
                "sql": { "source": "db", "query": "UPDATE a SET n = n + 1", "write": true } },
            "seldom": { "description": "Answers seldom.", "static": { "text": "x" },
                "policy": { "rate_limit": { "rate": "1/h", "burst": 1 } } },
            "rehearsed": { "description": "Says how far it is.",
                "static": { "steps": [{ "progress": { "progress": 1, "total": 2 } }], "text": "printed" } },
            "secret_number": { "description": "A number for few.", "static": { "text": "7" },
                "policy": { "auth": { "scopes": ["ops"] } } },
        },
    });
    (Gateway::start_in(folder, &yaml.to_string()).await, upstream)
}

async fn send(gateway: &Gateway, key: &str, name: &str, request: &Value) -> Reply {
    let mut headers = modern_headers("tools/call", Some(name));
    headers.push(("X-API-Key".to_owned(), key.to_owned()));
    gateway.post(&headers, request.to_string().as_bytes()).await
}

async fn call(gateway: &Gateway, key: &str, name: &str, arguments: Value) -> Reply {
    send(gateway, key, name, &modern("tools/call", json!({ "name": name, "arguments": arguments }))).await
}

/// The same call through `call_tool`.
async fn through(gateway: &Gateway, key: &str, name: &str, arguments: Value) -> Reply {
    call(gateway, key, "call_tool", json!({ "name": name, "arguments": arguments })).await
}

async fn found(gateway: &Gateway, key: &str, arguments: Value) -> (Vec<String>, u64) {
    let result = call(gateway, key, "find_tool", arguments).await.json()["result"].take();
    let structured = &result["structuredContent"];
    assert_eq!(serde_json::from_str::<Value>(text(&result)).unwrap(), *structured);
    let tools = structured["tools"].as_array().unwrap().iter();
    (tools.map(|t| t["name"].as_str().unwrap().to_owned()).collect(), structured["more"].as_u64().unwrap())
}

#[tokio::test]
async fn the_list_holds_two_tools_which_find_those_that_a_caller_may_use() {
    let (gateway, _upstream) = gateway().await;
    let mut headers = modern_headers("tools/list", None);
    headers.push(("X-API-Key".to_owned(), CI.to_owned()));
    let list = gateway.post(&headers, modern("tools/list", json!({})).to_string().as_bytes()).await.json();
    let tools = list["result"]["tools"].as_array().unwrap();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["find_tool", "call_tool"]);
    assert!(tools[1].get("outputSchema").is_none());
    let result =
        call(&gateway, CI, "find_tool", json!({ "query": "look up a number" })).await.json()["result"].take();
    let schema = jsonschema::validator_for(&tools[0]["outputSchema"]).unwrap();
    assert!(schema.is_valid(&result["structuredContent"]), "{result}");
    let first = &result["structuredContent"]["tools"][0];
    assert_eq!((&first["name"], &first["inputSchema"]["required"]), (&json!("get_number"), &json!(["id"])));
    assert_eq!(
        found(&gateway, CI, json!({ "query": "number" })).await,
        (vec!["get_number".into(), "raise_number".into()], 0)
    );
    let (seen, _) = found(&gateway, OPS, json!({ "query": "number" })).await;
    assert!(seen.contains(&"secret_number".to_owned()));
    assert_eq!(found(&gateway, CI, json!({ "limit": 1 })).await, (vec!["get_number".into()], 3));
    assert_eq!(found(&gateway, CI, json!({ "query": "zebra" })).await, (vec![], 0));
    for wrong in [
        json!({ "limit": 0 }),
        json!({ "limit": 51 }),
        json!({ "query": 1 }),
        json!({ "q": "x" }),
        json!({ "query": "x".repeat(501) }),
    ] {
        let refused = call(&gateway, CI, "find_tool", wrong.clone()).await.json();
        assert!(failure(&refused["result"]).contains("`query`"), "{wrong} {refused}");
    }
    let mut headers = plain_headers();
    headers.push(("X-API-Key".to_owned(), CI.to_owned()));
    let opened = gateway.post(&headers, initialize("2025-11-25").to_string().as_bytes()).await;
    assert_eq!(opened.json()["result"]["capabilities"]["tools"], json!({}));
}

#[tokio::test]
async fn a_call_through_it_is_a_direct_call() {
    let (gateway, upstream) = gateway().await;
    for arguments in [json!({ "id": 1 }), json!({ "id": 0 }), json!({ "idd": 1 }), json!({})] {
        let direct = call(&gateway, CI, "get_number", arguments.clone()).await;
        let other = through(&gateway, CI, "get_number", arguments.clone()).await;
        let [mut direct, mut other] = [direct.json(), other.json()];
        // Only how old a kept answer is differs.
        for answer in [&mut direct, &mut other] {
            answer["result"]["_meta"].take();
        }
        assert_eq!(direct, other, "{arguments}");
    }
    assert_eq!(upstream.count(), 1, "one kept answer for both");
    // Its own header is wanted in a direct call only.
    let tenant = json!({ "id": 2, "tenant": "a" });
    assert_eq!(call(&gateway, CI, "get_number", tenant.clone()).await.code(), -32020);
    assert_eq!(
        through(&gateway, CI, "get_number", tenant).await.json()["result"]["structuredContent"],
        json!({ "n": 1 })
    );
    // What is unknown, what is not theirs, and what is too often.
    for name in ["get_numbr", "secret_number", "call_tool", "find_tool"] {
        let other = through(&gateway, CI, name, json!({})).await;
        let direct =
            if name.ends_with("_tool") { None } else { Some(call(&gateway, CI, name, json!({})).await) };
        assert_eq!(other.code(), if name == "secret_number" { 1403 } else { -32602 }, "{}", other.text());
        if let Some(direct) = direct {
            assert_eq!((direct.status, direct.json()), (other.status, other.json()), "{name}");
            assert_eq!(direct.header("www-authenticate"), other.header("www-authenticate"));
        }
    }
    assert_eq!(text(&through(&gateway, OPS, "secret_number", json!({})).await.json()["result"]), "7");
    assert_eq!(text(&through(&gateway, CI, "seldom", json!({})).await.json()["result"]), "x");
    assert_eq!(call(&gateway, CI, "seldom", json!({})).await.status, 429);
    assert_eq!(through(&gateway, CI, "seldom", json!({})).await.status, 429);
    for wrong in [
        json!({}),
        json!({ "name": 5 }),
        json!({ "name": "seldom", "arguments": {}, "more": 1 }),
        json!({ "arguments": {} }),
    ] {
        let refused = call(&gateway, CI, "call_tool", wrong.clone()).await.json();
        assert!(failure(&refused["result"]).contains("`name`"), "{wrong} {refused}");
    }
    assert_eq!(
        call(&gateway, CI, "call_tool", json!({ "name": "seldom", "arguments": [] })).await.code(),
        -32602
    );
    // It is counted and recorded under the name of the tool.
    let key = [("Host".to_owned(), "localhost".to_owned()), ("X-API-Key".to_owned(), CI.to_owned())];
    let figures = gateway.connect().await.send("GET", "/metrics", &key, b"").await.unwrap().text();
    assert!(figures.contains(r#"calls_total{noun="tool",route="get_number",outcome="ok"} 3"#), "{figures}");
    assert!(!figures.contains("call_tool"), "{figures}");
    let path = gateway.folder().join("audit.jsonl");
    let recorded = || std::fs::read_to_string(&path).unwrap_or_default();
    let start = Instant::now();
    while !recorded().contains("get_number") {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!recorded().contains("call_tool"));
}

#[tokio::test]
async fn a_person_is_asked_and_progress_is_told_through_it_in_both_eras() {
    let (gateway, _upstream) = gateway().await;
    let mut request =
        modern("tools/call", json!({ "name": "call_tool", "arguments": { "name": "raise_number" } }));
    request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
    let asked = send(&gateway, CI, "call_tool", &request).await.json();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    request["params"]["requestState"] = asked["result"]["requestState"].clone();
    request["params"]["inputResponses"] = json!({ "confirm": { "action": "accept", "content": {} } });
    let done = send(&gateway, CI, "call_tool", &request).await.json();
    assert_eq!(
        (&done["result"]["resultType"], done["result"].get("isError")),
        (&json!("complete"), None),
        "{done}"
    );
    // The yes was for one run.
    let again = send(&gateway, CI, "call_tool", &request).await.json();
    assert_ne!(again["result"]["resultType"], "complete", "{again}");

    let mut hands = initialize("2025-11-25");
    hands["params"]["capabilities"] = json!({ "elicitation": {} });
    let mut session = plain_headers();
    session.push(("X-API-Key".to_owned(), CI.to_owned()));
    let opened = gateway.post(&session, hands.to_string().as_bytes()).await;
    session.push(("Mcp-Session-Id".to_owned(), opened.header("mcp-session-id").unwrap().to_owned()));
    let raise = legacy(
        "tools/call",
        &json!({ "name": "call_tool", "arguments": { "name": "raise_number", "arguments": {} } }),
    );
    let mut stream = gateway.connect().await;
    stream.open_stream("POST", &session, raise.to_string().as_bytes()).await;
    let asked = stream.event().await.unwrap();
    assert_eq!(
        (&asked["method"], &asked["params"]["message"]),
        (&json!("elicitation/create"), &json!("Raise it?"))
    );
    let answer =
        json!({ "jsonrpc": "2.0", "id": asked["id"], "result": { "action": "accept", "content": {} } });
    gateway.post(&session, answer.to_string().as_bytes()).await;
    let done = stream.event().await.unwrap();
    assert!(done["result"].get("isError").is_none(), "{done}");

    let mut request =
        modern("tools/call", json!({ "name": "call_tool", "arguments": { "name": "rehearsed" } }));
    request["params"]["_meta"]["progressToken"] = json!("t");
    let told = send(&gateway, CI, "call_tool", &request).await.text();
    assert!(told.contains("notifications/progress") && told.contains("printed"), "{told}");
}

#[tokio::test]
async fn a_reload_brings_tools_within_reach_and_nobody_hears_of_a_list() {
    let config = |name: &str| {
        format!(
            "server: {{ lists: {{ frozen: true }} }}\ntools:\n  {name}: {{ description: Of {name}., static: {{ text: {name} }} }}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config("one")).await;
    let ask = async |params: Value| {
        let name = params["name"].as_str().unwrap().to_owned();
        let request = modern_with_id(&json!(1), "tools/call", params).to_string();
        let mut connection = Connection::open(address).await.unwrap();
        let headers = modern_headers("tools/call", Some(&name));
        connection.send("POST", "/mcp", &headers, request.as_bytes()).await.unwrap().json()
    };
    let mut listener = Connection::open(address).await.unwrap();
    let wanted = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true } });
    let request = modern_with_id(&json!("sub"), "subscriptions/listen", wanted).to_string();
    listener.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
    let accepted = listener.event().await.unwrap()["params"]["notifications"].take();
    assert_eq!(accepted, json!({ "promptsListChanged": true }), "tools never change");
    let mut session = Connection::open(address).await.unwrap();
    let opened = session
        .send("POST", "/mcp", &plain_headers(), initialize("2025-11-25").to_string().as_bytes())
        .await
        .unwrap();
    let mut own = plain_headers();
    own.push(("Mcp-Session-Id".to_owned(), opened.header("mcp-session-id").unwrap().to_owned()));
    session.open_stream("GET", &own, b"").await;
    let two = json!({ "name": "call_tool", "arguments": { "name": "two" } });
    assert_eq!(ask(two.clone()).await["error"]["code"], -32602);
    std::fs::write(folder.path().join("gateway.yaml"), config("two")).unwrap();
    let start = Instant::now();
    let answer = loop {
        let answer = ask(two.clone()).await;
        if answer.get("error").is_none() || start.elapsed() > Duration::from_secs(15) {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(text(&answer["result"]), "two", "{answer}");
    assert_eq!(text(&ask(json!({ "name": "two" })).await["result"]), "two", "by its own name, too");
    let found = ask(json!({ "name": "find_tool", "arguments": { "query": "two" } })).await;
    assert_eq!(found["result"]["structuredContent"]["tools"][0]["name"], "two");
    for stream in [&mut listener, &mut session] {
        assert!(stream.no_event(Duration::from_millis(300)).await);
    }
    std::fs::write(folder.path().join("gateway.yaml"), config("two").replace("true", "false")).unwrap();
    let start = Instant::now();
    while !process.log().contains("`server.lists.frozen` cannot change") {
        assert!(start.elapsed() < Duration::from_secs(15), "{}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
