//! Streams whose caller is shut out while they listen: a key that goes or is replaced, a token that expires, scopes that are taken, `auth`
//! that is switched on. They end in order, and whoever is still let in goes on listening.

use std::time::Duration;

use serde_json::{Value, json};
use sidegate::server::Limits;

use crate::support::issuer::{Issuer, Pair, now};
use crate::support::message::{headers, initialize, legacy, modern, modern_headers, plain_headers};
use crate::support::{Connection, Gateway};

type Headers = Vec<(String, String)>;

/// Proofs are looked at so often that every test sees many looks.
fn limits() -> Limits {
    Limits { proof: Duration::from_millis(100), ..Limits::default() }
}

fn key(name: &str, key: &str, scopes: &[&str]) -> Value {
    json!({ "name": name, "key": key, "scopes": scopes })
}

/// A gateway that announces what it is told to, for these callers.
fn config(auth: &Value) -> Value {
    let touch = |uri: &str| json!({ "description": "T.", "static": { "steps": [{ "announce": uri }], "text": "told" } });
    json!({
        "auth": auth,
        "tools": { "touch_open": touch("shop://open"), "touch_secret": touch("shop://secret") },
        "resources": {
            "shop://open": { "name": "open", "description": "O.", "static": { "text": "o" } },
            "shop://secret": {
                "name": "secret", "description": "S.", "static": { "text": "s" },
                "policy": { "auth": { "scopes": ["secret"] } },
            },
        },
    })
}

/// With these keys.
fn keys(keys: &[Value]) -> Value {
    config(&json!({ "api_keys": keys }))
}

/// Ada, whose key changes, and Bob, who stays.
fn ada_and_bob() -> Value {
    keys(&[key("ada", "key-of-ada", &["secret"]), key("bob", "key-of-bob", &["secret"])])
}

fn proof(key: &str) -> Headers {
    headers(&[("Authorization", &format!("Bearer {key}"))])
}

const URIS: [&str; 3] = ["shop://open", "shop://secret", "shop://later"];

/// A modern stream that watches all, after its acknowledgement.
async fn modern_stream(gateway: &Gateway, proof: &Headers) -> Connection {
    let wanted = json!({ "notifications": { "resourceSubscriptions": URIS } });
    let mut all = modern_headers("subscriptions/listen", None);
    all.extend(proof.clone());
    let mut stream = gateway.connect().await;
    let request = modern("subscriptions/listen", wanted).to_string();
    assert_eq!(stream.open_stream("POST", &all, request.as_bytes()).await.status, 200);
    assert_eq!(stream.event().await.unwrap()["method"], "notifications/subscriptions/acknowledged");
    stream
}

/// A legacy session.
async fn session(gateway: &Gateway, proof: &Headers) -> Headers {
    let mut all = plain_headers();
    all.extend(proof.clone());
    let reply = gateway.post(&all, initialize("2025-11-25").to_string().as_bytes()).await;
    let id = reply.header("mcp-session-id").unwrap().to_owned();
    all.extend(headers(&[("Mcp-Session-Id", &id), ("MCP-Protocol-Version", "2025-11-25")]));
    all
}

async fn ask(gateway: &Gateway, session: &Headers, method: &str, params: &Value) -> u16 {
    gateway.post(session, legacy(method, params).to_string().as_bytes()).await.status
}

/// The stream of a session that watches what is there.
async fn legacy_stream(gateway: &Gateway, session: &Headers) -> Connection {
    for uri in URIS {
        ask(gateway, session, "resources/subscribe", &json!({ "uri": uri })).await;
    }
    let mut all: Headers = session.iter().filter(|(name, _)| name != "Accept").cloned().collect();
    all.extend(headers(&[("Accept", "text/event-stream")]));
    let mut stream = gateway.connect().await;
    assert_eq!(stream.open_stream("GET", &all, b"").await.status, 200);
    stream
}

async fn touch(gateway: &Gateway, what: &str, proof: &Headers) {
    let tool = format!("touch_{what}");
    let mut all = modern_headers("tools/call", Some(&tool));
    all.extend(proof.clone());
    let reply =
        gateway.post(&all, modern("tools/call", json!({ "name": tool })).to_string().as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// The URI that a stream hears of next.
async fn heard(stream: &mut Connection) -> String {
    let event = stream.event().await.expect("the stream has ended");
    assert_eq!(event["method"], "notifications/resources/updated", "{event}");
    event["params"]["uri"].as_str().unwrap().to_owned()
}

/// That a modern stream ends with its answer.
async fn ends_in_order(stream: &mut Connection) {
    let end = stream.event().await.expect("it broke off");
    assert_eq!((&end["id"], &end["result"]["resultType"]), (&json!(1), &json!("complete")), "{end}");
    assert_eq!(stream.event().await, None);
}

#[tokio::test]
async fn a_key_that_is_removed_ends_its_streams_and_no_other() {
    let gateway = Gateway::start_limited(&ada_and_bob().to_string(), limits()).await;
    let (ada, bob) = (proof("key-of-ada"), proof("key-of-bob"));
    let (ada_session, bob_session) = (session(&gateway, &ada).await, session(&gateway, &bob).await);
    let mut of_ada = (modern_stream(&gateway, &ada).await, legacy_stream(&gateway, &ada_session).await);
    let mut of_bob = (modern_stream(&gateway, &bob).await, legacy_stream(&gateway, &bob_session).await);
    gateway.reload(&keys(&[key("bob", "key-of-bob", &["secret"])]).to_string());
    ends_in_order(&mut of_ada.0).await;
    assert_eq!(of_ada.1.event().await, None);
    // Others go on, through more reloads, and hear what they may.
    for text in [ada_and_bob(), keys(&[key("bob", "key-of-bob", &["secret", "more"])]), ada_and_bob()] {
        gateway.reload(&text.to_string());
        touch(&gateway, "secret", &bob).await;
        assert_eq!(
            (heard(&mut of_bob.0).await, heard(&mut of_bob.1).await),
            (URIS[1].into(), URIS[1].into())
        );
    }
    assert!(of_bob.0.no_event(Duration::from_millis(1500)).await, "it ended though nothing changed");
    // The session went with its stream, and held no place any more.
    assert_eq!(ask(&gateway, &ada_session, "ping", &json!({})).await, 404);
    assert_eq!(ask(&gateway, &bob_session, "ping", &json!({})).await, 200);
}

#[tokio::test]
async fn a_key_that_is_replaced_under_its_name_ends_what_the_old_one_opened() {
    let gateway = Gateway::start(&ada_and_bob().to_string()).await;
    let ada = proof("key-of-ada");
    let session = session(&gateway, &ada).await;
    let mut streams = (modern_stream(&gateway, &ada).await, legacy_stream(&gateway, &session).await);
    gateway.reload(&keys(&[key("ada", "new-key-of-ada", &["secret"])]).to_string());
    ends_in_order(&mut streams.0).await;
    assert_eq!(streams.1.event().await, None);
    // The new one listens as the old one did.
    let ada = proof("new-key-of-ada");
    let mut again = modern_stream(&gateway, &ada).await;
    touch(&gateway, "secret", &ada).await;
    assert_eq!(heard(&mut again).await, URIS[1]);
}

#[tokio::test]
async fn a_token_that_expires_ends_its_streams() {
    let pair = Pair::ec("e1");
    let issuer = Issuer::start(&[&pair]).await;
    let gateway = Gateway::start_limited(&config(&issuer.auth()).to_string(), limits()).await;
    let token = |expires: i64| {
        let mut claims = issuer.claims();
        claims["exp"] = json!(expires);
        proof(&pair.token(&claims))
    };
    // Clocks may differ by 30 seconds: it is good for a few seconds more.
    let (soon, later) = (token(now() - 26), token(now() + 600));
    let session = session(&gateway, &soon).await;
    let mut ending = (modern_stream(&gateway, &soon).await, legacy_stream(&gateway, &session).await);
    let mut lasting = modern_stream(&gateway, &later).await;
    touch(&gateway, "open", &later).await;
    assert_eq!((heard(&mut ending.0).await, heard(&mut ending.1).await), (URIS[0].into(), URIS[0].into()));
    ends_in_order(&mut ending.0).await;
    assert_eq!(ending.1.event().await, None);
    touch(&gateway, "open", &later).await;
    assert_eq!((heard(&mut lasting).await, heard(&mut lasting).await), (URIS[0].into(), URIS[0].into()));
}

#[tokio::test]
async fn what_a_watcher_may_not_read_any_more_it_is_not_told_of() {
    let gateway = Gateway::start(&ada_and_bob().to_string()).await;
    let (ada, bob) = (proof("key-of-ada"), proof("key-of-bob"));
    let session = session(&gateway, &ada).await;
    let mut of_ada = (modern_stream(&gateway, &ada).await, legacy_stream(&gateway, &session).await);
    let mut of_bob = modern_stream(&gateway, &bob).await;
    touch(&gateway, "secret", &bob).await;
    assert_eq!((heard(&mut of_ada.0).await, heard(&mut of_ada.1).await), (URIS[1].into(), URIS[1].into()));
    // Her key has lost its scope; and a resource has come that both had asked for, and that needs it too.
    let mut text = keys(&[key("ada", "key-of-ada", &[]), key("bob", "key-of-bob", &["secret"])]);
    text["resources"]["shop://later"] = text["resources"]["shop://secret"].clone();
    text["resources"]["shop://later"]["name"] = json!("later");
    text["tools"]["touch_later"] = json!({ "description": "T.", "static": { "steps": [{ "announce": "shop://later" }], "text": "told" } });
    gateway.reload(&text.to_string());
    for what in ["secret", "later", "open"] {
        touch(&gateway, what, &bob).await;
    }
    assert_eq!((heard(&mut of_ada.0).await, heard(&mut of_ada.1).await), (URIS[0].into(), URIS[0].into()));
    for uri in [URIS[1], URIS[1], URIS[2], URIS[0]] {
        assert_eq!(heard(&mut of_bob).await, uri);
    }
}

#[tokio::test]
async fn where_callers_have_to_be_known_from_now_on_nobody_listens_on_unknown() {
    let gateway = Gateway::start(&config(&json!("none")).to_string()).await;
    let nothing = Headers::new();
    let session = session(&gateway, &nothing).await;
    let mut streams = (modern_stream(&gateway, &nothing).await, legacy_stream(&gateway, &session).await);
    touch(&gateway, "open", &nothing).await;
    assert_eq!((heard(&mut streams.0).await, heard(&mut streams.1).await), (URIS[0].into(), URIS[0].into()));
    gateway.reload(&ada_and_bob().to_string());
    // Told to nobody whom the new configuration does not know, not even before the next look.
    touch(&gateway, "open", &proof("key-of-bob")).await;
    ends_in_order(&mut streams.0).await;
    assert_eq!(streams.1.event().await, None);
}
