//! The HTTP edge and the modern era: every row of the status and code table, and that a refusal breaks nothing.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::message::{self, MODERN, headers, meta, modern, modern_headers, plain_headers};
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

fn without(mut list: Vec<(String, String)>, name: &str) -> Vec<(String, String)> {
    list.retain(|(n, _)| n != name);
    list
}

fn with(mut list: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    list.push((name.to_owned(), value.to_owned()));
    list
}

fn replaced(list: Vec<(String, String)>, name: &str, value: &str) -> Vec<(String, String)> {
    with(without(list, name), name, value)
}

fn call_hello() -> Value {
    modern("tools/call", json!({ "name": "hello", "arguments": {} }))
}

fn hello_headers() -> Vec<(String, String)> {
    modern_headers("tools/call", Some("hello"))
}

async fn assert_works(gateway: &Gateway) {
    assert_eq!(text(&gateway.call("hello", json!({})).await), "hello");
}

#[tokio::test]
async fn the_ladder_of_routing_headers() {
    let gateway = Gateway::start(CONFIG).await;
    let good = hello_headers;
    let body = call_hello().to_string();
    let encoded =
        |text: &str| format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
    let table: Vec<(&str, Vec<(String, String)>, u16, i64)> = vec![
        ("good", good(), 200, 0),
        ("no version", without(good(), "MCP-Protocol-Version"), 400, -32020),
        ("another version", replaced(good(), "MCP-Protocol-Version", "2025-11-25"), 400, -32020),
        ("version twice", with(good(), "MCP-Protocol-Version", MODERN), 400, -32020),
        ("no method", without(good(), "Mcp-Method"), 400, -32020),
        ("another method", replaced(good(), "Mcp-Method", "tools/list"), 400, -32020),
        ("method in capitals", replaced(good(), "Mcp-Method", "Tools/Call"), 400, -32020),
        ("method twice", with(good(), "Mcp-Method", "tools/call"), 400, -32020),
        ("no name", without(good(), "Mcp-Name"), 400, -32020),
        ("another name", replaced(good(), "Mcp-Name", "routed"), 400, -32020),
        ("name in capitals", replaced(good(), "Mcp-Name", "Hello"), 400, -32020),
        ("name twice", with(good(), "Mcp-Name", "hello"), 400, -32020),
        ("empty name", replaced(good(), "Mcp-Name", ""), 400, -32020),
        ("name not ASCII", replaced(good(), "Mcp-Name", "hellö"), 400, -32020),
        ("name in blanks", replaced(good(), "Mcp-Name", " \thello \t"), 200, 0),
        ("name in base64", replaced(good(), "Mcp-Name", &encoded("hello")), 200, 0),
        ("another in base64", replaced(good(), "Mcp-Name", &encoded("routed")), 400, -32020),
        ("base64 without padding", replaced(good(), "Mcp-Name", "=?base64?aGVsbG8?="), 400, -32020),
        ("base64 with a stray letter", replaced(good(), "Mcp-Name", "=?base64?aGVsb*8=?="), 400, -32020),
        ("base64 that is not UTF-8", replaced(good(), "Mcp-Name", "=?base64?//79?="), 400, -32020),
        ("base64 marks in capitals", replaced(good(), "Mcp-Name", "=?BASE64?aGVsbG8=?="), 400, -32020),
        ("one mark only", replaced(good(), "Mcp-Name", "=?base64?aGVsbG8="), 400, -32020),
        ("session id is ignored", with(good(), "Mcp-Session-Id", "abc"), 200, 0),
        ("last event id is ignored", with(good(), "Last-Event-ID", "7"), 200, 0),
    ];
    for (what, list, status, code) in table {
        let reply = gateway.post(&list, body.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{what}: {}", reply.text());
        assert_eq!(reply.header("mcp-session-id"), None, "{what}");
        assert_eq!(reply.json()["id"], 1, "{what}");
    }
}

#[tokio::test]
async fn names_of_resources_and_prompts_are_repeated_too() {
    let gateway = Gateway::start(CONFIG).await;
    let read = modern("resources/read", json!({ "uri": "test://one" })).to_string();
    let get = modern("prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann" } })).to_string();
    for (method, body, name) in [("resources/read", read, "test://one"), ("prompts/get", get, "greet")] {
        let good = gateway.post(&modern_headers(method, Some(name)), body.as_bytes()).await;
        assert_eq!((good.status, good.code()), (200, 0), "{}", good.text());
        for list in [modern_headers(method, None), modern_headers(method, Some("else"))] {
            let bad = gateway.post(&list, body.as_bytes()).await;
            assert_eq!((bad.status, bad.code()), (400, -32020), "{}", bad.text());
        }
    }
}

#[tokio::test]
async fn parameters_in_headers_equal_the_arguments() {
    let gateway = Gateway::start(CONFIG).await;
    let base = || modern_headers("tools/call", Some("routed"));
    let table: Vec<(Value, Vec<(&str, &str)>, bool)> = vec![
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "eu")], true),
        (json!({ "region": "eu" }), vec![("mcp-param-region", "eu")], true),
        (json!({ "region": "eu" }), vec![], false),
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "us")], false),
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "EU")], false),
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Region", "eu")], false),
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "=?base64?ZXU=?=")], true),
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "=?base64?ZXU?=")], false),
        (json!({ "region": "Zürich" }), vec![("Mcp-Param-Region", "=?base64?WsO8cmljaA==?=")], true),
        (json!({ "region": "eu", "number": null }), vec![("Mcp-Param-Region", "eu")], true),
        (json!({ "region": "eu", "number": 42 }), vec![("Mcp-Param-Region", "eu")], false),
        (
            json!({ "region": "eu", "number": 42 }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")],
            true,
        ),
        (
            json!({ "region": "eu", "number": 42.0 }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")],
            true,
        ),
        (
            json!({ "region": "eu", "number": 42 }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42.0")],
            true,
        ),
        (
            json!({ "region": "eu", "number": 42 }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "43")],
            false,
        ),
        (
            json!({ "region": "eu", "number": 42 }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "4 2")],
            false,
        ),
        (
            json!({ "region": "eu", "flag": true }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Flag", "true")],
            true,
        ),
        (
            json!({ "region": "eu", "flag": true }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Flag", "false")],
            false,
        ),
        (
            json!({ "region": "eu", "flag": true }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Flag", "1")],
            false,
        ),
    ];
    for (arguments, extra, passes) in table {
        let shown = format!("{arguments} with {extra:?}");
        let mut list = base();
        list.extend(headers(&extra));
        let body = modern("tools/call", json!({ "name": "routed", "arguments": arguments }));
        let reply = gateway.post(&list, body.to_string().as_bytes()).await;
        let wanted = if passes { (200, 0) } else { (400, -32020) };
        assert_eq!((reply.status, reply.code()), wanted, "{shown}: {}", reply.text());
    }
}

/// Integers beyond 2^53 have to be compared as integers.
#[tokio::test]
async fn large_integers_in_headers_are_compared_to_the_last_digit() {
    let gateway = Gateway::start(CONFIG).await;
    let body = modern(
        "tools/call",
        json!({ "name": "routed", "arguments": { "region": "eu", "number": 9_007_199_254_740_993_i64 } }),
    );
    for (sent, wanted) in [("9007199254740993", (200, 0)), ("9007199254740992", (400, -32020))] {
        let mut list = modern_headers("tools/call", Some("routed"));
        list.extend(headers(&[("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", sent)]));
        let reply = gateway.post(&list, body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), wanted, "{sent}: {}", reply.text());
    }
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
        ("no such log level", changed(level, json!("loud")), 200, -32602),
        ("a log level in capitals", changed(level, json!("INFO")), 200, -32602),
        ("a log level of a number", changed(level, json!(3)), 200, -32602),
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
        "completion/complete",
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
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
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
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
    let reply = gateway.post(&list, answer.to_string().as_bytes()).await;
    assert!((200..500).contains(&reply.status) && reply.code() != -32603, "{}", reply.text());
    assert_works(&gateway).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let gateway = Gateway::start(CONFIG).await;
    let large = vec![b' '; 4097];
    let reply = gateway.post(&hello_headers(), &large).await;
    assert_eq!(reply.status, 413, "{}", reply.text());

    // A length alone is enough: nothing of the body is waited for.
    let mut connection = gateway.connect().await;
    let mut head = String::from("POST /mcp HTTP/1.1\r\n");
    hello_headers().iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    connection.write(format!("{head}Content-Length: 100000000000\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 413);

    let mut connection = gateway.connect().await;
    connection.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    for _ in 0..5 {
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        if connection.write(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(connection.reply().await.unwrap().status, 413);

    // Exactly at the limit it is read.
    let mut body = call_hello().to_string();
    body.push_str(&" ".repeat(4096 - body.len()));
    assert_eq!(gateway.post(&hello_headers(), body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn types_are_negotiated() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    let both = "application/json, text/event-stream";
    for (kind, status) in [
        (Some("application/json"), 200),
        (Some("application/json; charset=utf-8"), 200),
        (Some("APPLICATION/JSON"), 200),
        (Some("text/plain"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("multipart/form-data"), 415),
        (Some(""), 415),
        (None, 415),
    ] {
        let mut list = without(hello_headers(), "Content-Type");
        list.extend(kind.map(|k| ("Content-Type".to_owned(), k.to_owned())));
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "{kind:?}");
    }
    for (accept, status) in [
        (both, 200),
        ("text/event-stream;q=0.5, application/json;q=0.1", 200),
        ("*/*", 200),
        ("Application/Json, Text/Event-Stream", 200),
        ("application/json", 406),
        ("text/event-stream", 406),
        ("text/html", 406),
        ("", 406),
    ] {
        let list = replaced(hello_headers(), "Accept", accept);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "{accept:?}");
    }
    let split = with(replaced(hello_headers(), "Accept", "application/json"), "Accept", "text/event-stream");
    assert_eq!(gateway.post(&split, body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn host_and_origin_are_each_checked_alone() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("localhost:1", 200),
        ("LocalHost:65535", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("gate.example", 200),
        ("gate.example:443", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("gate.example.evil.example", 403),
        ("127.0.0.2", 403),
        ("[::2]", 403),
        ("0.0.0.0", 403),
        ("localhost:80@evil.example", 403),
        ("localhost evil.example", 403),
        ("", 403),
    ] {
        let list = replaced(hello_headers(), "Host", host);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "Host {host:?}");
    }
    for (origin, status) in [
        ("https://app.example", 200),
        ("http://localhost:5173", 200),
        ("http://127.0.0.1", 200),
        ("http://[::1]:3000", 200),
        ("https://evil.example", 403),
        ("http://app.example", 403),
        ("https://app.example:444", 403),
        ("https://app.example.evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("chrome-extension://localhost", 403),
        ("", 403),
    ] {
        let list = with(hello_headers(), "Origin", origin);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "Origin {origin:?}");
    }
    let both = with(replaced(hello_headers(), "Host", "evil.example"), "Origin", "https://evil.example");
    assert_eq!(gateway.post(&both, body.as_bytes()).await.status, 403);
    let second =
        with(with(hello_headers(), "Origin", "https://app.example"), "Origin", "https://evil.example");
    assert_eq!(gateway.post(&second, body.as_bytes()).await.status, 403);
    let twice = with(hello_headers(), "Host", "evil.example");
    assert!(matches!(gateway.post(&twice, body.as_bytes()).await.status, 400 | 403));
    assert_eq!(gateway.post(&without(hello_headers(), "Host"), body.as_bytes()).await.status, 403);
}

#[tokio::test]
async fn a_target_with_an_evil_host_of_its_own_is_refused() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    for (target, status) in [("http://localhost/mcp", 200), ("http://evil.example/mcp", 403)] {
        let mut connection = gateway.connect().await;
        let reply = connection.send("POST", target, &hello_headers(), body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_refused_request_is_answered_without_its_body() {
    let gateway = Gateway::start(CONFIG).await;
    for (name, value, status) in [
        ("Host", "evil.example", 403),
        ("Origin", "https://evil.example", 403),
        ("Accept", "text/html", 406),
        ("Content-Type", "text/plain", 415),
    ] {
        let mut connection = gateway.connect().await;
        let mut head = String::from("POST /mcp HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n");
        replaced(hello_headers(), name, value)
            .iter()
            .for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
        connection.write(format!("{head}\r\n").as_bytes()).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, status, "{name}: no `100 Continue`, and the refusal at once");
    }
    // A good one is asked for its body.
    let mut connection = gateway.connect().await;
    let body = call_hello().to_string();
    let mut head =
        format!("POST /mcp HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n", body.len());
    hello_headers().iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    connection.write(format!("{head}\r\n").as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 100);
    connection.write(body.as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn other_verbs_and_paths() {
    let gateway = Gateway::start(CONFIG).await;
    for verb in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"] {
        let mut connection = gateway.connect().await;
        let reply = connection.send(verb, "/mcp", &plain_headers(), b"").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{verb}");
    }
    for path in [
        "/",
        "/mcp/",
        "/MCP",
        "/mcpx",
        "//mcp",
        "/mcp%2f",
        "/metrics",
        "/.well-known/oauth-protected-resource",
    ] {
        let mut connection = gateway.connect().await;
        let reply =
            connection.send("POST", path, &hello_headers(), call_hello().to_string().as_bytes()).await;
        assert_eq!(reply.unwrap().status, 404, "{path}");
    }
    let query = gateway
        .connect()
        .await
        .send("POST", "/mcp?x=1", &hello_headers(), call_hello().to_string().as_bytes())
        .await;
    assert_eq!(query.unwrap().status, 200);
}

#[tokio::test]
async fn calls_beyond_the_cap_are_shed_and_told_when_to_come_back() {
    let slow = Upstream::start(|_| {
        let mut steps = vec![Step::Wait(Duration::from_millis(600))];
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
    assert_eq!(third.status, 503, "{}", third.text());
    assert!(third.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()));
    assert!(!(-32768..=-32000).contains(&third.code()), "our own codes stay out of the reserved range");
    assert_eq!(ask().await.status, 200);
    // Health is asked for just then, and is never shed.
    assert_eq!(gateway.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn health_tells_which_source_is_down_and_nothing_more() {
    let up = Upstream::recorder().await;
    let down = Upstream::refusing().await;
    let config = |second: &str| {
        format!(
            "sources:\n  good_api: {{ rest: {{ base_url: \"{}\" }} }}\n  other_api: {{ rest: {{ base_url: \"{second}/secret-path\" }} }}\n\
             tools:\n  a: {{ description: A., rest: {{ source: good_api, get: / }} }}\n  b: {{ description: B., rest: {{ source: other_api, get: / }} }}",
            up.url()
        )
    };
    let gateway = Gateway::start(&config(&up.url())).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(ready.json()["sources"], json!({ "good_api": "ready", "other_api": "ready" }));

    let gateway = Gateway::start(&config(&format!("http://{down}"))).await;
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["sources"], json!({ "good_api": "ready", "other_api": "down" }));
    for detail in [&down.port().to_string(), "127.0.0.1", "secret-path", "refused"] {
        assert!(!ready.text().contains(detail), "{detail} in {}", ready.text());
    }
    // A dead source does not make the process dead, nor the other source's tools.
    assert_eq!(gateway.get("/healthz").await.status, 200);
    assert!(gateway.call("a", json!({})).await.get("isError").is_none());
    let mut connection = gateway.connect().await;
    let wrong = connection.send("POST", "/readyz", &plain_headers(), b"{}").await.unwrap();
    assert_eq!(wrong.status, 405);
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
