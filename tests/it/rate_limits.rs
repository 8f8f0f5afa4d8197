//! Rate limits: what passes, what is told to the others and whether it is true, who shares a limit, and that lists and stdio count too.
//!
//! | promise | shown by |
//! |---|---|
//! | G1 100 a minute are 100 of 1,000 at once, and `Retry-After` is true | `a_hundred_in_a_minute_are_a_hundred_of_a_thousand_at_once`, `a_call_at_the_time_that_was_told_passes` |
//! | G2 a million callers take less than 64 MiB; stdio, lists and suggestions count | `many_keys::a_million_callers_take_less_than_64_mib_and_each_has_a_limit`, `over_stdio_calls_are_limited_too`, `lists_suggestions_prompts_and_resources_count_too` |

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::gateway::problems;
use crate::support::message::{self, legacy, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Gateway, LATE, Reply};

fn config(limit: &Value) -> Value {
    let tool = |text: &str| json!({ "description": "D.", "static": { "text": text } });
    let mut limited = tool("one");
    limited["policy"] = json!({ "rate_limit": limit });
    let mut other = tool("two");
    other["policy"] = json!({ "rate_limit": limit });
    json!({ "tools": { "limited": limited, "other": other, "free": tool("three") } })
}

async fn call(gateway: &Gateway, tool: &str, own: &[(&str, &str)]) -> Reply {
    let mut headers = modern_headers("tools/call", Some(tool));
    headers.extend(message::headers(own));
    let body = modern("tools/call", json!({ "name": tool, "arguments": {} })).to_string();
    gateway.post(&headers, body.as_bytes()).await
}

fn refused(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 429, "{}", reply.text());
    let error = &reply.json()["error"];
    // Outside of JSON-RPC's reserved range.
    assert_eq!(error["code"], 1429);
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(error["data"]["retryAfter"], seconds);
    let sentence = error["message"].as_str().unwrap();
    assert!(sentence.starts_with("This was called too often. Try again in"), "{sentence}");
    error["data"]["retryAfterMs"].as_u64().unwrap()
}

#[tokio::test]
async fn a_hundred_in_a_minute_are_a_hundred_of_a_thousand_at_once() {
    let gateway = Gateway::start(&config(&json!({ "rate": "100/m" })).to_string()).await;
    let start = Instant::now();
    let mut passed = 0;
    for _ in 0..20 {
        let replies = join_all((0..50).map(|_| call(&gateway, "limited", &[]))).await;
        passed += replies.iter().filter(|r| r.status == 200).count();
        for reply in replies.iter().filter(|r| r.status != 200) {
            refused(reply);
        }
    }
    // What came back meanwhile: one every 600 ms.
    let more = usize::try_from(start.elapsed().as_millis() / 600).unwrap();
    assert!((100..=101 + more).contains(&passed), "{passed} passed in {:?}", start.elapsed());
    assert_eq!(call(&gateway, "free", &[]).await.status, 200);
    assert_eq!(call(&gateway, "other", &[]).await.status, 200, "another route has its own");
}

#[tokio::test]
async fn a_call_at_the_time_that_was_told_passes() {
    let gateway = Gateway::start(&config(&json!({ "rate": "2/s", "burst": 1 })).to_string()).await;
    for _ in 0..3 {
        let mut reply = call(&gateway, "limited", &[]).await;
        while reply.status == 200 {
            reply = call(&gateway, "limited", &[]).await;
        }
        let wait = refused(&reply);
        assert!((1..=501).contains(&wait), "{wait}");
        tokio::time::sleep(Duration::from_millis(wait)).await;
        assert_eq!(call(&gateway, "limited", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn both_eras_sessions_batches_and_streams_are_told_the_same() {
    let gateway = Gateway::start(&config(&json!({ "rate": "1/h" })).to_string()).await;
    assert_eq!(call(&gateway, "limited", &[]).await.status, 200);
    refused(&call(&gateway, "limited", &[]).await);
    let params = json!({ "name": "limited", "arguments": {} });
    refused(&gateway.legacy("tools/call", &params).await);
    let mut with_progress = modern("tools/call", params.clone());
    with_progress["params"]["_meta"]["progressToken"] = json!(1);
    let headers = modern_headers("tools/call", Some("limited"));
    refused(&gateway.post(&headers, with_progress.to_string().as_bytes()).await);
    let batch = json!([legacy("tools/call", &params), legacy("ping", &json!({}))]).to_string();
    let mut headers = plain_headers();
    headers.push(("MCP-Protocol-Version".to_owned(), "2025-03-26".to_owned()));
    let reply = gateway.post(&headers, batch.as_bytes()).await;
    assert_eq!(reply.json()[0]["error"]["code"], 1429, "{}", reply.text());
    assert_eq!(reply.json()[1]["result"], json!({}));
}

#[tokio::test]
async fn those_who_share_a_limit_are_told_apart_as_it_says() {
    let with = |per: &str| {
        let mut config = config(&json!({ "rate": "1/h", "per": per }));
        config["auth"] =
            json!({ "api_keys": [{ "name": "a", "key": "key-a" }, { "name": "b", "key": "key-b" }] });
        config["server"] = json!({ "trusted_proxies": ["127.0.0.0/8"] });
        config
    };
    let (a, b) = (("X-API-Key", "key-a"), ("X-API-Key", "key-b"));
    let from = |address| ("X-Forwarded-For", address);
    // The calls, and whether each passes.
    type Row<'a> = (&'a str, Vec<(&'a str, Vec<(&'a str, &'a str)>, bool)>);
    let rows: Vec<Row<'_>> = vec![
        (
            "caller",
            vec![
                ("limited", vec![a], true),
                ("limited", vec![a, from("192.0.2.1")], false),
                ("limited", vec![b], true),
                ("other", vec![a], true),
            ],
        ),
        (
            "client_ip",
            vec![
                ("limited", vec![a, from("192.0.2.1")], true),
                ("limited", vec![b, from("192.0.2.1")], false),
                ("limited", vec![a, from("192.0.2.2")], true),
                // What the client itself says before its proxy did is not believed.
                ("limited", vec![a, from("192.0.2.9, 192.0.2.1")], false),
                ("other", vec![a, from("192.0.2.1")], true),
            ],
        ),
        (
            "route",
            vec![
                ("limited", vec![a, from("192.0.2.1")], true),
                ("limited", vec![b, from("192.0.2.2")], false),
                ("other", vec![b], true),
            ],
        ),
        ("global", vec![("limited", vec![a], true), ("other", vec![b], false), ("free", vec![b], true)]),
    ];
    for (per, calls) in rows {
        let gateway = Gateway::start(&with(per).to_string()).await;
        for (tool, own, passes) in calls {
            let reply = call(&gateway, tool, &own).await;
            assert_eq!(reply.status == 200, passes, "{per} {tool} {own:?}: {}", reply.text());
        }
    }
}

#[tokio::test]
async fn addresses_that_no_trusted_proxy_says_are_not_believed() {
    let limit = json!({ "rate": "1/h", "per": "client_ip" });
    let gateway = Gateway::start(&config(&limit).to_string()).await;
    assert_eq!(call(&gateway, "limited", &[("X-Forwarded-For", "192.0.2.1")]).await.status, 200);
    refused(&call(&gateway, "limited", &[("X-Forwarded-For", "192.0.2.2")]).await);
}

#[tokio::test]
async fn lists_suggestions_prompts_and_resources_count_too() {
    let config = json!({
        "defaults": { "policy": { "rate_limit": { "rate": "3/h" } } },
        "tools": {
            "t": { "description": "D.", "static": { "text": "x" } },
            "often": { "description": "D.", "static": { "text": "x" }, "policy": { "rate_limit": "none" } },
        },
        "resources": { "a://b": { "name": "r", "static": { "text": "x" } } },
        "prompts": { "p": {
            "description": "D.", "params": { "x": { "enum": ["one", "two"], "optional": true } }, "messages": [{ "user": "x" }]
        } },
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let complete =
        json!({ "ref": { "type": "ref/prompt", "name": "p" }, "argument": { "name": "x", "value": "o" } });
    for (method, params, passing) in [
        ("tools/list", json!({}), 3),
        ("prompts/list", json!({}), 0),
        ("completion/complete", complete, 0),
        ("prompts/get", json!({ "name": "p" }), 3),
        ("resources/read", json!({ "uri": "a://b" }), 3),
        ("tools/call", json!({ "name": "t" }), 3),
        ("tools/call", json!({ "name": "often" }), 10),
        ("server/discover", json!({}), 10),
    ] {
        let mut passed = 0;
        for _ in 0..10 {
            let reply = gateway.modern(method, params.clone()).await;
            if reply.status == 200 {
                passed += 1;
            } else {
                refused(&reply);
            }
        }
        assert_eq!(passed, passing, "{method}");
    }
}

#[tokio::test]
async fn over_stdio_calls_are_limited_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::stdio(folder.path(), &config(&json!({ "rate": "1/h" })).to_string());
    for passes in [true, false] {
        process.say(&modern("tools/call", json!({ "name": "limited", "arguments": {} }))).await;
        let answer = process.message().await;
        assert_eq!(answer["error"]["code"] == 1429, !passes, "{answer}");
        assert_eq!(answer["result"]["content"][0]["text"] == "one", passes, "{answer}");
    }
    process.close_input();
    process.end(LATE).await;
}

#[test]
fn what_is_no_limit_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    for (limit, wanted) in [
        (json!({ "rate": "10" }), "expected a rate such as"),
        (json!({ "rate": "10/w" }), "expected a rate such as"),
        (json!({ "rate": "0/s" }), "a limit of zero lets nobody call"),
        (json!({ "rate": "1/s", "burst": 0 }), "a limit of zero lets nobody call"),
        (json!({ "rate": "1/s", "per": "user" }), "expected one of `caller`, `client_ip`, `route`, `global`"),
        (json!("off"), "`rate_limit` is a block, or the word `none`"),
        (json!({}), "missing"),
    ] {
        let told = problems(folder.path(), &config(&limit).to_string());
        assert!(told.contains(wanted), "{limit}: {told}");
    }
}
