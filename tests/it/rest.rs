//! REST requests at an upstream that records every byte: an argument fills its slot and nothing else, absent ones leave
//! their entries out, types stay, and credentials arrive without ever showing.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::naughty::STRINGS;
use crate::support::message::modern;
use crate::support::process::Process;
use crate::support::upstream::{self, Seen};
use crate::support::{Connection, Gateway, Step, Upstream, failure, structured, text};

const SLOTS: [&str; 7] = ["path", "inside", "query", "header", "json", "form", "text"];

fn slots(url: &str) -> String {
    format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{url}/base/", max_response: 64KiB }} }} }}
tools:
  path: {{ description: P., params: {{ v: {{ type: string }} }}, rest: {{ source: api, get: "/items/{{v}}/end" }} }}
  inside: {{ description: I., params: {{ v: {{ type: string }} }}, rest: {{ source: api, get: "/items/pre-{{v}}.json/end" }} }}
  query: {{ description: Q., params: {{ v: {{ type: string }} }}, rest: {{ source: api, get: /items, query: {{ v: "{{v}}", fixed: "1" }} }} }}
  header: {{ description: H., params: {{ v: {{ type: string }} }}, rest: {{ source: api, get: /items, headers: {{ X-Value: "{{v}}" }} }} }}
  json: {{ description: J., params: {{ v: {{ type: string }} }}, rest: {{ source: api, post: /items, json: {{ v: "{{v}}", in: ["a{{v}}b"], fixed: 1 }} }} }}
  form: {{ description: F., params: {{ v: {{ type: string }} }}, rest: {{ source: api, post: /items, form: {{ v: "{{v}}", fixed: "1" }} }} }}
  text: {{ description: T., params: {{ v: {{ type: string }} }}, rest: {{ source: api, post: /items, text: "a{{v}}b" }} }}
"#
    )
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// What stood in the slot of a request, after checking that the rest of it is as configured.
fn slot(name: &str, seen: &Seen) -> String {
    let segments: Vec<&str> = seen.path().split('/').collect();
    let pair = |text: &str| {
        let pairs: Vec<_> = text.split('&').map(|p| p.split_once('=').unwrap()).collect();
        assert_eq!((pairs.len(), pairs[0].0, pairs[1]), (2, "v", ("fixed", "1")), "{text}");
        decoded(pairs[0].1)
    };
    match name {
        "path" | "inside" => {
            assert_eq!(segments.len(), 5, "{}", seen.target);
            assert_eq!((segments[1], segments[2], segments[4]), ("base", "items", "end"));
            assert_eq!(seen.query(), "");
            let value = decoded(segments[3]);
            match name {
                "path" => value,
                _ => value.strip_prefix("pre-").and_then(|v| v.strip_suffix(".json")).unwrap().to_owned(),
            }
        }
        _ => {
            assert_eq!(seen.path(), "/base/items");
            match name {
                "query" => pair(seen.query()),
                "header" => {
                    assert_eq!(seen.all("x-value").len(), 1);
                    String::from_utf8(seen.all("x-value")[0].to_vec()).unwrap()
                }
                "json" => {
                    let body: Value = serde_json::from_slice(&seen.body).unwrap();
                    let value = body["v"].as_str().unwrap().to_owned();
                    assert_eq!(body, json!({ "v": value, "in": [format!("a{value}b")], "fixed": 1 }));
                    assert_eq!(seen.header("content-type").unwrap(), "application/json");
                    value
                }
                "form" => pair(std::str::from_utf8(&seen.body).unwrap()),
                _ => {
                    let body = String::from_utf8(seen.body.clone()).unwrap();
                    body.strip_prefix('a').and_then(|b| b.strip_suffix('b')).unwrap().to_owned()
                }
            }
        }
    }
}

/// What a slot must refuse; everything else has to arrive.
fn must_refuse(slot: &str, value: &str) -> bool {
    let control = value.chars().any(char::is_control);
    match slot {
        "path" => matches!(value, "" | "." | "..") || control,
        "inside" | "header" => control,
        _ => false,
    }
}

#[tokio::test]
async fn every_string_fills_its_slot_exactly_or_is_refused_before_anything_is_sent() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&slots(&api.url())).await;
    for name in SLOTS {
        for value in STRINGS {
            let result = gateway.call(name, json!({ "v": value })).await;
            let seen = api.take();
            if must_refuse(name, value) {
                failure(&result);
                assert_eq!(seen.len(), 0, "{value:?} in {name} was sent: {seen:?}");
                continue;
            }
            structured(&result);
            assert_eq!(seen.len(), 1, "{value:?} in {name}");
            assert_eq!(slot(name, &seen[0]), *value, "in {name}: {seen:?}");
            assert_eq!(seen[0].all("x-evil").len(), 0);
            assert_eq!(seen[0].all("host").len(), 1);
        }
    }
}

#[tokio::test]
async fn a_megabyte_arrives_whole_or_is_refused_as_the_arguments_fault() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&slots(&api.url())).await;
    let large = "é/".repeat(350_000);
    for name in SLOTS {
        let result = gateway.call(name, json!({ "v": large })).await;
        let seen = api.take();
        match name {
            "json" | "form" | "text" => {
                structured(&result);
                assert!(slot(name, &seen[0]) == large, "{name}");
            }
            _ => match result.get("isError") {
                None => assert!(slot(name, &seen[0]) == large, "{name}"),
                Some(_) => {
                    let sentence = failure(&result);
                    assert_eq!(seen.len(), 0, "{name}");
                    assert!(sentence.contains("argument"), "{name} blames something else: {sentence}");
                }
            },
        }
    }
}

#[tokio::test]
async fn absent_and_null_arguments_leave_their_entries_out() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}" }} }} }}
tools:
  get:
    description: G.
    params: {{ a: {{ type: [string, "null"], optional: true }}, b: {{ type: string, default: bee }}, t: {{ type: array, items: {{ type: string }}, optional: true }} }}
    rest: {{ source: api, get: /x, query: {{ a: "{{a}}", b: "{{b}}", c: "x{{a}}", t: "{{t}}" }}, headers: {{ X-A: "{{a}}", X-B: "{{b}}" }} }}
  post:
    description: P.
    params: {{ a: {{ type: [string, "null"], optional: true }}, b: {{ type: string, default: bee }} }}
    rest: {{ source: api, post: /x, json: {{ a: "{{a}}", b: "{{b}}", c: "x{{a}}", d: {{ e: "{{a}}" }}, f: ["{{a}}", "{{b}}"] }} }}
  form:
    description: F.
    params: {{ a: {{ type: [string, "null"], optional: true }}, b: {{ type: string, default: bee }} }}
    rest: {{ source: api, post: /x, form: {{ a: "{{a}}", b: "{{b}}", c: "x{{a}}" }} }}
"#,
        api.url()
    ))
    .await;
    for arguments in [json!({}), json!({ "a": null })] {
        structured(&gateway.call("get", arguments.clone()).await);
        let seen = api.take().remove(0);
        assert_eq!(seen.target, "/x?b=bee", "{arguments}");
        assert_eq!((seen.header("x-a"), seen.header("x-b")), (None, Some("bee".to_owned())));
        structured(&gateway.call("form", arguments.clone()).await);
        assert_eq!(api.take()[0].body, b"b=bee");
    }
    structured(&gateway.call("post", json!({})).await);
    let body: Value = serde_json::from_slice(&api.take()[0].body).unwrap();
    assert_eq!(body, json!({ "b": "bee", "d": {}, "f": ["bee"] }));
    // An explicit null is a JSON value where JSON is asked for.
    structured(&gateway.call("post", json!({ "a": null })).await);
    let body: Value = serde_json::from_slice(&api.take()[0].body).unwrap();
    assert_eq!(body, json!({ "a": null, "b": "bee", "d": { "e": null }, "f": [null, "bee"] }));
    // An empty text is a value.
    structured(&gateway.call("get", json!({ "a": "", "t": ["x", "y&z", ""] })).await);
    assert_eq!(api.take()[0].target, "/x?a=&b=bee&c=x&t=x&t=y%26z&t=");
}

#[tokio::test]
async fn json_keeps_types_and_text_does_not_become_one() {
    let api = Upstream::recorder().await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}" }} }} }}
tools:
  post:
    description: P.
    params: {{ s: {{ type: string }}, i: {{ type: integer }}, n: {{ type: number }}, b: {{ type: boolean }}, l: {{ type: array, items: {{}} }}, o: {{ type: object }}, k: {{ const: 7 }} }}
    rest:
      source: api
      put: /x/{{i}}
      query: {{ i: "{{i}}", b: "{{b}}", n: "{{n}}", l: "{{l}}" }}
      json: {{ s: "{{s}}", i: "{{i}}", n: "{{n}}", b: "{{b}}", l: "{{l}}", o: "{{o}}", k: "{{k}}", mixed: "{{i}}-{{b}}", five: 5, "no": false, nil: null }}
"#,
        api.url()
    ))
    .await;
    let arguments = json!({ "s": "5", "i": 9_007_199_254_740_993_i64, "n": 1.5, "b": true, "l": [1, "a", null], "o": { "x": [{}] } });
    structured(&gateway.call("post", arguments.clone()).await);
    let seen = api.take().remove(0);
    assert_eq!((seen.method.as_str(), seen.path()), ("PUT", "/x/9007199254740993"));
    assert_eq!(seen.query(), "i=9007199254740993&b=true&n=1.5&l=1&l=a");
    let mut wanted = arguments;
    for (key, value) in [
        ("k", json!(7)),
        ("mixed", json!("9007199254740993-true")),
        ("five", json!(5)),
        ("no", json!(false)),
        ("nil", Value::Null),
    ] {
        wanted[key] = value;
    }
    assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap(), wanted);
    for wrong in [json!({ "s": 5 }), json!({ "i": "5" }), json!({ "k": 8 }), json!({ "b": "true" })] {
        let mut arguments = json!({ "s": "5", "i": 1, "n": 1, "b": true, "l": [], "o": {} });
        arguments.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        failure(&gateway.call("post", arguments).await);
        assert_eq!(api.count(), 0, "{wrong}");
    }
}

#[tokio::test]
async fn all_methods_reach_the_upstream() {
    let api = Upstream::recorder().await;
    let tools: String = ["get", "post", "put", "patch", "delete", "head"]
        .map(|m| format!("  {m}: {{ description: M., rest: {{ source: api, {m}: /x }} }}\n"))
        .concat();
    let gateway = Gateway::start(&format!(
        "sources: {{ api: {{ rest: {{ base_url: \"{}\" }} }} }}\ntools:\n{tools}",
        api.url()
    ))
    .await;
    for method in ["get", "post", "put", "patch", "delete"] {
        structured(&gateway.call(method, json!({})).await);
        let seen = api.take().remove(0);
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method.to_uppercase().as_str(), "/x"));
        assert!(seen.header("user-agent").unwrap().starts_with("sidegate/"));
    }
}

#[tokio::test]
async fn what_a_reply_is_decides_what_the_caller_gets() {
    let api = Upstream::start(|seen| {
        let (status, kind, body): (_, _, &[u8]) = match seen.path() {
            "/json" => {
                ("200 OK", "application/json; charset=utf-8", b"{\"a\": 1.10, \"n\": 9007199254740993}")
            }
            "/problem" => ("200 OK", "application/vnd.x+json", b"[1,2]"),
            "/text" => ("200 OK", "text/plain", "h\u{e9}llo".as_bytes()),
            "/xml" => ("200 OK", "application/xml", b"<a/>"),
            "/image" => ("200 OK", "image/png", b"\x89PNG"),
            "/pdf" => ("200 OK", "application/pdf", b"%PDF"),
            "/empty" => ("204 No Content", "application/json", b""),
            "/missing" => ("404 Not Found", "application/json", b"{\"why\":\"secret detail\"}"),
            _ => ("200 OK", "", b"{\"untyped\":true}"),
        };
        vec![Step::Send(upstream::reply(status, kind, body))]
    })
    .await;
    let gateway = Gateway::start(&format!(
        "sources: {{ api: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools: {{ get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: api, get: \"/{{p}}\" }} }} }}",
        api.url()
    ))
    .await;
    let get = async |p: &str| gateway.call("get", json!({ "p": p })).await;
    let whole = get("json").await;
    assert_eq!(text(&whole), "{\"a\": 1.10, \"n\": 9007199254740993}");
    assert_eq!(structured(&whole)["n"], 9_007_199_254_740_993_i64);
    assert_eq!(*structured(&get("problem").await), json!([1, 2]));
    assert_eq!(*structured(&get("untyped").await), json!({ "untyped": true }));
    assert_eq!(text(&get("text").await), "h\u{e9}llo");
    assert_eq!(*structured(&get("xml").await), json!({ "a": "" }));
    assert_eq!(
        get("image").await["content"][0],
        json!({ "type": "image", "data": "iVBORw==", "mimeType": "image/png" })
    );
    assert_eq!(get("pdf").await["content"][0]["resource"]["blob"], "JVBERg==");
    assert_eq!(text(&get("empty").await), "Done; there is no content.");
    let missing = get("missing").await;
    assert!(!failure(&missing).contains("secret detail"));
    // The legacy era takes objects only.
    let list = gateway.legacy("tools/call", &json!({ "name": "get", "arguments": { "p": "problem" } })).await;
    assert_eq!(list.json()["result"]["structuredContent"], json!({ "result": [1, 2] }));
}

#[tokio::test]
async fn output_is_selected_formatted_and_cut() {
    let rows: Vec<Value> =
        (0..500).map(|i| json!({ "id": i, "name": format!("row | {i}"), "more": "x".repeat(50) })).collect();
    let body = json!({ "total": 500, "items": rows }).to_string();
    let api = Upstream::start(move |seen| match seen.path() {
        "/large-text" => vec![Step::Send(upstream::reply("200 OK", "text/plain", &vec![b'x'; 20_000]))],
        "/one" => upstream::json(&json!({ "a": "y".repeat(20_000) }).to_string()),
        _ => upstream::json(&body),
    })
    .await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}" }} }} }}
defaults: {{ output: {{ max_bytes: 4KiB }} }}
tools:
  cut: {{ description: C., rest: {{ source: api, get: /rows }} }}
  pick: {{ description: P., rest: {{ source: api, get: /rows }}, output: {{ select: ".items[:3] | map({{id}})" }} }}
  table: {{ description: T., rest: {{ source: api, get: /rows }}, output: {{ select: ".items[:2] | map({{id, name}})", format: markdown }} }}
  csv: {{ description: V., rest: {{ source: api, get: /rows }}, output: {{ select: ".items[:2] | map({{id, name}})", format: csv }} }}
  wrong: {{ description: W., rest: {{ source: api, get: /rows }}, output: {{ select: ".items.name" }} }}
  plain: {{ description: L., rest: {{ source: api, get: /large-text }} }}
  one: {{ description: O., rest: {{ source: api, get: /one }} }}
"#,
        api.url()
    ))
    .await;
    let cut = gateway.call("cut", json!({})).await;
    let value = structured(&cut);
    assert_eq!((&value["total"], &value["truncated"]), (&json!(500), &json!(true)));
    let kept = value["items"].as_array().unwrap().len();
    assert!(value["note"].as_str().unwrap().contains(&format!("first {kept} of 500")));
    assert!((10..100).contains(&kept) && text(&cut).len() <= 4096, "{kept}");
    assert_eq!(
        *structured(&gateway.call("pick", json!({})).await),
        json!([{ "id": 0 }, { "id": 1 }, { "id": 2 }])
    );
    assert_eq!(
        text(&gateway.call("table", json!({})).await),
        "| id | name |\n| --- | --- |\n| 0 | row \\| 0 |\n| 1 | row \\| 1 |"
    );
    assert_eq!(
        text(&gateway.call("csv", json!({})).await).lines().collect::<Vec<_>>(),
        ["id,name", "0,row | 0", "1,row | 1"]
    );
    assert!(failure(&gateway.call("wrong", json!({})).await).contains("(request "));
    let plain = gateway.call("plain", json!({})).await;
    assert!(text(&plain).len() <= 4096 && text(&plain).contains("of 20000 bytes"));
    assert!(failure(&gateway.call("one", json!({})).await).contains("larger than 4096 bytes"));
}

const CREDENTIALS: &str = r#"
server: { log: { level: trace } }
sources:
  bearer: { rest: { base_url: "URL", credentials: { bearer: "${file:secret}" } } }
  basic: { rest: { base_url: "URL", credentials: { basic: { username: us, password: "${file:secret}" } } } }
  header: { rest: { base_url: "URL", credentials: { api_key: { header: X-Api-Key, value: "${file:secret}" } } } }
  query: { rest: { base_url: "URL", credentials: { api_key: { query: key, value: "${file:secret}" } } } }
  fixed: { rest: { base_url: "URL", headers: { X-Tenant: "${file:secret}" } } }
  down: { rest: { base_url: "http://127.0.0.1:1", credentials: { api_key: { query: key, value: "${file:secret}" } } } }
tools:
"#;

#[tokio::test]
async fn credentials_arrive_and_show_nowhere() {
    const SECRET: &str = "s3cr3t-Tok3n-9x";
    let api = Upstream::start(|seen| {
        let status = if seen.path() == "/fail" { "500 Internal Server Error" } else { "302 Found" };
        match seen.path() {
            "/ok" => upstream::json("{}"),
            "/html" => vec![Step::Send(upstream::reply("200 OK", "text/html", b"<p>no</p>"))],
            // What it was sent comes back, where the log's excerpt of a body ends.
            _ => {
                let credentials = ["authorization", "x-api-key", "x-tenant"].map(|name| seen.header(name));
                let credential = credentials.into_iter().flatten().next().unwrap_or(seen.target.clone());
                let body = format!("{}{credential}{}", ".".repeat(385), "-".repeat(99));
                vec![Step::Send(upstream::reply(status, "text/plain", body.as_bytes()))]
            }
        }
    })
    .await;
    let sources = ["bearer", "basic", "header", "query", "fixed", "down"];
    let tools = sources.map(|s| {
        format!("  {s}: {{ description: D., params: {{ p: {{ type: string }} }}, rest: {{ source: {s}, get: \"/{{p}}\" }} }}\n")
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let yaml = CREDENTIALS.replace("URL", &api.url()) + &tools.concat();
    let (process, address) = Process::serve(folder.path(), &yaml).await;
    let mut replies = String::new();
    for source in sources {
        for p in ["ok", "fail", "moved", "html"] {
            let mut connection = Connection::open(address).await.unwrap();
            let body = modern("tools/call", json!({ "name": source, "arguments": { "p": p } })).to_string();
            let list = crate::support::message::modern_headers("tools/call", Some(source));
            let reply = connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap();
            replies.push_str(&reply.text());
            let seen = api.take();
            let arrived = seen.first().map(|s| match source {
                "bearer" => s.header("authorization") == Some(format!("Bearer {SECRET}")),
                "basic" => s.header("authorization") == Some("Basic dXM6czNjcjN0LVRvazNuLTl4".to_owned()),
                "header" => s.header("x-api-key").as_deref() == Some(SECRET),
                "query" => s.query() == format!("key={}", SECRET.replace('-', "%2D")),
                _ => s.header("x-tenant").as_deref() == Some(SECRET),
            });
            assert_eq!(arrived, (source != "down").then_some(true), "{source}: {seen:?}");
        }
    }
    for method in ["tools/list", "server/discover"] {
        let mut connection = Connection::open(address).await.unwrap();
        let list = crate::support::message::modern_headers(method, None);
        let body = modern(method, json!({})).to_string();
        replies.push_str(&connection.send("POST", "/mcp", &list, body.as_bytes()).await.unwrap().text());
    }
    let log = process.log();
    assert!(log.contains("call failed") && replies.contains("isError"), "{log}");
    for form in ["s3cr3t", "czNjcjN0LVRvazNuLTl4", "dXM6cz"] {
        assert!(!replies.contains(form), "{form} in {replies}");
        assert!(!log.contains(form), "{form} in {log}");
    }
}
