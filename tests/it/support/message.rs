//! Messages of both protocol eras and the headers that go with them.

use serde_json::{Value, json};

pub const MODERN: &str = "2026-07-28";

/// Own headers as pairs of texts.
pub fn headers(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// The headers of every request.
pub fn plain_headers() -> Vec<(String, String)> {
    headers(&[
        ("Host", "127.0.0.1"),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ])
}

/// The headers of a modern request.
pub fn modern_headers(method: &str, name: Option<&str>) -> Vec<(String, String)> {
    let mut all = plain_headers();
    all.extend(headers(&[("MCP-Protocol-Version", MODERN), ("Mcp-Method", method)]));
    all.extend(name.map(|n| ("Mcp-Name".to_owned(), n.to_owned())));
    all
}

/// `_meta` of a modern request.
pub fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// A modern request with id 1.
pub fn modern(method: &str, params: Value) -> Value {
    modern_with_id(&json!(1), method, params)
}

/// A modern request.
pub fn modern_with_id(id: &Value, method: &str, mut params: Value) -> Value {
    params["_meta"] = meta();
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A legacy request with id 1.
pub fn legacy(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// A legacy `initialize`.
pub fn initialize(version: &str) -> Value {
    let client = json!({ "name": "test", "version": "0" });
    legacy("initialize", &json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client }))
}
