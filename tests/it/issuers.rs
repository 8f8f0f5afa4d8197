//! Issuers that change their keys, are down, or answer badly: nobody with a good token is turned away, and what is read stays small.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sidegate::app;
use sidegate::config::{Environment, load_text};
use sidegate::live::Live;
use sidegate::plan::compile;

use crate::support::issuer::{AUDIENCE, Issuer, Pair, set};
use crate::support::message::{modern, modern_headers};
use crate::support::upstream::{self, Seen, Step, Upstream};
use crate::support::{Connection, Gateway};

fn config(auth: &Value) -> String {
    let tools = json!({ "hello": { "description": "D.", "static": { "text": "Hello." } } });
    json!({ "auth": auth, "tools": tools }).to_string()
}

async fn knock(connection: &mut Connection, token: &str) -> u16 {
    let mut headers = modern_headers("tools/list", None);
    headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    let body = modern("tools/list", json!({})).to_string();
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap().status
}

async fn once(gateway: &Gateway, token: &str) -> u16 {
    knock(&mut gateway.connect().await, token).await
}

fn subject(issuer: &Issuer, sub: &str) -> Value {
    let mut claims = issuer.claims();
    claims["sub"] = sub.into();
    claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_change_under_load_turn_nobody_away() {
    let pairs: Vec<Pair> = (0..4).map(|n| Pair::ec(&format!("k{n}"))).collect();
    let issuer = Issuer::start(&[&pairs[0]]).await;
    let gateway = Arc::new(Gateway::start(&config(&issuer.auth())).await);
    let current = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tokens = |pair: &Pair| (0..50).map(|n| pair.token(&subject(&issuer, &n.to_string()))).collect();
    *current.lock().unwrap() = tokens(&pairs[0]);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (gateway, current, stop, done) =
                (gateway.clone(), current.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let mut connection = gateway.connect().await;
                let mut turned_away = 0;
                while !stop.load(Ordering::Relaxed) {
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    let token: String = {
                        let tokens: &Vec<String> = &current.lock().unwrap();
                        tokens[number % tokens.len()].clone()
                    };
                    turned_away += usize::from(knock(&mut connection, &token).await != 200);
                }
                turned_away
            })
        })
        .collect();
    for (old, new) in pairs.iter().zip(pairs.iter().skip(1)) {
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 400 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        issuer.rotate(&[old, new]);
        *current.lock().unwrap() = tokens(new);
    }
    let before = done.load(Ordering::Relaxed);
    while done.load(Ordering::Relaxed) < before + 400 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 0, "good tokens were turned away");
    }
    assert!((4..=8).contains(&issuer.reads()), "one reading for each change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_bad_tokens_cause_one_reading() {
    let (pair, other) = (Pair::ec("k"), Pair::ec("other"));
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Arc::new(Gateway::start(&config(&issuer.auth())).await);
    assert_eq!(once(&gateway, &pair.token(&issuer.claims())).await, 200);
    assert_eq!(issuer.reads(), 1);
    let claims = issuer.claims().to_string();
    let senders = (0..8).map(|sender| {
        let tokens: Vec<String> = (0..1250)
            .map(|n| {
                let header = json!({ "alg": "ES256", "kid": format!("{sender}-{n}") }).to_string();
                other.token_of("ES256", &header, &claims)
            })
            .collect();
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut connection = gateway.connect().await;
            for token in tokens {
                assert_eq!(knock(&mut connection, &token).await, 401);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let reads = issuer.reads();
    assert!(reads <= 2, "{reads} readings");
    assert_eq!(once(&gateway, &pair.token(&subject(&issuer, "bob"))).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_who_hang_up_cause_no_more_readings_than_those_who_wait() {
    let (pair, other) = (Pair::ec("k"), Pair::ec("other"));
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start(&config(&issuer.auth())).await;
    assert_eq!(once(&gateway, &pair.token(&issuer.claims())).await, 200);
    let claims = issuer.claims().to_string();
    for n in 0..30 {
        let header = json!({ "alg": "ES256", "kid": format!("s{n}") }).to_string();
        let token = other.token_of("ES256", &header, &claims);
        let mut headers = modern_headers("tools/list", None);
        headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        let body = modern("tools/list", json!({})).to_string();
        let mut connection = gateway.connect().await;
        connection.begin("POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(connection);
    }
    let reads = issuer.reads();
    assert!((2..=3).contains(&reads), "{reads} readings");
    assert_eq!(once(&gateway, &pair.token(&subject(&issuer, "bob"))).await, 200);
}

#[tokio::test]
async fn while_an_issuer_is_down_the_last_good_keys_hold() {
    let (pair, newer) = (Pair::ec("k"), Pair::ec("newer"));
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start(&config(&issuer.auth())).await;
    assert_eq!(once(&gateway, &pair.token(&issuer.claims())).await, 200);
    let reply = upstream::reply("503 Service Unavailable", "text/plain", b"");
    issuer.fail(Some(vec![Step::Send(reply)]));
    // Makes it look for the new key, in vain.
    assert_eq!(once(&gateway, &newer.token(&issuer.claims())).await, 401);
    assert_eq!(issuer.reads(), 2);
    for sub in ["a", "b", "c"] {
        assert_eq!(once(&gateway, &pair.token(&subject(&issuer, sub))).await, 200);
    }
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_no_fault_of_the_token() {
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    issuer.fail(Some(vec![Step::Close]));
    let gateway = Gateway::start(&config(&issuer.auth())).await;
    assert_eq!(once(&gateway, &pair.token(&issuer.claims())).await, 503);
    issuer.fail(None);
    let begun = Instant::now();
    loop {
        match once(&gateway, &pair.token(&issuer.claims())).await {
            200 => break,
            503 => assert!(begun.elapsed() < Duration::from_secs(30), "it comes back by itself"),
            status => panic!("{status}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn documents_that_are_large_slow_or_of_somebody_else_are_not_taken() {
    let pair = Pair::ec("k");
    let keys = set(&[&pair]);
    let large = json!({ "keys": [pair.jwk()], "padding": "a".repeat(10 << 20) }).to_string();
    let many = json!({ "keys": vec![pair.jwk(); 101] }).to_string();
    let chunked = {
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())];
        let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
        steps.push(Step::Repeat(chunk, 160));
        steps.push(Step::Send(b"0\r\n\r\n".to_vec()));
        steps
    };
    let answers: [(&str, Vec<Step>); 7] = [
        ("10 MB", upstream::json(&large)),
        ("10 MB without a length", chunked),
        ("too many keys", upstream::json(&many)),
        (
            "one that never ends",
            vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()), Step::Hang],
        ),
        ("HTML", vec![Step::Send(upstream::reply("200 OK", "text/html", b"<html>"))]),
        (
            "a redirect",
            vec![Step::Send(b"HTTP/1.1 302 Found\r\nLocation: /keys2\r\nContent-Length: 0\r\n\r\n".to_vec())],
        ),
        ("no keys of use", upstream::json(r#"{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"EC"},7]}"#)),
    ];
    for (what, steps) in answers {
        let body = keys.to_string();
        let issuer = Upstream::start(move |seen: &Seen| match seen.path() {
            "/keys" => steps.clone(),
            _ => upstream::json(&body),
        })
        .await;
        let auth = json!({ "resource": AUDIENCE, "jwt": { "issuer": "urn:me", "jwks_url": format!("{}/keys", issuer.url()) } });
        let gateway = Gateway::start(&config(&auth)).await;
        let claims = json!({ "iss": "urn:me", "sub": "ada", "aud": AUDIENCE, "exp": 4_000_000_000_u64 });
        assert_eq!(once(&gateway, &pair.token(&claims)).await, 503, "{what}");
        assert!(issuer.take().iter().all(|seen| seen.path() == "/keys"), "{what}");
    }
    for (what, document) in [
        ("another issuer", json!({ "issuer": "https://evil.example", "jwks_uri": "SELF/keys" })),
        ("a longer issuer", json!({ "issuer": "SELF/", "jwks_uri": "SELF/keys" })),
        ("http elsewhere", json!({ "issuer": "SELF", "jwks_uri": "http://192.0.2.1/keys" })),
        ("a file", json!({ "issuer": "SELF", "jwks_uri": "file:///keys" })),
        ("nowhere", json!({ "issuer": "SELF" })),
    ] {
        let body = keys.to_string();
        let issuer = Upstream::start(move |seen: &Seen| match seen.path() {
            "/keys" => upstream::json(&body),
            _ => {
                let own = format!("http://{}", seen.header("host").unwrap());
                upstream::json(&document.to_string().replace("SELF", &own))
            }
        })
        .await;
        let auth = json!({ "resource": AUDIENCE, "jwt": { "issuer": issuer.url() } });
        let gateway = Gateway::start(&config(&auth)).await;
        let claims = json!({ "iss": issuer.url(), "sub": "ada", "aud": AUDIENCE, "exp": 4_000_000_000_u64 });
        assert_eq!(once(&gateway, &pair.token(&claims)).await, 503, "{what}");
        assert!(issuer.take().iter().all(|seen| seen.path() != "/keys"), "{what}");
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_is_found_by_the_older_place_and_by_that_of_rfc_8414() {
    let pair = Pair::ec("k");
    for place in
        ["/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant"]
    {
        let body = set(&[&pair]).to_string();
        let issuer = Upstream::start(move |seen: &Seen| {
            let own = format!("http://{}", seen.header("host").unwrap());
            match seen.path() {
                "/keys" => upstream::json(&body),
                path if path == place => {
                    let document =
                        json!({ "issuer": format!("{own}/tenant"), "jwks_uri": format!("{own}/keys") });
                    upstream::json(&document.to_string())
                }
                _ => vec![Step::Send(upstream::reply("404 Not Found", "text/plain", b""))],
            }
        })
        .await;
        let own = format!("{}/tenant", issuer.url());
        let auth = json!({ "resource": AUDIENCE, "jwt": { "issuer": own } });
        let gateway = Gateway::start(&config(&auth)).await;
        let claims = json!({ "iss": own, "sub": "ada", "aud": AUDIENCE, "exp": 4_000_000_000_u64 });
        assert_eq!(once(&gateway, &pair.token(&claims)).await, 200, "{place}");
    }
}

#[tokio::test]
async fn keys_of_a_file_need_no_issuer_that_answers() {
    let pair = Pair::rsa("k");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.json"), set(&[&pair]).to_string()).unwrap();
    let auth = json!({ "resource": AUDIENCE, "jwt": { "issuer": "urn:me", "jwks_file": "keys.json" } });
    let gateway = Gateway::start_in(folder, &config(&auth)).await;
    let claims = json!({ "iss": "urn:me", "sub": "ada", "aud": AUDIENCE, "exp": 4_000_000_000_u64 });
    assert_eq!(once(&gateway, &pair.token(&claims)).await, 200);
    assert_eq!(once(&gateway, &Pair::rsa("k2").token(&claims)).await, 401);
}

#[tokio::test]
async fn keys_and_what_was_verified_outlive_a_reload_that_does_not_change_them() {
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let plan = |auth: &Value| {
        let mut loaded = load_text("g.yaml", &config(auth), Path::new("."), &Environment::default());
        compile(loaded.config.as_ref().unwrap(), &mut loaded.diagnostics).unwrap()
    };
    let first = app::open(plan(&issuer.auth())).unwrap().load();
    let token = pair.token(&issuer.claims());
    assert_eq!(first.auth.bearer(&token).await.unwrap().sub, "ada");
    assert_eq!(issuer.reads(), 1);
    let same = Live::open(plan(&issuer.auth()), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first.auth, &same.auth), "an equal plan is the same");
    let mut changed = issuer.auth();
    changed["api_keys"] = json!([{ "name": "ci", "key": "key-of-ci" }]);
    let next = Live::open(plan(&changed), Some(&first)).unwrap();
    let identity = next.auth.bearer(&token).await.unwrap();
    assert_eq!(next.auth.bearer("key-of-ci").await.unwrap().sub, "ci");
    assert_eq!(issuer.reads(), 0, "the issuer is the same, and so are its keys");
    assert_eq!(identity.token.as_ref().unwrap().expose(), token);
    assert!(!format!("{identity:?}").contains(&token), "a token does not print");
    assert!(!serde_json::to_string(&*identity).unwrap().contains(&token));
    changed["jwt"]["audience"] = "another".into();
    let stricter = Live::open(plan(&changed), Some(&next)).unwrap();
    assert!(stricter.auth.bearer(&token).await.is_err(), "what it is meant for has changed");
}
