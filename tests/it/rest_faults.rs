//! What becomes of calls around an upstream that fails: which limit counts, who is slowed down, what is freed. The faults themselves
//! are in `faults.rs`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::upstream::reply;
use crate::support::{Gateway, Step, Upstream, failure, structured};

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
        assert!(started.elapsed() < Duration::from_millis(900), "{tool}: {:?}", started.elapsed());
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
  dead: {{ rest: {{ base_url: "{}", timeout: 3s }} }}
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
        let started = Instant::now();
        for _ in 0..50 {
            structured(&gateway.call("good", json!({})).await);
        }
        started.elapsed()
    };
    let (failed, took) = tokio::join!(waiting, working);
    assert!(failed.iter().all(|r| r["isError"] == true));
    assert!(took < Duration::from_secs(2), "50 calls of a good source took {took:?}");
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_upstream() {
    let api = Upstream::start(|_| vec![Step::Hang]).await;
    let gateway = Gateway::start(&format!(
        "server: {{ http: {{ max_concurrent_calls: 1 }} }}\n\
         sources: {{ s: {{ rest: {{ base_url: \"{}\", timeout: 20s }} }} }}\n\
         tools: {{ slow: {{ description: S., rest: {{ source: s, get: / }} }}, quick: {{ description: Q., static: {{ text: hi }} }} }}",
        api.url()
    ))
    .await;
    let ask = gateway.modern("tools/call", json!({ "name": "slow" }));
    assert!(tokio::time::timeout(Duration::from_millis(500), ask).await.is_err());
    assert_eq!(api.count(), 1);
    // The only place for calls is free again within a second.
    let started = Instant::now();
    while gateway.modern("tools/call", json!({ "name": "quick" })).await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(1), "the abandoned call still holds its place");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
