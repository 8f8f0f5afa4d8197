//! What `${…}` gives is a value wherever it stands: braces in it are no placeholder and no template, and nothing of it is shown.

use serde_json::{Value, json};

use crate::support::gateway::problems;
use crate::support::{Gateway, Upstream};

const KEY: &str = "s3cr{et}Pa55";
const ODD: &str = "ab{{cd}}{s}";
const JINJA: &str = "{{ nope }}{% if %}{# 'it\"s' | x";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in
        [("key", KEY), ("odd", ODD), ("jinja", JINJA), ("name", "s"), ("xml", "</n><a b='1'>&")]
    {
        std::fs::write(folder.path().join(name), value).unwrap();
    }
    folder
}

#[tokio::test]
async fn values_from_outside_reach_the_upstream_and_the_client_as_they_are() {
    let api = Upstream::recorder().await;
    let yaml = r#"
sources: { api: { rest: { base_url: "URL" } } }
tools:
  send:
    description: Sends.
    params: { s: { type: string } }
    rest:
      source: api
      post: "/x/${file:odd}/{s}"
      headers: { X-Key: "${file:key}" }
      query: { q: "${file:odd}-{s}" }
      json: { a: "${file:odd}", b: "{s}", c: ["{{${file:key}}}"] }
  tagged:
    description: Sends XML.
    params: { s: { type: string } }
    rest: { source: api, post: /xml, xml: "<o k='${file:xml}'><n>{s}</n>${file:xml}</o>" }
  canned:
    description: Fills.
    params: { s: { type: string } }
    static: { template: "${file:jinja} {{ s }} {{ '${file:jinja}' }} {% raw %}${file:jinja}{% endraw %}" }
prompts:
  greet:
    params: { who: {} }
    messages:
      - user: "{${file:jinja} {{ who }}"
      - assistant: { text: "{{ who }} ${file:jinja}" }
"#;
    let gateway = Gateway::start_in(folder(), &yaml.replace("URL", &api.url())).await;
    gateway.call("send", json!({ "s": "hello" })).await;
    let [seen] = &api.take()[..] else { panic!("one request") };
    assert_eq!(seen.path(), "/x/ab%7B%7Bcd%7D%7D%7Bs%7D/hello");
    assert_eq!(seen.query(), "q=ab%7B%7Bcd%7D%7D%7Bs%7D-hello");
    assert_eq!(seen.header("x-key").unwrap(), KEY);
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body, json!({ "a": ODD, "b": "hello", "c": [format!("{{{KEY}}}")] }));

    gateway.call("tagged", json!({ "s": "<hello>" })).await;
    let [seen] = &api.take()[..] else { panic!("one request") };
    let value = "&lt;/n&gt;&lt;a b=&apos;1&apos;&gt;&amp;";
    let body = format!("<o k='{value}'><n>&lt;hello&gt;</n>{value}</o>");
    assert_eq!(String::from_utf8_lossy(&seen.body), body);

    let refused = gateway.call("send", json!({ "s": "" })).await;
    let said = refused["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("`s` cannot be used in the request's path: it is empty"), "{said}");

    let canned = gateway.call("canned", json!({ "s": "hello" })).await;
    assert_eq!(canned["content"][0]["text"], format!("{JINJA} hello {JINJA} {JINJA}"));

    let params = json!({ "name": "greet", "arguments": { "who": "you" } });
    let prompt = gateway.modern("prompts/get", params).await.json();
    let text = |index: usize| prompt["result"]["messages"][index]["content"]["text"].clone();
    assert_eq!(text(0), format!("{{{JINJA} you"), "{prompt}");
    assert_eq!(text(1), format!("you {JINJA}"));
}

#[test]
fn no_name_and_no_code_comes_from_outside_and_nothing_of_it_is_shown() {
    let folder = folder();
    let of = |rest: &str| {
        let yaml = format!(
            "sources: {{ api: {{ rest: {{ base_url: 'http://127.0.0.1:9' }} }} }}\ntools:\n  find:\n    description: Finds.\n    \
             params: {{ s: {{ type: string, optional: true }} }}\n    {rest}\n"
        );
        let shown = problems(folder.path(), &yaml);
        assert!(!shown.contains("s3cr") && !shown.contains("nope"), "{shown}");
        shown
    };
    for (rest, wanted) in [
        (
            "rest: { source: api, get: /a, query: { q: '{${file:name}}', s: '{s}' } }",
            "a `{` without its partner",
        ),
        ("rest: { source: api, get: /a, query: { q: '{s}${file:key}{q}' } }", "`{q}` is not a parameter"),
        ("rest: { source: api, get: '/${file:key}/{s}' }", "`s` may be absent"),
        ("rest: { source: api, get: '${file:key}/{s}' }", "a path starts with `/`"),
        ("static: { template: '{{ ${file:name} }}' }", "cannot stand for code in a template"),
        ("static: { template: '${file:jinja} {{ other }} ${file:key}' }", "`other` is neither"),
        ("static: { template: \"${file:jinja}\\n{{ s \" }", "this template does not parse"),
    ] {
        let shown = of(rest);
        assert!(shown.contains(wanted), "{rest}: {shown}");
        assert_eq!(shown.matches("error[").count(), 1, "{rest}: {shown}");
    }
}
