//! The headers that a modern request repeats from its body: all there, once, and equal.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::http::{CONFIG, call_hello, hello_headers, replaced, with, without};
use crate::support::Gateway;
use crate::support::message::{MODERN, headers, modern, modern_headers};

#[tokio::test]
async fn the_ladder_of_routing_headers() {
    let gateway = Gateway::start(CONFIG).await;
    let good = hello_headers;
    let body = call_hello().to_string();
    let encoded =
        |text: &str| format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text));
    let table = [
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
    type Row<'a> = (Value, Vec<(&'a str, &'a str)>, bool);
    let table: Vec<Row<'_>> = vec![
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
        (json!({ "region": "eu" }), vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")], false),
        (
            json!({ "region": "eu", "number": null }),
            vec![("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", "42")],
            false,
        ),
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
    for (sent, wanted) in [
        ("9007199254740993", (200, 0)),
        ("9007199254740993.0", (200, 0)),
        ("9007199254740992", (400, -32020)),
        ("9007199254740992.0", (400, -32020)),
    ] {
        let mut list = modern_headers("tools/call", Some("routed"));
        list.extend(headers(&[("Mcp-Param-Region", "eu"), ("Mcp-Param-Number", sent)]));
        let reply = gateway.post(&list, body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.code()), wanted, "{sent}: {}", reply.text());
    }
}

/// What the call says of the region cannot be known, so what the header says of it is not let through.
#[tokio::test]
async fn arguments_that_cannot_be_read_equal_no_header() {
    let gateway = Gateway::start(CONFIG).await;
    let body =
        modern("tools/call", json!({ "name": "routed", "arguments": { "region": "eu", "plain": "?" } }));
    for unreadable in ["1e400", r#""\ud800""#] {
        let body = body.to_string().replace(r#""?""#, unreadable);
        let mut list = modern_headers("tools/call", Some("routed"));
        list.extend(headers(&[("Mcp-Param-Region", "us")]));
        let reply = gateway.post(&list, body.as_bytes()).await;
        assert_eq!((reply.status, reply.code()), (400, -32020), "{unreadable}: {}", reply.text());
    }
}
