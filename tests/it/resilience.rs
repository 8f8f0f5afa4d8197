//! Retries, breakers and places against upstreams that fail: what is tried again and how often, what is sent once at the most, and that
//! a source that is down is left alone and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::support::upstream::{self, Gate, Seen, reply};
use crate::support::{Gateway, LATE, Step, Upstream, failure, message, structured};

fn status(status: &str, header: &str) -> Vec<Step> {
    let head = format!("HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\n\r\n");
    vec![Step::Send(head.into_bytes())]
}

/// Fails as its path says, the first time or the first `n` times for `/fault/n/call`, and then answers.
fn flaky() -> impl Fn(&Seen) -> Vec<Step> {
    let seen = std::sync::Mutex::new(std::collections::HashMap::<String, usize>::new());
    move |request| {
        let mut parts = request.path().trim_start_matches('/').split('/');
        let fault = parts.next().unwrap();
        let times = parts.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        let count = {
            let mut seen = seen.lock().unwrap();
            let count = seen.entry(request.target.clone()).or_default();
            *count += 1;
            *count
        };
        if count > times {
            return upstream::json(&format!("{{\"tries\":{count}}}"));
        }
        match fault {
            "close" => vec![Step::Close],
            "hang" => vec![Step::Hang],
            "cut" => {
                vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec()), Step::Close]
            }
            "html" => vec![Step::Send(reply("200 OK", "text/html", b"<p>"))],
            "json" => vec![Step::Send(reply("200 OK", "application/json", b"{"))],
            code => status(&format!("{code} X"), ""),
        }
    }
}

fn config(url: &str, more: &str) -> String {
    format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{url}", timeout: 400ms, headers: {{ Idempotency-Key: fixed }} }} }} }}
defaults: {{ policy: {{ timeout: 5s, retry: {{ attempts: 3, backoff: 10ms }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: api, get: "/{{p*}}" }} }}
  put: {{ description: P., params: {{ p: {{ type: string }} }}, rest: {{ source: api, put: "/{{p*}}", json: 1 }} }}
  post: {{ description: P., params: {{ p: {{ type: string }} }}, rest: {{ source: api, post: "/{{p*}}", json: 1 }} }}
  keyed: {{ description: K., params: {{ p: {{ type: string }} }}, rest: {{ source: api, post: "/{{p*}}", json: 1, idempotency_key: Idempotency-Key }} }}
{more}
"#
    )
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_is_wrong_is_not() {
    let api = Upstream::start(flaky()).await;
    for fault in ["close", "hang", "cut", "408", "425", "429", "502", "503", "504"] {
        // With a budget of its own.
        let gateway = Gateway::start(&config(&api.url(), "")).await;
        for tool in ["get", "put"] {
            let path = format!("{fault}/2/{tool}");
            let result = gateway.call(tool, json!({ "p": path })).await;
            assert_eq!(structured(&result)["tries"], 3, "{path}");
            assert_eq!(api.take().len(), 3, "{path}");
            let path = format!("{fault}/9/{tool}");
            failure(&gateway.call(tool, json!({ "p": path })).await);
            assert_eq!(api.take().len(), 3, "{path}: all of them");
        }
    }
    let gateway = Gateway::start(&config(&api.url(), "")).await;
    for fault in ["400", "401", "404", "409", "500", "501", "html", "json"] {
        failure(&gateway.call("get", json!({ "p": fault })).await);
        assert_eq!(api.take().len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn what_cannot_be_repeated_is_sent_once_and_with_a_key_it_can() {
    let api = Upstream::start(flaky()).await;
    let gateway = Gateway::start(&config(&api.url(), "")).await;
    let mut keys = Vec::new();
    for fault in ["close", "hang", "cut", "503"] {
        failure(&gateway.call("post", json!({ "p": format!("{fault}/1/post") })).await);
        let seen = api.take();
        assert_eq!(seen.len(), 1, "{fault}");
        assert_eq!(
            seen[0].header("idempotency-key").as_deref(),
            Some("fixed"),
            "only where it was asked for"
        );
        let result = gateway.call("keyed", json!({ "p": format!("{fault}/2/keyed") })).await;
        assert_eq!(structured(&result)["tries"], 3, "{fault}");
        let seen = api.take();
        let key = seen[0].header("idempotency-key").unwrap();
        assert_eq!(key.len(), 36, "{key}");
        assert_eq!(seen.len(), 3, "{fault}");
        assert!(seen.iter().all(|s| s.all("idempotency-key") == [key.as_bytes()]), "{seen:?}");
        keys.push(key);
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 4, "each call has its own");
}

#[tokio::test]
async fn the_source_says_when_and_the_caller_is_told_if_that_is_too_late() {
    let count = AtomicUsize::new(0);
    let api = Upstream::start(move |seen| match seen.path() {
        "/soon" if count.fetch_add(1, Ordering::Relaxed) == 0 => {
            status("503 Unavailable", "Retry-After: 1\r\n")
        }
        "/late" => status("429 Too Many", "Retry-After: 90\r\n"),
        "/date" => status(
            "503 Unavailable",
            "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:51:37 GMT\r\n",
        ),
        _ => upstream::json("{}"),
    })
    .await;
    let resource = "resources: { \"r://late\": { description: L., rest: { source: api, get: /late } } }";
    let gateway = Gateway::start(&config(&api.url(), resource)).await;
    let started = Instant::now();
    structured(&gateway.call("get", json!({ "p": "soon" })).await);
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(api.take().len(), 2);

    for (tool, path, end, seconds) in [
        ("get", "late", "(status 429). Try again in 90s.", 90),
        ("get", "date", "(status 503). Try again in 2m.", 120),
        // What is not tried again tells it all the same.
        ("post", "late", "(status 429). Try again in 90s.", 90),
    ] {
        let started = Instant::now();
        let result = gateway.call(tool, json!({ "p": path })).await;
        assert!(failure(&result).contains(end), "{}", failure(&result));
        assert_eq!(result["_meta"]["sidegate/retryAfter"], seconds, "{result}");
        assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"].is_object(), "{result}");
        assert!(started.elapsed() < LATE, "{tool} {path}: {:?}", started.elapsed());
        assert_eq!(api.take().len(), 1, "{tool} {path}");
    }
    let error = gateway.modern("resources/read", json!({ "uri": "r://late" })).await.json();
    assert_eq!(error["error"]["data"]["retryAfter"], 90, "{error}");
    let params = json!({ "name": "get", "arguments": { "p": "late" } });
    let legacy = gateway.legacy("tools/call", &params).await.json();
    assert_eq!(legacy["result"]["_meta"], json!({ "sidegate/retryAfter": 90 }), "{legacy}");
}

#[tokio::test]
async fn tries_and_pauses_end_with_the_deadline_of_the_call() {
    let api = Upstream::start(|_| vec![Step::Hang]).await;
    let more = "  slow: { description: S., rest: { source: api, get: /a }, policy: { timeout: 1s, retry: { attempts: 9 } } }
  pausing: { description: P., rest: { source: gone, get: /a }, policy: { timeout: 2s, retry: { attempts: 10, backoff: 1h, max_backoff: 1h } } }";
    let yaml = config(&api.url(), more).replace(
        "sources: {",
        &format!("sources: {{ gone: {{ rest: {{ base_url: \"http://{}\" }} }},", Upstream::refusing().await),
    );
    let gateway = Gateway::start(&yaml).await;
    let result = gateway.call("slow", json!({})).await;
    assert!(failure(&result).contains("no answer within"), "{}", failure(&result));
    // Of nine, each of which takes 400 ms.
    assert!((2..=3).contains(&api.take().len()));
    // A pause that is drawn from an hour does not fit into two seconds (one in two thousand does).
    let started = Instant::now();
    let result = gateway.call("pausing", json!({})).await;
    assert!(failure(&result).contains("`gone` cannot be reached"), "{}", failure(&result));
    assert!(started.elapsed() < LATE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_asked_for_progress_is_told_of_each_further_try() {
    let api = Upstream::start(flaky()).await;
    let gateway = Gateway::start(&config(&api.url(), "")).await;
    let params = json!({ "name": "get", "arguments": { "p": "503/2/told" } });
    let mut request = message::modern("tools/call", params);
    request["params"]["_meta"]["progressToken"] = json!("t");
    let headers = message::modern_headers("tools/call", Some("get"));
    let text = gateway.post(&headers, request.to_string().as_bytes()).await.text();
    let events = text.lines().filter_map(|l| l.strip_prefix("data: "));
    let events: Vec<Value> = events.map(|e| serde_json::from_str(e).unwrap()).collect();
    let said: Vec<(f64, &str)> = events
        .iter()
        .filter_map(|e| Some((e["params"]["progress"].as_f64()?, e["params"]["message"].as_str()?)))
        .collect();
    assert!(said.is_sorted_by(|a, b| a.0 < b.0), "{said:?}");
    let tries: Vec<&str> = said.iter().map(|s| s.1).filter(|m| m.starts_with("trying")).collect();
    assert_eq!(tries, ["trying again (2 of 3)", "trying again (3 of 3)"]);
}

#[tokio::test]
async fn a_source_that_is_down_is_not_buried_under_retries() {
    let api = Upstream::start(|_| status("503 X", "")).await;
    let gateway = Gateway::start(&config(&api.url(), "")).await;
    let results = join_all((0..100).map(|n| gateway.call("get", json!({ "p": n.to_string() })))).await;
    results.iter().for_each(|r| assert!(failure(r).contains("status 503"), "{r}"));
    let sent = api.take().len();
    // A fifth of a hundred calls, and ten more.
    assert!((110..=130).contains(&sent), "{sent}");
}

fn guarded(url: &str, guard: &str) -> String {
    config(url, "")
        .replace("timeout: 400ms", &format!("timeout: 400ms, {guard}"))
        .replace("retry: { attempts: 3, backoff: 10ms }", "")
}

#[tokio::test]
async fn a_breaker_opens_refuses_at_once_lets_one_through_and_closes() {
    let well = Arc::new(AtomicUsize::new(0));
    let seen = well.clone();
    let gate = Gate::default();
    let closed = gate.clone();
    let api = Upstream::start(move |_| match seen.load(Ordering::Relaxed) {
        0 => status("500 X", ""),
        1 => vec![Step::Gate(closed.clone()), Step::Send(reply("200 OK", "application/json", b"{}"))],
        _ => upstream::json("{}"),
    })
    .await;
    let breaker = "circuit_breaker: { failures: 4, within: 30s, open_for: 3s }";
    let yaml = guarded(&api.url(), breaker).replace("timeout: 400ms", "timeout: 20s");
    let gateway = Gateway::start(&yaml.replace("timeout: 5s", "timeout: 20s")).await;
    let call = async || gateway.call("get", json!({ "p": "a" })).await;
    for _ in 0..4 {
        assert!(failure(&call().await).contains("status 500"));
    }
    let opened = Instant::now();
    for tool in ["get", "post"] {
        let refused = gateway.call(tool, json!({ "p": "a" })).await;
        let sentence = failure(&refused);
        let seconds = refused["_meta"]["sidegate/retryAfter"].as_u64().unwrap();
        assert!((1..=3).contains(&seconds), "{seconds}");
        let text = format!(
            "The source `api` fails, so it is left alone for now and was not asked. Try again in {seconds}s. (request "
        );
        assert!(sentence.starts_with(&text), "{sentence}");
    }
    assert_eq!(api.take().len(), 4);
    // The probe fails: as long again.
    tokio::time::sleep_until((opened + Duration::from_millis(3100)).into()).await;
    assert!(failure(&call().await).contains("status 500"));
    assert!(failure(&call().await).contains("left alone"));
    assert_eq!(api.take().len(), 1);
    // Twenty come at once while the probe is out, which succeeds.
    well.store(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let told = AtomicUsize::new(0);
    let results = join_all((0..20).map(|_| async {
        let result = call().await;
        // When all others have been told, so does the probe have its answer.
        if told.fetch_add(1, Ordering::Relaxed) == 18 {
            gate.open();
        }
        result
    }));
    let results = results.await;
    assert_eq!(results.iter().filter(|r| r.get("isError").is_none()).count(), 1);
    assert_eq!(api.take().len(), 1);
    well.store(2, Ordering::Relaxed);
    for _ in 0..5 {
        structured(&call().await);
    }
}

#[tokio::test]
async fn a_breaker_counts_neither_what_callers_did_wrong_nor_what_they_gave_up() {
    let api = Upstream::start(|seen| match seen.path() {
        "/hang" => vec![Step::Hang],
        "/404" => status("404 X", ""),
        "/429" => status("429 X", ""),
        "/500" => status("500 X", ""),
        _ => upstream::json("{}"),
    })
    .await;
    let breaker = "circuit_breaker: { failures: 2, open_for: 2s }";
    let yaml = guarded(&api.url(), breaker).replace("timeout: 400ms", "timeout: 20s")
        + "  hang: { description: H., rest: { source: api, get: /hang }, policy: { timeout: 20s } }\n";
    let gateway = Gateway::start(&yaml).await;
    let call = async |p: &str| gateway.call("get", json!({ "p": p })).await;
    let given_up = async || {
        let before = api.left();
        let held = gateway.call_and_hold("hang").await;
        while !api.take().iter().any(|s| s.path() == "/hang") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(held);
        while api.left() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..4 {
        failure(&call("404").await);
        failure(&call("429").await);
        failure(&call("..").await);
        given_up().await;
    }
    structured(&call("fine").await);
    // A probe that is given up leaves the next one its turn.
    failure(&call("500").await);
    failure(&call("500").await);
    assert!(failure(&call("fine").await).contains("left alone"));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    given_up().await;
    structured(&call("fine").await);
}

#[tokio::test]
async fn an_open_breaker_ends_retries_with_the_failure_of_the_source() {
    let api = Upstream::start(|_| status("503 X", "")).await;
    let breaker = "timeout: 400ms, circuit_breaker: { failures: 2 }";
    let gateway = Gateway::start(&config(&api.url(), "").replace("timeout: 400ms", breaker)).await;
    let result = gateway.call("get", json!({ "p": "a" })).await;
    assert!(failure(&result).contains("status 503"), "{result}");
    assert_eq!(api.take().len(), 2);
    assert!(failure(&gateway.call("get", json!({ "p": "a" })).await).contains("left alone"));
}

/// An upstream that counts how many are in it at the same time.
async fn counting(time: Duration) -> (Upstream, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let highest = most.clone();
    let api = Upstream::start(move |_| {
        let here = now.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(here, Ordering::SeqCst);
        // Before its answer leaves, so that no other can be counted with it.
        let leave = Step::Leave(now.clone());
        vec![Step::Wait(time), leave, Step::Send(reply("200 OK", "application/json", b"{}"))]
    })
    .await;
    (api, most)
}

#[tokio::test]
async fn a_source_gets_no_more_at_once_than_its_places_and_the_rest_waits_its_turn() {
    let (api, most) = counting(Duration::from_millis(50)).await;
    let yaml = guarded(&api.url(), "concurrency: 4").replace("timeout: 400ms", "timeout: 5s");
    let gateway = Gateway::start(&yaml).await;
    let results = join_all((0..20).map(|n| gateway.call(["get", "post"][n % 2], json!({ "p": "a" })))).await;
    results.iter().for_each(|r| {
        structured(r);
    });
    assert_eq!((most.load(Ordering::SeqCst), api.count()), (4, 20));
    // Four have places, sixteen wait, and the others are told at once: before the first of them is done.
    let (api, most) = counting(Duration::from_secs(2)).await;
    let yaml = guarded(&api.url(), "concurrency: 4").replace("timeout: 400ms", "timeout: 60s");
    let gateway = Gateway::start(&yaml.replace("timeout: 5s", "timeout: 60s")).await;
    let results = join_all((0..40).map(|_| gateway.call("get", json!({ "p": "a" })))).await;
    let (good, busy): (Vec<_>, Vec<_>) = results.iter().partition(|r| r.get("isError").is_none());
    assert_eq!((good.len(), busy.len()), (20, 20));
    for one in busy {
        let text = "The source `api` is busy: too many calls wait for it already. Try again in a moment.";
        assert!(failure(one).starts_with(text), "{one}");
    }
    assert_eq!((most.load(Ordering::SeqCst), api.count()), (4, 20));
}

#[tokio::test]
async fn who_finds_no_place_in_time_is_told_and_places_of_calls_that_were_given_up_are_free() {
    let api = Upstream::start(|_| vec![Step::Hang]).await;
    let yaml = guarded(&api.url(), "concurrency: 1").replace("timeout: 400ms", "timeout: 700ms");
    let gateway = Gateway::start(&yaml).await;
    let results = join_all((0..3).map(|_| gateway.call("get", json!({ "p": "a" })))).await;
    let count = |part: &str| results.iter().filter(|r| failure(r).contains(part)).count();
    // The first holds the place for as long as the others may wait; the second may just get it.
    assert!(count("no answer within") >= 1, "{results:?}");
    assert!(count("no place became free within 700ms") >= 1, "{results:?}");
    assert_eq!(count("no answer within") + count("no place became free"), 3);
    api.take();
    let more = "\n  hang: { description: H., rest: { source: api, get: /hang } }\n";
    let yaml = yaml.replace("timeout: 700ms", "timeout: 20s") + more;
    let gateway = Gateway::start(&yaml).await;
    for _ in 0..3 {
        let before = api.left();
        let held = gateway.call_and_hold("hang").await;
        while api.take().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(held);
        while api.left() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_route_has_places_of_its_own() {
    let (api, most) = counting(Duration::from_secs(1)).await;
    let more = "  few: { description: F., rest: { source: api, post: /few, json: 1 }, policy: { concurrency: 2, timeout: 60s } }
  other: { description: O., rest: { source: api, get: /other } }";
    let yaml = config(&api.url(), more).replace("timeout: 400ms", "timeout: 60s");
    let gateway = Gateway::start(&yaml.replace("timeout: 5s", "timeout: 60s")).await;
    let results = join_all((0..8).map(|_| gateway.call("few", json!({})))).await;
    results.iter().for_each(|r| {
        structured(r);
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
    let results = join_all((0..30).map(|_| gateway.call("few", json!({})))).await;
    let busy: Vec<_> = results.iter().filter(|r| r.get("isError").is_some()).collect();
    assert_eq!(busy.len(), 12, "two have places and sixteen wait");
    assert!(
        failure(busy[0]).starts_with("`few` is busy: too many calls wait for it already."),
        "{}",
        busy[0]
    );
    // Others do not wait for it.
    most.store(0, Ordering::SeqCst);
    join_all((0..6).map(|_| gateway.call("other", json!({})))).await;
    assert_eq!(most.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn a_statement_that_reads_is_tried_again_while_its_database_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let (made, place) = (folder.path().join("made.db"), folder.path().join("shop.db"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&made).create_if_missing(true);
    let mut session = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE a AS SELECT 7 AS n").execute(&mut session).await.unwrap();
    session.close().await.unwrap();
    let yaml = r"
sources: { shop: { sql: { url: 'sqlite:shop.db' } } }
tools:
  once: { description: O., sql: { source: shop, query: SELECT n FROM a } }
  again: { description: A., sql: { source: shop, query: SELECT n FROM a }, policy: { retry: { attempts: 10, backoff: 200ms, max_backoff: 200ms } } }
";
    let gateway = Gateway::start_in(folder, yaml).await;
    assert!(failure(&gateway.call("once", json!({})).await).contains("cannot be reached"));
    let appears = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::fs::rename(&made, &place).unwrap();
    };
    let (result, ()) = tokio::join!(gateway.call("again", json!({})), appears);
    assert_eq!(structured(&result)["rows"][0]["n"], 7);
}
