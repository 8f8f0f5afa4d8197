//! Tokens in the name of who calls (RFC 8693): for each caller their own, got for the token that they came with, which reaches the
//! token endpoint and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::gateway::problems;
use crate::support::issuer::{Issuer, Pair};
use crate::support::message::{headers, modern, modern_headers};
use crate::support::upstream::{Seen, Step, json as good, reply};
use crate::support::{Gateway, Upstream, failure, structured};

/// An issuer, an API that tells whose token it was shown, an endpoint that exchanges, and the gateway between them.
struct World {
    gateway: Gateway,
    issuer: Issuer,
    pair: Pair,
    api: Upstream,
    endpoint: Upstream,
}

fn yaml(auth: &Value, api: &str, endpoint: &str) -> Value {
    let get = |path: &str| json!({ "source": "api", "get": path });
    json!({
        "auth": auth,
        "sources": { "api": { "rest": { "base_url": api, "timeout": "5s", "credentials": { "token_exchange": {
            "token_url": format!("{endpoint}/token"), "client_id": "us", "client_secret": "s3cr3t-of-ours",
            "audience": "orders", "resource": "https://api.example", "scopes": ["read", "write"]
        } } } } },
        "tools": {
            "who": { "description": "W.", "rest": get("/who") },
            "kept": { "description": "K.", "rest": get("/who"), "policy": { "cache": { "ttl": "1h" } } },
            "write": { "description": "P.", "rest": { "source": "api", "post": "/who", "json": { "a": 1 } } }
        }
    })
}

fn form(seen: &Seen) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn field(seen: &Seen, name: &str) -> String {
    form(seen).into_iter().find(|(n, _)| n == name).map(|(_, value)| value).unwrap_or_default()
}

/// Who a JWT is of, as the endpoint reads it.
fn subject(token: &str) -> String {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
    let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
    claims["sub"].as_str().unwrap().to_owned()
}

/// `for-NAME-N`, each another.
async fn exchanger() -> Upstream {
    let given = AtomicUsize::new(0);
    Upstream::start(move |seen| {
        let name = subject(&field(seen, "subject_token"));
        let n = given.fetch_add(1, Ordering::SeqCst) + 1;
        good(
            &json!({
                "access_token": format!("for-{name}-{n}"), "token_type": "Bearer", "expires_in": 3600,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            })
            .to_string(),
        )
    })
    .await
}

fn bearer(seen: &Seen) -> String {
    seen.header("authorization").unwrap_or_default()
}

async fn teller() -> Upstream {
    Upstream::start(|seen| good(&json!({ "shown": bearer(seen) }).to_string())).await
}

impl World {
    async fn new(api: Upstream, endpoint: Upstream) -> Self {
        let pair = Pair::ec("e1");
        let issuer = Issuer::start(&[&pair]).await;
        let gateway = Gateway::start(&yaml(&issuer.auth(), &api.url(), &endpoint.url()).to_string()).await;
        Self { gateway, issuer, pair, api, endpoint }
    }

    fn token(&self, name: &str) -> String {
        let mut claims = self.issuer.claims();
        claims["sub"] = json!(name);
        self.pair.token(&claims)
    }

    async fn call(&self, token: &str, tool: &str) -> Value {
        let mut all = modern_headers("tools/call", Some(tool));
        all.extend(headers(&[("Authorization", &format!("Bearer {token}"))]));
        let body = modern("tools/call", json!({ "name": tool, "arguments": {} })).to_string();
        let reply = self.gateway.connect().await.send("POST", "/mcp", &all, body.as_bytes()).await.unwrap();
        reply.json()["result"].clone()
    }
}

fn shown(result: &Value) -> String {
    structured(result)["shown"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_caller_acts_under_a_token_of_its_own_and_nobody_else_sees_theirs() {
    let world = World::new(teller().await, exchanger().await).await;
    let (ann, bob) = (world.token("ann"), world.token("bob"));
    let mut of = [Vec::new(), Vec::new()];
    for _ in 0..5 {
        let calls = futures_util::future::join4(
            world.call(&ann, "who"),
            world.call(&bob, "who"),
            world.call(&ann, "write"),
            world.call(&bob, "kept"),
        );
        let (a, b, c, d) = calls.await;
        of[0].extend([shown(&a), shown(&c)]);
        of[1].extend([shown(&b), shown(&d)]);
    }
    assert_eq!(shown(&world.call(&ann, "kept").await), of[0][0], "a kept answer is its caller's alone");
    for (name, all) in ["ann", "bob"].iter().zip(&of) {
        assert!(all[0].starts_with(&format!("Bearer for-{name}-")), "{all:?}");
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    }
    let asked = world.endpoint.take();
    assert_eq!(asked.len(), 2, "one for each of them");
    for seen in &asked {
        let token = field(seen, "subject_token");
        assert!([&ann, &bob].contains(&&token));
        assert_eq!(seen.target, "/token");
        assert_eq!(bearer(seen), "Basic dXM6czNjcjN0LW9mLW91cnM=");
        let access = "urn:ietf:params:oauth:token-type:access_token";
        for (name, value) in [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", access),
            ("subject_token_type", access),
            ("scope", "read write"),
            ("audience", "orders"),
            ("resource", "https://api.example"),
        ] {
            assert_eq!(field(seen, name), value);
        }
    }
    let seen = world.api.take();
    assert!(!seen.is_empty());
    for seen in seen {
        let mut all = seen.target.into_bytes();
        all.extend(seen.headers.into_iter().flat_map(|(name, value)| [name.into_bytes(), value].concat()));
        all.extend(seen.body);
        let all = String::from_utf8(all).unwrap();
        for part in [&ann, &bob].iter().flat_map(|token| token.split('.').skip(1)) {
            assert!(!all.contains(part), "{all}");
        }
    }
}

#[tokio::test]
async fn a_token_that_the_api_refuses_is_exchanged_anew_once() {
    let good_one = Arc::new(AtomicUsize::new(2));
    let wanted = good_one.clone();
    let api = Upstream::start(move |seen| {
        if bearer(seen).ends_with(&format!("-{}", wanted.load(Ordering::SeqCst))) {
            good("{}")
        } else {
            vec![Step::Send(reply("401 Unauthorized", "text/plain", b"expired"))]
        }
    })
    .await;
    let world = World::new(api, exchanger().await).await;
    let ann = world.token("ann");
    structured(&world.call(&ann, "write").await);
    assert_eq!((world.api.take().len(), world.endpoint.take().len()), (2, 2));
    good_one.store(usize::MAX, Ordering::SeqCst);
    assert!(failure(&world.call(&ann, "who").await).contains("status 401"));
    assert_eq!((world.api.take().len(), world.endpoint.take().len()), (1, 0));
}

#[tokio::test]
async fn what_the_endpoint_says_of_a_callers_token_is_a_sentence_for_them() {
    let echo = |seen: &Seen, error: &str| {
        let body = json!({ "error": error, "error_description": field(seen, "subject_token") }).to_string();
        vec![Step::Send(reply("400 Bad Request", "application/json", body.as_bytes()))]
    };
    let token = |more: Value| {
        let mut body = json!({ "access_token": "other-token", "token_type": "Bearer" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        good(&body.to_string())
    };
    for (case, part) in [
        ("invalid_grant", "Sign in again"),
        ("invalid_request", "Sign in again"),
        ("invalid_client", "gives this server no token"),
        ("another type", "its token is of another type"),
        ("own", "gives the caller's own token back"),
    ] {
        let endpoint = Upstream::start(move |seen| match case {
            "another type" => token(json!({ "issued_token_type": "urn:ietf:params:oauth:token-type:saml2" })),
            "own" => token(json!({ "access_token": field(seen, "subject_token") })),
            error => echo(seen, error),
        })
        .await;
        let world = World::new(Upstream::recorder().await, endpoint).await;
        let ann = world.token("ann");
        let said = world.call(&ann, "who").await;
        assert!(failure(&said).contains(part), "{case}: {said}");
        assert!(!failure(&said).contains(ann.split('.').nth(1).unwrap()), "{case}: {said}");
        assert_eq!((world.api.count(), world.endpoint.count()), (0, 1), "{case}");
    }
}

#[tokio::test]
async fn a_caller_without_a_token_is_told_so_and_nothing_is_sent() {
    let (api, endpoint) = (Upstream::recorder().await, Upstream::recorder().await);
    let auth = json!({ "api_keys": [{ "name": "ci", "key": "k3y-of-a-machine-0123456789" }] });
    let text = yaml(&auth, &api.url(), &endpoint.url()).to_string();
    let gateway = Gateway::start(&text).await;
    let mut all = modern_headers("tools/call", Some("who"));
    all.extend(headers(&[("X-API-Key", "k3y-of-a-machine-0123456789")]));
    let body = modern("tools/call", json!({ "name": "who", "arguments": {} })).to_string();
    let reply = gateway.connect().await.send("POST", "/mcp", &all, body.as_bytes()).await.unwrap();
    assert!(failure(&reply.json()["result"]).contains("this caller has no token that could stand for"));
    assert_eq!((api.count(), endpoint.count()), (0, 0));
}

#[test]
fn answers_in_the_name_of_a_caller_are_shared_with_nobody() {
    let folder = tempfile::tempdir().unwrap();
    for (vary, leaks) in [("none", true), ("scopes", true), ("caller", false)] {
        let mut text = yaml(&json!("none"), "https://api.example", "https://login.example");
        text["tools"]["kept"]["policy"]["cache"]["vary"] = json!(vary);
        let told = problems(folder.path(), &text.to_string());
        assert_eq!(told.contains("cache-leak"), leaks, "{vary}: {told}");
        assert!(!leaks || told.contains("the source is asked in the caller's name"), "{told}");
    }
}
