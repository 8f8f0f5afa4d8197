//! Who may use which route: scopes, conditions, public routes; in calls and in lists; and that a refusal touches nothing.

use serde_json::{Value, json};
use sidegate::call::Caller;
use sidegate::config::{Environment, load_text};
use sidegate::mcp::{self, Answer, Context, Peers};
use sidegate::{app, plan};

use crate::support::issuer::{Issuer, Pair};
use crate::support::message::{self, modern, modern_headers, plain_headers};
use crate::support::{Gateway, Reply, Upstream, failure, structured};

fn tool(auth: &Value) -> Value {
    json!({ "description": "D.", "rest": { "source": "api", "get": "/x" }, "policy": { "auth": auth } })
}

/// Routes of every kind, each with its rule.
fn config(upstream: &Upstream, auth: &Value) -> Value {
    let region = json!({ "region": { "type": "string" } });
    let rest = json!({ "source": "api", "get": "/x" });
    json!({
        "auth": auth,
        "sources": { "api": { "rest": { "base_url": upstream.url() } } },
        "tools": {
            "plain": { "description": "D.", "rest": rest },
            "read": tool(&json!({ "scopes": ["orders.read"] })),
            "write": tool(&json!({ "scopes": ["orders.read", "orders.write"] })),
            "staff": tool(&json!({ "when": "caller.claims.dept == 'support'" })),
            "region": {
                "description": "D.", "params": region,
                "rest": { "source": "api", "get": "/x", "query": { "r": "{region}" } },
                "policy": { "auth": { "when": "args.region == caller.claims.region" } },
            },
        },
        "resources": {
            "shop://secret": { "rest": rest, "policy": { "auth": { "scopes": ["admin"] } } },
            "shop://open": { "rest": rest },
            "shop://orders/{id}": {
                "rest": { "source": "api", "get": "/x", "query": { "i": "{id}" } },
                "complete": { "id": { "rest": { "source": "api", "get": "/ids", "query": { "v": "{value}" } } } },
                "policy": { "auth": { "scopes": ["admin"] } },
            },
        },
        "prompts": {
            "secret": {
                "params": { "tone": { "enum": ["kind"] } }, "data": { "row": { "rest": rest } },
                "messages": [{ "user": "{{ tone }}" }], "policy": { "auth": { "scopes": ["admin", "offline_access"] } },
            },
            "staff": {
                "data": { "row": { "rest": rest } }, "messages": [{ "user": "Hello." }],
                "policy": { "auth": { "when": "caller.claims.dept == 'support'" } },
            },
        },
    })
}

fn keys() -> Value {
    json!({ "api_keys": [
        { "name": "reader", "key": "key-of-reader", "scopes": ["orders.read"], "claims": { "region": "eu" } },
        { "name": "boss", "key": "key-of-boss", "scopes": ["orders.read", "orders.write", "admin", "offline_access"],
          "claims": { "dept": "support", "region": "us" } },
    ] })
}

async fn send(gateway: &Gateway, key: Option<&str>, method: &str, params: Value) -> Reply {
    let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
    let mut headers = modern_headers(method, name.as_deref());
    headers.extend(key.map(|key| ("Authorization".to_owned(), format!("Bearer {key}"))));
    gateway.post(&headers, modern(method, params).to_string().as_bytes()).await
}

fn names(reply: &Reply, member: &str, key: &str) -> Vec<String> {
    let result = reply.json();
    let entries = result["result"][member].as_array().unwrap_or_else(|| panic!("{result}")).clone();
    entries.iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_show_what_a_caller_may_use_and_no_more() {
    let upstream = Upstream::recorder().await;
    let gateway = Gateway::start(&config(&upstream, &keys()).to_string()).await;
    let reader: [&[&str]; 4] = [&["plain", "read", "region"], &["shop://open"], &[], &[]];
    let boss: [&[&str]; 4] = [
        &["plain", "read", "write", "staff", "region"],
        &["shop://secret", "shop://open"],
        &["shop://orders/{id}"],
        &["secret", "staff"],
    ];
    let lists = [
        ("tools/list", "tools", "name"),
        ("resources/list", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        ("prompts/list", "prompts", "name"),
    ];
    for (key, wanted) in [("key-of-reader", reader), ("key-of-boss", boss), ("key-of-reader", reader)] {
        for ((method, member, name), wanted) in lists.iter().zip(wanted) {
            let reply = send(&gateway, Some(key), method, json!({})).await;
            assert_eq!(names(&reply, member, name), wanted, "{key} {method}");
            assert_eq!(reply.json()["result"]["cacheScope"], "private");
            // The other era has the same entries.
            let mut headers = plain_headers();
            headers.push(("X-API-Key".to_owned(), key.to_owned()));
            let body = message::legacy(method, &json!({})).to_string();
            let reply = gateway.post(&headers, body.as_bytes()).await;
            assert_eq!(names(&reply, member, name), wanted, "{key} {method}");
        }
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn pages_of_what_a_caller_sees_are_whole_and_keep_their_cursors() {
    let upstream = Upstream::recorder().await;
    let mut config = config(&upstream, &keys());
    config["server"] = json!({ "lists": { "page": 2 } });
    let gateway = Gateway::start(&config.to_string()).await;
    let walk = async || {
        let (mut seen, mut cursors) = (Vec::new(), Vec::<Value>::new());
        loop {
            let params = cursors.last().map_or(json!({}), |cursor| json!({ "cursor": cursor }));
            let reply = send(&gateway, Some("key-of-reader"), "tools/list", params).await;
            seen.extend(names(&reply, "tools", "name"));
            match reply.json()["result"].get("nextCursor") {
                Some(cursor) => cursors.push(cursor.clone()),
                None => return (seen, cursors),
            }
        }
    };
    let (seen, cursors) = walk().await;
    assert_eq!(seen, ["plain", "read", "region"]);
    assert_eq!(cursors.len(), 1);
    assert_eq!(walk().await, (seen, cursors.clone()));
    // A cursor is one of this list, not of that of somebody who sees more.
    let reply = send(&gateway, Some("key-of-boss"), "tools/list", json!({ "cursor": cursors[0] })).await;
    assert_eq!(reply.code(), -32602);
}

#[tokio::test]
async fn a_missing_scope_is_a_challenge_with_all_of_them_and_touches_nothing() {
    let upstream = Upstream::recorder().await;
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start(&config(&upstream, &issuer.auth()).to_string()).await;
    let token = pair.token(&issuer.claims());
    let metadata = "https://mcp.shop.example/.well-known/oauth-protected-resource/mcp";
    let complete = |kind: &str, of: &str, value: &str, argument: &str| json!({ "ref": { "type": kind, of: value }, "argument": { "name": argument, "value": "k" } });
    let refused = [
        ("tools/call", json!({ "name": "write" }), "orders.read orders.write"),
        ("tools/call", json!({ "name": "write", "arguments": 7 }), "orders.read orders.write"),
        ("resources/read", json!({ "uri": "shop://secret" }), "admin"),
        ("resources/read", json!({ "uri": "shop://orders/7" }), "admin"),
        ("prompts/get", json!({ "name": "secret", "arguments": { "tone": "kind" } }), "admin"),
        ("completion/complete", complete("ref/prompt", "name", "secret", "tone"), "admin"),
        ("completion/complete", complete("ref/resource", "uri", "shop://orders/{id}", "id"), "admin"),
    ];
    for (method, params, scopes) in refused {
        let scope = format!("scope=\"{scopes}\"");
        let reply = send(&gateway, Some(&token), method, params.clone()).await;
        assert_eq!(reply.status, 403, "{method} {params}: {}", reply.text());
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error=\"insufficient_scope\", error_description=\""),
            "{challenge}"
        );
        assert!(challenge.contains(&scope) && challenge.contains(metadata), "{method}: {challenge}");
        assert_eq!((reply.code(), &reply.json()["id"]), (1403, &json!(1)));
        // The other era is told the same.
        let mut headers = plain_headers();
        headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        let body = message::legacy(method, &params).to_string();
        let reply = gateway.post(&headers, body.as_bytes()).await;
        assert_eq!(reply.status, 403, "{method} {params}: {}", reply.text());
    }
    // In a batch there is one status for all, so it stands in the body.
    let batch = json!([
        message::legacy("tools/call", &json!({ "name": "write" })),
        message::legacy("resources/read", &json!({ "uri": "shop://secret" })),
    ]);
    let mut headers = plain_headers();
    headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    headers.push(("MCP-Protocol-Version".to_owned(), "2025-03-26".to_owned()));
    let reply = gateway.post(&headers, batch.to_string().as_bytes()).await.json();
    assert!(failure(&reply[0]["result"]).contains("orders.write"), "{reply}");
    assert_eq!(reply[1]["error"]["code"], 1403);
    assert_eq!(upstream.count(), 0, "nothing was touched");
    // A name that is not there is not helped with those that are hidden.
    let reply = send(&gateway, Some(&token), "tools/call", json!({ "name": "writ" })).await;
    assert_eq!(reply.code(), -32602);
    assert!(!reply.text().contains("write"), "{}", reply.text());
    let reply = send(&gateway, Some(&token), "tools/call", json!({ "name": "read" })).await;
    assert_eq!(*structured(&reply.json()["result"]), json!({}));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_a_result_that_says_so() {
    let upstream = Upstream::recorder().await;
    let gateway = Gateway::start(&config(&upstream, &keys()).to_string()).await;
    for (key, name, arguments, passes) in [
        ("key-of-reader", "staff", json!({}), false),
        ("key-of-boss", "staff", json!({}), true),
        ("key-of-reader", "region", json!({ "region": "eu" }), true),
        ("key-of-reader", "region", json!({ "region": "us" }), false),
        ("key-of-boss", "region", json!({ "region": "us" }), true),
        ("key-of-boss", "region", json!({ "region": "eu" }), false),
    ] {
        let params = json!({ "name": name, "arguments": arguments });
        let reply = send(&gateway, Some(key), "tools/call", params).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let result = reply.json()["result"].clone();
        if passes {
            structured(&result);
        } else {
            assert!(failure(&result).contains("may not"), "{key} {name}: {result}");
        }
        assert_eq!(upstream.take().len(), usize::from(passes), "{key} {name} {arguments}");
    }
    let reply = send(&gateway, Some("key-of-reader"), "prompts/get", json!({ "name": "staff" })).await;
    assert_eq!(reply.code(), 1403);
    assert_eq!(upstream.count(), 0);
    let reply = send(&gateway, Some("key-of-boss"), "prompts/get", json!({ "name": "staff" })).await;
    assert_eq!(reply.json()["result"]["messages"][0]["content"]["text"], "Hello.");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn public_routes_are_for_everybody_and_the_others_are_not() {
    let upstream = Upstream::recorder().await;
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let mut config = config(&upstream, &issuer.auth());
    config["tools"]["hours"] = tool(&json!("none"));
    let gateway = Gateway::start(&config.to_string()).await;
    let list = send(&gateway, None, "tools/list", json!({})).await;
    assert_eq!(names(&list, "tools", "name"), ["hours"]);
    assert_eq!(list.json()["result"]["cacheScope"], "private");
    assert!(names(&send(&gateway, None, "prompts/list", json!({})).await, "prompts", "name").is_empty());
    let called = send(&gateway, None, "tools/call", json!({ "name": "hours" })).await;
    structured(&called.json()["result"]);
    assert_eq!(upstream.take().len(), 1);
    for (method, params, scope) in [
        ("tools/call", json!({ "name": "plain" }), None),
        ("tools/call", json!({ "name": "read" }), Some("scope=\"orders.read\"")),
        ("resources/read", json!({ "uri": "shop://open" }), None),
        ("prompts/get", json!({ "name": "secret" }), Some("scope=\"admin\"")),
    ] {
        let reply = send(&gateway, None, method, params).await;
        assert_eq!(reply.status, 401, "{method}: {}", reply.text());
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("resource_metadata="), "{challenge}");
        match scope {
            Some(scope) => assert!(challenge.contains(scope), "{challenge}"),
            None => assert!(!challenge.contains("scope="), "{challenge}"),
        }
    }
    // Credentials that are not good are no less bad for that.
    for key in ["a.b.c", "key-of-eve"] {
        assert_eq!(send(&gateway, Some(key), "tools/call", json!({ "name": "hours" })).await.status, 401);
    }
    assert_eq!(upstream.count(), 0);
    let ready = gateway.get("/readyz").await.text();
    assert!(!ready.contains("api"), "sources are not named to strangers: {ready}");
}

#[tokio::test]
async fn what_is_needed_stands_in_the_first_challenge_and_in_the_metadata() {
    let upstream = Upstream::recorder().await;
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start(&config(&upstream, &issuer.auth()).to_string()).await;
    let metadata = gateway.get("/.well-known/oauth-protected-resource/mcp").await.json();
    assert_eq!(metadata["scopes_supported"], json!(["admin", "orders.read", "orders.write"]));
    for (method, params, scope) in [
        ("tools/list", json!({}), "scope=\"admin orders.read orders.write\""),
        ("tools/call", json!({ "name": "write" }), "scope=\"orders.read orders.write\""),
        ("resources/read", json!({ "uri": "shop://orders/7" }), "scope=\"admin\""),
    ] {
        for key in [None, Some("a.b.c")] {
            let reply = send(&gateway, key, method, params.clone()).await;
            assert_eq!(reply.status, 401);
            let challenge = reply.header("www-authenticate").unwrap();
            assert!(challenge.contains(scope) && challenge.contains("resource_metadata="), "{challenge}");
            assert_eq!(challenge.contains("error=\"invalid_token\""), key.is_some(), "{challenge}");
        }
    }
}

#[tokio::test]
async fn over_stdio_scopes_are_there_and_conditions_are_asked() {
    let upstream = Upstream::recorder().await;
    let mut config = config(&upstream, &keys());
    config["tools"]["own"] = tool(&json!({ "when": "caller.sub == 'local'" }));
    let mut loaded =
        load_text("g.yaml", &config.to_string(), std::path::Path::new("."), &Environment::default());
    let plan = plan::compile(loaded.config.as_ref().unwrap(), &mut loaded.diagnostics).unwrap();
    let (live, peers) = (app::open(plan).unwrap(), Peers::default());
    let ask = async |method: &str, params: Value| -> Value {
        let cx = Context::local(live.load(), Caller::Local, &peers);
        let text = modern(method, params).to_string();
        let Answer::Reply { body, .. } = mcp::answer_bytes(text.as_bytes(), None, &cx).await else {
            panic!("no answer")
        };
        serde_json::from_slice::<Value>(&body.into_vec()).unwrap()["result"].clone()
    };
    let list = ask("tools/list", json!({})).await;
    let seen: Vec<&str> =
        list["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(seen, ["plain", "read", "write", "region", "own"]);
    for (name, passes) in [("write", true), ("own", true), ("plain", true), ("staff", false)] {
        let result = ask("tools/call", json!({ "name": name })).await;
        assert_eq!(result.get("isError").is_none(), passes, "{name}: {result}");
    }
}

#[tokio::test]
async fn where_nobody_is_known_lists_are_for_everybody_and_scopes_for_nobody() {
    let upstream = Upstream::recorder().await;
    let mut open = config(&upstream, &json!("none"));
    let gateway = Gateway::start(&open.to_string()).await;
    let list = send(&gateway, None, "tools/list", json!({})).await;
    assert_eq!(names(&list, "tools", "name"), ["plain", "region"]);
    assert_eq!(list.json()["result"]["cacheScope"], "private");
    let reply = send(&gateway, None, "tools/call", json!({ "name": "read" })).await;
    assert_eq!(reply.status, 403);
    for noun in ["tools", "resources", "prompts"] {
        for route in open[noun].as_object_mut().unwrap().values_mut() {
            route.as_object_mut().unwrap().remove("policy");
        }
    }
    let gateway = Gateway::start(&open.to_string()).await;
    let list = send(&gateway, None, "tools/list", json!({})).await;
    assert_eq!(list.json()["result"]["cacheScope"], "public");
}

#[tokio::test]
async fn nobody_hears_of_a_resource_that_they_may_not_read() {
    let config = json!({
        "auth": keys(),
        "tools": { "touch": {
            "description": "D.", "static": { "steps": [{ "announce": "shop://secret" }], "text": "told" },
            "policy": { "auth": "none" }
        } },
        "resources": {
            "shop://secret": { "static": { "text": "x" }, "policy": { "auth": { "scopes": ["admin"] } } },
            "shop://open": { "static": { "text": "x" } },
        },
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let wanted = json!({ "notifications": { "resourceSubscriptions": ["shop://secret", "shop://open"] } });
    for (key, heard) in [
        (Some("key-of-boss"), json!(["shop://open", "shop://secret"])),
        (Some("key-of-reader"), json!(["shop://open"])),
        (None, json!([])),
    ] {
        let mut headers = modern_headers("subscriptions/listen", None);
        headers.extend(key.map(|key| ("Authorization".to_owned(), format!("Bearer {key}"))));
        let body = modern("subscriptions/listen", wanted.clone()).to_string();
        let mut stream = gateway.connect().await;
        assert_eq!(stream.open_stream("POST", &headers, body.as_bytes()).await.status, 200);
        let accepted = stream.event().await.unwrap();
        assert_eq!(accepted["params"]["notifications"]["resourceSubscriptions"], heard, "{key:?}");
        gateway.call("touch", json!({})).await;
        let hears = key == Some("key-of-boss");
        if hears {
            assert_eq!(stream.event().await.unwrap()["params"]["uri"], "shop://secret");
        } else {
            assert!(stream.no_event(std::time::Duration::from_millis(200)).await, "{key:?}");
        }
    }
}

#[tokio::test]
async fn a_page_can_read_why_it_was_turned_away() {
    let gateway = Gateway::start(
        &json!({ "auth": keys(), "tools": { "t": { "description": "D.", "static": { "text": "x" } } } })
            .to_string(),
    )
    .await;
    let mut headers = modern_headers("tools/list", None);
    headers.push(("Origin".to_owned(), "http://localhost:3000".to_owned()));
    let reply = gateway.post(&headers, modern("tools/list", json!({})).to_string().as_bytes()).await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("access-control-expose-headers").unwrap().contains("WWW-Authenticate"));
}
