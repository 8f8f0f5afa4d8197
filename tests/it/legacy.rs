//! The legacy era over HTTP: the handshake of four revisions, and the shapes its clients expect.

use serde_json::{Value, json};

use crate::http::CONFIG;
use crate::support::message::{headers, initialize, legacy, plain_headers};
use crate::support::{Gateway, text};

#[tokio::test]
async fn initialize_takes_the_clients_version_or_offers_the_newest() {
    let gateway = Gateway::start(CONFIG).await;
    for (asked, given) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2024-11-05"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
        ("", "2025-11-25"),
    ] {
        let reply = gateway.post(&plain_headers(), initialize(asked).to_string().as_bytes()).await;
        assert_eq!(reply.status, 200, "{asked}: {}", reply.text());
        let result = reply.json()["result"].take();
        assert_eq!(result["protocolVersion"], given, "{asked}");
        assert_eq!(result["serverInfo"]["name"], "table");
        for kind in ["tools", "resources", "prompts"] {
            assert!(result["capabilities"][kind].is_object(), "{kind}");
        }
        assert!(reply.header("mcp-session-id").is_some_and(|id| id.len() >= 32), "{asked}");
        assert!(result.get("resultType").is_none());
    }
    // With an envelope beside it, it is still the handshake.
    let mut both = initialize("2025-11-25");
    both["params"]["_meta"] = crate::support::message::meta();
    let reply = gateway.post(&plain_headers(), both.to_string().as_bytes()).await;
    assert_eq!(reply.json()["result"]["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn results_have_the_plainer_shape() {
    let gateway = Gateway::start(CONFIG).await;
    assert_eq!(gateway.legacy("ping", &json!({})).await.json()["result"], json!({}));
    assert_eq!(
        gateway.legacy("logging/setLevel", &json!({ "level": "info" })).await.json()["result"],
        json!({})
    );
    for (method, params) in [
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "test://one" })),
        ("tools/call", json!({ "name": "hello" })),
        ("prompts/get", json!({ "name": "greet", "arguments": { "who": "Ann" } })),
    ] {
        let reply = gateway.legacy(method, &params).await;
        assert_eq!((reply.status, reply.code()), (200, 0), "{method}: {}", reply.text());
        let result = reply.json()["result"].take();
        for member in ["resultType", "ttlMs", "cacheScope", "_meta"] {
            assert!(result.get(member).is_none(), "{member} of {method}");
        }
    }
    assert_eq!(
        text(&gateway.legacy("tools/call", &json!({ "name": "hello" })).await.json()["result"]),
        "hello"
    );
}

#[tokio::test]
async fn errors_travel_with_status_200() {
    let gateway = Gateway::start(CONFIG).await;
    for (method, params, code) in [
        ("nope", json!({}), -32601),
        ("server/nope", json!({}), -32601),
        ("tools/call", json!({ "name": "nope" }), -32602),
        ("prompts/get", json!({ "name": "nope" }), -32602),
        ("prompts/get", json!({ "name": "greet" }), -32602),
        ("tools/list", json!({ "cursor": "x" }), -32602),
        ("resources/read", json!({ "uri": "test://two" }), -32002),
        ("resources/read", json!({ "uri": "test://items/abc" }), -32002),
    ] {
        let reply = gateway.legacy(method, &params).await;
        assert_eq!((reply.status, reply.code()), (200, code), "{method}: {}", reply.text());
    }
    let missing = gateway.legacy("resources/read", &json!({ "uri": "test://two" })).await;
    assert_eq!(missing.json()["error"]["data"]["uri"], "test://two");
}

#[tokio::test]
async fn the_version_header_of_this_era_may_be_any_known_one_and_no_other() {
    let gateway = Gateway::start(CONFIG).await;
    let body = legacy("tools/list", &json!({})).to_string();
    for (version, status) in [
        (None, 200),
        (Some("2025-11-25"), 200),
        (Some("2025-06-18"), 200),
        (Some("2025-03-26"), 200),
        (Some("2024-11-05"), 200),
        (Some("2026-07-28"), 400),
        (Some("2099-01-01"), 400),
        (Some("nonsense"), 400),
    ] {
        let mut list = plain_headers();
        list.extend(version.into_iter().flat_map(|v| headers(&[("MCP-Protocol-Version", v)])));
        let reply = gateway.post(&list, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{version:?}: {}", reply.text());
    }
    let mut list = plain_headers();
    list.extend(headers(&[("MCP-Protocol-Version", "2025-11-25"), ("MCP-Protocol-Version", "2026-07-28")]));
    assert_eq!(gateway.post(&list, body.as_bytes()).await.status, 400, "two versions at once");
}

#[tokio::test]
async fn notifications_and_responses_are_taken() {
    let gateway = Gateway::start(CONFIG).await;
    for body in [
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }),
        json!({ "jsonrpc": "2.0", "id": 1, "result": {} }),
        json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -1, "message": "no" } }),
    ] {
        let reply = gateway.post(&plain_headers(), body.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.body.len()), (202, 0), "{body}");
    }
}

#[tokio::test]
async fn ids_come_back_as_they_went() {
    let gateway = Gateway::start(CONFIG).await;
    for id in [json!(0), json!(-1), json!(u64::MAX), json!(""), json!("a\"b\\\n\u{1F600}"), json!("1")] {
        let mut body = legacy("ping", &json!({}));
        body["id"] = id.clone();
        let reply = gateway.post(&plain_headers(), body.to_string().as_bytes()).await;
        assert_eq!(reply.json()["id"], id);
    }
    let _: Value = gateway.legacy("ping", &json!({})).await.json();
}
