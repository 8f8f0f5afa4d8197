//! What each policy costs: one tool with a policy, beside the same tool with none, in front of the same floor.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Result;
use crate::load::NUMBER;
use crate::report::Comparison;
use crate::works::{Floor, TEXT, Work, modern_call};

const KEY: &str = "mh0wq7Yc2JfT9sKx4pVd8Lr1ZbN6gEaU3iXo5tCvRyQ";
const ISSUER: &str = "urn:bench";
const AUDIENCE: &str = "https://bench.example/mcp";

/// A tool and what is asked of its calls.
#[derive(Clone, Copy)]
pub struct Policed {
    rest: bool,
    policies: &'static [Policy],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// An API key.
    Key,
    /// A token of an issuer, the same each time.
    Jwt,
    /// A limit that lets all pass.
    Limit,
    /// Metrics, and an audit in a file.
    Watched,
    /// Answers are kept and asked for again.
    Hit,
    /// Answers are kept, and no two calls ask for the same.
    Miss,
}

use Policy::{Hit, Jwt, Key, Limit, Miss, Watched};

/// The names of the works, and what each has. The first is what the others are held against.
const WORKS: [(&str, &str, &[Policy]); 9] = [
    ("static+none", "rest+none", &[]),
    ("static+key", "rest+key", &[Key]),
    ("static+jwt", "rest+jwt", &[Jwt]),
    ("static+limit", "rest+limit", &[Limit]),
    ("static+watched", "rest+watched", &[Watched]),
    ("static+hit", "rest+hit", &[Hit]),
    ("static+miss", "rest+miss", &[Miss]),
    ("static+all-hit", "rest+all-hit", &[Jwt, Limit, Watched, Hit]),
    ("static+all-miss", "rest+all-miss", &[Jwt, Limit, Watched, Miss]),
];

/// What the goals ask of answers that are kept, and of all policies but that.
pub const KEPT: &str = "rest+kept";
pub const ALL: &str = "rest+all";

pub fn works() -> Vec<Work> {
    let kept = Work { floor: Floor::Fixed, ..work(KEPT, Policed { rest: true, policies: &[Hit] }) };
    let all = work(ALL, Policed { rest: true, policies: &[Jwt, Limit, Watched] });
    let fixed = WORKS.map(|(name, _, policies)| work(name, Policed { rest: false, policies }));
    let rest = WORKS.map(|(_, name, policies)| work(name, Policed { rest: true, policies }));
    fixed.into_iter().chain(rest).chain([kept, all]).collect()
}

fn work(name: &'static str, policed: Policed) -> Work {
    let has = |policy| policed.policies.contains(&policy);
    let mut message = modern_call("work", &json!({ "id": format!("ORD-{NUMBER}") }));
    if has(Miss) {
        message = message.numbered();
    }
    if has(Key) {
        message = message.with_header("authorization", format!("Bearer {KEY}"));
    }
    if has(Jwt) {
        message = message.with_header("authorization", format!("Bearer {}", issuer().token));
    }
    let (floor, proof) =
        if policed.rest { (Floor::Forward, "ORD-1001") } else { (Floor::Fixed, "The returns desk") };
    Work { name, floor, message, proof, routes: None, policed: Some(policed), cores: false }
}

/// Writes the gateway's files into `folder` and answers the name of the configuration.
pub fn write(folder: &Path, policed: Policed, upstream: SocketAddr) -> Result<&'static str> {
    let has = |policy| policed.policies.contains(&policy);
    let mut config = json!({
        "server": { "name": "bench", "http": { "listen": "127.0.0.1:0" }, "log": { "level": "warn" } },
        "sources": { "up": { "rest": { "base_url": format!("http://{upstream}") } } },
        "tools": { "work": { "description": "One order.", "params": { "id": { "type": "string" } } } },
    });
    let (kind, operation) = if policed.rest {
        ("rest", json!({ "source": "up", "get": "/orders/{id}" }))
    } else {
        ("static", json!({ "text": TEXT }))
    };
    let mut policy = serde_json::Map::new();
    if has(Limit) {
        policy.insert("rate_limit".to_owned(), json!({ "rate": "1000000/s" }));
    }
    if has(Hit) || has(Miss) {
        policy.insert("cache".to_owned(), json!({ "ttl": "1h" }));
    }
    if has(Watched) {
        put(&mut config, "server", "telemetry", json!({ "metrics": "/metrics" }));
        put(&mut config, "server", "audit", json!({ "file": "calls.jsonl" }));
    }
    if has(Key) {
        put(&mut config, "auth", "api_keys", json!([{ "name": "bench", "key": KEY }]));
    }
    if has(Jwt) {
        let jwt = json!({ "issuer": ISSUER, "audience": AUDIENCE, "jwks_file": "keys.json" });
        put(&mut config, "auth", "jwt", jwt);
        fs::write(folder.join("keys.json"), &issuer().keys)?;
    }
    if let Some(tool) = config.pointer_mut("/tools/work").and_then(Value::as_object_mut) {
        tool.insert(kind.to_owned(), operation);
        tool.insert("policy".to_owned(), policy.into());
    }
    fs::write(folder.join("bench.yaml"), config.to_string())?;
    Ok("bench.yaml")
}

fn put(config: &mut Value, block: &str, key: &str, value: Value) {
    let blocks = config.as_object_mut().map(|all| all.entry(block).or_insert_with(|| json!({})));
    if let Some(block) = blocks.and_then(Value::as_object_mut) {
        block.insert(key.to_owned(), value);
    }
}

struct Issuer {
    keys: String,
    token: String,
}

/// A key pair of this run and a token of it.
fn issuer() -> &'static Issuer {
    static ISSUED: OnceLock<Issuer> = OnceLock::new();
    ISSUED.get_or_init(|| {
        // Without a token the works that need one say so, by a 401.
        issue().unwrap_or(Issuer { keys: r#"{"keys":[]}"#.to_owned(), token: String::new() })
    })
}

fn issue() -> Option<Issuer> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    // 4, then x and y (SEC 1, section 2.3.3).
    let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
    let key = json!({ "kty": "EC", "kid": "bench", "crv": "P-256", "x": encode(x), "y": encode(y) });
    let header = json!({ "alg": "ES256", "kid": "bench", "typ": "at+jwt" }).to_string();
    let claims = json!({
        "iss": ISSUER, "sub": "bench", "aud": AUDIENCE, "exp": 4_000_000_000_u64,
        "scope": "orders.read orders.write", "name": "Bench",
    });
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
    let token = format!("{message}.{}", encode(signature.as_ref()));
    Some(Issuer { keys: json!({ "keys": [key] }).to_string(), token })
}

/// The works with policies beside the same without, where both were measured; ready for a page of the documentation.
pub fn table(comparisons: &[Comparison]) -> String {
    let mut text = String::new();
    for kind in ["static", "rest"] {
        let of = |work: &Comparison| {
            work.work.split_once('+').filter(|(k, n)| *k == kind && *n != "kept").map(|(_, name)| name)
        };
        let Some(none) = comparisons.iter().find(|work| of(work) == Some("none")) else { continue };
        let (floor, base) = none.cpu_us();
        let _ = writeln!(
            text,
            "\n| {kind} | CPU \u{b5}s per call | beside none | beside its floor ({floor:.1} \u{b5}s) |\n|---|---|---|---|"
        );
        for (work, name) in comparisons.iter().filter_map(|work| of(work).map(|name| (work, name))) {
            let (_, cpu) = work.cpu_us();
            let (more, ratio) = (cpu - base, work.cpu_ratio());
            let _ = writeln!(text, "| {name} | {cpu:.1} | {more:+.1} ({:.2}) | {ratio:.2} |", cpu / base);
        }
    }
    text
}
