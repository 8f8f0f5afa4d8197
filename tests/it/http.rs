//! The HTTP edge and the modern era: every row of the status and code table, and that a refusal breaks nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{self, MODERN, meta, modern, modern_headers, plain_headers};
use crate::support::{Gateway, Reply, Step, Upstream, failure, text, upstream};

pub const CONFIG: &str = r#"
server:
  name: table
  http:
    max_body: 4KiB
    allowed_hosts: [gate.example]
    allowed_origins: ["https://app.example"]
tools:
  hello: { description: Says hello., static: { text: hello } }
  "with.dot": { description: A name with a dot., static: { text: dot } }
  routed:
    description: Repeats arguments in headers.
    params:
      region: { type: string, x-mcp-header: Region }
      number: { type: integer, optional: true, x-mcp-header: Number }
      flag: { type: boolean, optional: true, x-mcp-header: Flag }
      plain: { type: string, optional: true }
    static: { text: routed }
resources:
  "test://one": { description: One., static: { text: one } }
  "test://items/{id}": { description: Items., params: { id: { type: string, pattern: "^[0-9]+$" } }, static: { text: item } }
prompts:
  greet:
    description: Greets.
    params: { who: { description: Whom }, tone: { default: kind, enum: [kind, stern] } }
    messages: [{ user: "Greet {{ who }} in a {{ tone }} way." }]
"#;

pub fn without(mut list: Vec<(String, String)>, name: &str) -> Vec<(String, String)> {
    list.retain(|(n, _)| n != name);
    list
}

pub fn with(mut list: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    list.push((name.to_owned(), value.to_owned()));
    list
}

pub fn replaced(list: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    with(without(list, name), name, value)
}

pub fn call_hello() -> Value {
    modern("tools/call", json!({ "name": "hello", "arguments": {} }))
}

pub fn hello_headers() -> Vec<(String, String)> {
    modern_headers("tools/call", Some("hello"))
}

async fn assert_works(gateway: &Gateway) {
    assert_eq!(text(&gateway.call("hello", json!({})).await), "hello");
}

#[tokio::test]
async fn the_envelope_and_the_method() {
    let gateway = Gateway::start(CONFIG).await;
    let ask =
        |params: Value| json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/list", "params": params });
    let changed = |key: &str, value: Value| {
        let mut meta = meta();
        meta[key] = value;
        ask(json!({ "_meta": meta }))
    };
    let removed = |key: &str| {
        let mut meta = meta();
        meta.as_object_mut().unwrap().remove(key);
        ask(json!({ "_meta": meta }))
    };
    let version = "io.modelcontextprotocol/protocolVersion";
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    let level = "io.modelcontextprotocol/logLevel";
    for (what, body, status, code) in [
        ("good", ask(json!({ "_meta": meta() })), 200, 0),
        ("no params", json!({ "jsonrpc": "2.0", "id": "x", "method": "tools/list" }), 400, -32602),
        ("no _meta", ask(json!({})), 400, -32602),
        ("_meta is a list", ask(json!({ "_meta": [1] })), 400, -32602),
        ("no version", removed(version), 400, -32602),
        ("version is a number", changed(version, json!(7)), 400, -32602),
        ("version is null", changed(version, Value::Null), 400, -32602),
        ("no capabilities", removed(capabilities), 400, -32602),
        ("capabilities are a list", changed(capabilities, json!([])), 400, -32602),
        ("capabilities are null", changed(capabilities, Value::Null), 400, -32602),
        ("a log level", changed(level, json!("debug")), 200, 0),
        ("no such log level", changed(level, json!("loud")), 400, -32602),
        ("a log level in capitals", changed(level, json!("INFO")), 400, -32602),
        ("a log level of a number", changed(level, json!(3)), 400, -32602),
        ("more in _meta", changed("com.example/own", json!({ "a": 1 })), 200, 0),
        ("a progress token", changed("progressToken", json!(5)), 200, 0),
    ] {
        let reply = gateway.post(&modern_headers("tools/list", None), body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{what}: {}", reply.text());
        assert_eq!(reply.json()["id"], "x", "{what}");
    }
}

#[tokio::test]
async fn a_version_that_is_not_spoken_is_named_with_those_that_are() {
    let gateway = Gateway::start(CONFIG).await;
    for version in ["2099-01-01", "v999", ""] {
        let mut body = modern("tools/list", json!({}));
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(version);
        let list = replaced(modern_headers("tools/list", None), "MCP-Protocol-Version", version);
        let reply = gateway.post(&list, body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, -32022), "{version}: {}", reply.text());
        let data = reply.json()["error"]["data"].take();
        assert_eq!(data["requested"], version);
        assert!(data["supported"].as_array().unwrap().contains(&json!(MODERN)));
        // Equality is looked at before the version.
        let reply = gateway.post(&modern_headers("tools/list", None), body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, -32020), "{version}: {}", reply.text());
    }
}

#[tokio::test]
async fn unknown_and_removed_methods_are_not_found() {
    let gateway = Gateway::start(CONFIG).await;
    for method in [
        "nope",
        "tools/List",
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/get",
        "tasks/list",
        "roots/list",
        "sampling/createMessage",
        "elicitation/create",
        "rpc.discover",
    ] {
        let reply = gateway.modern(method, json!({})).await;
        assert_eq!((reply.status, reply.code()), (404, -32601), "{method}: {}", reply.text());
    }
    // What is not served is not there, either.
    let bare = Gateway::start("tools: { hello: { description: Hi., static: { text: hello } } }").await;
    for method in ["prompts/list", "resources/list", "resources/templates/list", "completion/complete"] {
        let reply = bare.modern(method, json!({})).await;
        assert_eq!((reply.status, reply.code()), (404, -32601), "{method}: {}", reply.text());
    }
}

#[tokio::test]
async fn what_cannot_be_found_is_told_in_band() {
    let gateway = Gateway::start(CONFIG).await;
    for (method, params) in [
        ("tools/call", json!({ "name": "helo", "arguments": {} })),
        ("tools/call", json!({ "name": "", "arguments": {} })),
        ("tools/call", json!({ "arguments": {} })),
        ("tools/call", json!({ "name": "hello", "arguments": [1] })),
        ("tools/call", json!({ "name": "hello", "arguments": "x" })),
        ("prompts/get", json!({ "name": "nope" })),
        ("prompts/get", json!({ "name": "greet" })),
        ("prompts/get", json!({ "name": "greet", "arguments": { "who": 7 } })),
        ("prompts/get", json!({ "name": "greet", "arguments": { "who": "a", "tone": "loud" } })),
        ("tools/list", json!({ "cursor": "abc" })),
        ("tools/list", json!({ "cursor": "" })),
        ("prompts/list", json!({ "cursor": "abc" })),
        ("resources/list", json!({ "cursor": "abc" })),
        ("resources/templates/list", json!({ "cursor": "abc" })),
        ("resources/read", json!({ "uri": "test://two" })),
        ("resources/read", json!({ "uri": "test://items/abc" })),
        ("resources/read", json!({ "uri": "test://items/1/2" })),
        ("resources/read", json!({ "uri": "" })),
        ("resources/read", json!({})),
    ] {
        let reply = gateway.modern(method, params.clone()).await;
        assert_eq!((reply.status, reply.code()), (200, -32602), "{method} {params}: {}", reply.text());
        if let (true, Some(uri)) = (method == "resources/read", params.get("uri")) {
            assert_eq!(reply.json()["error"]["data"]["uri"], *uri);
        }
    }
    let near = gateway.modern("tools/call", json!({ "name": "helo", "arguments": {} })).await;
    assert!(near.text().contains("did you mean `hello`?"), "{}", near.text());
    // A tool's wrong arguments are for the model to mend.
    assert!(failure(&gateway.call("hello", json!({ "x": 1 })).await).contains("no argument `x`"));
}

#[tokio::test]
async fn every_result_is_complete_and_lists_say_how_long_they_hold() {
    let gateway = Gateway::start(CONFIG).await;
    for (method, params, kept) in [
        ("server/discover", json!({}), true),
        ("tools/list", json!({}), true),
        ("prompts/list", json!({}), true),
        ("resources/list", json!({}), true),
        ("resources/templates/list", json!({}), true),
        ("resources/read", json!({ "uri": "test://one" }), true),
        ("tools/call", json!({ "name": "with.dot" }), false),
        ("prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann" } }), false),
    ] {
        let reply = gateway.modern(method, params).await;
        assert_eq!(reply.status, 200, "{method}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let result = reply.json()["result"].take();
        assert_eq!(result["resultType"], "complete", "{method}");
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "table", "{method}");
        assert_eq!(result.get("ttlMs").and_then(Value::as_u64), kept.then_some(30_000), "{method}");
        assert_eq!(result.get("cacheScope").is_some(), kept, "{method}");
    }
    let prompt =
        gateway.modern("prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann" } })).await;
    assert_eq!(prompt.json()["result"]["messages"][0]["content"]["text"], "Greet Ann in a kind way.");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_one_works() {
    let gateway = Gateway::start(CONFIG).await;
    let deep = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}", "[".repeat(3000));
    let good = call_hello().to_string();
    let bodies: Vec<(&str, Vec<u8>, i64)> = vec![
        ("nothing", b"".to_vec(), -32700),
        ("no JSON", b"hello".to_vec(), -32700),
        ("cut", good.as_bytes()[..good.len() - 5].to_vec(), -32700),
        ("not UTF-8", b"\xff\xfe{}".to_vec(), -32700),
        ("deep", deep.into_bytes(), -32700),
        ("two values", [good.as_bytes(), good.as_bytes()].concat(), -32700),
        ("a batch", format!("[{good}]").into_bytes(), -32600),
        ("an empty batch", b"[]".to_vec(), -32600),
        ("a text", b"\"x\"".to_vec(), -32600),
        ("null", b"null".to_vec(), -32600),
        ("id null", br#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#.to_vec(), -32600),
        ("id object", br#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#.to_vec(), -32600),
        ("id half", br#"{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}"#.to_vec(), -32600),
        ("id huge", br#"{"jsonrpc":"2.0","id":1e400,"method":"tools/list"}"#.to_vec(), -32600),
        ("no version", br#"{"id":1,"method":"tools/list"}"#.to_vec(), -32600),
        ("no method", br#"{"jsonrpc":"2.0","id":1}"#.to_vec(), -32600),
        ("method twice", br#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#.to_vec(), -32600),
        ("params list", br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#.to_vec(), -32602),
    ];
    let mut kept = gateway.connect().await;
    for (what, body, code) in bodies {
        let reply = kept.send("POST", "/mcp", &hello_headers(), &body).await.unwrap();
        assert_eq!((reply.status, reply.code()), (400, code), "{what}: {}", reply.text());
        assert!(!reply.text().contains("struct"), "{what}: {}", reply.text());
        // The same connection goes on.
        let next = kept.send("POST", "/mcp", &hello_headers(), good.as_bytes()).await.unwrap();
        assert_eq!(next.status, 200, "after {what}: {}", next.text());
    }
}

#[tokio::test]
async fn argument_names_given_twice_are_refused() {
    let gateway = Gateway::start(CONFIG).await;
    let call = |params: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params},"_meta":{}}}}}"#,
            meta()
        )
    };
    let twice = call(r#""name":"hello","name":"routed""#);
    let reply = gateway.post(&hello_headers(), twice.as_bytes()).await;
    assert_eq!((reply.status, reply.code()), (400, -32602), "{}", reply.text());
    let twice = call(r#""name":"routed","arguments":{"region":"eu","region":"us"}"#);
    let list = with(modern_headers("tools/call", Some("routed")), "Mcp-Param-Region", "us");
    let reply = gateway.post(&list, twice.as_bytes()).await;
    assert_eq!(reply.json()["result"]["isError"], true, "{}", reply.text());
}

#[tokio::test]
async fn notifications_are_taken_and_responses_are_not() {
    let gateway = Gateway::start(CONFIG).await;
    let mut note = modern("notifications/cancelled", json!({ "requestId": 1 }));
    note.as_object_mut().unwrap().remove("id");
    let list = modern_headers("notifications/cancelled", None);
    let reply = gateway.post(&list, note.to_string().as_bytes()).await;
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    // The envelope is for requests.
    let bare = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(gateway.post(&list, bare.to_string().as_bytes()).await.status, 202);
    // Which headers it needs is not defined.
    for (list, body) in [
        (without(list.clone(), "MCP-Protocol-Version"), &note),
        (without(list.clone(), "Mcp-Method"), &note),
        (without(list.clone(), "Mcp-Method"), &bare),
    ] {
        assert_eq!(gateway.post(&list, body.to_string().as_bytes()).await.status, 202, "{list:?}");
    }
    let unknown = |list| replaced(list, "MCP-Protocol-Version", "2099-01-01");
    let mut early = note.clone();
    early["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    for (what, list, body, code) in [
        ("a version that is not spoken", unknown(plain_headers()), &bare, -32022),
        ("one that both say", unknown(list.clone()), &early, -32022),
        ("a version that only the body says", list.clone(), &early, -32020),
        ("another version in the headers", unknown(list.clone()), &note, -32020),
        ("another method in the headers", modern_headers("notifications/x", None), &note, -32020),
        ("two versions", with(list.clone(), "MCP-Protocol-Version", MODERN), &bare, -32020),
    ] {
        let reply = gateway.post(&list, body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, code), "{what}: {}", reply.text());
    }
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    let reply = gateway.post(&list, answer.to_string().as_bytes()).await;
    assert!((200..500).contains(&reply.status) && reply.code() != -32603, "{}", reply.text());
    assert_works(&gateway).await;
}

#[tokio::test]
async fn calls_beyond_the_cap_are_shed_and_told_when_to_come_back() {
    let slow = Upstream::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_secs(3))];
        steps.extend(upstream::json("{}"));
        steps
    })
    .await;
    let gateway = Gateway::start(&format!(
        "server: {{ http: {{ max_concurrent_calls: 2 }} }}\n\
         sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools: {{ slow: {{ description: Slow., rest: {{ source: s, get: / }} }} }}",
        slow.url()
    ))
    .await;
    let ask = || gateway.modern("tools/call", json!({ "name": "slow" }));
    let late = async {
        while slow.count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ask().await
    };
    let (first, second, third): (Reply, Reply, Reply) = tokio::join!(ask(), ask(), late);
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!((third.status, &third.json()["id"]), (503, &json!(1)), "{}", third.text());
    assert!(third.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()));
    assert!(!(-32768..=-32000).contains(&third.code()), "our own codes stay out of the reserved range");
    assert_eq!(ask().await.status, 200);
    // Health is asked for just then, and is never shed.
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_connection_lives_on_after_errors() {
    let gateway = Gateway::start(CONFIG).await;
    let mut connection = gateway.connect().await;
    let good = call_hello().to_string();
    for (path, list, status) in [
        ("/mcp", without(hello_headers(), "Mcp-Name"), 400),
        ("/nope", hello_headers(), 404),
        ("/mcp", replaced(hello_headers(), "Accept", "text/html"), 406),
        ("/mcp", hello_headers(), 200),
    ] {
        let reply = connection.send("POST", path, &list, good.as_bytes()).await.unwrap();
        assert_eq!(reply.status, status, "{path}");
    }
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_served_the_same() {
    let gateway = Gateway::start(CONFIG).await;
    let client =
        reqwest::Client::builder().http2_prior_knowledge().no_proxy().tls_certs_only([]).build().unwrap();
    let url = format!("http://{}/mcp", gateway.address);
    let ask = |list: Vec<(String, String)>| {
        let mut request = client.post(&url).body(call_hello().to_string());
        for (name, value) in without(list, "Host") {
            request = request.header(name, value);
        }
        request.send()
    };
    let reply = ask(hello_headers()).await.unwrap();
    assert_eq!(reply.version(), reqwest::Version::HTTP_2);
    assert_eq!(reply.status(), 200);
    let answer: Value = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
    assert_eq!(text(&answer["result"]), "hello");
    assert_eq!(ask(without(hello_headers(), "Mcp-Name")).await.unwrap().status(), 400);
    assert_eq!(ask(with(hello_headers(), "Origin", "https://evil.example")).await.unwrap().status(), 403);
    let many = futures_util::future::join_all((0..100).map(|_| ask(hello_headers()))).await;
    assert!(many.into_iter().all(|r| r.unwrap().status() == 200));
}

#[tokio::test]
async fn equal_ids_of_many_clients_do_not_cross() {
    let echo = Upstream::start(|seen| upstream::json(&format!("{{\"path\":\"{}\"}}", seen.path()))).await;
    let gateway = Gateway::start(&format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools: {{ echo: {{ description: E., params: {{ n: {{ type: integer }} }}, rest: {{ source: s, get: \"/{{n}}\" }} }} }}",
        echo.url()
    ))
    .await;
    let gateway = &gateway;
    let clients = (0..50).map(|client| async move {
        let mut connection = gateway.connect().await;
        for id in 0..10 {
            let nonce = client * 1000 + id;
            let params = json!({ "name": "echo", "arguments": { "n": nonce } });
            let body = message::modern_with_id(&json!(id), "tools/call", params).to_string();
            let list = modern_headers("tools/call", Some("echo"));
            let reply = connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap().json();
            assert_eq!(reply["id"], id);
            assert_eq!(reply["result"]["structuredContent"]["path"], format!("/{nonce}"));
        }
    });
    futures_util::future::join_all(clients).await;
}
