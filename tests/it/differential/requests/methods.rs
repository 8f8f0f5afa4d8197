//! Methods that are unknown, removed, of the other era, or the client's.

use serde_json::{Value, json};

use crate::differential::request::{Request, Session};

pub fn both() -> Vec<Request> {
    let rows: [(&str, Value); 14] = [
        ("nope", json!({})),
        ("", json!({})),
        ("tools/List", json!({})),
        ("tools/call/", json!({ "name": "say" })),
        ("rpc.discover", json!({})),
        ("roots/list", json!({})),
        ("sampling/createMessage", json!({ "messages": [], "maxTokens": 1 })),
        (
            "elicitation/create",
            json!({ "message": "?", "requestedSchema": { "type": "object", "properties": {} } }),
        ),
        ("tasks/list", json!({})),
        ("tasks/get", json!({ "taskId": "1" })),
        ("skills/list", json!({})),
        ("notifications/initialized", json!({})),
        ("notifications/cancelled", json!({ "requestId": 1 })),
        ("notifications/message", json!({ "level": "info", "data": "x" })),
    ];
    rows.iter()
        .flat_map(|(method, params)| Request::both(&format!("method `{method}`"), method, params))
        .collect()
}

pub fn modern() -> Vec<Request> {
    let asked = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "a", "version": "0" } });
    let rows: [(&str, &str, Value); 10] = [
        ("initialize without a version", "initialize", json!({})),
        ("initialize with a version", "initialize", asked),
        ("ping", "ping", json!({})),
        ("setLevel", "logging/setLevel", json!({ "level": "info" })),
        ("subscribe", "resources/subscribe", json!({ "uri": "test://text" })),
        ("unsubscribe", "resources/unsubscribe", json!({ "uri": "test://text" })),
        ("listen to tools", "subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })),
        ("listen to nothing", "subscriptions/listen", json!({ "notifications": {} })),
        ("listen to a number", "subscriptions/listen", json!({ "notifications": 7 })),
        ("listen without a filter", "subscriptions/listen", json!({})),
    ];
    let mut all: Vec<Request> =
        rows.into_iter().map(|(name, method, params)| Request::modern(name, method, params)).collect();
    let resource = json!({ "notifications": { "resourceSubscriptions": ["test://text"] } });
    all.push(Request::modern("listen to a resource", "subscriptions/listen", resource));
    all
}

pub fn legacy() -> Vec<Request> {
    let rows: [(&str, &str, Value); 14] = [
        ("ping", "ping", json!({})),
        ("ping with more", "ping", json!({ "more": 1 })),
        ("setLevel", "logging/setLevel", json!({ "level": "info" })),
        ("setLevel to an unknown level", "logging/setLevel", json!({ "level": "loud" })),
        ("setLevel in capitals", "logging/setLevel", json!({ "level": "INFO" })),
        ("setLevel to a number", "logging/setLevel", json!({ "level": 3 })),
        ("setLevel without a level", "logging/setLevel", json!({})),
        ("subscribe", "resources/subscribe", json!({ "uri": "test://text" })),
        ("subscribe to an unknown resource", "resources/subscribe", json!({ "uri": "test://nope" })),
        ("subscribe without a URI", "resources/subscribe", json!({})),
        ("unsubscribe", "resources/unsubscribe", json!({ "uri": "test://text" })),
        ("discover in a session", "server/discover", json!({})),
        (
            "listen in a session",
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        ),
        (
            "work with a progress token",
            "tools/call",
            json!({ "name": "work", "_meta": { "progressToken": "p" } }),
        ),
    ];
    let mut all: Vec<Request> =
        rows.iter().map(|(name, method, params)| Request::legacy(name, method, params)).collect();
    let without = |name: &str, method: &str| {
        Request::legacy(name, method, &json!({})).edit(|m| {
            m.as_object_mut().unwrap().remove("params");
        })
    };
    all.push(without("ping without params", "ping"));
    all.push(without("list tools without params", "tools/list"));
    all.push(without("call without params", "tools/call"));
    all.push(without("discover without params", "server/discover"));
    let discover = |name: &str| Request::legacy(name, "server/discover", &json!({})).session(Session::None);
    all.push(discover("discover without a session"));
    all.push(discover("discover without a session or a version").without("MCP-Protocol-Version"));
    all
}
