//! Pages of an API: every item comes once and in order, whatever cuts a result; nothing leads away from the base URL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::upstream::{Seen, json as body, reply};
use crate::support::{Gateway, Step, Upstream, failure, structured, text};

const ALL: usize = 137;

fn items(from: usize, count: usize) -> Vec<Value> {
    (from..ALL.min(from + count)).map(|n| json!({ "id": n, "word": "x".repeat(n % 40) })).collect()
}

fn argument(seen: &Seen, name: &str) -> Option<String> {
    let pairs = seen.query().split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.to_owned()).next()
}

fn number(seen: &Seen, name: &str) -> usize {
    argument(seen, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A list in all ways of paging, 20 items a page or as many as are asked for, at most 30.
fn api(seen: &Seen) -> Vec<Step> {
    match seen.path() {
        "/cursor" => {
            let from = argument(seen, "after").and_then(|text| text.strip_prefix("c%2F")?.parse().ok()).unwrap_or(0);
            let next = (from + 20 < ALL).then(|| format!("c/{}", from + 20));
            body(&json!({ "data": items(from, 20), "meta": { "next": next, "total": ALL }, "next": "https://evil.example" }).to_string())
        }
        "/number" => {
            let size = number(seen, "per_page").min(30);
            body(&json!(items((number(seen, "page") - 1) * size, size)).to_string())
        }
        "/plain" => body(&json!(items(number(seen, "p") * 20, 20)).to_string()),
        "/offset" => body(&json!({ "rows": items(number(seen, "offset"), number(seen, "limit").min(30)), "ok": true }).to_string()),
        "/link" => {
            let page = number(seen, "page");
            let link = (page * 20 + 20 < ALL).then(|| format!("Link: </link?page={}&of=7>; rel=\"next\"\r\n", page + 1));
            let body = json!(items(page * 20, 20)).to_string();
            vec![Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n{body}", link.unwrap_or_default(), body.len()).into_bytes())]
        }
        "/self" => body(match argument(seen, "after").as_deref() {
            None => r#"{"data":[{"id":1}],"meta":{"next":"a"}}"#,
            Some(_) => r#"{"data":[{"id":2}],"meta":{"next":"a"}}"#,
        }),
        "/cycle" => body(match argument(seen, "after").as_deref() {
            Some("a") => r#"{"data":[{"id":2}],"meta":{"next":"b"}}"#,
            _ => r#"{"data":[{"id":1}],"meta":{"next":"a"}}"#,
        }),
        "/listless" => body(match argument(seen, "after").as_deref() {
            None => r#"{"data":[{"id":1}],"meta":{"next":"a"}}"#,
            Some(_) => r#"{"data":"soon"}"#,
        }),
        "/own" => body(
            r#"{"data":[{"id":1},{"id":2}],"truncated":false,"note":"of the API","next":"theirs"}"#,
        ),
        "/moved" => vec![Step::Send(
            b"HTTP/1.1 302 Found\r\nLocation: /deep/list?page=0\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )],
        "/deep/list" if number(seen, "page") == 0 => vec![Step::Send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLink: <?page=1>; rel=next\r\nContent-Length: 10\r\n\r\n[{\"id\":1}]".to_vec(),
        )],
        "/deep/list" => body(r#"[{"id":2}]"#),
        path if path.starts_with("/end/") => ends(seen),
        "/loop" => body(r#"{"data":[{"id":1}],"meta":{"next":"same"}}"#),
        "/odd" => body(r#"{"data":[{"id":1}],"meta":{"next":{"a":1}}}"#),
        "/two" => body(r#"{"a":[1],"b":[2],"meta":{"next":"x"}}"#),
        "/away" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLink: <http://127.0.0.1:1/x>; rel=next\r\nContent-Length: 3\r\n\r\n[1]".to_vec())],
        other => panic!("no such path: {other}"),
    }
}

/// A list of one page, and what the last part of the path says after it.
fn ends(seen: &Seen) -> Vec<Step> {
    let kind = seen.path().trim_start_matches("/end/");
    match (number(seen, "page"), kind) {
        (1, "object") => body(r#"{"data":[{"id":1}]}"#),
        (1, "never") => {
            vec![Step::Send(reply("404 Not Found", "application/json", br#"{"message":"no list"}"#))]
        }
        (1, _) => body(r#"[{"id":1}]"#),
        (_, "empty") => vec![Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())],
        (_, "words") => vec![Step::Send(reply("200 OK", "text/plain", b"no more"))],
        (_, "gone") => vec![Step::Send(reply("410 Gone", "text/plain", b""))],
        _ => vec![Step::Send(reply("404 Not Found", "application/json", br#"{"detail":"Invalid page."}"#))],
    }
}

fn pages(path: &str) -> Value {
    match path {
        "end/object" => json!({ "number": { "query": "page" }, "items": ".data" }),
        path if path.starts_with("end/") => json!({ "number": { "query": "page" } }),
        "number" => json!({ "number": { "query": "page", "size": { "query": "per_page", "value": 25 } } }),
        "plain" => json!({ "number": { "query": "p", "start": 0 } }),
        "offset" => json!({ "offset": { "query": "offset", "limit": { "query": "limit", "value": 25 } } }),
        "link" | "away" | "moved" => json!({ "link_header": {} }),
        "two" => json!({ "cursor": { "query": "after", "next": ".meta.next" } }),
        _ => json!({ "cursor": { "query": "after", "next": ".meta.next" }, "items": ".data?" }),
    }
}

fn tool(path: &str, follow: u32, output: &Value) -> Value {
    let mut page = pages(path);
    page["follow"] = json!(follow);
    json!({ "description": "D.", "rest": { "source": "api", "get": format!("/{path}"), "page": page }, "output": output })
}

async fn gateway(api: &Upstream, tools: Value) -> Gateway {
    let source = json!({ "rest": { "base_url": api.url(), "credentials": { "api_key": { "query": "key", "value": "s3cret-key" } } } });
    Gateway::start(&json!({ "sources": { "api": source }, "tools": tools }).to_string()).await
}

/// The items of a result in any of its forms.
fn list(value: &Value) -> &Vec<Value> {
    let lists = ["data", "rows", "items"].iter().find_map(|name| value.get(name)?.as_array());
    value.as_array().or(lists).unwrap_or_else(|| panic!("no list: {value}"))
}

/// Walks through all results; gives the ids and how many results there were.
async fn walk(gateway: &Gateway, tool: &str) -> (Vec<u64>, usize) {
    let (mut ids, mut results, mut arguments) = (Vec::new(), 0, json!({}));
    loop {
        let result = gateway.call(tool, arguments.clone()).await;
        assert!(result.get("isError").is_none(), "{tool}: {result}");
        assert!(!result.to_string().contains("s3cret"), "{result}");
        let value = structured(&result);
        ids.extend(list(value).iter().map(|item| item.get("id").unwrap_or(item).as_u64().unwrap()));
        results += 1;
        assert!(results < 300, "{tool} has no end");
        match value.get("next") {
            None => {
                assert!(value.get("truncated").is_none(), "{value}");
                return (ids, results);
            }
            Some(next) => {
                assert_eq!(value["truncated"], true);
                assert!(text(&result).contains(next.as_str().unwrap()), "the model cannot read it: {result}");
                arguments = json!({ "next": next });
            }
        }
    }
}

#[tokio::test]
async fn every_item_comes_once_whatever_cuts_a_result() {
    let api = Upstream::start(api).await;
    let mut tools = json!({});
    let ways = ["cursor", "number", "plain", "offset", "link"];
    let outputs = [
        ("whole", json!({})),
        ("rows", json!({ "max_rows": 7 })),
        ("bytes", json!({ "max_bytes": "900B" })),
        ("tokens", json!({ "max_tokens": 300, "format": "markdown" })),
        (
            "select",
            json!({ "select": "{items: [(if type == \"array\" then . else (.data // .rows) end)[] | .id]}", "max_bytes": "500B" }),
        ),
        (
            "bare",
            json!({ "select": "[(if type == \"array\" then . else (.data // .rows) end)[] | .id]", "max_bytes": "500B", "format": "text" }),
        ),
        ("kept", json!({ "redact": [".. | .word"], "max_bytes": "1KiB", "format": "csv" })),
    ];
    for way in ways {
        for (name, output) in &outputs {
            for follow in [1, 3, 50] {
                tools[format!("{way}_{name}_{follow}")] = tool(way, follow, output);
            }
        }
    }
    let gateway = gateway(&api, tools).await;
    let all: Vec<u64> = (0..ALL as u64).collect();
    for way in ways {
        for (name, _) in &outputs {
            for follow in [1, 3, 50] {
                let tool = format!("{way}_{name}_{follow}");
                let (ids, results) = walk(&gateway, &tool).await;
                assert_eq!(ids, all, "{tool}");
                match (*name, follow) {
                    ("whole", 50) => assert_eq!(results, 1, "{tool}"),
                    ("rows", _) => assert!(results >= 20, "{tool}: {results}"),
                    (_, 1) => assert!(results >= 5, "{tool}: {results}"),
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn the_document_around_the_list_is_that_of_the_first_page_without_its_own_next() {
    let api = Upstream::start(api).await;
    let gateway = gateway(&api, json!({ "c": tool("cursor", 2, &json!({})) })).await;
    let result = gateway.call("c", json!({})).await;
    let value = structured(&result);
    assert_eq!((value["meta"]["total"].as_u64(), list(value).len()), (Some(137), 40));
    assert!(!result.to_string().contains("evil"), "{value}");
    let seen = api.take();
    assert_eq!(
        seen.iter().map(|s| s.target.as_str()).collect::<Vec<_>>(),
        ["/cursor?key=s3cret%2Dkey", "/cursor?after=c%2F20&key=s3cret%2Dkey"]
    );
    let listed = gateway.modern("tools/list", json!({})).await.json();
    let schema = &listed["result"]["tools"][0]["inputSchema"];
    assert_eq!(schema["properties"]["next"]["type"], "string");
    assert!(schema.get("required").is_none(), "{schema}");
}

#[tokio::test]
async fn a_next_that_is_not_ours_is_refused_before_anything_is_sent() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let api = Upstream::start(api).await;
    let tools = json!({ "cursor": tool("cursor", 1, &json!({})), "number": tool("number", 1, &json!({})), "link": tool("link", 1, &json!({})) });
    let gateway = gateway(&api, tools).await;
    let other = gateway.call("cursor", json!({})).await;
    let other = structured(&other)["next"].clone();
    let forged = format!("{}{}/link?page=3", "A".repeat(22), api.url());
    api.take();
    for (tool, next) in [
        ("cursor", json!("")),
        ("cursor", json!("not base64!")),
        ("cursor", json!(encode("[{\"a\":1},0]"))),
        ("cursor", json!(encode("[\"a\",-1]"))),
        ("cursor", json!(encode("[\"a\",99999999999]"))),
        ("number", other.clone()),
        ("number", json!(encode("[-1,0]"))),
        ("number", json!(encode("[\"1&admin=1\",0]"))),
        ("link", other),
        ("link", json!(encode(&json!([forged, 0]).to_string()))),
        ("link", json!(encode(&json!(["http://127.0.0.1:1/", 0]).to_string()))),
    ] {
        let result = gateway.call(tool, json!({ "next": next })).await;
        assert!(failure(&result).contains("was not given by this tool"), "{tool} {next}: {result}");
    }
    assert_eq!(api.count(), 0);
    // A cursor fills its slot and nothing else.
    gateway.call("cursor", json!({ "next": encode("[\"c/20&admin=1#\",0]") })).await;
    assert_eq!(api.take()[0].query(), "after=c%2F20%26admin%3D1%23&key=s3cret%2Dkey");
}

#[tokio::test]
async fn pages_that_cannot_go_on_fail_loudly() {
    let api = Upstream::start(api).await;
    let paths = ["loop", "cycle", "odd", "two", "away", "end/never"];
    let tools: serde_json::Map<_, _> =
        paths.iter().map(|path| (path.replace('/', "_"), tool(path, 5, &json!({})))).collect();
    let gateway = gateway(&api, json!(tools)).await;
    for (path, words) in [
        ("loop", "the same page again and again"),
        ("cycle", "the same page again and again"),
        ("end/never", "Nothing was found"),
        ("odd", "a cursor that is no text"),
        ("two", "without a list, or with several"),
        ("away", "a link to a next page elsewhere"),
    ] {
        let result = gateway.call(&path.replace('/', "_"), json!({})).await;
        assert!(failure(&result).contains(words), "{path}: {result}");
    }
}

#[tokio::test]
async fn a_later_page_that_fails_is_where_the_next_call_goes_on() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let flaky = Upstream::start(move |seen| match counter.fetch_add(1, Ordering::Relaxed) {
        2 => vec![Step::Send(reply("503 Down", "text/plain", b"down"))],
        5 => vec![Step::Close],
        _ => api(seen),
    })
    .await;
    let gateway = gateway(&flaky, json!({ "c": tool("cursor", 50, &json!({})) })).await;
    let (ids, results) = walk(&gateway, "c").await;
    assert_eq!(ids, (0..ALL as u64).collect::<Vec<_>>());
    assert_eq!((results, count.load(Ordering::Relaxed)), (3, 9));
}

#[tokio::test]
async fn what_an_api_says_past_its_last_page_is_the_end_and_costs_no_item() {
    let api = Upstream::start(api).await;
    let kinds = ["empty", "message", "gone", "object"];
    let mut tools = json!({ "self_1": tool("self", 1, &json!({})), "self_5": tool("self", 5, &json!({})) });
    for kind in kinds {
        for follow in [1, 5] {
            tools[format!("{kind}_{follow}")] = tool(&format!("end/{kind}"), follow, &json!({}));
        }
    }
    for path in ["end/words", "listless"] {
        tools[path.replace('/', "_")] = tool(path, 5, &json!({}));
    }
    let gateway = gateway(&api, tools).await;
    for kind in kinds {
        assert_eq!(walk(&gateway, &format!("{kind}_5")).await, (vec![1], 1), "{kind}");
        // The page after the last one is asked for by a call of its own.
        assert_eq!(walk(&gateway, &format!("{kind}_1")).await, (vec![1], 2), "{kind}");
    }
    let first = gateway.call("object_1", json!({})).await;
    let last = gateway.call("object_1", json!({ "next": structured(&first)["next"] })).await;
    assert_eq!(structured(&last), &json!({ "data": [] }), "as the pages before it");
    // The last page gives itself as the next one.
    assert_eq!(walk(&gateway, "self_5").await, (vec![1, 2], 1));
    assert_eq!(walk(&gateway, "self_1").await, (vec![1, 2], 2));
    // What is no page leaves those before it, and a way to try again.
    for tool in ["end_words", "listless"] {
        let result = gateway.call(tool, json!({})).await;
        let value = structured(&result);
        assert_eq!((list(value).len(), &value["truncated"]), (1, &json!(true)), "{tool}: {value}");
        assert!(value["next"].is_string(), "{tool}: {value}");
    }
}

#[tokio::test]
async fn what_was_left_out_is_said_in_our_words_also_where_the_api_has_the_same_names() {
    let api = Upstream::start(api).await;
    let gateway = gateway(&api, json!({ "own": tool("own", 1, &json!({ "max_rows": 1 })) })).await;
    let result = gateway.call("own", json!({})).await;
    let value = structured(&result);
    assert_eq!((list(value).len(), &value["truncated"]), (1, &json!(true)), "{value}");
    assert!(value["note"].as_str().unwrap().starts_with("1 items are here"), "{value}");
    assert_ne!(value["next"], "theirs");
}

#[tokio::test]
async fn a_relative_link_starts_from_where_a_redirect_has_led() {
    let api = Upstream::start(api).await;
    let source = json!({ "rest": { "base_url": api.url(), "follow_redirects": 1 } });
    let tools = json!({ "moved": tool("moved", 3, &json!({})) });
    let gateway = Gateway::start(&json!({ "sources": { "api": source }, "tools": tools }).to_string()).await;
    assert_eq!(walk(&gateway, "moved").await, (vec![1, 2], 1));
    let targets: Vec<String> = api.take().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/moved", "/deep/list?page=0", "/deep/list?page=1"]);
}
