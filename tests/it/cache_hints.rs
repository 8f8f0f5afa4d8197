//! What clients may keep, and for whom: `ttlMs` and `cacheScope` by method; answers that depend on who asks are private, and the
//! rounds of a request are kept by nobody (MCP 2026-07-28, server/utilities/caching).

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::Gateway;
use crate::support::gateway::problems;
use crate::support::message::{modern, modern_headers};

const KEY: &str = "a-key-that-nobody-may-see";

fn config() -> Value {
    let text = |text: &str| json!({ "description": "D.", "static": { "text": text } });
    let ask = json!([{ "ask": { "name": { "form": { "message": "Who?", "fields": { "n": { "type": "string" } } } } } }]);
    json!({
        "server": { "lists": { "ttl": "7s" } },
        // Held by every route that it fits.
        "defaults": { "policy": { "cache": { "ttl": "1h" } } },
        "tools": {
            "t": text("x"),
            "asks": { "description": "D.", "static": { "steps": ask, "text": "done" } },
            "sure": { "description": "D.", "static": { "text": "done" }, "confirm": "Sure?" },
        },
        "resources": {
            "shop://x": { "static": { "text": "x" } },
            "shop://{id}/y": { "static": { "text": "y" }, "complete": { "id": { "values": ["a"] } } },
        },
        "prompts": {
            "p": { "params": { "n": { "enum": ["a", "b"] } }, "messages": [{ "user": "x" }] },
            "asks": { "data": { "d": { "static": { "steps": ask, "text": "x" } } }, "messages": [{ "user": "{{ d }}" }] },
        },
    })
}

async fn result(gateway: &Gateway, method: &str, mut params: Value, capable: bool) -> Value {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let mut headers = modern_headers(method, name.as_deref());
    headers.push(("Authorization".to_owned(), format!("Bearer {KEY}")));
    params = modern(method, params);
    if capable {
        params["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
            json!({ "elicitation": {} });
    }
    let reply = gateway.post(&headers, params.to_string().as_bytes()).await;
    let result = reply.json()["result"].take();
    assert!(result.is_object(), "{method}: {}", reply.text());
    result
}

#[tokio::test]
async fn each_method_says_whether_and_for_whom_its_answer_can_be_kept() {
    let complete =
        json!({ "ref": { "type": "ref/prompt", "name": "p" }, "argument": { "name": "n", "value": "" } });
    let kept = [
        ("server/discover", json!({})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "shop://x" })),
        ("resources/read", json!({ "uri": "shop://7/y" })),
    ];
    let not_kept = [
        ("tools/call", json!({ "name": "t" })),
        ("prompts/get", json!({ "name": "p", "arguments": { "n": "a" } })),
        ("completion/complete", complete),
    ];
    let keys = json!({ "api_keys": [{ "name": "ci", "key": KEY, "scopes": ["s"] }] });
    let hiding = json!({ "auth": { "when": "caller.sub != 'eve'" } });
    let public = json!({ "auth": "none" });
    for (what, auth, policy, scope) in [
        ("nobody is known", None, None, "public"),
        ("whoever reaches the port", Some(json!("none")), None, "public"),
        ("the same, and a route that not all see", Some(json!("none")), Some(&hiding), "private"),
        ("callers are known", Some(keys.clone()), None, "private"),
        ("the same, and a route for everybody", Some(keys.clone()), Some(&public), "private"),
        ("the same, and a route that not all see", Some(keys), Some(&hiding), "private"),
    ] {
        let mut config = config();
        if let Some(auth) = auth {
            config["auth"] = auth;
        }
        if let Some(policy) = policy {
            config["tools"]["t"]["policy"] = policy.clone();
        }
        let gateway = Gateway::start(&config.to_string()).await;
        for (method, params) in &kept {
            let result = result(&gateway, method, params.clone(), false).await;
            let hints = [&result["ttlMs"], &result["cacheScope"]];
            assert_eq!(hints, [&json!(7000), &json!(scope)], "{what}: {method}");
        }
        for (method, params) in &not_kept {
            // Also what is answered from our own cache.
            for _ in 0..2 {
                let result = result(&gateway, method, params.clone(), false).await;
                assert_eq!([&result["ttlMs"], &result["cacheScope"]], [&Value::Null; 2], "{what}: {method}");
            }
        }
    }
}

#[tokio::test]
async fn rounds_are_kept_by_nobody() {
    let gateway = Gateway::start(&config().to_string()).await;
    for (method, name) in [("tools/call", "asks"), ("tools/call", "sure"), ("prompts/get", "asks")] {
        let mut states = Vec::new();
        for _ in 0..2 {
            let asked = result(&gateway, method, json!({ "name": name }), true).await;
            assert_eq!(asked["resultType"], "input_required", "{method} {name}: {asked}");
            assert_eq!([&asked["ttlMs"], &asked["cacheScope"]], [&Value::Null; 2], "{method} {name}");
            assert_eq!(asked["_meta"].get("sidegate/cache"), None, "{asked}");
            let question = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
            let content = if question == "confirm" { json!({}) } else { json!({ "n": "Ada" }) };
            let said = json!({ "action": "accept", "content": content });
            let answered = json!({ "name": name, "requestState": asked["requestState"], "inputResponses": { question: said } });
            let done = result(&gateway, method, answered, true).await;
            assert_eq!(done["resultType"], "complete", "{done}");
            assert_eq!([&done["ttlMs"], &done["cacheScope"]], [&Value::Null; 2], "{method} {name}");
            // What a yes lets through may come from our cache; what was made from an answer never does.
            assert!(name == "sure" || done["_meta"].get("sidegate/cache").is_none(), "{done}");
            states.push(asked["requestState"].to_string());
        }
        assert_ne!(states[0], states[1], "the second call is asked anew");
    }
    // Somebody who cannot be asked does not get what another was given.
    let refused = gateway.modern("tools/call", json!({ "name": "sure" })).await;
    assert_eq!((refused.status, refused.code()), (400, -32021), "{}", refused.text());
}

#[tokio::test]
async fn what_is_fetched_may_be_kept_for_what_is_left_of_the_time_that_it_is_kept_here() {
    let route = |cache: &str| {
        let policy = if cache.is_empty() { json!({}) } else { json!({ "cache": { "ttl": cache } }) };
        json!({ "sql": { "source": "db", "query": "SELECT 1 AS a" }, "policy": policy })
    };
    for (auth, scope) in
        [(json!("none"), "public"), (json!({ "api_keys": [{ "name": "ci", "key": KEY }] }), "private")]
    {
        let config = json!({
            "auth": auth,
            "sources": { "db": { "sql": { "url": "sqlite::memory:" } } },
            "resources": { "db://live": route(""), "db://kept": route("1h"), "db://brief": route("1s") },
        });
        let gateway = Gateway::start(&config.to_string()).await;
        let read = async |uri: &str| {
            let result = result(&gateway, "resources/read", json!({ "uri": uri }), false).await;
            assert_eq!(result["cacheScope"], scope, "{uri}: {result}");
            result["ttlMs"].as_u64().unwrap()
        };
        assert_eq!([read("db://live").await, read("db://live").await], [0, 0]);
        assert_eq!([read("db://kept").await, read("db://brief").await], [3_600_000, 1000]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (kept, brief) = (read("db://kept").await, read("db://brief").await);
        assert!((3_000_000..3_600_000).contains(&kept) && brief <= 1000, "{kept}, {brief}");
    }
}

#[test]
fn a_cache_beside_a_question_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config["tools"]["asks"]["policy"] = json!({ "cache": { "ttl": "1m" } });
    let told = problems(folder.path(), &config.to_string());
    assert!(told.contains("are made for one call, and cannot be given again"), "{told}");
}
