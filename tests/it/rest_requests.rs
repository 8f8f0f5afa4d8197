//! The less common slots of REST requests at a recording upstream: lists in three styles, paths of several parts. An
//! argument fills its slot byte for byte, or nothing is sent.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::naughty::STRINGS;
use crate::support::upstream::Seen;
use crate::support::{Gateway, Upstream, failure, structured};

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// A gateway with one tool `send` before a recorder; `params` and `request` are YAML.
pub(crate) async fn sender(params: &str, request: &str) -> (Upstream, Gateway) {
    let api = Upstream::recorder().await;
    let text = format!(
        "sources: {{ api: {{ rest: {{ base_url: \"{}/base\" }} }} }}\n\
         tools: {{ send: {{ description: S., params: {params}, rest: {{ source: api, {request} }} }} }}\n",
        api.url()
    );
    let gateway = Gateway::start(&text).await;
    (api, gateway)
}

/// The one request that a call makes.
pub(crate) async fn sent(api: &Upstream, gateway: &Gateway, arguments: Value) -> Seen {
    structured(&gateway.call("send", arguments.clone()).await);
    let mut seen = api.take();
    assert_eq!(seen.len(), 1, "{arguments}");
    seen.remove(0)
}

/// That a call is refused for its argument, and nothing is sent.
pub(crate) async fn refused(api: &Upstream, gateway: &Gateway, arguments: Value) {
    let result = gateway.call("send", arguments.clone()).await;
    let sentence = failure(&result);
    assert_eq!(api.count(), 0, "{arguments} was sent: {:?}", api.take());
    assert!(sentence.contains("argument"), "{arguments} blames something else: {sentence}");
}

const LIST: &str = "{ l: { type: array, items: {}, optional: true } }";

#[tokio::test]
async fn elements_of_a_list_stay_apart_in_every_style() {
    let styled = "get: /x, query: { r: { value: \"{l}\" }, c: { value: \"{l}\", style: comma }, b: { value: \"{l}\", style: brackets }, fixed: 1 }";
    let (api, gateway) = sender(LIST, styled).await;
    for value in STRINGS {
        let seen = sent(&api, &gateway, json!({ "l": [value, "x", value] })).await;
        assert_eq!(seen.path(), "/base/x");
        let pairs: Vec<(&str, &str)> = seen.query().split('&').map(|p| p.split_once('=').unwrap()).collect();
        let names: Vec<&str> = pairs.iter().map(|p| p.0).collect();
        assert_eq!(names, ["r", "r", "r", "c", "b%5B%5D", "b%5B%5D", "b%5B%5D", "fixed"], "{value:?}");
        let wanted = [*value, "x", *value];
        assert_eq!([0, 1, 2].map(|i| decoded(pairs[i].1)), wanted);
        assert_eq!([4, 5, 6].map(|i| decoded(pairs[i].1)), wanted);
        let joined: Vec<String> = pairs[3].1.split(',').map(decoded).collect();
        assert_eq!(joined, wanted);
    }
}

#[tokio::test]
async fn lists_without_elements_and_null_elements_leave_nothing_behind() {
    let styled = "post: /x, query: { r: \"{l}\", c: { value: \"{l}\", style: comma }, b: { value: \"{l}\", style: brackets } }, form: { c: { value: [\"{l}\"], style: comma }, d: { value: \"{l}\", style: comma } }";
    let (api, gateway) = sender(LIST, styled).await;
    for none in [json!({}), json!({ "l": [] }), json!({ "l": [null] })] {
        let seen = sent(&api, &gateway, none.clone()).await;
        assert_eq!(seen.target, "/base/x", "{none}");
        assert!(!String::from_utf8(seen.body).unwrap().contains('d'), "{none}");
    }
    let seen = sent(&api, &gateway, json!({ "l": [null, "a,b", null, 2, true, ""] })).await;
    assert_eq!(
        seen.query(),
        "r=a%2Cb&r=2&r=true&r=&c=a%2Cb,2,true,&b%5B%5D=a%2Cb&b%5B%5D=2&b%5B%5D=true&b%5B%5D="
    );
    assert!(String::from_utf8(seen.body).unwrap().ends_with("&d=a%2Cb,2,true,"));
}

#[tokio::test]
async fn what_usually_has_a_body_says_that_it_has_none() {
    let api = Upstream::recorder().await;
    let signing = "credentials: { aws_sigv4: { region: eu-west-1, service: execute-api, access_key_id: AKID, secret_access_key: s3cr3t-0123456789 } }";
    let mut text = format!(
        "sources: {{ plain: {{ rest: {{ base_url: \"{0}\" }} }}, other: {{ rest: {{ base_url: \"{0}\", {signing} }} }} }}\ntools:\n",
        api.url()
    );
    for source in ["plain", "other"] {
        for method in ["post", "put", "patch", "get", "delete"] {
            text += &format!(
                "  {source}_{method}: {{ description: D., rest: {{ source: {source}, {method}: /x }} }}\n"
            );
        }
    }
    let gateway = Gateway::start(&text).await;
    for source in ["plain", "other"] {
        for (method, length) in
            [("post", Some("0")), ("put", Some("0")), ("patch", Some("0")), ("get", None), ("delete", None)]
        {
            structured(&gateway.call(&format!("{source}_{method}"), json!({})).await);
            let seen = api.take().remove(0);
            assert_eq!(seen.header("content-length").as_deref(), length, "{source} {method}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_path_of_several_parts_holds_exactly_those_of_its_argument() {
    let (api, gateway) = sender("{ p: { type: string } }", "get: \"/files/{p*}/end\"").await;
    let mut shown = 0;
    for value in STRINGS {
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
        if value.split('/').any(bad) {
            refused(&api, &gateway, json!({ "p": value })).await;
            continue;
        }
        let seen = sent(&api, &gateway, json!({ "p": value })).await;
        let inner = seen.target.strip_prefix("/base/files/").and_then(|p| p.strip_suffix("/end")).unwrap();
        let parts: Vec<String> = inner.split('/').map(decoded).collect();
        assert_eq!(parts, value.split('/').collect::<Vec<_>>());
        shown += usize::from(parts.len() > 1);
    }
    assert!(shown > 0, "no string had several parts");
    for value in ["a/../b", "/a", "a/", "a//b", "a/./b", "..", "a/\r\n/b", "a/b/.."] {
        refused(&api, &gateway, json!({ "p": value })).await;
    }
    let seen = sent(&api, &gateway, json!({ "p": "a b/%2e%2e/c?d/#e" })).await;
    assert_eq!(seen.target, "/base/files/a%20b/%252e%252e/c%3Fd/%23e/end");
}

#[tokio::test]
async fn a_cookie_holds_its_argument_or_nothing_is_sent() {
    let params = "{ v: { type: string }, o: { type: [string, \"null\"], optional: true } }";
    let request = "get: /x, cookies: { a: \"1\", v: \"{v}\", in: \"p-{v}\", o: \"{o}\" }";
    let (api, gateway) = sender(params, request).await;
    let octet = |b: u8| (0x21..=0x7e).contains(&b) && !b"\",;\\".contains(&b);
    let mut arrived = 0;
    for value in STRINGS {
        if !value.bytes().all(octet) {
            refused(&api, &gateway, json!({ "v": value })).await;
            continue;
        }
        let seen = sent(&api, &gateway, json!({ "v": value })).await;
        assert_eq!(seen.all("cookie"), [format!("a=1; v={value}; in=p-{value}").as_bytes()]);
        arrived += 1;
    }
    assert!(arrived > 10 && arrived < STRINGS.len(), "{arrived}");
    for value in ["a; admin=1", "a,b", "a\r\nX-Evil: 1", "\"a\"", "é", "a b", "\u{7f}"] {
        refused(&api, &gateway, json!({ "v": value })).await;
    }
    let seen = sent(&api, &gateway, json!({ "v": "x", "o": "y=z" })).await;
    assert_eq!(seen.header("cookie").unwrap(), "a=1; v=x; in=p-x; o=y=z");
}

#[tokio::test]
async fn without_a_value_there_is_no_cookie_header() {
    let params = "{ o: { type: [string, \"null\"], optional: true } }";
    let (api, gateway) = sender(params, "get: /x, cookies: { o: \"{o}\" }").await;
    for none in [json!({}), json!({ "o": null })] {
        assert_eq!(sent(&api, &gateway, none).await.header("cookie"), None);
    }
    assert_eq!(sent(&api, &gateway, json!({ "o": "" })).await.header("cookie").unwrap(), "o=");
}

#[tokio::test]
async fn a_spread_adds_members_and_replaces_none() {
    let params = "{ f: { type: [object, \"null\"], optional: true }, o: { type: string, optional: true } }";
    let request = "post: /x, json: { q: { first: 1, \"...\": \"{f}\", last: [{ \"...\": \"{f}\" }], o: \"{o}\" }, tenant: a }";
    let (api, gateway) = sender(params, request).await;
    let body = async |arguments: Value| {
        let body = sent(&api, &gateway, arguments).await.body;
        String::from_utf8(body).unwrap()
    };
    for none in [json!({}), json!({ "f": null }), json!({ "f": {} })] {
        assert_eq!(body(none).await, r#"{"q":{"first":1,"last":[{}]},"tenant":"a"}"#);
    }
    // In its place, with its types, and never over what is written, absent or not.
    let whole = json!({ "z": 1, "first": 2, "o": "taken", "last": 3, "tenant": "b", "a": [null, 9_007_199_254_740_993_i64] });
    assert_eq!(
        body(json!({ "f": whole })).await,
        r#"{"q":{"first":1,"z":1,"tenant":"b","a":[null,9007199254740993],"last":[{"z":1,"first":2,"o":"taken","last":3,"tenant":"b","a":[null,9007199254740993]}]},"tenant":"a"}"#
    );
    for value in STRINGS {
        let sent: Value =
            serde_json::from_str(&body(json!({ "f": { *value: value }, "o": value })).await).unwrap();
        let mut q = json!({ "first": 1, *value: value, "last": [{ *value: value }], "o": value });
        for (key, written) in [("first", json!(1)), ("o", json!(value))] {
            q[key] = written;
        }
        assert_eq!(sent, json!({ "q": q, "tenant": "a" }), "{value:?}");
    }
}

#[tokio::test]
async fn a_program_makes_the_body_of_values_that_stay_values() {
    let params = "{ v: { type: string }, n: { type: integer, optional: true }, k: { const: me } }";
    let request = "post: /x, body: { jq: '{v, in: [.v], key: {(.v): 1}, k, rest: (keys - [\"v\"])} + (if .n then {n} else {} end)' }";
    let (api, gateway) = sender(params, request).await;
    for value in STRINGS {
        let seen = sent(&api, &gateway, json!({ "v": value })).await;
        assert_eq!(seen.header("content-type").unwrap(), "application/json");
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let wanted = json!({ "v": value, "in": [value], "key": { *value: 1 }, "k": "me", "rest": ["k"] });
        assert_eq!(body, wanted, "{value:?}");
    }
    let body = sent(&api, &gateway, json!({ "v": "a", "n": 9_007_199_254_740_993_i64 })).await.body;
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["n"], &body["rest"]), (&json!(9_007_199_254_740_993_i64), &json!(["k", "n"])));
}

#[tokio::test]
async fn arguments_that_a_program_cannot_work_with_are_refused() {
    let (api, gateway) = sender("{ a: {} }", "post: /x, body: { jq: \"{n: (.a + 1)}\" }").await;
    assert_eq!(sent(&api, &gateway, json!({ "a": 1 })).await.body, br#"{"n":2}"#);
    for wrong in [json!("x"), json!([1]), json!({ "b": 1 })] {
        refused(&api, &gateway, json!({ "a": wrong })).await;
    }
}
