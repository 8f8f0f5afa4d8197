//! REST requests whose arguments come as a URI or as a prompt's, and a megabyte in the less common slots. Every
//! value fills its slot alone, or nothing is sent.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::naughty::STRINGS;
use crate::rest_requests::sender;
use crate::support::{Gateway, Upstream, failure};

/// What one segment of a path cannot be.
fn no_segment(value: &str) -> bool {
    matches!(value, "" | "." | "..") || value.chars().any(char::is_control)
}

async fn reader() -> (Upstream, Gateway) {
    let api = Upstream::recorder().await;
    let rest = json!({ "source": "api", "get": "/items/{v}/end", "query": { "q": "{v}", "fixed": "1" } });
    let param = json!({ "v": { "type": "string" } });
    let config = json!({
        "sources": { "api": { "rest": { "base_url": format!("{}/base", api.url()) } } },
        "resources": { "items://all/{v}": { "description": "I.", "params": param, "rest": rest } },
        "prompts": { "told": {
            "description": "P.",
            "params": { "v": {} },
            "data": { "d": { "rest": rest } },
            "messages": [{ "user": "{{ d }}" }],
        } },
    });
    let gateway = Gateway::start(&config.to_string()).await;
    (api, gateway)
}

/// The one request there was holds the value in its two slots and is otherwise as configured; or there was none where none may be.
fn holds(api: &Upstream, value: &str, reply: &Value) {
    let seen = api.take();
    if no_segment(value) {
        assert!(reply.get("error").is_some() && seen.is_empty(), "{value:?}: {reply}, {seen:?}");
        return;
    }
    assert!(reply.get("error").is_none() && seen.len() == 1, "{value:?}: {reply}, {seen:?}");
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let segments: Vec<&str> = seen[0].path().split('/').collect();
    let [_, "base", "items", segment, "end"] = segments[..] else { panic!("{value:?}: {}", seen[0].target) };
    let [query, "fixed=1"] = seen[0].query().split('&').collect::<Vec<_>>()[..] else {
        panic!("{value:?}: {}", seen[0].target)
    };
    assert_eq!(
        (decoded(segment), decoded(query.strip_prefix("q=").unwrap())),
        (value.to_owned(), value.to_owned())
    );
}

#[tokio::test]
async fn what_a_uri_carries_is_one_segment_or_reaches_nobody() {
    let (api, gateway) = reader().await;
    for value in STRINGS {
        let uri = format!("items://all/{}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let reply = gateway.modern("resources/read", json!({ "uri": uri })).await.json();
        holds(&api, value, &reply);
    }
    // Not encoded, it is a URI of another form.
    for uri in [
        "items://all/a/b",
        "items://all/../x",
        "items://all/a?x=1",
        "items://all/a#x",
        "items://all//",
        "items://other/a",
    ] {
        let reply = gateway.modern("resources/read", json!({ "uri": uri })).await.json();
        for seen in api.take() {
            assert!(
                seen.path().starts_with("/base/items/") && seen.path().matches('/').count() == 4,
                "{uri}: {seen:?}"
            );
        }
        assert!(reply.get("error").is_some() || uri.contains(['?', '#']), "{uri}: {reply}");
    }
}

#[tokio::test]
async fn what_a_prompt_is_given_is_one_segment_or_reaches_nobody() {
    let (api, gateway) = reader().await;
    for value in STRINGS {
        let params = json!({ "name": "told", "arguments": { "v": value } });
        let reply = gateway.modern("prompts/get", params).await.json();
        holds(&api, value, &reply);
    }
}

#[tokio::test]
async fn a_megabyte_in_the_less_common_slots_arrives_whole_or_is_refused() {
    let large = "ab".repeat(500_000);
    for request in [
        "post: /x, multipart: { t: \"{v}\" }",
        "post: /x, multipart: { f: { content: c, filename: \"{v}\" } }",
        "post: /x, body: { jq: \"{v}\" }",
        "post: /x, form: { l: { value: [\"{v}\", x], style: comma } }",
        "post: /x, text: \"<a>{v}</a>\", headers: { Content-Type: text/x-note }",
        "post: /x, xml: \"<a>{v}</a>\", headers: { Content-Type: text/xml }",
        "get: /x, cookies: { c: \"{v}\" }",
        "get: \"/x/{v*}\"",
        "get: /x, query: { l: { value: [\"{v}\"], style: brackets } }",
    ] {
        let (api, gateway) = sender("{ v: { type: string } }", request).await;
        let result = gateway.call("send", json!({ "v": large })).await;
        let seen = api.take();
        if result.get("isError").is_some() {
            let refused = failure(&result).contains("argument") && seen.is_empty();
            assert!(refused && !request.starts_with("post"), "{request}: {}", failure(&result));
            continue;
        }
        let has = |bytes: &[u8]| bytes.windows(large.len()).any(|window| window == large.as_bytes());
        let everything = seen[0].headers.iter().map(|(_, value)| value.as_slice());
        let mut places = everything.chain([seen[0].target.as_bytes(), &seen[0].body]);
        assert!(seen.len() == 1 && places.any(has), "{request}: it did not arrive whole");
    }
}
