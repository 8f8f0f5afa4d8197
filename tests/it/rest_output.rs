//! Replies shaped for a model: kept back, cut by tokens, written as text, held against a schema; and programs without an end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::{self, Process};
use crate::support::upstream::{Seen, json as body, reply};
use crate::support::{Gateway, Step, Upstream, failure, structured, text};

fn orders(seen: &Seen) -> Vec<Step> {
    let many: Vec<Value> =
        (0..300).map(|n| json!({ "id": n, "card": format!("4111-{n}"), "note": "some words" })).collect();
    match seen.path() {
        "/one" => body(
            r#"{"id":7,"customer":{"name":"Ada","email":"ada@example.org"},"total":1.50,"lines":[{"sku":"a"},{"sku":"b"}]}"#,
        ),
        "/many" => body(&json!({ "data": many, "count": 300 }).to_string()),
        "/list" => body(&json!(many).to_string()),
        "/names" => body(r#"["Ada","Bob"]"#),
        "/words" => vec![Step::Send(reply("200 OK", "text/plain", "words ".repeat(500).as_bytes()))],
        "/csv" => vec![Step::Send(reply("200 OK", "text/csv", b"id,card\n1,4111\n2,4222\n"))],
        "/none" => vec![Step::Send(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())],
        _ => body("{}"),
    }
}

/// A gateway with one tool per output, each a GET of a path.
async fn gateway(api: &Upstream, tools: &[(&str, &str, Value)]) -> Gateway {
    let tools = tools.iter().map(|(name, path, output)| {
        let tool = json!({ "description": "D.", "rest": { "source": "api", "get": path }, "output": output });
        ((*name).to_owned(), tool)
    });
    let config = json!({
        "sources": { "api": { "rest": { "base_url": api.url() } } },
        "tools": tools.collect::<serde_json::Map<_, _>>(),
    });
    Gateway::start(&config.to_string()).await
}

#[tokio::test]
async fn what_redact_names_reaches_neither_the_text_nor_the_structure() {
    let api = Upstream::start(orders).await;
    let tools = [
        ("one", "/one", json!({ "redact": [".customer.email", ".total"] })),
        ("deep", "/one", json!({ "redact": [".. | .email"], "format": "text" })),
        ("selected", "/one", json!({ "select": "{mail: .customer.email, id}", "redact": [".mail"] })),
        ("many", "/many", json!({ "redact": [".data[].card"], "max_bytes": "2KiB", "format": "csv" })),
        ("rows", "/csv", json!({ "redact": [".[].card"], "format": "markdown" })),
        ("words", "/words", json!({ "redact": [".email"] })),
    ];
    let gateway = gateway(&api, &tools).await;
    for (tool, hidden, shown) in [
        ("one", vec!["ada@", "1.5"], "Ada"),
        ("deep", vec!["ada@"], "email: [redacted]"),
        ("selected", vec!["ada@"], "[redacted]"),
        ("many", vec!["4111"], "[redacted]"),
        ("rows", vec!["4111", "4222"], "| 2 | [redacted] |"),
    ] {
        let result = gateway.call(tool, json!({})).await;
        assert!(text(&result).contains(shown), "{tool}: {}", text(&result));
        for word in hidden {
            assert!(!result.to_string().contains(word), "{tool}: {result}");
        }
    }
    let one = gateway.call("one", json!({})).await;
    assert_eq!(structured(&one)["total"], Value::Null);
    // What is no JSON cannot be searched, so it is not shown.
    let words = gateway.call("words", json!({})).await;
    assert!(failure(&words).contains("does not have the form"), "{words}");
}

#[tokio::test]
async fn what_was_done_without_a_content_is_no_failure_and_never_asked_for_again() {
    let api = Upstream::start(orders).await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}" }} }} }}
defaults: {{ output: {{ redact: [".. | .email"] }} }}
tools:
  delete: {{ description: D., rest: {{ source: api, delete: /none }} }}
  head: {{ description: H., rest: {{ source: api, head: /one }} }}
  held: {{ description: S., rest: {{ source: api, delete: /none }}, output: {{ schema: {{ type: object }} }} }}
  words: {{ description: W., rest: {{ source: api, post: /words, json: {{}} }} }}
  large: {{ description: L., rest: {{ source: api, post: /one, json: {{}} }}, output: {{ select: "{{a: [range(300)] | tostring}}", max_bytes: 256B }} }}
"#,
        api.url()
    ))
    .await;
    for tool in ["delete", "head"] {
        let result = gateway.call(tool, json!({})).await;
        assert!(result.get("isError").is_none(), "{tool}: {result}");
        assert_eq!(text(&result), "Done; there is no content.");
    }
    for (tool, words) in [
        ("held", "does not have the form this tool expects. Do not repeat it"),
        ("words", "does not have the form this tool expects. Do not repeat it"),
        ("large", "larger than 256 bytes and cannot be shortened. Do not repeat it if it changes something"),
    ] {
        let result = gateway.call(tool, json!({})).await;
        let said = failure(&result);
        assert!(said.starts_with("The operation was done, but ") && said.contains(words), "{tool}: {said}");
    }
}

#[tokio::test]
async fn max_tokens_cuts_as_max_bytes_does_and_the_smaller_wins() {
    let api = Upstream::start(orders).await;
    let tools = [
        ("tokens", "/many", json!({ "max_tokens": 400 })),
        ("both", "/many", json!({ "max_tokens": 4000, "max_bytes": "600B" })),
        ("words", "/words", json!({ "max_tokens": 200 })),
    ];
    let gateway = gateway(&api, &tools).await;
    for (tool, most) in [("tokens", 1200), ("both", 600)] {
        let result = gateway.call(tool, json!({})).await;
        assert!(text(&result).len() <= most, "{tool}: {}", text(&result).len());
        assert_eq!(structured(&result)["truncated"], true, "{tool}");
        assert!(structured(&result)["note"].as_str().unwrap().contains("of 300 items"), "{result}");
    }
    let words = gateway.call("words", json!({})).await;
    assert!(text(&words).len() <= 600 && text(&words).ends_with("of 3000 bytes are shown]"), "{words}");
}

#[tokio::test]
async fn text_is_what_the_model_reads_and_the_structure_stays_json() {
    let api = Upstream::start(orders).await;
    let tools = [
        ("one", "/one", json!({ "format": "text" })),
        ("names", "/names", json!({ "format": "text" })),
        ("scalar", "/one", json!({ "format": "text", "select": ".total" })),
        ("rows", "/csv", json!({ "format": "text", "max_rows": 1 })),
    ];
    let gateway = gateway(&api, &tools).await;
    let one = gateway.call("one", json!({})).await;
    let lines =
        "id: 7\ncustomer:\n  name: Ada\n  email: ada@example.org\ntotal: 1.5\nlines:\n  sku: a\n\n  sku: b";
    assert_eq!(text(&one), lines);
    assert_eq!(structured(&one)["customer"]["name"], "Ada");
    let names = gateway.call("names", json!({})).await;
    assert_eq!((text(&names), structured(&names)), ("Ada\nBob", &json!(["Ada", "Bob"])));
    assert_eq!(text(&gateway.call("scalar", json!({})).await), "1.5");
    let rows = gateway.call("rows", json!({})).await;
    assert!(text(&rows).starts_with("id: 1\ncard: 4111\n\nOnly the first 1 rows are here"), "{rows}");
}

#[tokio::test]
async fn results_fit_the_schema_that_is_advertised_also_when_they_are_cut() {
    let api = Upstream::start(orders).await;
    let item = json!({ "type": "object", "properties": { "id": { "type": "integer" } }, "required": ["id"] });
    let closed = json!({
        "type": "object", "additionalProperties": false, "required": ["data", "count"],
        "properties": { "data": { "type": "array", "items": item }, "count": { "type": "integer" } },
    });
    let mut least = closed.clone();
    least["properties"]["data"]["minItems"] = json!(200);
    let tools = [
        ("whole", "/many", json!({ "schema": closed })),
        ("cut", "/many", json!({ "schema": closed, "max_bytes": "1KiB" })),
        ("least", "/many", json!({ "schema": least, "max_bytes": "1KiB" })),
        ("other", "/one", json!({ "schema": closed })),
        ("words", "/words", json!({ "schema": closed })),
        ("none", "/none", json!({ "schema": closed })),
    ];
    let gateway = gateway(&api, &tools).await;
    let list = gateway.modern("tools/list", json!({})).await.json();
    let advertised = &list["result"]["tools"][1]["outputSchema"];
    let validator = jsonschema::validator_for(advertised).unwrap();
    for tool in ["whole", "cut"] {
        let result = gateway.call(tool, json!({})).await;
        let value = structured(&result);
        assert!(validator.is_valid(value), "{tool}: {:?}", validator.iter_errors(value).next());
        assert_eq!(value.get("truncated").is_some(), tool == "cut");
    }
    assert!(failure(&gateway.call("least", json!({})).await).contains("cannot be shortened"));
    for tool in ["other", "words", "none"] {
        let result = gateway.call(tool, json!({})).await;
        assert!(failure(&result).contains("does not have the form this tool expects"), "{tool}: {result}");
        assert!(!result.to_string().contains("ada@"), "{result}");
    }
}

#[tokio::test]
async fn a_program_without_an_end_stops_nobody_else() {
    let api = Upstream::start(orders).await;
    let config = json!({
        "sources": { "api": { "rest": { "base_url": api.url() } } },
        "defaults": { "policy": { "timeout": "700ms" } },
        "tools": {
            "endless": { "description": "E.", "rest": { "source": "api", "get": "/one" }, "output": { "select": "[repeat(.)] | length" } },
            "body": { "description": "B.", "params": { "n": { "type": "integer" } },
                "rest": { "source": "api", "post": "/one", "body": { "jq": "until(. == .n; .)" } } },
            "fine": { "description": "F.", "rest": { "source": "api", "get": "/one" }, "output": { "select": ".id" } },
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let endless = async {
        let calls = (0..6).map(|n| match n % 2 {
            0 => gateway.call("endless", json!({})),
            _ => gateway.call("body", json!({ "n": 1 })),
        });
        futures_util::future::join_all(calls).await
    };
    let fine = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        gateway.call("fine", json!({})).await
    };
    let (ended, fine) = tokio::join!(endless, fine);
    assert_eq!(structured(&fine), &json!(7));
    for result in ended {
        assert_eq!(result["isError"], true, "{result}");
    }
    let alone = gateway.call("endless", json!({})).await;
    assert!(failure(&alone).contains("could not be prepared in time"), "{alone}");
    let sent = api.take().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(sent, 0, "a body that was not made was sent");
}

#[tokio::test]
async fn a_program_that_nests_or_grows_without_measure_fails_and_the_gateway_lives() {
    let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let items: Vec<u32> = (0..60_000).collect();
    let document = json!({ "id": 7, "payload": nested, "items": items }).to_string();
    let api = Upstream::start(move |_: &Seen| body(&document)).await;
    let programs = [
        ".payload | fromjson",
        ".payload | fromjson | length",
        "(\"[\" * 30000 + \"]\" * 30000) | fromjson | length",
        "reduce .items[] as $i (null; {i: $i, rest: .}) | .i",
        "reduce .items[] as $i ([]; .[0:] = [.]) | length",
        "null | setpath([range(100000) | 0]; 1)",
        "null | path(until(false; .a))",
        "def f(g): if . > 300000 then g else . + 1 | f(g | g) end; 0 | f(.)",
        "reduce range(27) as $i (\"xxxxxxxx\"; \"\\(.)\\(.)\") | length",
    ];
    let mut tools = serde_json::Map::new();
    for (n, program) in [".id"].iter().chain(&programs).enumerate() {
        let tool = json!({ "description": "D.", "rest": { "source": "api", "get": "/" }, "output": { "select": program } });
        tools.insert(format!("t{n}"), tool);
    }
    let config = json!({
        "sources": { "api": { "rest": { "base_url": api.url() } } },
        "defaults": { "policy": { "timeout": "5s" } },
        "tools": tools,
    });
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config.to_string()).await;
    for (n, program) in programs.iter().enumerate() {
        let failed = process::call(address, &format!("t{}", n + 1)).await;
        assert_eq!(failed["isError"], true, "{program}: {:.300}", failed.to_string());
    }
    assert_eq!(structured(&process::call(address, "t0").await), &json!(7), "{}", process.log());
}
