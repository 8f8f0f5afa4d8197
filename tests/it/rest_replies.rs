//! What the caller gets of an API's answer: which statuses are successes, what is said of others, and nothing of what must
//! stay behind.

use serde_json::json;

use crate::support::upstream::{Seen, reply};
use crate::support::{Gateway, Step, Upstream, failure, structured, text};

const TOKEN: &str = "tok-7f3a9c";

/// Answers `/status/kind` with that status and a body of that kind.
fn statuses(seen: &Seen) -> Vec<Step> {
    let mut words = seen.path().trim_start_matches('/').split('/');
    let (status, kind) = (words.next().unwrap(), words.next().unwrap());
    let long = "x".repeat(296);
    let (mime, body) = match kind {
        "message" => ("application/json", json!({ "message": "no \"such\" thing" })),
        "error" => ("application/json", json!({ "error": "broken", "title": "T" })),
        "inner" => ("application/json", json!({ "error": { "message": "deep", "code": 7 } })),
        "detail" => ("application/problem+json", json!({ "type": "about:blank", "detail": "exact" })),
        "title" => ("application/problem+json", json!({ "title": "A title" })),
        "number" => (
            "application/json",
            json!({ "message": 5, "error": ["a"], "detail": {}, "stack": "secret-trace" }),
        ),
        "blank" => ("application/json", json!({ "message": " \n " })),
        "list" => ("application/json", json!(["secret-trace"])),
        "control" => {
            ("application/json", json!({ "message": "one\r\n\u{1b}[31mtwo\u{202e}\u{200b} three\u{7}" }))
        }
        "long" => ("application/json", json!({ "message": "é".repeat(5000) })),
        "token" => ("application/json", json!({ "message": format!("the key {TOKEN} is old; {long}") })),
        "cut-token" => ("application/json", json!({ "message": format!("{long}{TOKEN}") })),
        "split-token" => ("application/json", json!({ "message": format!("tok-\u{200b}{}", &TOKEN[4..]) })),
        "basic" => ("application/json", json!({ "message": "hunter2-long is no password" })),
        "huge" => ("application/json", json!({ "message": "hello", "pad": "p".repeat(100_000) })),
        "text" => ("text/plain", json!({ "message": "a text is no JSON" })),
        "none" => ("application/json", json!({ "fine": true })),
        other => panic!("no such kind: {other}"),
    };
    vec![Step::Send(reply(&format!("{status} Whatever"), mime, body.to_string().as_bytes()))]
}

async fn gateway(api: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
sources:
  shop: {{ rest: {{ base_url: "{0}", credentials: {{ bearer: {TOKEN} }} }} }}
  basic: {{ rest: {{ base_url: "{0}", credentials: {{ basic: {{ username: u, password: hunter2-long }} }} }} }}
tools:
  plain: {{ description: P., params: {{ s: {{ type: integer }}, k: {{ type: string }} }}, rest: {{ source: shop, get: "/{{s}}/{{k}}" }} }}
  basic: {{ description: B., params: {{ s: {{ type: integer }}, k: {{ type: string }} }}, rest: {{ source: basic, get: "/{{s}}/{{k}}" }} }}
  told:
    description: T.
    params: {{ s: {{ type: integer }}, k: {{ type: string }}, id: {{ type: string, default: "7" }} }}
    rest:
      source: shop
      get: "/{{s}}/{{k}}"
      query: {{ id: "{{id}}" }}
      expect: [200, 404, 503]
      errors: {{ 4xx: "Something is wrong with {{id}}.", 410: "Order {{id}} is gone.", 5xx: "The shop is closed.", 202: "Not yet." }}
"#,
        api.url()
    ))
    .await
}

#[tokio::test]
async fn configured_sentences_are_said_for_their_statuses() {
    let api = Upstream::start(statuses).await;
    let gateway = gateway(&api).await;
    for (status, sentence) in [
        (400, "Something is wrong with A-1."),
        (422, "Something is wrong with A-1."),
        (410, "Order A-1 is gone."),
        (401, "Something is wrong with A-1. (request"),
        (429, "Something is wrong with A-1. (request"),
        (500, "The shop is closed. (request"),
        (202, "Not yet. (request"),
    ] {
        let result = gateway.call("told", json!({ "s": status, "k": "message", "id": "A-1" })).await;
        let said = failure(&result);
        assert!(said.starts_with(sentence), "{status}: {said}");
        assert_eq!(said.contains("(request"), sentence.contains("(request"), "{status}: {said}");
        assert!(!said.contains("such"), "the upstream's own words came along: {said}");
    }
    let huge = gateway.call("told", json!({ "s": 422, "k": "message", "id": "x".repeat(5000) })).await;
    assert_eq!(failure(&huge).chars().count(), 1000);
}

#[tokio::test]
async fn expected_statuses_are_successes_and_others_are_not() {
    let api = Upstream::start(statuses).await;
    let gateway = gateway(&api).await;
    for status in [200, 404, 503] {
        let result = gateway.call("told", json!({ "s": status, "k": "none" })).await;
        assert_eq!(structured(&result)["fine"], true, "{status}");
    }
    let result = gateway.call("told", json!({ "s": 201, "k": "none" })).await;
    assert!(failure(&result).contains("answered with status 201"), "{}", failure(&result));
    for status in [200, 201, 299] {
        let result = gateway.call("plain", json!({ "s": status, "k": "none" })).await;
        assert_eq!(structured(&result)["fine"], true, "{status}");
    }
}

#[tokio::test]
async fn without_a_sentence_the_upstreams_own_message_is_told_as_such() {
    let api = Upstream::start(statuses).await;
    let gateway = gateway(&api).await;
    for (kind, words) in [
        ("message", "no 'such' thing"),
        ("error", "broken"),
        ("inner", "deep"),
        ("detail", "exact"),
        ("title", "A title"),
        ("control", "one [31mtwo three"),
    ] {
        let result = gateway.call("plain", json!({ "s": 422, "k": kind })).await;
        let said = failure(&result);
        assert!(said.contains("(status 422)"), "{kind}: {said}");
        assert!(said.contains(&format!("The source says: \"{words}\"")), "{kind}: {said}");
    }
    let result = gateway.call("plain", json!({ "s": 404, "k": "message" })).await;
    assert_eq!(
        failure(&result),
        "Nothing was found for these arguments. The source says: \"no 'such' thing\""
    );
    let result = gateway.call("plain", json!({ "s": 422, "k": "long" })).await;
    let said = failure(&result);
    assert!(said.contains(&format!("says: \"{}…\"", "é".repeat(299))), "{said}");
}

#[tokio::test]
async fn what_is_not_a_message_or_not_for_the_caller_stays_behind() {
    let api = Upstream::start(statuses).await;
    let gateway = gateway(&api).await;
    for (status, kind) in [
        (401, "message"),
        (403, "message"),
        (407, "message"),
        (500, "message"),
        (503, "detail"),
        (302, "message"),
        (422, "number"),
        (422, "blank"),
        (422, "list"),
        (422, "huge"),
        (422, "text"),
        (422, "none"),
    ] {
        let result = gateway.call("plain", json!({ "s": status, "k": kind })).await;
        let said = failure(&result);
        assert!(said.contains(&format!("status {status}")), "{status} {kind}: {said}");
        for hidden in ["says", "such", "exact", "secret-trace", "hello", "no JSON"] {
            assert!(!said.contains(hidden), "{status} {kind}: {said}");
        }
    }
}

#[tokio::test]
async fn a_message_that_repeats_a_credential_is_told_without_it() {
    let api = Upstream::start(statuses).await;
    let gateway = gateway(&api).await;
    for kind in ["token", "cut-token", "split-token"] {
        let result = gateway.call("plain", json!({ "s": 400, "k": kind })).await;
        let said = failure(&result);
        assert!(said.contains("The source says: ") && said.contains("***"), "{kind}: {said}");
        assert!(!said.contains("tok-") && !said.contains(&TOKEN[4..]), "{kind}: {said}");
    }
    let result = gateway.call("basic", json!({ "s": 400, "k": "basic" })).await;
    assert!(failure(&result).contains("says: \"*** is no password\""), "{}", failure(&result));
}

/// Answers `/kind` as a table or a document.
fn documents(seen: &Seen) -> Vec<Step> {
    let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
    let (mime, body) = match seen.path().trim_start_matches('/') {
        "csv" => ("text/csv; charset=utf-8", "\u{feff}id,name\r\n1,\"a, \"\"b\"\"\nc\"\r\n2,\r\n".to_owned()),
        "csv-many" => ("text/csv", format!("id\n{}", "7\n".repeat(50))),
        "csv-names-only" => ("text/csv", "id,name\n".to_owned()),
        "csv-headless" => ("text/csv; header=absent", "1,2\n".to_owned()),
        "csv-twice" => ("text/csv", "id,id\n1,2\n".to_owned()),
        "csv-unnamed" => ("text/csv", "id,\n1,2\n".to_owned()),
        "csv-uneven" => ("text/csv", "id,name\n1\n".to_owned()),
        "xml" => (
            "application/xml",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- c --><s:order id=\"7&amp;8\"><item n=\"1\">a &lt; b&#x21;</item>\
             <item><![CDATA[<raw>]]></item><none/><total> 5 </total></s:order>"
                .to_owned(),
        ),
        "svg" => ("image/svg+xml", "<svg/>".to_owned()),
        "xml-64" => ("text/xml", deep(64)),
        "xml-65" => ("text/xml", deep(65)),
        "xml-many" => ("text/xml", format!("<a>{}</a>", "<b/>".repeat(200_000))),
        "xml-doctype" => ("text/xml", "<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/hostname\">]><a>&e;</a>".to_owned()),
        "xml-entity" => ("text/xml", "<a>&e;</a>".to_owned()),
        "xml-attribute-entity" => ("text/xml", "<a b=\"&e;\"/>".to_owned()),
        "xml-latin" => ("text/xml", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a/>".to_owned()),
        "xml-two" => ("text/xml", "<a/><a/>".to_owned()),
        "xml-open" => ("text/xml", "<a><b></b>".to_owned()),
        "xml-crossed" => ("text/xml", "<a><b></a></b>".to_owned()),
        "xml-none" => ("text/xml", "hello".to_owned()),
        "wav" => ("audio/wav", "RIFF".to_owned()),
        other => panic!("no such document: {other}"),
    };
    vec![Step::Send(reply("200 OK", mime, body.as_bytes()))]
}

async fn reader(api: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}" }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: api, get: "/{{p}}" }}, output: {{ max_rows: 20 }} }}
  ids: {{ description: I., rest: {{ source: api, get: /csv }}, output: {{ select: "map(.id)" }} }}
"#,
        api.url()
    ))
    .await
}

#[tokio::test]
async fn tables_and_documents_become_json() {
    let api = Upstream::start(documents).await;
    let gateway = reader(&api).await;
    let get = async |p: &str| gateway.call("get", json!({ "p": p })).await;
    assert_eq!(
        *structured(&get("csv").await),
        json!({ "rows": [{ "id": "1", "name": "a, \"b\"\nc" }, { "id": "2", "name": "" }] })
    );
    assert_eq!(*structured(&get("csv-names-only").await), json!({ "rows": [] }));
    let many = get("csv-many").await;
    assert_eq!(structured(&many)["rows"].as_array().unwrap().len(), 20);
    assert_eq!(structured(&many)["truncated"], true);
    assert_eq!(*structured(&gateway.call("ids", json!({})).await), json!(["1", "2"]));
    assert_eq!(text(&get("csv-headless").await), "1,2\n");
    assert_eq!(
        *structured(&get("xml").await),
        json!({ "s:order": {
            "@id": "7&8",
            "item": [{ "@n": "1", "#text": "a < b!" }, "<raw>"],
            "none": "",
            "total": "5"
        } })
    );
    assert_eq!(text(&get("svg").await), "<svg/>");
    assert!(structured(&get("xml-64").await).is_object());
    assert_eq!(
        get("wav").await["content"][0],
        json!({ "type": "audio", "data": "UklGRg==", "mimeType": "audio/wav" })
    );
}

#[tokio::test]
async fn tables_and_documents_that_are_not_sound_are_errors() {
    let api = Upstream::start(documents).await;
    let gateway = reader(&api).await;
    for (path, part) in [
        ("csv-twice", "header line"),
        ("csv-unnamed", "header line"),
        ("csv-uneven", "CSV that is not valid"),
        ("xml-65", "too deeply nested"),
        ("xml-many", "too many"),
        ("xml-doctype", "a document type"),
        ("xml-entity", "entities of its own"),
        ("xml-attribute-entity", "XML that is not valid"),
        ("xml-latin", "not UTF-8"),
        ("xml-two", "XML that is not valid"),
        ("xml-open", "XML that is not valid"),
        ("xml-crossed", "XML that is not valid"),
        ("xml-none", "XML that is not valid"),
    ] {
        let result = gateway.call("get", json!({ "p": path })).await;
        assert!(failure(&result).contains(part), "{path}: {}", failure(&result));
    }
}

#[tokio::test]
async fn a_resource_that_is_not_there_says_why_in_the_words_of_its_author_or_of_the_source() {
    let api = Upstream::start(statuses).await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ shop: {{ rest: {{ base_url: "{}" }} }} }}
resources:
  "shop://{{s}}/{{k}}":
    name: told
    params: {{ s: {{ type: integer }}, k: {{ type: string }} }}
    rest: {{ source: shop, get: "/{{s}}/{{k}}", errors: {{ 410: "Customer {{s}} was merged.", 422: "Not {{k}}." }} }}
"#,
        api.url()
    ))
    .await;
    for (uri, sentence) in [
        ("shop://410/none", "Customer 410 was merged."),
        ("shop://422/none", "Not none."),
        ("shop://404/message", "Nothing was found for these arguments. The source says: \"no 'such' thing\""),
        ("shop://404/none", "Nothing was found for these arguments."),
        ("shop://x/none", "Argument `s`: \"x\" is not"),
        ("other://x", "there is no such resource"),
    ] {
        for (code, reply) in [
            (-32002, gateway.legacy("resources/read", &json!({ "uri": uri })).await),
            (-32602, gateway.modern("resources/read", json!({ "uri": uri })).await),
        ] {
            let error = &reply.json()["error"];
            assert_eq!((reply.status, reply.code()), (200, code), "{uri}: {}", reply.text());
            assert!(error["message"].as_str().unwrap().starts_with(sentence), "{uri}: {error}");
            assert_eq!(error["data"]["uri"], uri, "{error}");
        }
    }
}
