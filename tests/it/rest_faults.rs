//! Upstreams that fail in every way: the call ends by its deadline with a sentence and a request id, nothing of the
//! upstream shows in it, and the next call works.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::upstream::{self, Seen, reply};
use crate::support::{Gateway, Step, Upstream, failure, structured};

const BODY_SECRET: &str = "upstream-body-secret";

fn head(rest: &str) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{rest}\r\n").into_bytes())
}

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn faults(seen: &Seen) -> Vec<Step> {
    let secret = BODY_SECRET;
    let page = |status, kind, body: &str| vec![Step::Send(reply(status, kind, body.as_bytes()))];
    match seen.path().trim_start_matches('/') {
        "ok" => upstream::json("{\"fine\":true}"),
        "silent" => vec![Step::Hang],
        "closed" => vec![Step::Close],
        "head-stall" => vec![send("HTTP/1.1 200 OK\r\nContent-Ty"), Step::Hang],
        "head-drip" => vec![Step::Drip(vec![b'H'; 100], Duration::from_millis(200))],
        "body-stall" => vec![head("Content-Length: 100\r\n"), send("{\"a\":"), Step::Hang],
        "body-drip" => {
            vec![head("Content-Length: 100\r\n"), Step::Drip(vec![b' '; 100], Duration::from_secs(1))]
        }
        "body-drip-chunked" => vec![
            head("Transfer-Encoding: chunked\r\n"),
            Step::Drip(b"1\r\n \r\n".repeat(50), Duration::from_millis(200)),
        ],
        "cut" => vec![head("Content-Length: 100\r\n"), send(secret), Step::Close],
        "cut-chunked" => vec![head("Transfer-Encoding: chunked\r\n"), send("5\r\nhello\r\n"), Step::Close],
        "bad-chunk" => {
            vec![head("Transfer-Encoding: chunked\r\n"), send("zz\r\nhello\r\n0\r\n\r\n"), Step::Hang]
        }
        "huge-chunk" => {
            vec![head("Transfer-Encoding: chunked\r\n"), send("ffffffffffffffff1\r\nx"), Step::Hang]
        }
        "large" => vec![head("Content-Length: 10000000000\r\n"), Step::Repeat(vec![b'x'; 64 << 10], 10_000)],
        "endless" => vec![
            head("Transfer-Encoding: chunked\r\n"),
            Step::Repeat([b"10000\r\n", vec![b'x'; 65536].as_slice(), b"\r\n"].concat(), 10_000),
        ],
        "until-close" => vec![head(""), Step::Repeat(vec![b'x'; 64 << 10], 10_000), Step::Close],
        "large-head" => vec![
            send("HTTP/1.1 200 OK\r\n"),
            Step::Repeat(format!("X-Pad: {}\r\n", "y".repeat(8000)).into_bytes(), 200),
            send("\r\n"),
            Step::Hang,
        ],
        "many-headers" => vec![
            send("HTTP/1.1 200 OK\r\n"),
            Step::Repeat(b"X-Pad: y\r\n".to_vec(), 10_000),
            send("Content-Length: 0\r\n\r\n"),
            Step::Hang,
        ],
        "not-http" => vec![send("SSH-2.0-OpenSSH_9.6\r\n"), Step::Hang],
        "continues" => vec![Step::Repeat(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), 2_000_000), Step::Hang],
        "hints" => {
            vec![Step::Repeat(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n".to_vec(), 500), Step::Hang]
        }
        "two-lengths" => vec![head("Content-Length: 2\r\nContent-Length: 3\r\n"), send("{} "), Step::Hang],
        "html" => page("200 OK", "text/html; charset=utf-8", &format!("<html>{secret}</html>")),
        "bad-json" => page("200 OK", "application/json", &format!("{{\"{secret}\": ")),
        "two-jsons" => page("200 OK", "application/json", "{}{}"),
        "not-utf8" => vec![Step::Send(reply("200 OK", "application/json", b"{\"a\":\"\xff\xfe\"}"))],
        "text-not-utf8" => vec![Step::Send(reply("200 OK", "text/plain", b"\xff\xfe"))],
        "redirect" => {
            vec![send("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")]
        }
        "status-400" => page("400 Bad Request", "text/plain", secret),
        "status-401" => page("401 Unauthorized", "text/plain", secret),
        "status-403" => page("403 Forbidden", "text/plain", secret),
        "status-429" => page("429 Too Many Requests", "text/plain", secret),
        "status-500" => {
            page("500 Internal Server Error", "application/json", &format!("{{\"trace\":\"{secret}\"}}"))
        }
        "status-503" => page("503 Service Unavailable", "text/plain", secret),
        other => panic!("no such fault: {other}"),
    }
}

const FAULTS: &[&str] = &[
    "silent",
    "closed",
    "head-stall",
    "head-drip",
    "body-stall",
    "body-drip",
    "body-drip-chunked",
    "cut",
    "cut-chunked",
    "bad-chunk",
    "huge-chunk",
    "large",
    "endless",
    "until-close",
    "large-head",
    "many-headers",
    "not-http",
    "continues",
    "hints",
    "two-lengths",
    "html",
    "bad-json",
    "two-jsons",
    "not-utf8",
    "text-not-utf8",
    "redirect",
    "status-400",
    "status-401",
    "status-403",
    "status-429",
    "status-500",
    "status-503",
];

fn config(url: &str) -> String {
    format!(
        r#"
sources: {{ legacy_api: {{ rest: {{ base_url: "{url}", timeout: 1s, max_response: 256KiB }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: legacy_api, get: "/{{p}}" }} }}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_becomes_a_sentence_in_time_and_the_next_call_works() {
    let api = Upstream::start(faults).await;
    let gateway = Gateway::start(&config(&api.url())).await;
    let port = api.address.port().to_string();
    let (gateway, port) = (&gateway, &port);
    let ask = async |fault: &'static str| {
        let started = Instant::now();
        let result = gateway.call("get", json!({ "p": fault })).await;
        let took = started.elapsed();
        assert!(took < Duration::from_millis(2500), "{fault} took {took:?}");
        let sentence = failure(&result);
        assert!(sentence.contains("(request ") && sentence.contains("`legacy_api`"), "{fault}: {sentence}");
        for hidden in
            ["127.0.0.1", port.as_str(), BODY_SECRET, "/get", "http:", "reqwest", "hyper", "os error"]
        {
            assert!(!sentence.contains(hidden), "{fault}: {hidden} in {sentence}");
        }
        let next = gateway.call("get", json!({ "p": "ok" })).await;
        assert_eq!(structured(&next)["fine"], true, "after {fault}");
    };
    futures_util::future::join_all(FAULTS.iter().map(|fault| ask(fault))).await;
}

#[tokio::test]
async fn sentences_say_what_can_be_done() {
    let api = Upstream::start(faults).await;
    let gateway = Gateway::start(&config(&api.url())).await;
    for (fault, part) in [
        ("silent", "within 1s"),
        ("html", "an HTML page instead of data"),
        ("bad-json", "JSON that is not valid"),
        ("not-utf8", "not UTF-8"),
        ("large", "larger than 262144 bytes"),
        ("endless", "larger than 262144 bytes"),
        ("cut", "broke off"),
        ("redirect", "redirect (status 302)"),
        ("status-400", "refused the request (status 400)"),
        ("status-401", "this server's own credentials"),
        ("status-429", "no more requests for now"),
        ("status-503", "Try again in a moment"),
    ] {
        let result = gateway.call("get", json!({ "p": fault })).await;
        assert!(failure(&result).contains(part), "{fault}: {}", failure(&result));
    }
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
