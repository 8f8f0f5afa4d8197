//! Jobs that go on after the reply: waited for with progress, on the same origin alone, and never started twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{modern, modern_headers};
use crate::support::upstream::{Seen, json as body};
use crate::support::{Gateway, Step, Upstream, failure, structured, text};

fn answer(status: &str, headers: &str, body: &str) -> Vec<Step> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    vec![Step::Send(format!("{head}{body}").into_bytes())]
}

/// Jobs whose third look finds them done; the kind is the path's second part.
async fn api() -> Upstream {
    let looks: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    Upstream::start(move |seen: &Seen| {
        let path = seen.path().to_owned();
        if seen.method == "POST" {
            let kind = path.trim_start_matches("/v1/start/").to_owned();
            looks.lock().unwrap().remove(&format!("/v1/jobs/{kind}"));
            return match kind.as_str() {
                "header" | "late" | "hang" | "flaky" | "down" | "fails" | "gone" | "odd" => {
                    answer("202 Accepted", &format!("Location: /v1/jobs/{kind}\r\n"), "{}")
                }
                "operation" => answer(
                    "202 Accepted",
                    "Location: /v1/x\r\nOperation-Location: jobs/../../jobs/operation\r\n",
                    "",
                ),
                "body" => answer("201 Created", "", r#"{"state":"new","links":{"self":"/v1/jobs/body"}}"#),
                "lost" | "missing" | "lame" => {
                    answer("201 Created", "", &format!(r#"{{"links":{{"self":"/v1/jobs/{kind}"}}}}"#))
                }
                "other" => answer("202 Accepted", "Location: /v1/jobs/other\r\n", "{}"),
                "now" => answer("200 OK", "", r#"{"state":"done","n":1}"#),
                "away" => answer("202 Accepted", "Location: http://127.0.0.1:1/v1/jobs/away\r\n", "{}"),
                "above" => answer("202 Accepted", "Location: /admin\r\n", "{}"),
                "nowhere" => answer("202 Accepted", "", "{}"),
                _ => answer("422 No", "", r#"{"message":"no such kind"}"#),
            };
        }
        let mut looks = looks.lock().unwrap();
        let count = looks.entry(path.clone()).or_default();
        *count += 1;
        match (path.as_str(), *count) {
            ("/v1/jobs/late", _) => body(r#"{"state":"running"}"#),
            ("/v1/jobs/hang", _) => vec![Step::Hang],
            ("/v1/jobs/flaky", 1) => answer("503 Down", "", ""),
            ("/v1/jobs/flaky", 2) => vec![Step::Close],
            ("/v1/jobs/down", _) => answer("500 Down", "", "a secret stack"),
            ("/v1/jobs/fails", 2) => body(r#"{"state":"failed","why":"a secret"}"#),
            ("/v1/jobs/gone", 2) => answer("404 Gone", "", "{}"),
            ("/v1/jobs/odd", 2) => body("[1]"),
            ("/v1/jobs/other", 2) => answer("303 See Other", "Location: /v1/results/7\r\n", ""),
            ("/v1/jobs/lost" | "/v1/jobs/missing", 1) => body(
                &json!({ "state": "done", "links": { "result": path.replace("jobs", "results") } })
                    .to_string(),
            ),
            ("/v1/jobs/lame", 1) => body(r#"{"state":"done"}"#),
            ("/v1/results/lost", _) => answer("503 Down", "Retry-After: 7\r\n", ""),
            ("/v1/results/missing", _) => answer("404 Gone", "", r#"{"message":"a secret"}"#),
            ("/v1/results/7", _) => body(r#"{"result":7}"#),
            (_, 1 | 2) => answer("200 OK", "Retry-After: 0\r\n", r#"{"state":"running"}"#),
            (path, _) => body(
                &json!({ "state": "done", "at": path, "links": { "result": "/v1/results/7" } }).to_string(),
            ),
        }
    })
    .await
}

async fn gateway(api: &Upstream) -> Gateway {
    Gateway::start(&format!(
        r#"
sources:
  api: {{ rest: {{ base_url: "{}/v1", credentials: {{ bearer: tok-7f3a9c }} }} }}
defaults: {{ policy: {{ timeout: 2s }} }}
tools:
  run:
    description: R.
    params: {{ kind: {{ type: string }} }}
    rest:
      source: api
      post: /start/{{kind}}
      json: {{ kind: "{{kind}}" }}
      headers: {{ X-Kind: "{{kind}}" }}
      idempotency_key: X-Key
      poll: {{ until: ".state == \"done\"", failed: ".state == \"failed\"", every: 100ms, at_most: 20s }}
  short:
    description: S.
    params: {{ kind: {{ type: string }} }}
    rest: {{ source: api, post: "/start/{{kind}}", json: {{}}, poll: {{ until: ".state == \"done\"", every: 100ms, at_most: 500ms }} }}
  paths:
    description: P.
    params: {{ kind: {{ type: string }} }}
    rest:
      source: api
      post: /start/{{kind}}
      json: {{}}
      expect: [201]
      poll: {{ until: ".state == \"done\"", every: 100ms, status: .links.self, result: .links.result }}
"#,
        api.url()
    ))
    .await
}

#[tokio::test]
async fn a_job_is_waited_for_and_its_result_given() {
    let api = api().await;
    let gateway = gateway(&api).await;
    for (tool, kind, expected) in [
        ("run", "header", json!("/v1/jobs/header")),
        ("run", "operation", json!("/v1/jobs/operation")),
        ("run", "flaky", json!("/v1/jobs/flaky")),
    ] {
        let result = gateway.call(tool, json!({ "kind": kind })).await;
        assert_eq!(structured(&result)["at"], expected, "{kind}");
        let seen = api.take();
        assert_eq!(seen.iter().filter(|s| s.method == "POST").count(), 1, "{kind}: it was started twice");
        assert_eq!(seen.len(), 4, "{kind}");
        assert!(seen[0].header("x-key").is_some());
        for look in &seen[1..] {
            assert_eq!((look.method.as_str(), look.body.len()), ("GET", 0));
            assert_eq!(look.header("authorization").as_deref(), Some("Bearer tok-7f3a9c"));
            assert_eq!(look.header("x-kind").as_deref(), Some(kind));
            assert_eq!(look.header("content-type"), None);
            assert_eq!(look.header("x-key"), None);
        }
    }
    let result = gateway.call("run", json!({ "kind": "other" })).await;
    assert_eq!(structured(&result), &json!({ "result": 7 }));
    let result = gateway.call("paths", json!({ "kind": "body" })).await;
    assert_eq!(structured(&result), &json!({ "result": 7 }));
    api.take();
    let result = gateway.call("run", json!({ "kind": "now" })).await;
    assert_eq!((structured(&result)["n"].as_u64(), api.count()), (Some(1), 1));
}

#[tokio::test]
async fn what_goes_wrong_with_a_job_is_said_and_nothing_leads_elsewhere() {
    let api = api().await;
    let gateway = gateway(&api).await;
    for (tool, kind, words, requests) in [
        ("run", "fails", "The job was started, but it has failed", 3),
        ("run", "down", "how far it is cannot be asked right now", 5),
        ("run", "gone", "its result could not be read (it was not found)", 3),
        ("paths", "lost", "its result could not be read (status 503)", 3),
        ("paths", "missing", "its result could not be read (status 404)", 3),
        ("paths", "lame", "a job without the address of its result", 2),
        ("run", "odd", "a state of a job that cannot be read", 3),
        ("run", "away", "a state of a job elsewhere", 1),
        ("run", "above", "a state of a job elsewhere", 1),
        ("run", "nowhere", "without the address of its state", 1),
        ("run", "unknown", "no such kind", 1),
    ] {
        let result = gateway.call(tool, json!({ "kind": kind })).await;
        assert!(failure(&result).contains(words), "{kind}: {result}");
        assert!(!result.to_string().contains("secret"), "{kind}: {result}");
        // Nobody is told to try what runs already.
        let started = !matches!(kind, "unknown");
        assert_eq!(failure(&result).contains("The job was started, but"), started, "{kind}: {result}");
        assert!(!(started && failure(&result).contains("Try again")), "{kind}: {result}");
        assert!(result["_meta"].get("sidegate/retryAfter").is_none(), "{kind}: {result}");
        assert_eq!(
            failure(&result).contains("Do not start it again"),
            started && kind != "fails",
            "{kind}: {result}"
        );
        assert_eq!(api.take().len(), requests, "{kind}");
    }
    let late = gateway.call("short", json!({ "kind": "late" })).await;
    let said = failure(&late);
    assert!(
        said.contains("goes on, but was not done within 500ms. Its state is kept under `late`."),
        "{said}"
    );
    assert!(said.contains("Do not start it again"), "{said}");
    // Its time is over in the middle of a look.
    let hung = gateway.call("short", json!({ "kind": "hang" })).await;
    let said = failure(&hung);
    assert!(said.contains("The job was started") && said.contains("Do not start it again"), "{said}");
}

#[tokio::test]
async fn a_job_that_runs_holds_neither_the_place_nor_the_breaker_of_its_source() {
    let done = Arc::new(AtomicBool::new(false));
    let ends = done.clone();
    let api = Upstream::start(move |seen: &Seen| match (seen.method.as_str(), seen.path()) {
        ("POST", _) => answer("202 Accepted", "Location: /jobs/1\r\n", "{}"),
        (_, "/broken") => answer("500 Down", "", ""),
        (_, "/jobs/1") if !ends.load(Ordering::Relaxed) => body(r#"{"state":"running"}"#),
        _ => body(r#"{"state":"done"}"#),
    })
    .await;
    let gateway = Gateway::start(&format!(
        r#"
sources:
  api: {{ rest: {{ base_url: "{}", timeout: 2s, concurrency: 1, circuit_breaker: {{ failures: 1, open_for: 100ms }} }} }}
tools:
  run: {{ description: R., rest: {{ source: api, post: /run, json: {{}}, poll: {{ until: ".state == \"done\"", every: 100ms }} }} }}
  get: {{ description: G., rest: {{ source: api, get: /now }} }}
  broken: {{ description: B., rest: {{ source: api, get: /broken }} }}
"#,
        api.url()
    ))
    .await;
    failure(&gateway.call("broken", json!({})).await);
    assert!(failure(&gateway.call("get", json!({})).await).contains("left alone"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    api.take();
    let other = async {
        while api.count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let result = gateway.call("get", json!({})).await;
        done.store(true, Ordering::Relaxed);
        result
    };
    let (job, other) = tokio::join!(gateway.call("run", json!({})), other);
    assert_eq!(structured(&other)["state"], "done", "{other}");
    assert_eq!(structured(&job)["state"], "done", "{job}");
}

#[tokio::test]
async fn the_client_hears_how_the_job_goes_and_ends_the_waiting_when_it_leaves() {
    let api = api().await;
    let gateway = gateway(&api).await;
    let mut connection = gateway.connect().await;
    let mut message = modern("tools/call", json!({ "name": "run", "arguments": { "kind": "header" } }));
    message["params"]["_meta"]["progressToken"] = json!("p");
    let message = message.to_string();
    connection.open_stream("POST", &modern_headers("tools/call", Some("run")), message.as_bytes()).await;
    let mut heard = Vec::new();
    let result = loop {
        let event = connection.event().await.unwrap();
        match event.get("result") {
            Some(result) => break result.clone(),
            None => heard.push(event["params"].clone()),
        }
    };
    assert_eq!(structured(&result)["state"], "done", "{}", text(&result));
    let running: Vec<&Value> = heard
        .iter()
        .filter(|p| p["message"].as_str().is_some_and(|m| m.starts_with("the job is running")))
        .collect();
    assert_eq!(running.len(), 3, "{heard:?}");
    let steps: Vec<f64> = heard.iter().map(|p| p["progress"].as_f64().unwrap()).collect();
    assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
    api.take();

    let mut connection = gateway.connect().await;
    let message = modern("tools/call", json!({ "name": "run", "arguments": { "kind": "late" } })).to_string();
    connection
        .begin("POST", "/mcp", &modern_headers("tools/call", Some("run")), message.as_bytes())
        .await
        .unwrap();
    while api.count() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(connection);
    // Every look comes 100 ms after the one before; a second without one is the end.
    let ended = tokio::time::timeout(Duration::from_secs(15), async {
        loop {
            let before = api.count();
            tokio::time::sleep(Duration::from_secs(1)).await;
            if api.count() == before {
                break;
            }
        }
    });
    assert!(ended.await.is_ok(), "it still asks");
}
