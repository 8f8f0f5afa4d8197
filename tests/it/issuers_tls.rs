//! Issuers over TLS with an authority of their own, as companies run them: trusted where it is written, and nowhere else.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sidegate::app;
use sidegate::config::{Environment, load_text};
use sidegate::live::Live;
use sidegate::plan::compile;

use crate::support::Gateway;
use crate::support::issuer::{AUDIENCE, Pair, now, set};
use crate::support::message::{modern, modern_headers};
use crate::support::tls::{Authority, authority};
use crate::support::tls_upstream::{acceptor, folder, front};
use crate::support::upstream::{self, Seen, Step, Upstream};

/// An issuer behind TLS: discovery and keys.
struct Issuer {
    upstream: Upstream,
    url: String,
}

impl Issuer {
    async fn start(pair: &Pair, servers: &Authority, name: &str, clients: Option<&Authority>) -> Self {
        let keys = set(&[pair]).to_string();
        let upstream = Upstream::start(move |seen: &Seen| {
            let own = format!("https://{}", seen.header("host").unwrap());
            match seen.path() {
                "/.well-known/openid-configuration" => {
                    let document = json!({ "issuer": own, "jwks_uri": format!("{own}/keys") });
                    upstream::json(&document.to_string())
                }
                "/keys" => upstream::json(&keys),
                _ => vec![Step::Send(upstream::reply("404 Not Found", "text/plain", b""))],
            }
        })
        .await;
        let address = front(acceptor(servers, name, clients, &["http/1.1"]), upstream.address).await;
        Self { upstream, url: format!("https://localhost:{}", address.port()) }
    }

    fn token(&self, pair: &Pair) -> String {
        pair.token(&json!({ "iss": self.url, "sub": "ada", "aud": AUDIENCE, "exp": now() + 600 }))
    }

    fn auth(&self, tls: Option<&Value>) -> Value {
        let mut jwt = json!({ "issuer": self.url });
        if let Some(tls) = tls {
            jwt["tls"] = tls.clone();
        }
        json!({ "resource": AUDIENCE, "jwt": jwt })
    }
}

fn config(auth: &Value) -> String {
    let tools = json!({ "hello": { "description": "D.", "static": { "text": "Hello." } } });
    json!({ "auth": auth, "tools": tools }).to_string()
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    let mut headers = modern_headers("tools/call", Some("hello"));
    headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    gateway.post(&headers, body.as_bytes()).await.status
}

#[tokio::test]
async fn an_issuer_with_an_authority_of_its_own_is_trusted_where_that_is_written() {
    let (own, other, pair) = (authority(), authority(), Pair::ec("k"));
    let ca = json!({ "ca": "ca.pem" });
    for (what, name, folder, tls, wanted) in [
        ("its authority", "localhost", folder(&own, &own), Some(&ca), 200),
        ("those of the platform", "localhost", folder(&own, &own), None, 503),
        ("another authority", "localhost", folder(&other, &own), Some(&ca), 503),
        ("another name", "login.example", folder(&own, &own), Some(&ca), 503),
    ] {
        let issuer = Issuer::start(&pair, &own, name, None).await;
        let gateway = Gateway::start_in(folder, &config(&issuer.auth(tls))).await;
        assert_eq!(status(&gateway, &issuer.token(&pair)).await, wanted, "{what}");
        let asked = issuer.upstream.count();
        assert_eq!(asked, if wanted == 200 { 2 } else { 0 }, "{what}: discovery and keys, or nothing");
    }
}

#[tokio::test]
async fn an_issuer_that_asks_for_a_certificate_is_shown_ours() {
    let (servers, clients, pair) = (authority(), authority(), Pair::ec("k"));
    let issuer = Issuer::start(&pair, &servers, "localhost", Some(&clients)).await;
    let both = json!({ "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem" });
    for (folder, tls, wanted) in [
        (folder(&servers, &clients), &both, 200),
        (folder(&servers, &servers), &both, 503),
        (folder(&servers, &clients), &json!({ "ca": "ca.pem" }), 503),
    ] {
        let gateway = Gateway::start_in(folder, &config(&issuer.auth(Some(tls)))).await;
        assert_eq!(status(&gateway, &issuer.token(&pair)).await, wanted, "{tls}");
    }
}

#[tokio::test]
async fn an_authority_that_changes_counts_from_the_next_reload() {
    let (before, after, pair) = (authority(), authority(), Pair::ec("k"));
    let issuer = Issuer::start(&pair, &after, "localhost", None).await;
    let folder = folder(&before, &before);
    let text = config(&issuer.auth(Some(&json!({ "ca": "ca.pem" }))));
    let load = |folder: &Path| {
        let mut loaded = load_text("g.yaml", &text, folder, &Environment::default());
        let plan = compile(loaded.config.as_ref().unwrap(), &mut loaded.diagnostics).unwrap();
        assert!(loaded.watched.paths().any(|path| path.ends_with("ca.pem")), "an edit of it is heard of");
        plan
    };
    let first = app::open(load(folder.path())).unwrap().load();
    let token = issuer.token(&pair);
    assert!(first.auth.bearer(&token).await.is_err());
    let same = Live::open(load(folder.path()), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first.auth, &same.auth), "an equal plan is the same");
    std::fs::write(folder.path().join("ca.pem"), after.pem()).unwrap();
    let next = Live::open(load(folder.path()), Some(&first)).unwrap();
    assert_eq!(next.auth.bearer(&token).await.unwrap().sub, "ada");
}
