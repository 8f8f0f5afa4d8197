//! `initialize` in all its forms, and the version header that follows it.

use serde_json::{Value, json};

use crate::differential::request::{Request, Session};
use crate::support::message::meta;

fn asked(version: &str) -> Value {
    json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "a", "version": "0" } })
}

fn hello(name: &str, params: &Value) -> Request {
    let request = Request::legacy(&format!("initialize: {name}"), "initialize", params);
    request.session(Session::None).without("MCP-Protocol-Version")
}

pub fn initialize() -> Vec<Request> {
    let versions = [
        "2025-11-25",
        "2025-06-18",
        "2025-03-26",
        "2024-11-05",
        "2026-07-28",
        "2024-10-07",
        "2099-01-01",
        "v1",
        "",
    ];
    let mut all: Vec<Request> =
        versions.iter().map(|v| hello(&format!("version `{v}`"), &asked(v))).collect();
    let changed = |key: &str, value: Value| {
        let mut params = asked("2025-11-25");
        params[key] = value;
        params
    };
    let removed = |key: &str| {
        let mut params = asked("2025-11-25");
        params.as_object_mut().unwrap().remove(key);
        params
    };
    let rows = [
        ("version is a number", changed("protocolVersion", json!(7))),
        ("version is null", changed("protocolVersion", Value::Null)),
        ("no version", removed("protocolVersion")),
        ("no capabilities", removed("capabilities")),
        ("capabilities are a list", changed("capabilities", json!([]))),
        (
            "capabilities with more",
            changed("capabilities", json!({ "roots": { "listChanged": true }, "com.example/x": 1 })),
        ),
        ("a capability is a number", changed("capabilities", json!({ "sampling": 7 }))),
        ("no client info", removed("clientInfo")),
        ("client info without a version", changed("clientInfo", json!({ "name": "a" }))),
        ("client info is a text", changed("clientInfo", json!("a"))),
        (
            "client info with a title",
            changed("clientInfo", json!({ "name": "a", "version": "0", "title": "A" })),
        ),
        ("with an envelope", changed("_meta", meta())),
        ("with more", changed("more", json!([1]))),
        ("no members", json!({})),
    ];
    all.extend(rows.iter().map(|(name, params)| hello(name, params)));
    let good = |name: &str| hello(name, &asked("2025-11-25"));
    all.extend([
        good("no params").edit(|m| {
            m.as_object_mut().unwrap().remove("params");
        }),
        good("params are a list").edit(|m| m["params"] = json!([])),
        good("id is a text").edit(|m| m["id"] = json!("a")),
        good("equal version header").with("MCP-Protocol-Version", "2025-11-25"),
        good("another version header").with("MCP-Protocol-Version", "2025-06-18"),
        good("modern version header").with("MCP-Protocol-Version", "2026-07-28"),
        good("unknown version header").with("MCP-Protocol-Version", "2099-01-01"),
        good("method header").with("Mcp-Method", "initialize"),
        good("another method header").with("Mcp-Method", "tools/list"),
        good("modern version header, another method header")
            .with("MCP-Protocol-Version", "2026-07-28")
            .with("Mcp-Method", "tools/list"),
        good("unknown session").with("Mcp-Session-Id", "abc"),
        good("twice in a session").session(Session::Own),
        hello("modern version in body and header", &asked("2026-07-28"))
            .with("MCP-Protocol-Version", "2026-07-28"),
    ]);
    all
}

pub fn versions() -> Vec<Request> {
    let list = |name: &str| Request::legacy(name, "tools/list", &json!({}));
    let mut all: Vec<Request> = ["2025-06-18", "2025-03-26", "2024-11-05"]
        .iter()
        .flat_map(|version| {
            let call =
                Request::legacy(&format!("call in {version}"), "tools/call", &json!({ "name": "facts" }));
            [list(&format!("list in {version}")).version(version), call.version(version)]
        })
        .collect();
    for version in ["2025-06-18", "2025-03-26", "2024-11-05", "2026-07-28", "2099-01-01", "v1", ""] {
        all.push(list(&format!("version header `{version}`")).set("MCP-Protocol-Version", version));
    }
    all.extend([
        list("no version header").without("MCP-Protocol-Version"),
        list("version header twice").with("MCP-Protocol-Version", "2025-11-25"),
        list("two version headers").with("MCP-Protocol-Version", "2025-06-18"),
        list("method header").with("Mcp-Method", "tools/list"),
        list("another method header").with("Mcp-Method", "tools/call"),
        list("with an envelope of 2025-11-25").edit(|m| {
            m["params"]["_meta"] = meta();
            m["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2025-11-25");
        }),
        list("with a modern envelope").edit(|m| m["params"]["_meta"] = meta()),
        list("_meta is null").edit(|m| m["params"]["_meta"] = Value::Null),
        list("_meta is a list").edit(|m| m["params"]["_meta"] = json!([])),
        list("params are null").edit(|m| m["params"] = Value::Null),
        list("params are a list").edit(|m| m["params"] = json!([])),
    ]);
    all
}
