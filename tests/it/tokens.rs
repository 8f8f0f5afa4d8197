//! Tokens of an issuer, one by one: which come in, and which do not for one thing that is wrong with them (RFC 7519, RFC 8725,
//! RFC 9068).
//!
//! What is promised of callers, and where it is shown:
//!
//! | promise | shown by |
//! |---|---|
//! | E1 a missing or garbage token is a challenge with metadata and scopes; metadata at both places | `callers::nobody_comes_in_without_a_key_that_is_known`, `the_metadata_says_where_tokens_come_from_at_both_places_to_everybody`, `access::what_is_needed_stands_in_the_first_challenge_and_in_the_metadata` |
//! | E2 times, issuer, audience, subject, forms; never by the URL | `bad_tokens_do_not_come_in_and_cause_nothing`, `a_token_comes_in_the_header_and_in_one_header_only` |
//! | E3 tricks with algorithms and keys, without a fetch | `bad_tokens_do_not_come_in_and_cause_nothing` |
//! | E4 a missing scope: all named at once, hidden in lists, nothing touched | `access::a_missing_scope_is_a_challenge_with_all_of_them_and_touches_nothing`, `access::lists_show_what_a_caller_may_use_and_no_more` |
//! | E5 10,000 calls of strangers: no source, pool, cache or issuer hears of them | `strangers` |
//! | E6 keys are compared in constant time, kept hashed, taken from headers only | `benches/key_timing.rs`, `callers::keys_do_not_print`, `callers::nobody_comes_in_without_a_key_that_is_known` |
//! | E7 keys that change under load; an issuer that is down, slow, large; `http` refused; TLS with an authority of its own | `issuers`, `issuers_tls`, `tests/config/invalid/jwt.yaml`, and a real provider in `tests/clients/openid.mjs` |

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::support::issuer::{AUDIENCE, Issuer, Pair, base64, now};
use crate::support::message::{headers, modern, modern_headers};
use crate::support::{Gateway, Reply, structured};

struct World {
    gateway: Gateway,
    issuer: Issuer,
    rsa: Pair,
    ec: Pair,
    ed: Pair,
}

/// What is asked of the caller.
fn config(auth: &Value) -> Value {
    json!({
        "auth": auth,
        "sources": { "db": { "sql": { "url": "sqlite::memory:" } } },
        "tools": { "who": {
            "description": "D.",
            "params": { "who": { "from": "caller.sub" }, "scopes": { "from": "caller.scopes" } },
            "sql": { "source": "db", "query": "SELECT :who AS who, :scopes AS scopes", "row": "one" },
        } },
    })
}

impl World {
    async fn new() -> Self {
        let (rsa, ec, ed) = (Pair::rsa("r1"), Pair::ec("e1"), Pair::ed("d1"));
        let issuer = Issuer::start(&[&rsa, &ec, &ed]).await;
        let gateway = Gateway::start(&config(&issuer.auth()).to_string()).await;
        Self { gateway, issuer, rsa, ec, ed }
    }

    /// The claims of a good token with some others in their place; null takes one away.
    fn claims(&self, changes: &Value) -> Value {
        let mut claims = self.issuer.claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// A token of the RSA key with such claims.
    fn with(&self, changes: &Value) -> String {
        self.rsa.token(&self.claims(changes))
    }

    /// A good token with this header.
    fn headed(&self, header: &Value) -> String {
        self.rsa.token_of("RS256", &header.to_string(), &self.issuer.claims().to_string())
    }
}

async fn send(gateway: &Gateway, own: &[(&str, &str)], path: &str) -> Reply {
    let mut all = modern_headers("tools/call", Some("who"));
    all.extend(headers(own));
    let body = modern("tools/call", json!({ "name": "who" })).to_string();
    gateway.connect().await.send("POST", path, &all, body.as_bytes()).await.unwrap()
}

async fn call(gateway: &Gateway, token: &str) -> Reply {
    send(gateway, &[("Authorization", &format!("Bearer {token}"))], "/mcp").await
}

/// Signed with the bytes of a public key, as if they were a secret.
fn hs256(pair: &Pair, secret: &[u8], claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT", "kid": pair.kid });
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64(tag))
}

#[tokio::test]
async fn good_tokens_come_in() {
    let world = World::new().await;
    let header = |alg: &str, kid: &str, typ: &str| json!({ "alg": alg, "kid": kid, "typ": typ });
    let signed = |alg: &str| {
        let claims = world.issuer.claims().to_string();
        world.rsa.token_of(alg, &header(alg, "r1", "JWT").to_string(), &claims)
    };
    let good = [
        ("RS256", signed("RS256")),
        ("RS384", signed("RS384")),
        ("RS512", signed("RS512")),
        ("PS256", signed("PS256")),
        ("PS384", signed("PS384")),
        ("PS512", signed("PS512")),
        ("ES256", world.ec.token(&world.issuer.claims())),
        ("EdDSA", world.ed.token(&world.issuer.claims())),
        ("no typ", world.headed(&json!({ "alg": "RS256", "kid": "r1" }))),
        ("typ JWT", world.headed(&header("RS256", "r1", "JWT"))),
        ("typ in other letters", world.headed(&header("RS256", "r1", "application/AT+JWT"))),
        ("no kid", world.headed(&json!({ "alg": "RS256", "typ": "JWT" }))),
        ("unknown members", world.headed(&json!({ "alg": "RS256", "kid": "r1", "x5t": "a", "cty": "b" }))),
        ("one of several audiences", world.with(&json!({ "aud": ["other", AUDIENCE] }))),
        ("audience in capitals", world.with(&json!({ "aud": "HTTPS://MCP.Shop.Example/mcp" }))),
        ("expired within the leeway", world.with(&json!({ "exp": now() - 5 }))),
        ("nbf within the leeway", world.with(&json!({ "nbf": now() + 10 }))),
        ("exp with a fraction", world.with(&json!({ "exp": 4_000_000_000.5 }))),
        ("no iat", world.with(&json!({ "iat": null }))),
    ];
    for (what, token) in &good {
        for _ in 0..2 {
            let reply = call(&world.gateway, token).await;
            assert_eq!(reply.status, 200, "{what}: {}", reply.text());
            let answer = reply.json();
            assert_eq!(structured(&answer["result"])["who"], "ada", "{what}");
        }
    }
    assert_eq!(world.issuer.reads(), 1, "the keys are read once");
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one table")]
async fn bad_tokens_do_not_come_in_and_cause_nothing() {
    let world = World::new().await;
    let evil = Pair::rsa("r1");
    let evil_issuer = Issuer::start(&[&evil]).await;
    let keys = format!("{}/keys", evil_issuer.url());
    let good = world.issuer.claims();
    let claims = good.to_string();
    let der = world.rsa.public_der();
    let jwk = world.rsa.jwk().to_string();
    let unsigned = |alg: &str| format!("{}.{}.", base64(json!({ "alg": alg }).to_string()), base64(&claims));
    let none =
        |alg: &str| world.rsa.token_of("RS256", &json!({ "alg": alg, "kid": "r1" }).to_string(), &claims);
    // Signed with its own key, which it brings along or says where to find.
    let pointing = |name: &str, value: Value| {
        let header = json!({ "alg": "RS256", "kid": "r1", "typ": "JWT", name: value });
        evil.token_of("RS256", &header.to_string(), &claims)
    };
    let headed = |members: &Value| {
        let mut header = json!({ "alg": "RS256", "kid": "r1", "typ": "JWT" });
        header.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        world.headed(&header)
    };
    let raw = |header: &str, claims: &str| world.rsa.token_of("RS256", header, claims);
    let head = r#"{"alg":"RS256","kid":"r1"}"#;
    let twice = |member: &str| format!("{},{member}}}", claims.trim_end_matches('}'));
    let token = world.rsa.token(&good);
    let (start, signature) = token.rsplit_once('.').unwrap();
    let flipped =
        format!("{start}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    let with = |changes: Value| world.with(&changes);
    let bad: Vec<(&str, String)> = vec![
        ("expired", with(json!({ "exp": now() - 60 }))),
        ("not yet valid", with(json!({ "nbf": now() + 3600 }))),
        ("no exp", with(json!({ "exp": null }))),
        ("no iss", with(json!({ "iss": null }))),
        ("no aud", with(json!({ "aud": null }))),
        ("no sub", with(json!({ "sub": null }))),
        ("another issuer", with(json!({ "iss": "https://evil.example" }))),
        ("issuer with a slash", with(json!({ "iss": format!("{}/", world.issuer.url()) }))),
        ("issuer in a list", with(json!({ "iss": [world.issuer.url()] }))),
        ("another audience", with(json!({ "aud": "https://other.example/mcp" }))),
        ("a longer audience", with(json!({ "aud": format!("{AUDIENCE}/x") }))),
        ("a shorter audience", with(json!({ "aud": "https://mcp.shop.example" }))),
        ("no audience of several", with(json!({ "aud": ["a", "b"] }))),
        ("an empty list of audiences", with(json!({ "aud": [] }))),
        ("audiences of other types", with(json!({ "aud": [AUDIENCE, 1] }))),
        ("an audience that is an object", with(json!({ "aud": { "a": AUDIENCE } }))),
        ("exp as a text", with(json!({ "exp": (now() + 600).to_string() }))),
        ("exp below zero", with(json!({ "exp": -1 }))),
        ("exp as a list", with(json!({ "exp": [now() + 600] }))),
        ("exp that is true", with(json!({ "exp": true }))),
        ("nbf as a text", with(json!({ "nbf": "0" }))),
        ("iat as a text", with(json!({ "iat": "0" }))),
        ("an empty sub", with(json!({ "sub": "" }))),
        ("sub as a number", with(json!({ "sub": 7 }))),
        ("sub as an object", with(json!({ "sub": { "a": 1 } }))),
        ("alg none, unsigned", unsigned("none")),
        ("alg None, unsigned", unsigned("None")),
        ("alg NONE, unsigned", unsigned("NONE")),
        ("alg nOnE, unsigned", unsigned("nOnE")),
        ("alg none, signed", none("none")),
        ("alg as a list", raw(r#"{"alg":["RS256"],"kid":"r1"}"#, &claims)),
        ("alg in small letters", none("rs256")),
        ("no alg", raw(r#"{"kid":"r1"}"#, &claims)),
        ("HS256 with the public key in DER", hs256(&world.rsa, &der, &good)),
        ("HS256 with the public key as JWK", hs256(&world.rsa, jwk.as_bytes(), &good)),
        ("HS256 with nothing", hs256(&world.rsa, b"", &good)),
        ("HS512 by name", none("HS512")),
        ("ES512, which is not on the list", none("ES512")),
        ("ES256 by name, RSA by key", none("ES256")),
        ("RS512 by name, RS256 by signature", none("RS512")),
        ("PS256 by name, RS256 by signature", none("PS256")),
        ("the name of the EC key", headed(&json!({ "kid": "e1" }))),
        ("a name that is a number", headed(&json!({ "kid": 1 }))),
        ("jwk", pointing("jwk", evil.jwk())),
        ("jku", pointing("jku", json!(keys))),
        ("x5u", pointing("x5u", json!(keys))),
        ("x5c", pointing("x5c", json!(["MIIB"]))),
        ("jku on a good token", headed(&json!({ "jku": keys }))),
        ("signed by somebody else", evil.token(&good)),
        ("a changed signature", flipped),
        ("no signature", format!("{start}.")),
        ("crit", headed(&json!({ "crit": ["exp"], "exp": 1 }))),
        ("an empty crit", headed(&json!({ "crit": [] }))),
        ("b64", headed(&json!({ "b64": false }))),
        ("typ of an id token's logout", headed(&json!({ "typ": "logout+jwt" }))),
        ("typ dpop", headed(&json!({ "typ": "dpop+jwt" }))),
        ("typ as a number", headed(&json!({ "typ": 1 }))),
        ("sub twice", raw(head, &twice(r#""sub":"eve""#))),
        ("aud twice", raw(head, &twice(r#""\u0061ud":"x""#))),
        ("a member of a claim twice", raw(head, &twice(r#""a":{"b":1,"b":2}"#))),
        ("alg twice", raw(r#"{"alg":"RS256","kid":"r1","alg":"RS256"}"#, &claims)),
        ("claims that are a list", raw(head, &format!("[{claims}]"))),
        ("claims that are not JSON", raw(head, "ada")),
        ("a header that is not JSON", raw("RS256", &claims)),
        ("padding", format!("{start}.{signature}==")),
        ("four parts", format!("{token}.{signature}")),
        ("oversized", with(json!({ "a": "a".repeat(16 << 10) }))),
        ("three dots", "..".to_owned()),
        ("garbage", "a.b.c".to_owned()),
        ("no token", "garbage".to_owned()),
    ];
    assert!(bad.len() > 60);
    for (what, token) in &bad {
        let reply = call(&world.gateway, token).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", "), "{what}: {challenge}");
        assert!(challenge.contains("resource_metadata=\""), "{what}: {challenge}");
        assert!(!reply.text().contains(signature), "{what}");
    }
    assert_eq!(evil_issuer.upstream.count(), 0, "nothing was fetched from where a token said");
    assert_eq!(world.issuer.reads(), 1, "no bad token of a known key causes a reading");
    assert_eq!(call(&world.gateway, &token).await.status, 200);
}

#[tokio::test]
async fn a_token_comes_in_the_header_and_in_one_header_only() {
    let world = World::new().await;
    let token = world.rsa.token(&world.issuer.claims());
    let bearer = format!("Bearer {token}");
    let inside = format!("/mcp?access_token={token}");
    for (own, path, status) in [
        (&[][..], "/mcp", 401),
        (&[], inside.as_str(), 401),
        (&[("Cookie", token.as_str())], "/mcp", 401),
        (&[("X-API-Key", token.as_str())], "/mcp", 401),
        (&[("Authorization", token.as_str())], "/mcp", 401),
        (&[("Authorization", "Bearer")], "/mcp", 401),
        (&[("Authorization", "Basic YTpi")], "/mcp", 401),
        (&[("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())], "/mcp", 400),
        (&[("Authorization", bearer.as_str()), ("X-API-Key", "a")], "/mcp", 400),
        (&[("authorization", bearer.as_str())], inside.as_str(), 200),
    ] {
        let reply = send(&world.gateway, own, path).await;
        assert_eq!(reply.status, status, "{own:?} {path}: {}", reply.text());
        assert_eq!(reply.header("www-authenticate").is_some(), status != 200, "{own:?}");
    }
}

#[tokio::test]
async fn a_token_says_who_calls_by_the_claims_that_are_named() {
    let pair = Pair::ec("k");
    let issuer = Issuer::start(&[&pair]).await;
    let auth = json!({
        "api_keys": [{ "name": "ci", "key": "key-of-ci", "scopes": ["x"] }],
        "jwt": [
            { "issuer": issuer.url(), "audience": ["api", AUDIENCE], "algorithms": ["ES256"], "scopes_claim": "realm_access.roles" },
            { "issuer": "https://other.example", "audience": "api" },
        ],
    });
    let gateway = Gateway::start(&config(&auth).to_string()).await;
    let mut claims = issuer.claims();
    claims["aud"] = "api".into();
    claims["realm_access"] = json!({ "roles": ["staff", "admin"] });
    let answer = call(&gateway, &pair.token(&claims)).await.json();
    assert_eq!(*structured(&answer["result"]), json!({ "who": "ada", "scopes": "[\"staff\",\"admin\"]" }));
    let answer = call(&gateway, "key-of-ci").await.json();
    assert_eq!(*structured(&answer["result"]), json!({ "who": "ci", "scopes": "[\"x\"]" }));
    // Another algorithm of the same issuer does not count here.
    let rsa = Pair::rsa("r");
    issuer.rotate(&[&pair, &rsa]);
    assert_eq!(call(&gateway, &rsa.token(&claims)).await.status, 401);
}

#[tokio::test]
async fn a_session_stays_with_its_owner_when_the_token_is_renewed() {
    let world = World::new().await;
    let with = |claims: &Value, session: Option<&str>| {
        let mut all = crate::support::message::plain_headers();
        all.push(("Authorization".to_owned(), format!("Bearer {}", world.rsa.token(claims))));
        all.extend(session.map(|s| ("Mcp-Session-Id".to_owned(), s.to_owned())));
        all
    };
    let first = world.issuer.claims();
    let mut renewed = first.clone();
    renewed["exp"] = json!(now() + 1200);
    renewed["scope"] = json!("orders.read orders.write");
    let mut other = first.clone();
    other["sub"] = json!("bob");
    let open = crate::support::message::initialize("2025-11-25").to_string();
    let opened = world.gateway.post(&with(&first, None), open.as_bytes()).await;
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    let list = crate::support::message::legacy("tools/list", &json!({})).to_string();
    for (claims, status) in [(&first, 200), (&renewed, 200), (&other, 404)] {
        let reply = world.gateway.post(&with(claims, Some(&id)), list.as_bytes()).await;
        assert_eq!(reply.status, status, "{claims}");
    }
}

#[tokio::test]
async fn the_metadata_says_where_tokens_come_from_at_both_places_to_everybody() {
    let world = World::new().await;
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let reply = world.gateway.get(path).await;
        assert_eq!(reply.status, 200);
        let metadata = reply.json();
        assert_eq!(metadata["resource"], AUDIENCE);
        assert_eq!(metadata["authorization_servers"], json!([world.issuer.url()]));
        assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let send = async |method: &str, own: &[(&str, &str)]| {
            world.gateway.connect().await.send(method, path, &headers(own), b"").await.unwrap()
        };
        let host = ("Host", "localhost");
        assert_eq!(send("POST", &[host]).await.status, 405);
        assert_eq!(send("OPTIONS", &[host, ("Origin", "https://any.example")]).await.status, 204);
        assert_eq!(send("GET", &[("Host", "evil.example")]).await.status, 403);
        assert_eq!(send("GET", &[host, ("Authorization", "Bearer x")]).await.status, 200);
    }
    for path in ["/.well-known/oauth-protected-resource/other", "/.well-known/oauth-protected-resourcemcp"] {
        assert_eq!(world.gateway.get(path).await.status, 404, "{path}");
    }
    let challenge = call(&world.gateway, "a.b.c").await;
    let challenge = challenge.header("www-authenticate").unwrap();
    let named = "resource_metadata=\"https://mcp.shop.example/.well-known/oauth-protected-resource/mcp\"";
    assert!(challenge.contains(named), "{challenge}");

    // Without a written one the request says it.
    let auth = json!({ "jwt": { "issuer": "https://login.example", "audience": "api" } });
    let gateway = Gateway::start(&config(&auth).to_string()).await;
    let host = format!("LOCALHOST:{}", gateway.address.port());
    let reply = gateway.connect().await;
    let mut connection = reply;
    let own = headers(&[("Host", &host)]);
    let path = "/.well-known/oauth-protected-resource/mcp";
    let metadata = connection.send("GET", path, &own, b"").await.unwrap().json();
    assert_eq!(metadata["resource"], format!("http://localhost:{}/mcp", gateway.address.port()));
    let reply = send(&gateway, &[], "/mcp").await;
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("resource_metadata=\"http://127.0.0.1/.well-known/oauth-protected-resource/mcp\""),
        "{challenge}"
    );

    // With keys alone there is nowhere to get one.
    let keys = json!({ "api_keys": [{ "name": "ci", "key": "key-of-ci" }] });
    let gateway = Gateway::start(&config(&keys).to_string()).await;
    assert_eq!(gateway.get("/.well-known/oauth-protected-resource").await.status, 404);
}
