//! Tokens of client credentials (RFC 6749 section 4.4): how they are asked for, kept, sent and replaced, and what a failing
//! token endpoint makes of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::message::{modern, modern_headers};
use crate::support::process::Process;
use crate::support::upstream::{Seen, Step, json, reply};
use crate::support::{Connection, Gateway, Upstream, failure, structured};

const SECRET: &str = "s3cr3t+/& ä:%";
const TOKEN: &str = "t0ken-0123456789";

fn yaml(api: &str, endpoint: &str, more: &str) -> String {
    json!({
        "server": { "log": { "level": "trace" } },
        "sources": { "api": { "rest": { "base_url": api, "timeout": "2s", "credentials": { "client_credentials":
            serde_json::from_str::<serde_json::Value>(&format!(
                r#"{{ "token_url": "{endpoint}/token", "client_id": "us: 1", "client_secret": "{SECRET}" {more} }}"#
            )).unwrap()
        } } } },
        "tools": {
            "get": { "description": "G.", "rest": { "source": "api", "get": "/data" } },
            "post": { "description": "P.", "rest": { "source": "api", "post": "/data", "json": { "a": 1 } } },
            "own": { "description": "O.", "rest": { "source": "api", "get": "/data", "headers": { "Authorization": "Own 1" } } }
        }
    })
    .to_string()
}

fn token(n: usize) -> Vec<Step> {
    json(
        &json!({ "access_token": format!("{TOKEN}-{n}"), "token_type": "bearer", "expires_in": 3600 })
            .to_string(),
    )
}

/// One that counts its tokens.
async fn endpoint() -> Upstream {
    let given = AtomicUsize::new(0);
    Upstream::start(move |_| token(given.fetch_add(1, Ordering::Relaxed) + 1)).await
}

fn bearer(seen: &Seen) -> String {
    seen.header("authorization").unwrap_or_default()
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_standard_says_and_kept() {
    let form = "grant_type=client_credentials&scope=read+write%3Aall&audience=https%3A%2F%2Fapi.example";
    // The id and the secret are form-encoded first (section 2.3.1).
    let basic = "Basic dXMlM0ErMTpzM2NyM3QlMkIlMkYlMjYrJUMzJUE0JTNBJTI1";
    let scopes = r#", "scopes": ["read", "write:all"], "audience": "https://api.example""#;
    for (more, header, body) in [
        (scopes.to_owned(), Some(basic), form.to_owned()),
        (
            r#", "client_auth": "body""#.to_owned(),
            None,
            "grant_type=client_credentials&client_id=us%3A+1&client_secret=s3cr3t%2B%2F%26+%C3%A4%3A%25"
                .to_owned(),
        ),
    ] {
        let (api, endpoint) = (Upstream::recorder().await, endpoint().await);
        let gateway = Gateway::start(&yaml(&api.url(), &endpoint.url(), &more)).await;
        for tool in ["get", "post", "get"] {
            structured(&gateway.call(tool, json!({})).await);
        }
        let asked = endpoint.take();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].method.as_str(), asked[0].target.as_str()), ("POST", "/token"));
        assert_eq!(asked[0].header("authorization").as_deref(), header);
        assert_eq!(asked[0].header("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
        assert_eq!(String::from_utf8(asked[0].body.clone()).unwrap(), body);
        let seen = api.take();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|s| bearer(s) == format!("Bearer {TOKEN}-1")), "{seen:?}");
    }
}

#[tokio::test]
async fn a_route_with_a_header_of_its_own_asks_for_no_token() {
    let (api, endpoint) = (Upstream::recorder().await, endpoint().await);
    let gateway = Gateway::start(&yaml(&api.url(), &endpoint.url(), "")).await;
    structured(&gateway.call("own", json!({})).await);
    assert_eq!((endpoint.count(), bearer(&api.take()[0])), (0, "Own 1".to_owned()));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_request_made_again() {
    let endpoint = endpoint().await;
    let good = Arc::new(AtomicUsize::new(2));
    let wanted = good.clone();
    let api = Upstream::start(move |seen| {
        if bearer(seen) == format!("Bearer {TOKEN}-{}", wanted.load(Ordering::SeqCst)) {
            json("{}")
        } else {
            vec![Step::Send(reply("401 Unauthorized", "text/plain", b"expired"))]
        }
    })
    .await;
    let gateway = Gateway::start(&yaml(&api.url(), &endpoint.url(), "")).await;
    structured(&gateway.call("post", json!({})).await);
    let seen = api.take();
    assert_eq!(seen.iter().map(bearer).collect::<Vec<_>>(), [1, 2].map(|n| format!("Bearer {TOKEN}-{n}")));
    assert_eq!(seen[0].body, seen[1].body);
    structured(&gateway.call("get", json!({})).await);
    assert_eq!((api.take().len(), endpoint.take().len()), (1, 2));
    // An API that takes none of them is not tried over and over.
    good.store(usize::MAX, Ordering::SeqCst);
    for _ in 0..5 {
        let result = gateway.call("get", json!({})).await;
        assert!(failure(&result).contains("refused this server's own credentials (status 401)"), "{result}");
    }
    assert_eq!((api.take().len(), endpoint.take().len()), (5, 0));
}

/// What an endpoint answers, and a part of the sentence that is made of it.
fn faults() -> Vec<(&'static str, Vec<Step>, &'static str)> {
    let send =
        |status: &str, body: &str| vec![Step::Send(reply(status, "application/json", body.as_bytes()))];
    let big = vec![
        Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n".to_vec()),
        Step::Repeat(vec![b' '; 1 << 16], 100),
        Step::Close,
    ];
    vec![
        (
            "refused",
            send("401 Unauthorized", r#"{"error":"invalid_client","hint":"body-of-endpoint"}"#),
            "no token",
        ),
        ("scope", send("400 Bad Request", r#"{"error":"invalid_scope"}"#), "gives this server no token"),
        ("busy", send("429 Too Many", "{}"), "takes no more requests for now"),
        ("broken", send("500 Oh", "body-of-endpoint"), "failed (status 500)"),
        ("moved", send("302 Found", "{}"), "redirect (status 302), which is not followed"),
        ("page", send("200 OK", "<p>body-of-endpoint</p>"), "it is not JSON"),
        ("none", send("200 OK", r#"{"token_type":"bearer"}"#), "it holds no token"),
        (
            "mac",
            send("200 OK", r#"{"access_token":"body-of-endpoint","token_type":"mac"}"#),
            "not a bearer token",
        ),
        (
            "evil",
            send("200 OK", r#"{"access_token":"a\r\nX-Evil: 1","token_type":"bearer"}"#),
            "cannot be sent",
        ),
        ("large", big, "it is far too large"),
        (
            "cut",
            vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_vec()), Step::Close],
            "broke off",
        ),
        ("gone", vec![Step::Close], "cannot be reached right now"),
        ("hangs", vec![Step::Hang], "gave no answer within 2s"),
    ]
}

#[tokio::test]
async fn a_failing_token_endpoint_is_a_sentence_that_gives_nothing_away() {
    let api = Upstream::recorder().await;
    for (name, steps, wanted) in faults() {
        let endpoint = Upstream::start(move |_| steps.clone()).await;
        let gateway = Gateway::start(&yaml(&api.url(), &endpoint.url(), "")).await;
        let result = gateway.call("get", json!({})).await;
        let sentence = failure(&result);
        assert!(sentence.contains("token endpoint of the source `api`"), "{name}: {sentence}");
        assert!(sentence.contains(wanted), "{name}: {sentence}");
        for hidden in ["127.0.0.1", "body-of", "/token", "invalid_", "s3cr3t"] {
            assert!(!sentence.contains(hidden), "{name}: {sentence}");
        }
    }
    assert_eq!(api.count(), 0, "nothing is sent without a token");
}

#[tokio::test]
async fn neither_token_nor_secret_reaches_the_log_when_they_are_echoed() {
    let echo = |text: String| vec![Step::Send(reply("400 Bad Request", "text/plain", text.as_bytes()))];
    let api = Upstream::start(move |seen| echo(format!("{} {}", ".".repeat(370), bearer(seen)))).await;
    let given = AtomicUsize::new(0);
    let endpoint = Upstream::start(move |seen| match given.fetch_add(1, Ordering::Relaxed) {
        0 => {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            echo(format!("{body} {} {SECRET}", bearer(seen)))
        }
        n => token(n),
    })
    .await;
    for auth in ["basic", "body"] {
        let folder = tempfile::tempdir().unwrap();
        let yaml = yaml(&api.url(), &endpoint.url(), &format!(r#", "client_auth": "{auth}""#));
        let (process, address) = Process::serve(folder.path(), &yaml).await;
        let mut replies = String::new();
        for _ in 0..2 {
            let mut connection = Connection::open(address).await.unwrap();
            let body = modern("tools/call", json!({ "name": "get", "arguments": {} })).to_string();
            let headers = modern_headers("tools/call", Some("get"));
            let reply = connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
            replies.push_str(&reply.text());
        }
        let log = process.log();
        assert!(log.contains("status 400") && replies.contains("isError"), "{log}");
        for form in ["s3cr3t", "dXMlM0ErMTpzM2NyM3", TOKEN, "t0ken-01"] {
            assert!(!replies.contains(form), "{form} in {replies}");
            assert!(!log.contains(form), "{form} in {log}");
        }
    }
}
