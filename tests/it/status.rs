//! `/status` and `sidegate://status`: what they say, in which shape, who may read them, and how a reload shows there, in the metrics
//! and in `/readyz`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::message::{headers, initialize, legacy, modern_headers, modern_with_id, plain_headers};
use crate::support::process::{Process, call};
use crate::support::upstream::{Upstream, json as body};
use crate::support::{Connection, Gateway};

const OPS: &str = "ops-key-0123456789abcdef";
const CI: &str = "ci-key-0123456789abcdef";

/// Checks the documented shape.
fn sound(status: &Value) {
    let schema = include_str!("../../schemas/status.schema.json");
    let validator = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let problems: Vec<String> =
        validator.iter_errors(status).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:?} in {status:#}");
}

async fn get(address: SocketAddr, path: &str, more: &[(&str, &str)]) -> crate::support::Reply {
    let mut all = vec![("Host", "localhost")];
    if more.iter().any(|(name, _)| *name == "Host") {
        all.clear();
    }
    all.extend(more);
    Connection::open(address).await.unwrap().send("GET", path, &headers(&all), b"").await.unwrap()
}

async fn status(address: SocketAddr, more: &[(&str, &str)]) -> Value {
    let reply = get(address, "/status", more).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let status = reply.json();
    sound(&status);
    status
}

fn route<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut routes = status["routes"].as_array().unwrap().iter();
    routes.find(|route| route["name"] == name).unwrap_or_else(|| panic!("{name} is not in {status:#}"))
}

fn names(status: &Value) -> Vec<&str> {
    status["routes"].as_array().unwrap().iter().map(|route| route["name"].as_str().unwrap()).collect()
}

/// Waits until the status says something.
async fn until(address: SocketAddr, what: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let now = status(address, &[]).await;
        if what(&now) {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "{now:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_says_what_runs_in_the_documented_shape() {
    let upstream = Upstream::start(|_| body(r#"{"n":1}"#)).await;
    let yaml = json!({
        "server": { "name": "shop" },
        "sources": {
            "api": { "rest": {
                "base_url": upstream.url(), "concurrency": 4, "circuit_breaker": { "failures": 3 },
                "credentials": { "bearer": "s3cr3t-0123456789" },
            } },
            "db": { "sql": { "url": "sqlite::memory:" } },
            "far": { "rest": { "base_url": "http://127.0.0.1:9" } },
        },
        "tools": {
            "get": { "description": "D.", "rest": { "source": "api", "get": "/n" },
                "policy": { "cache": { "ttl": "1h" } } },
            "rows": { "description": "D.", "params": { "n": { "type": "integer" } },
                "sql": { "source": "db", "query": "SELECT :n AS n" } },
            "gone": { "description": "D.", "rest": { "source": "far", "get": "/" } },
        },
        "resources": { "shop://a": { "name": "a", "static": { "text": "A" } } },
        "prompts": { "p": { "messages": [{ "user": "Hello." }] } },
    });
    let gateway = Gateway::start(&yaml.to_string()).await;
    gateway.call("get", json!({})).await;
    gateway.call("get", json!({})).await;
    gateway.call("rows", json!({ "n": 1 })).await;
    gateway.call("rows", json!({ "n": "no" })).await;
    gateway.call("gone", json!({})).await;
    gateway.modern("resources/read", json!({ "uri": "shop://a" })).await;
    gateway.session("2025-11-25", json!({})).await;
    // A connection goes back to its pool a moment after its answer.
    let settled = |status: &Value| {
        let sources = status["sources"].as_array().unwrap();
        sources.iter().all(|source| source["pool"].is_null() || source["pool"]["in_use"] == 0)
    };
    let status = until(gateway.address, settled).await;
    assert_eq!((&status["name"], &status["version"]), (&json!("shop"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!(status["config"]["generation"], 1);
    assert_eq!((&status["config"]["changed"], &status["config"]["error"]), (&Value::Null, &Value::Null));
    assert_eq!(names(&status), ["get", "rows", "gone", "shop://a", "p"]);
    let figures = |name: &str| {
        let route = route(&status, name);
        (route["noun"].as_str().unwrap(), route["calls"].as_u64().unwrap(), route["errors"].as_u64().unwrap())
    };
    assert_eq!(figures("get"), ("tool", 2, 0));
    assert_eq!(route(&status, "get")["cache"], json!({ "hit": 1, "stale": 0, "miss": 1 }));
    assert_eq!(figures("rows"), ("tool", 2, 1));
    assert_eq!(figures("gone"), ("tool", 1, 1));
    assert_eq!(figures("shop://a"), ("resource", 1, 0));
    assert_eq!((figures("p"), &status["cache"]["entries"]), (("prompt", 0, 0), &json!(1)));
    assert_eq!((&status["sessions"], status["connections"].as_u64().unwrap() > 0), (&json!(1), true));
    let source = |name: &str| {
        let mut sources = status["sources"].as_array().unwrap().iter();
        sources.find(|source| source["name"] == name).unwrap().clone()
    };
    let api = source("api");
    assert_eq!(
        (&api["kind"], &api["state"], &api["breaker"]),
        (&json!("rest"), &json!("up"), &json!("closed"))
    );
    assert_eq!(api["places"], json!({ "all": 4, "in_use": 0, "waiting": 0 }));
    assert_eq!(source("far")["state"], "down");
    assert_eq!(source("db")["pool"]["in_use"], 0);
    let text = status.to_string();
    assert!(
        !text.contains("s3cr3t") && !text.contains(&upstream.url()) && !text.contains("127.0.0.1"),
        "{text}"
    );
}

fn open() -> String {
    json!({ "tools": { "hello": { "description": "D.", "static": { "text": "x" } } } }).to_string()
}

#[tokio::test]
async fn where_callers_prove_nothing_it_is_for_the_machine_itself() {
    for yaml in [
        open(),
        open().replacen('{', r#"{"auth":"none","server":{"http":{"allowed_hosts":["shop.example"]}},"#, 1),
    ] {
        let gateway = Gateway::start(&yaml).await;
        status(gateway.address, &[]).await;
        for more in [
            &[("Host", "evil.example")][..],
            &[("Host", "shop.example")],
            &[("X-Forwarded-For", "10.0.0.9")],
            &[("Forwarded", "for=10.0.0.9")],
            &[("Origin", "https://evil.example")],
        ] {
            let refused = get(gateway.address, "/status", more).await;
            assert_eq!(refused.status, 403, "{more:?}");
            assert!(!refused.text().contains("hello"), "{more:?}");
        }
        let mut connection = gateway.connect().await;
        let sent = connection.send("POST", "/status", &headers(&[("Host", "localhost")]), b"").await.unwrap();
        assert_eq!(sent.status, 405);
    }
}

fn guarded(admin: &Value) -> Value {
    json!({
        "server": { "admin": admin, "telemetry": { "metrics": "/metrics" } },
        "auth": { "api_keys": [
            { "name": "ops", "key": OPS, "scopes": ["ops", "secret.read"] }, { "name": "ci", "key": CI },
        ] },
        "tools": {
            "hello": { "description": "D.", "static": { "text": "x" }, "policy": { "auth": "none" } },
            "mine": { "description": "D.", "static": { "text": "x" } },
            "hidden": { "description": "D.", "static": { "text": "x" },
                "policy": { "auth": { "scopes": ["secret.read"] } } },
        },
    })
}

#[tokio::test]
async fn callers_prove_who_they_are_and_see_what_is_theirs_unless_scopes_say_who_runs_it() {
    let gateway = Gateway::start(&guarded(&json!({})).to_string()).await;
    let refused = get(gateway.address, "/status", &[]).await;
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    assert!(!refused.text().contains("hello"));
    assert_eq!(get(gateway.address, "/status", &[("X-API-Key", "wrong")]).await.status, 401);
    let own = status(gateway.address, &[("X-API-Key", CI)]).await;
    assert_eq!(names(&own), ["hello", "mine"]);
    assert_eq!(get(gateway.address, "/metrics", &[("X-API-Key", CI)]).await.status, 200);
    assert_eq!(names(&status(gateway.address, &[("X-API-Key", OPS)]).await), ["hello", "mine", "hidden"]);

    let gateway = Gateway::start(&guarded(&json!({ "scopes": ["ops"] })).to_string()).await;
    assert_eq!(get(gateway.address, "/status", &[]).await.status, 401);
    let refused = get(gateway.address, "/status", &[("X-API-Key", CI)]).await;
    assert_eq!(refused.status, 403);
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_scope"));
    assert_eq!(names(&status(gateway.address, &[("X-API-Key", OPS)]).await), ["hello", "mine", "hidden"]);
    // Metrics name every route.
    for (key, code) in [(CI, 403), (OPS, 200)] {
        let read = get(gateway.address, "/metrics", &[("X-API-Key", key)]).await;
        assert_eq!((read.status, read.text().contains("hidden")), (code, code == 200));
    }
}

#[tokio::test]
async fn an_address_apart_serves_it_and_the_other_does_not() {
    for (admin, key, wanted) in [
        (json!({ "listen": "127.0.0.1:0" }), None, 200),
        (json!({ "listen": "127.0.0.1:0", "scopes": ["ops"] }), None, 401),
        (json!({ "listen": "127.0.0.1:0", "scopes": ["ops"] }), Some(CI), 403),
        (json!({ "listen": "127.0.0.1:0", "scopes": ["ops"] }), Some(OPS), 200),
    ] {
        let gateway = Gateway::start(&guarded(&admin).to_string()).await;
        let key: Vec<(&str, &str)> = key.into_iter().map(|key| ("X-API-Key", key)).collect();
        assert_eq!(get(gateway.address, "/status", &[("X-API-Key", OPS)]).await.status, 404);
        let address = gateway.admin.unwrap();
        assert_eq!(get(address, "/status", &key).await.status, wanted, "{admin} {key:?}");
        if wanted == 200 {
            assert_eq!(names(&status(address, &key).await).len(), 3, "all of it");
            let mut rebound = vec![("Host", "evil.example")];
            rebound.extend(key);
            assert_eq!(get(address, "/status", &rebound).await.status, 403, "a rebound name");
        }
    }
}

async fn ask(gateway: &Gateway, key: Option<&str>, method: &str, params: Value) -> Value {
    let name = params.get("uri").and_then(Value::as_str).map(str::to_owned);
    let mut all = modern_headers(method, name.as_deref());
    all.extend(key.map(|key| ("X-API-Key".to_owned(), key.to_owned())));
    gateway.post(&all, modern_with_id(&json!(1), method, params).to_string().as_bytes()).await.json()
}

#[tokio::test]
async fn as_a_resource_it_is_listed_and_read_by_whoever_may_and_nobody_else() {
    const URI: &str = "sidegate://status";
    let gateway = Gateway::start(&guarded(&json!({ "scopes": ["ops"], "resource": true })).to_string()).await;
    for (key, may) in [(Some(OPS), true), (Some(CI), false), (None, false)] {
        let listed = ask(&gateway, key, "resources/list", json!({})).await;
        let listed = listed["result"]["resources"].as_array().unwrap().iter().any(|r| r["uri"] == URI);
        assert_eq!(listed, may, "{key:?}");
        let read = ask(&gateway, key, "resources/read", json!({ "uri": URI })).await;
        let text = read["result"]["contents"][0]["text"].as_str();
        assert_eq!(text.is_some(), may, "{read}");
        if let Some(text) = text {
            let said: Value = serde_json::from_str(text).unwrap();
            sound(&said);
            assert_eq!(names(&said), ["hello", "mine", "hidden"]);
            assert_eq!(
                (&read["result"]["ttlMs"], &read["result"]["cacheScope"]),
                (&json!(0), &json!("private"))
            );
        } else {
            assert!([json!(1401), json!(1403)].contains(&read["error"]["code"]), "{read}");
        }
    }
    // Nothing is served under that name where it is off; where callers prove nothing it is for the machine itself.
    let off = Gateway::start(&open()).await;
    assert_eq!(ask(&off, None, "resources/read", json!({ "uri": URI })).await["error"]["code"], -32601);
    let on = open().replacen(
        '{',
        r#"{"auth":"none","server":{"admin":{"resource":true},"http":{"allowed_hosts":["shop.example"]}},"#,
        1,
    );
    let on = Gateway::start(&on).await;
    for (more, may) in [
        (None, true),
        (Some(("X-Forwarded-For", "10.0.0.9")), false),
        (Some(("Host", "shop.example")), false),
    ] {
        let ask = async |method: &str, params: Value| {
            let mut all = modern_headers(method, params.get("uri").and_then(Value::as_str));
            if let Some((name, value)) = more {
                all.retain(|(n, _)| n != name);
                all.push((name.to_owned(), value.to_owned()));
            }
            on.post(&all, modern_with_id(&json!(1), method, params).to_string().as_bytes()).await.json()
        };
        let read = ask("resources/read", json!({ "uri": URI })).await;
        assert_eq!(read.get("result").is_some(), may, "{more:?} {read}");
        let listed = ask("resources/list", json!({})).await["result"]["resources"].take();
        assert_eq!(listed.as_array().unwrap().len(), usize::from(may), "{more:?} {listed}");
    }
    let read = on.legacy("resources/read", &json!({ "uri": URI })).await.json();
    let said: Value = serde_json::from_str(read["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(route(&said, "hello")["calls"], 0);
}

async fn serve(yaml: &str) -> (TempDir, Process, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), yaml).await;
    (folder, process, address)
}

const RELOADED: &str = r#"
server: { telemetry: { metrics: /metrics }, admin: { resource: true } }
sources:
  api: { rest: { base_url: "http://127.0.0.1:9/x", credentials: { bearer: s3cr3t-0123456789 } } }
tools:
  a: { description: A., static: { text: a } }
  b: { description: B., static: { text: b } }
"#;

#[tokio::test]
async fn a_reload_and_a_refused_one_show_everywhere_and_serving_goes_on() {
    let (folder, _process, address) = serve(RELOADED).await;
    let write = |text: &str| std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    let figure = async |name: &str| -> u64 {
        let text = get(address, "/metrics", &[]).await.text();
        let line = text.lines().find(|line| line.starts_with(&format!("sidegate_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    call(address, "a").await;
    let first = status(address, &[]).await;
    assert_eq!(figure("config_last_reload_successful").await, 1);
    assert_eq!(figure(r#"config_reloads_total{result="refused"}"#).await, 0);

    write(&RELOADED.replace("b: { description: B.", "c: { description: C.").replace("A.", "Aa."));
    let second = until(address, |status| status["config"]["generation"] == 2).await;
    let changed = &second["config"]["changed"];
    assert_eq!(changed["tools"]["added"], json!({ "count": 1, "names": ["c"] }));
    assert_eq!(changed["tools"]["removed"], json!({ "count": 1, "names": ["b"] }));
    assert_eq!(changed["tools"]["changed"], json!({ "count": 1, "names": ["a"] }));
    assert_eq!((&changed["sources"]["added"]["count"], &changed["server"]), (&json!(0), &json!(false)));
    assert_eq!(route(&second, "a")["calls"], 1, "an equal name goes on counting");
    assert_ne!(first["config"]["hash"], second["config"]["hash"]);
    assert_eq!(second["config"]["reloads"], json!({ "applied": 1, "same": 0, "refused": 0 }));

    write(&RELOADED.replace("static: { text: b }", "static: { txt: b }"));
    let refused = until(address, |status| !status["config"]["error"].is_null()).await;
    let error = &refused["config"]["error"];
    assert_eq!(error["code"], "unknown-key");
    assert!(error["place"].as_str().unwrap().ends_with("gateway.yaml:7:35"), "{error}");
    assert!(error["text"].as_str().unwrap().contains('^'), "{error}");
    assert!(!refused.to_string().contains("s3cr3t"));
    assert_eq!((&refused["config"]["generation"], names(&refused).len()), (&json!(2), 2));
    assert_eq!(figure("config_last_reload_successful").await, 0);
    assert_eq!(figure(r#"config_reloads_total{result="refused"}"#).await, 1);
    let start = Instant::now();
    let ready = loop {
        // The answer is kept for a second.
        let ready = get(address, "/readyz", &[]).await;
        if ready.json()["config"] == "rejected" || start.elapsed() > Duration::from_secs(10) {
            break ready;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(ready.json()["config"], "rejected", "{}", ready.text());
    assert!(!ready.text().contains("127.0.0.1") && !ready.text().contains("s3cr3t"));
    assert_eq!(crate::support::text(&call(address, "a").await), "a");

    write(&RELOADED.replace("b: { description: B.", "c: { description: C.").replace("A.", "Aa."));
    let mended = until(address, |status| status["config"]["error"].is_null()).await;
    assert_eq!(mended["config"]["reloads"], json!({ "applied": 1, "same": 1, "refused": 1 }));
    assert_eq!(mended["config"]["hash"], second["config"]["hash"]);
    assert_eq!(figure("config_last_reload_successful").await, 1);
}

#[tokio::test]
async fn who_watches_it_hears_of_every_reload() {
    let (folder, _process, address) = serve(RELOADED).await;
    let mut listener = Connection::open(address).await.unwrap();
    let wanted = json!({ "notifications": { "resourceSubscriptions": ["sidegate://status"] } });
    let request = modern_with_id(&json!("sub"), "subscriptions/listen", wanted.clone()).to_string();
    listener.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
    assert_eq!(listener.event().await.unwrap()["params"]["notifications"], wanted["notifications"]);
    let mut session = Connection::open(address).await.unwrap();
    let opening = initialize("2025-11-25").to_string();
    let reply = session.send("POST", "/mcp", &plain_headers(), opening.as_bytes()).await.unwrap();
    assert_eq!(reply.json()["result"]["capabilities"]["resources"]["subscribe"], true);
    let mut own = plain_headers();
    own.push(("Mcp-Session-Id".to_owned(), reply.header("mcp-session-id").unwrap().to_owned()));
    let subscribe = legacy("resources/subscribe", &json!({ "uri": "sidegate://status" })).to_string();
    let subscribed = session.send("POST", "/mcp", &own, subscribe.as_bytes()).await.unwrap();
    assert_eq!(subscribed.json()["result"], json!({}));
    session.open_stream("GET", &own, b"").await;
    for text in [RELOADED.replace("A.", "Aa."), RELOADED.replace("static: { text: b }", "static: 1")] {
        std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        let heard = listener.event().await.unwrap();
        assert_eq!(heard["method"], "notifications/resources/updated");
        assert_eq!(heard["params"]["uri"], "sidegate://status");
        loop {
            let heard = session.event().await.unwrap();
            if heard["method"] == "notifications/resources/updated" {
                break;
            }
            assert_eq!(heard["method"], "notifications/tools/list_changed");
        }
    }
}

#[tokio::test]
async fn ten_thousand_routes_are_told_in_one_answer_and_changed_names_are_few() {
    let config = |prefix: &str| {
        let tools =
            (0..10_000).map(|n| format!("  {prefix}{n}: {{ description: D., static: {{ text: x }} }}\n"));
        format!("tools:\n{}", tools.collect::<String>())
    };
    let gateway = Gateway::start(&config("t")).await;
    let status = status(gateway.address, &[]).await;
    assert_eq!(names(&status).len(), 10_000);
    let live = |prefix: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), config(prefix)).unwrap();
        let environment = sidegate::config::Environment::default();
        sidegate::app::plan(&folder.path().join("gateway.yaml"), &environment).unwrap().0
    };
    let (old, new) = (live("t"), live("u"));
    let changes = sidegate::plan::Changes::between(&old, &new, true);
    let live = sidegate::app::open(new).unwrap().load();
    live.history.applied(changes);
    let told = serde_json::to_value(live.status(sidegate::live::Sight::Whole, 0)).unwrap();
    sound(&told);
    let added = &told["config"]["changed"]["tools"]["added"];
    assert_eq!((&added["count"], added["names"].as_array().unwrap().len()), (&json!(10_000), 100));
}
