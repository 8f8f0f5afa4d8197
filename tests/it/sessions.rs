//! Legacy sessions over HTTP: opened by `initialize`, bound, ended; their stream of news, levels, cancellation and batches.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{headers, initialize, legacy, modern, modern_headers, plain_headers};
use crate::support::{Connection, Gateway, LATE, Step, Upstream, text};

const CONFIG: &str = r#"
server: { http: { sessions: { max: 3 } } }
tools:
  hello: { description: Says hello., static: { text: hello } }
  slow: { description: Takes its time., static: { steps: [{ sleep: 2s }], text: done } }
  logs: { description: Logs., static: { steps: [{ log: { level: debug, data: low } }, { log: { level: error, data: high } }], text: done } }
  change_tools: { description: Announces., static: { steps: [{ announce: tools }], text: told } }
  change_prompts: { description: Announces., static: { steps: [{ announce: prompts }], text: told } }
  touch_a: { description: Announces., static: { steps: [{ announce: "shop://a" }], text: told } }
  touch_b: { description: Announces., static: { steps: [{ announce: "shop://b" }], text: told } }
resources:
  "shop://a": { name: a, description: A., static: { text: a } }
  "shop://b": { name: b, description: B., static: { text: b } }
"#;

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

type Headers = Vec<(String, String)>;

async fn open(gateway: &Gateway) -> Headers {
    gateway.session("2025-11-25", json!({})).await
}

async fn post(gateway: &Gateway, headers: &Headers, message: &Value) -> u16 {
    gateway.post(headers, message.to_string().as_bytes()).await.status
}

fn with_method(session: &Headers, accept: &str) -> Headers {
    let mut all: Headers = session.iter().filter(|(n, _)| n != "Accept").cloned().collect();
    all.extend(headers(&[("Accept", accept)]));
    all
}

async fn listen(gateway: &Gateway, session: &Headers) -> Connection {
    let mut stream = gateway.connect().await;
    let head = stream.open_stream("GET", &with_method(session, "text/event-stream"), b"").await;
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    stream
}

async fn call(gateway: &Gateway, session: &Headers, tool: &str) {
    let call = legacy("tools/call", &json!({ "name": tool }));
    assert_eq!(post(gateway, session, &call).await, 200);
}

#[tokio::test]
async fn a_session_lives_until_it_is_deleted_and_is_optional() {
    let gateway = Gateway::start(CONFIG).await;
    let session = open(&gateway).await;
    let ping = legacy("ping", &json!({}));
    assert_eq!(
        post(&gateway, &session, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await,
        202
    );
    assert_eq!(post(&gateway, &session, &ping).await, 200);
    assert_eq!(post(&gateway, &plain_headers(), &ping).await, 200, "without one");
    // A modern request neither needs nor minds it.
    let mut beside = modern_headers("tools/list", None);
    beside.extend(headers(&[("Mcp-Session-Id", "whatever")]));
    let reply = gateway.post(&beside, modern("tools/list", json!({})).to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.header("mcp-session-id")), (200, None));

    let delete = gateway.connect().await.send("DELETE", "/mcp", &session, b"").await.unwrap();
    assert_eq!(delete.status, 204);
    for method in ["POST", "GET", "DELETE"] {
        let body = if method == "POST" { ping.to_string() } else { String::new() };
        let reply = gateway.connect().await.send(method, "/mcp", &session, body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, 404, "{method}: {}", reply.text());
        assert!(reply.text().contains("initialize"), "{}", reply.text());
    }
    for method in ["GET", "DELETE"] {
        let reply = gateway.connect().await.send(method, "/mcp", &plain_headers(), b"").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, POST, DELETE")), "{method}");
    }
    let mut twice = session.clone();
    twice.extend(headers(&[("Mcp-Session-Id", "another")]));
    assert_eq!(post(&gateway, &twice, &ping).await, 400);
}

#[tokio::test]
async fn a_flood_of_handshakes_costs_no_session_that_is_in_use() {
    let gateway = Gateway::start(CONFIG).await;
    let session = open(&gateway).await;
    let mut stream = listen(&gateway, &session).await;
    for _ in 0..50 {
        let reply = gateway.post(&plain_headers(), initialize("2025-11-25").to_string().as_bytes()).await;
        assert_eq!(reply.status, 200);
    }
    call(&gateway, &session, "change_tools").await;
    assert_eq!(stream.event().await.unwrap()["method"], "notifications/tools/list_changed");
    // Three places: two more streams fill them, and then a client does without.
    let (second, third) = (open(&gateway).await, open(&gateway).await);
    let _streams = (listen(&gateway, &second).await, listen(&gateway, &third).await);
    let reply = gateway.post(&plain_headers(), initialize("2025-11-25").to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.header("mcp-session-id")), (200, None));
}

#[tokio::test]
async fn the_stream_of_a_session_tells_what_it_may_hear() {
    let gateway = Gateway::start(CONFIG).await;
    let session = open(&gateway).await;
    let mut stream = listen(&gateway, &session).await;
    let uri = json!({ "uri": "shop://a" });
    assert_eq!(post(&gateway, &session, &legacy("resources/subscribe", &uri)).await, 200);
    // There are no prompts, so their list cannot change; `b` is not watched.
    for tool in ["change_prompts", "touch_b", "touch_a", "change_tools"] {
        call(&gateway, &session, tool).await;
    }
    let updated = stream.event().await.unwrap();
    assert_eq!((&updated["method"], &updated["params"]), (&json!("notifications/resources/updated"), &uri));
    assert_eq!(stream.event().await.unwrap()["method"], "notifications/tools/list_changed");
    assert_eq!(post(&gateway, &session, &legacy("resources/unsubscribe", &uri)).await, 200);
    call(&gateway, &session, "touch_a").await;
    assert!(stream.no_event(Duration::from_millis(300)).await);

    // A later stream takes the place of an earlier one.
    let mut later = listen(&gateway, &session).await;
    assert_eq!(stream.event().await, None);
    call(&gateway, &session, "change_tools").await;
    assert!(later.event().await.is_some());
    // The end of the session ends it, and the end of the server.
    gateway.connect().await.send("DELETE", "/mcp", &session, b"").await.unwrap();
    assert_eq!(later.event().await, None);
    let session = open(&gateway).await;
    let mut last = listen(&gateway, &session).await;
    let refused =
        gateway.connect().await.send("GET", "/mcp", &with_method(&session, "application/json"), b"").await;
    assert_eq!(refused.unwrap().status, 406);
    gateway.stop().await;
    assert_eq!(last.event().await, None);
}

#[tokio::test]
async fn each_session_has_its_level() {
    let gateway = Gateway::start(CONFIG).await;
    let lines = async |session: &Headers| {
        let call = legacy("tools/call", &json!({ "name": "logs" }));
        let reply = gateway.post(session, call.to_string().as_bytes()).await;
        reply.text().matches("notifications/message").count()
    };
    let (quiet, chatty) = (open(&gateway).await, open(&gateway).await);
    for (session, level) in [(&quiet, "critical"), (&chatty, "debug")] {
        assert_eq!(
            post(&gateway, session, &legacy("logging/setLevel", &json!({ "level": level }))).await,
            200
        );
    }
    assert_eq!((lines(&quiet).await, lines(&chatty).await, lines(&open(&gateway).await).await), (0, 2, 1));
    let wrong = gateway
        .post(&quiet, legacy("logging/setLevel", &json!({ "level": "loud" })).to_string().as_bytes())
        .await;
    assert_eq!(wrong.code(), -32602);
}

#[tokio::test]
async fn a_session_cancels_its_own_calls_only_and_the_upstream_sees_it() {
    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let config = format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\ntools: {{ slow: {{ description: S., rest: {{ source: s, get: / }} }} }}\n",
        upstream.url()
    );
    let gateway = Gateway::start(&config).await;
    let (mine, other) = (open(&gateway).await, open(&gateway).await);
    let call = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/call", "params": { "name": "slow" } })
        .to_string();
    let running = gateway.post(&mine, call.as_bytes());
    let cancelling = async {
        until(|| upstream.count() == 1).await;
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "a" } });
        for foreign in [&other, &plain_headers()] {
            assert_eq!(post(&gateway, foreign, &cancel).await, 202);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(upstream.left(), 0, "not theirs");
        assert_eq!(post(&gateway, &mine, &cancel).await, 202);
        tokio::time::timeout(LATE, until(|| upstream.left() == 1)).await.unwrap();
    };
    let (reply, ()) = tokio::join!(running, cancelling);
    assert_eq!((reply.status, reply.text().as_str()), (202, ""), "a cancelled request has no answer");
}

fn cancel(id: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } })
}

/// All that asks an upstream, which never answers.
fn hanging(upstream: &Upstream) -> String {
    format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\", timeout: 30s }} }} }}\n\
         defaults: {{ policy: {{ timeout: 30s }} }}\n\
         tools: {{ slow: {{ description: S., rest: {{ source: s, get: / }} }} }}\n\
         resources:\n\
         \x20 \"shop://slow/{{of}}\":\n\
         \x20   name: slow\n\
         \x20   rest: {{ source: s, get: \"/{{of}}\" }}\n\
         \x20   complete: {{ of: {{ rest: {{ source: s, get: /, query: {{ q: \"{{value}}\" }} }} }} }}\n\
         prompts:\n\
         \x20 slow:\n\
         \x20   description: S.\n\
         \x20   data: {{ it: {{ rest: {{ source: s, get: / }} }} }}\n\
         \x20   messages: [{{ user: \"{{{{ it }}}}\" }}]\n",
        upstream.url()
    )
}

#[tokio::test]
async fn whatever_runs_goes_on_without_its_client_and_ends_when_it_is_cancelled() {
    let reference = json!({ "type": "ref/resource", "uri": "shop://slow/{of}" });
    for (method, params) in [
        ("tools/call", json!({ "name": "slow" })),
        ("prompts/get", json!({ "name": "slow" })),
        ("resources/read", json!({ "uri": "shop://slow/a" })),
        ("completion/complete", json!({ "ref": reference, "argument": { "name": "of", "value": "a" } })),
    ] {
        let upstream = Upstream::start(|_| vec![Step::Hang]).await;
        let gateway = Gateway::start(&hanging(&upstream)).await;
        let session = open(&gateway).await;
        let mut request = legacy(method, &params);
        // One id, written in two ways.
        request["id"] = json!("\u{fc}A");
        let request = request.to_string().replace("\u{fc}A", "\u{fc}\\u0041");
        let mut connection = gateway.connect().await;
        connection.begin("POST", "/mcp", &session, request.as_bytes()).await.unwrap();
        tokio::time::timeout(LATE, until(|| upstream.count() == 1)).await.expect(method);
        drop(connection);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(upstream.left(), 0, "{method} ended with its connection");
        assert_eq!(post(&gateway, &session, &cancel(&json!("\u{fc}A"))).await, 202);
        tokio::time::timeout(LATE, until(|| upstream.left() == 1)).await.expect(method);
    }
}

#[tokio::test]
async fn each_request_of_a_batch_can_be_cancelled_whether_its_turn_has_come_or_not() {
    let upstream = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = Gateway::start(&hanging(&upstream)).await;
    let session = gateway.session("2025-03-26", json!({})).await;
    let slow = |id: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "slow" } });
    let batch = json!([slow("runs"), slow("waits"), legacy("ping", &json!({}))]).to_string();
    let running = gateway.post(&session, batch.as_bytes());
    let cancelling = async {
        tokio::time::timeout(LATE, until(|| upstream.count() == 1)).await.unwrap();
        for id in ["waits", "runs"] {
            assert_eq!(post(&gateway, &session, &cancel(&json!(id))).await, 202);
        }
    };
    let (reply, ()) = tokio::join!(running, cancelling);
    assert_eq!(reply.json(), json!([{ "jsonrpc": "2.0", "id": 1, "result": {} }]));
    tokio::time::timeout(LATE, until(|| upstream.left() == 1)).await.unwrap();
    assert_eq!(upstream.count(), 1, "the second one never began");
    // Where nothing is left there is no answer.
    let alone = json!([slow("a")]).to_string();
    let running = gateway.post(&session, alone.as_bytes());
    let cancelling = async {
        tokio::time::timeout(LATE, until(|| upstream.count() == 2)).await.unwrap();
        assert_eq!(post(&gateway, &session, &cancel(&json!("a"))).await, 202);
    };
    let (reply, ()) = tokio::join!(running, cancelling);
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
}

#[tokio::test]
async fn a_notification_to_a_session_that_is_none_is_not_taken() {
    let gateway = Gateway::start(CONFIG).await;
    let mut list = plain_headers();
    list.extend(headers(&[("Mcp-Session-Id", "none")]));
    assert_eq!(post(&gateway, &list, &cancel(&json!(1))).await, 404);
    list.extend(headers(&[("MCP-Protocol-Version", "2025-11-25")]));
    assert_eq!(post(&gateway, &list, &cancel(&json!(1))).await, 404);
}

#[tokio::test]
async fn a_resource_that_is_gone_is_watched_no_more() {
    let gateway = Gateway::start(CONFIG).await;
    let session = open(&gateway).await;
    let uri = json!({ "uri": "shop://b" });
    assert_eq!(post(&gateway, &session, &legacy("resources/subscribe", &uri)).await, 200);
    let without = |words: &[&str]| -> String {
        CONFIG.lines().filter(|l| !words.iter().any(|word| l.contains(word))).collect::<Vec<_>>().join("\n")
    };
    for rest in [without(&["shop://b"]), without(&["shop://", "resources:"])] {
        gateway.reload(&rest);
        let reply =
            gateway.post(&session, legacy("resources/unsubscribe", &uri).to_string().as_bytes()).await;
        assert_eq!(reply.json()["result"], json!({}), "{}", reply.text());
    }
    gateway.reload(CONFIG);
    let mut stream = listen(&gateway, &session).await;
    call(&gateway, &session, "touch_b").await;
    assert!(stream.no_event(Duration::from_millis(300)).await);
}

#[tokio::test]
async fn batches_are_answered_for_the_versions_that_have_them() {
    let gateway = Gateway::start(CONFIG).await;
    let batch = json!([
        legacy("ping", &json!({})),
        { "jsonrpc": "2.0", "method": "notifications/initialized" },
        { "jsonrpc": "2.0", "id": "two", "method": "tools/call", "params": { "name": "hello" } },
        { "jsonrpc": "2.0", "id": 3, "method": "nope" },
        5,
        initialize("2025-03-26"),
        modern("tools/list", json!({})),
    ]);
    let old = gateway.session("2025-03-26", json!({})).await;
    for from in [&old, &plain_headers()] {
        let reply = gateway.post(from, batch.to_string().as_bytes()).await;
        assert_eq!(reply.status, 200);
        let answers = reply.json();
        let answers = answers.as_array().unwrap();
        assert_eq!(answers.len(), 6, "{answers:?}");
        assert_eq!(answers[0]["result"], json!({}));
        assert_eq!((&answers[1]["id"], text(&answers[1]["result"])), (&json!("two"), "hello"));
        let codes: Vec<i64> = answers[2..].iter().map(|a| a["error"]["code"].as_i64().unwrap()).collect();
        assert_eq!(codes, [-32601, -32600, -32600, -32600]);
    }
    let notes = json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]);
    assert_eq!(post(&gateway, &old, &notes).await, 202);
    let many: Vec<Value> = (0..65).map(|_| legacy("ping", &json!({}))).collect();
    for wrong in [json!([]), json!(many)] {
        let reply = gateway.post(&old, wrong.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, -32600));
    }
    let new = gateway.session("2025-06-18", json!({})).await;
    let reply = gateway.post(&new, batch.to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.code()), (400, -32600), "{}", reply.text());
}

#[tokio::test]
async fn a_server_may_keep_no_sessions() {
    let config = CONFIG.replace("max: 3", "max: 0");
    let gateway = Gateway::start(&config).await;
    let reply = gateway.post(&plain_headers(), initialize("2025-11-25").to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.header("mcp-session-id")), (200, None));
    assert_eq!(reply.json()["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn what_a_session_keeps_of_its_client_is_small() {
    let gateway = Gateway::start(CONFIG).await;
    let mut long = initialize("2025-11-25");
    long["params"]["capabilities"] = json!({ "x": vec![json!({}); 2000] });
    let reply = gateway.post(&plain_headers(), long.to_string().as_bytes()).await;
    assert!(reply.code() == 0 && reply.header("mcp-session-id").is_some(), "{}", reply.text());
    let session = open(&gateway).await;
    let subscribe = async |uri: &str| {
        let message = legacy("resources/subscribe", &json!({ "uri": uri }));
        gateway.post(&session, message.to_string().as_bytes()).await.code()
    };
    assert_eq!((subscribe("shop://a").await, subscribe("shop://none").await), (0, -32002));
    let template = "resources: { \"shop://{name}\": { name: n, description: N., static: { text: n } } }";
    let gateway = Gateway::start(template).await;
    let session = open(&gateway).await;
    let mut taken = 0;
    for n in 0..100 {
        let uri = format!("shop://{n}{}", "x".repeat(1000));
        let message = legacy("resources/subscribe", &json!({ "uri": uri }));
        taken += usize::from(gateway.post(&session, message.to_string().as_bytes()).await.code() == 0);
    }
    assert_eq!(taken, 32, "32 KiB of URIs");
}
