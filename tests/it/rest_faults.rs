//! What becomes of calls around an upstream that fails: which limit counts, who is slowed down, what is freed. The faults themselves
//! are in `faults.rs`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::upstream::reply;
use crate::support::{Gateway, LATE, Step, Upstream, failure, structured, until};

fn config(url: &str) -> String {
    format!(
        r#"
sources: {{ legacy_api: {{ rest: {{ base_url: "{url}", timeout: 1s, max_response: 256KiB }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: legacy_api, get: "/{{p}}" }} }}
"#
    )
}

#[tokio::test]
async fn a_source_that_refuses_is_told_and_heals() {
    let address = Upstream::refusing().await;
    let gateway = Gateway::start(&config(&format!("http://{address}"))).await;
    let result = gateway.call("get", json!({ "p": "ok" })).await;
    let sentence = failure(&result);
    assert!(sentence.contains("cannot be reached right now") && sentence.contains("(request "), "{sentence}");
    assert!(!sentence.contains(&address.port().to_string()));
    // Somebody starts it.
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(&reply("200 OK", "application/json", b"{\"fine\":true}")).await.unwrap();
    });
    assert_eq!(structured(&gateway.call("get", json!({ "p": "ok" })).await)["fine"], true);
}

#[tokio::test]
async fn the_shorter_of_source_timeout_and_policy_timeout_counts() {
    let api = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = Gateway::start(&format!(
        r#"
sources:
  quick: {{ rest: {{ base_url: "{0}", timeout: 300ms }} }}
  patient: {{ rest: {{ base_url: "{0}", timeout: 30s }} }}
tools:
  by_source: {{ description: S., rest: {{ source: quick, get: / }}, policy: {{ timeout: 30s }} }}
  by_policy: {{ description: P., rest: {{ source: patient, get: / }}, policy: {{ timeout: 400ms }} }}
resources:
  "r://slow": {{ description: R., rest: {{ source: quick, get: / }} }}
prompts:
  slow: {{ description: P., data: {{ d: {{ rest: {{ source: quick, get: / }} }} }}, messages: [{{ user: "{{{{ d }}}}" }}] }}
"#,
        api.url()
    ))
    .await;
    for (tool, limit) in [("by_source", "300ms"), ("by_policy", "400ms")] {
        let started = Instant::now();
        let result = gateway.call(tool, json!({})).await;
        assert!(failure(&result).contains(&format!("within {limit}")), "{}", failure(&result));
        // The longer one is thirty seconds.
        assert!(started.elapsed() < LATE, "{tool}: {:?}", started.elapsed());
    }
    // Where no result can carry it, it is an error with the same sentence.
    for (method, params) in
        [("resources/read", json!({ "uri": "r://slow" })), ("prompts/get", json!({ "name": "slow" }))]
    {
        let reply = gateway.modern(method, params).await;
        assert_eq!((reply.status, reply.code()), (200, -32603), "{}", reply.text());
        assert!(
            reply.text().contains("(request ") && !reply.text().contains("127.0.0.1"),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_source_does_not_slow_the_others() {
    let dead = Upstream::start(|_| vec![Step::Hang]).await;
    let good = Upstream::recorder().await;
    let gateway = Gateway::start(&format!(
        r#"
sources:
  dead: {{ rest: {{ base_url: "{}", timeout: 8s }} }}
  good: {{ rest: {{ base_url: "{}" }} }}
tools:
  dead: {{ description: D., rest: {{ source: dead, get: / }} }}
  good: {{ description: G., rest: {{ source: good, get: / }} }}
"#,
        dead.url(),
        good.url()
    ))
    .await;
    let gateway = &gateway;
    let waiting = futures_util::future::join_all((0..100).map(|_| gateway.call("dead", json!({}))));
    let working = async {
        while dead.count() < 100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..50 {
            structured(&gateway.call("good", json!({})).await);
        }
        Instant::now()
    };
    let waiting = async { (waiting.await, Instant::now()) };
    let ((failed, given_up), done) = tokio::join!(waiting, working);
    assert!(failed.iter().all(|r| r["isError"] == true));
    assert!(done < given_up, "calls of a good source waited for those of the dead one");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_upstream() {
    let api = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = Gateway::start(&format!(
        "server: {{ http: {{ max_concurrent_calls: 1 }} }}\n\
         sources: {{ s: {{ rest: {{ base_url: \"{}\", timeout: 60s }} }} }}\n\
         tools: {{ slow: {{ description: S., rest: {{ source: s, get: / }}, policy: {{ timeout: 60s }} }}, quick: {{ description: Q., static: {{ text: hi }} }} }}",
        api.url()
    ))
    .await;
    let held = gateway.call_and_hold("slow").await;
    until("the call arrives", async || api.count() == 1).await;
    let quick = || gateway.modern("tools/call", json!({ "name": "quick" }));
    assert_eq!(quick().await.status, 503);
    drop(held);
    // The only place for calls is free again, long before the source has had its time.
    until("the abandoned call leaves its place", async || quick().await.status == 200).await;
    assert_eq!(api.count(), 1);
}

const UNSURE: &str = "It may have been done all the same: see whether it was before you try again.";

#[tokio::test]
async fn what_may_have_been_done_is_not_just_tried_again() {
    let api = Upstream::start(|seen| match seen.path() {
        "/hang" => vec![Step::Hang],
        "/close" => vec![Step::Close],
        "/half" => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()), Step::Close],
        "/503" => {
            vec![Step::Send(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_vec())]
        }
        _ => vec![Step::Send(reply("500 No", "text/plain", b"x"))],
    })
    .await;
    let refusing = Upstream::refusing().await;
    let tool = |method: &str, source: &str| {
        format!(
            "{{ description: T., params: {{ p: {{ type: string }} }}, rest: {{ source: {source}, {method}: \"/{{p}}\" }} }}"
        )
    };
    let gateway = Gateway::start(&format!(
        r#"
sources:
  api: {{ rest: {{ base_url: "{}", timeout: 1s }} }}
  away: {{ rest: {{ base_url: "http://{refusing}" }} }}
tools:
  post: {}
  put: {}
  away: {}
"#,
        api.url(),
        tool("post", "api"),
        tool("put", "api"),
        tool("post", "away"),
    ))
    .await;
    for (place, once, again) in [
        ("hang", "gave no answer within 1s. ", "gave no answer within 1s. Try again, or ask for less."),
        ("close", "ended before it answered. ", "cannot be reached right now. Try again in a moment."),
        ("half", "cannot be used: the answer broke off. ", "cannot be used: the answer broke off. (request"),
        ("500", "failed (status 500). ", "failed (status 500). Try again in a moment."),
    ] {
        let post = gateway.call("post", json!({ "p": place })).await;
        let post = failure(&post);
        assert!(post.contains(&format!("{once}{UNSURE}")), "{place}: {post}");
        let put = gateway.call("put", json!({ "p": place })).await;
        let put = failure(&put);
        assert!(put.contains(again) && !put.contains(UNSURE), "{place}: {put}");
    }
    // It was surely not done.
    let busy = gateway.call("post", json!({ "p": "503" })).await;
    let busy = failure(&busy);
    assert!(busy.contains("Try again in 7s.") && !busy.contains(UNSURE), "{busy}");
    let away = gateway.call("away", json!({ "p": "x" })).await;
    let away = failure(&away);
    assert!(
        away.contains("cannot be reached right now. Try again in a moment.") && !away.contains(UNSURE),
        "{away}"
    );
}
