//! Legacy sessions: their id, the stream by GET, the end by DELETE; and the batches of 2025-03-26.

use serde_json::json;

use crate::differential::request::{Request, Session};

pub fn all() -> Vec<Request> {
    let list = |name: &str| Request::legacy(&format!("session: {name}"), "tools/list", &json!({}));
    let ready = |name: &str| {
        let body = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        list(name).body(body)
    };
    let response = |name: &str| list(name).body(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    let get = |name: &str| list(&format!("GET {name}")).verb("GET").set("Accept", "text/event-stream");
    let delete = |name: &str| list(&format!("DELETE {name}")).verb("DELETE");
    let unknown = |request: Request| {
        request.session(Session::None).with("Mcp-Session-Id", "00000000-0000-4000-8000-000000000000")
    };
    vec![
        list("none").session(Session::None),
        list("none, no version header").session(Session::None).without("MCP-Protocol-Version"),
        unknown(list("unknown")),
        list("empty").session(Session::None).with("Mcp-Session-Id", ""),
        list("not ASCII").session(Session::None).with("Mcp-Session-Id", "ä"),
        list("twice, another first").with("Mcp-Session-Id", "abc"),
        list("ended").session(Session::Ended),
        list("before it is initialized").session(Session::Early),
        Request::legacy("session: ping before it is initialized", "ping", &json!({})).session(Session::Early),
        ready("notification, none").session(Session::None),
        unknown(ready("notification, unknown")),
        ready("notification, ended").session(Session::Ended),
        response("response, none").session(Session::None),
        unknown(response("response, unknown")),
        get("own"),
        get("none").session(Session::None),
        unknown(get("unknown")),
        get("ended").session(Session::Ended),
        get("with a wrong Accept").set("Accept", "application/json"),
        get("with any Accept").set("Accept", "*/*"),
        get("without Accept").without("Accept"),
        get("with an unknown version").set("MCP-Protocol-Version", "2099-01-01"),
        get("without a version").without("MCP-Protocol-Version"),
        get("with a last event id").with("Last-Event-ID", "7"),
        get("from elsewhere").set("Origin", "https://evil.example"),
        delete("own"),
        delete("none").session(Session::None),
        unknown(delete("unknown")),
        delete("ended").session(Session::Ended),
        delete("with an unknown version").set("MCP-Protocol-Version", "2099-01-01"),
        delete("from elsewhere").set("Origin", "https://evil.example"),
    ]
}

pub fn batches() -> Vec<Request> {
    let ping = |id: u8| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let call = r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"facts"}}"#;
    let note = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"a","version":"0"}}}"#;
    let rows = [
        ("of one", format!("[{}]", ping(1))),
        ("of two", format!("[{},{call}]", ping(1))),
        ("of a request and a notification", format!("[{},{note}]", ping(1))),
        ("of notifications", format!("[{note},{note}]")),
        ("of a response", format!("[{response}]")),
        ("of nothing", "[]".to_owned()),
        ("with a number", format!("[{},7]", ping(1))),
        ("with an unknown method", format!("[{},{}]", ping(1), ping(2).replace("ping", "nope"))),
        ("with the same id twice", format!("[{},{}]", ping(1), ping(1))),
        ("in a batch", format!("[[{}]]", ping(1))),
        ("with initialize", format!("[{},{hello}]", ping(2))),
        ("cut off", format!("[{},", ping(1))),
    ];
    rows.iter()
        .flat_map(|(name, body)| {
            let make = |version: &'static str| {
                let name = format!("batch {name} in {version}");
                Request::legacy(&name, "ping", &json!({})).version(version).body(body.as_bytes())
            };
            [make("2025-03-26"), make("2025-06-18")]
        })
        .collect()
}
