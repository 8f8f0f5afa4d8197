//! Callers with keys: who is let in, what of them a route is bound to, and rows that the database shows to one of them only.

use serde_json::{Value, json};

use crate::postgres::Own;
use crate::support::gateway::problems;
use crate::support::message::{self, modern, modern_headers, plain_headers};
use crate::support::{Gateway, Reply, failure, structured};

/// `printf %s key-of-bi | sha256sum`
const BI: &str = "15ef64c0b938112af2505069ebe1f6b95d6e2a2175526799411072311d2a31e2";

fn auth() -> Value {
    json!({ "api_keys": [
        { "name": "ada", "key": "key-of-ada", "scopes": ["read", "write"], "claims": { "tenant": "t1", "level": 3 } },
        { "name": "bob", "key": "key-of-bob", "claims": { "tenant": "t2", "level": "high" } },
        { "name": "bi", "sha256": BI },
    ] })
}

fn gateway(params: &Value, query: &str) -> Value {
    json!({
        "auth": auth(),
        "sources": { "db": { "sql": { "url": "sqlite::memory:" } } },
        "tools": { "who": {
            "description": "D.", "params": params, "sql": { "source": "db", "query": query, "row": "one" }
        } },
    })
}

/// A call of the tool `who`.
async fn call(gateway: &Gateway, key: &str, arguments: Value) -> Value {
    let mut headers = modern_headers("tools/call", Some("who"));
    headers.push(("Authorization".to_owned(), format!("Bearer {key}")));
    let body = modern("tools/call", json!({ "name": "who", "arguments": arguments })).to_string();
    let reply = gateway.post(&headers, body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["result"].clone()
}

async fn knock(gateway: &Gateway, method: &str, path: &str, own: &[(&str, &str)]) -> Reply {
    let mut headers = modern_headers("tools/list", None);
    headers.extend(message::headers(own));
    let body = modern("tools/list", json!({})).to_string();
    gateway.connect().await.send(method, path, &headers, body.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn nobody_comes_in_without_a_key_that_is_known() {
    let gateway = Gateway::start(&gateway(&json!({}), "SELECT 1 AS one").to_string()).await;
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("Authorization", "Bearer key-of-eve")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Basic key-of-ada")],
        &[("Authorization", "key-of-ada")],
        &[("Authorization", "Bearer key-of-ad")],
        &[("Authorization", "Bearer key-of-adaa")],
        &[("X-API-Key", "KEY-OF-ADA")],
        &[("X-API-Key", "")],
        &[("Authorization", "Bearer key-of-ada"), ("X-API-Key", "key-of-ada")],
        &[("Authorization", "Bearer key-of-ada"), ("Authorization", "Bearer key-of-bob")],
        &[("Cookie", "key=key-of-ada")],
        // The digest is no key.
        &[("X-API-Key", BI)],
    ];
    for own in wrong {
        // RFC 6750, section 3.1.
        let status = if own.len() > 1 { 400 } else { 401 };
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let reply = knock(&gateway, method, "/mcp?key=key-of-ada&access_token=key-of-ada", own).await;
            assert_eq!(reply.status, status, "{method} {own:?}: {}", reply.text());
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"), "{own:?}");
            assert!(!reply.text().contains("key-of"), "{}", reply.text());
        }
    }
    for right in [
        ("Authorization", "Bearer key-of-ada"),
        ("authorization", "bearer key-of-bob"),
        ("X-API-Key", "key-of-ada"),
        ("X-API-Key", "key-of-bi"),
    ] {
        let reply = knock(&gateway, "POST", "/mcp", &[right]).await;
        assert_eq!(reply.status, 200, "{right:?}: {}", reply.text());
        assert_eq!(reply.json()["result"]["cacheScope"], "private");
    }
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let ready = gateway.get("/readyz").await.text();
    assert!(!ready.contains("db"), "sources are not named to strangers: {ready}");
}

#[tokio::test]
async fn a_session_is_its_openers_alone() {
    let gateway = Gateway::start(&gateway(&json!({}), "SELECT 1 AS one").to_string()).await;
    let with = |key: &str, session: Option<&str>| {
        let mut headers = plain_headers();
        headers.push(("X-API-Key".to_owned(), key.to_owned()));
        headers.extend(session.map(|s| ("Mcp-Session-Id".to_owned(), s.to_owned())));
        headers
    };
    let open = message::initialize("2025-11-25").to_string();
    let opened = gateway.post(&with("key-of-ada", None), open.as_bytes()).await;
    let id = opened.header("mcp-session-id").unwrap().to_owned();
    let list = message::legacy("tools/list", &json!({})).to_string();
    for (key, status) in [("key-of-ada", 200), ("key-of-bob", 404), ("key-of-bi", 404), ("key-of-eve", 401)] {
        let reply = gateway.post(&with(key, Some(&id)), list.as_bytes()).await;
        assert_eq!(reply.status, status, "{key}");
    }
    let ended =
        gateway.connect().await.send("DELETE", "/mcp", &with("key-of-bob", Some(&id)), b"").await.unwrap();
    assert_eq!(ended.status, 404);
    assert_eq!(gateway.post(&with("key-of-ada", Some(&id)), list.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn what_comes_from_the_caller_is_neither_seen_nor_set_by_the_model() {
    let params = json!({
        "word": { "type": "string" },
        "who": { "from": "caller.sub" },
        "tenant": { "from": "caller.claims.tenant" },
        "scopes": { "from": "caller.scopes" },
    });
    let query = "SELECT :word AS word, :who AS who, :tenant AS tenant, :scopes AS scopes";
    let gateway = Gateway::start(&gateway(&params, query).to_string()).await;
    let list = knock(&gateway, "POST", "/mcp", &[("X-API-Key", "key-of-ada")]).await.json();
    let schema = &list["result"]["tools"][0]["inputSchema"];
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["word"]);
    assert_eq!(schema["required"], json!(["word"]));

    let ada = call(&gateway, "key-of-ada", json!({ "word": "a" })).await;
    assert_eq!(
        *structured(&ada),
        json!({ "word": "a", "who": "ada", "tenant": "t1", "scopes": "[\"read\",\"write\"]" })
    );
    let bob = call(&gateway, "key-of-bob", json!({ "word": "a" })).await;
    assert_eq!(*structured(&bob), json!({ "word": "a", "who": "bob", "tenant": "t2", "scopes": "[]" }));
    for forged in [json!({ "word": "a", "who": "ada" }), json!({ "word": "a", "tenant": "t1" })] {
        let result = call(&gateway, "key-of-bob", forged).await;
        assert!(failure(&result).contains("There is no argument"), "{result}");
    }
    // A caller without the claim is refused, not given a call without the bound.
    let bi = call(&gateway, "key-of-bi", json!({ "word": "a" })).await;
    assert!(failure(&bi).contains("caller.claims.tenant"), "{bi}");
}

#[tokio::test]
async fn a_claim_of_the_wrong_form_refuses_the_call() {
    let params = json!({ "level": { "from": "caller.claims.level", "type": "integer", "maximum": 5 } });
    let gateway = Gateway::start(&gateway(&params, "SELECT :level AS level").to_string()).await;
    assert_eq!(*structured(&call(&gateway, "key-of-ada", json!({})).await), json!({ "level": 3 }));
    let bob = call(&gateway, "key-of-bob", json!({})).await;
    assert!(failure(&bob).contains("not of the form"), "{bob}");
}

#[tokio::test]
async fn row_level_security_shows_each_caller_its_own_rows() {
    let table = "CREATE TABLE notes (id int PRIMARY KEY, owner text DEFAULT current_setting('app.user_id'), text text); \
        ALTER TABLE notes ENABLE ROW LEVEL SECURITY; ALTER TABLE notes FORCE ROW LEVEL SECURITY; \
        SET app.user_id = ''; \
        CREATE POLICY own ON notes USING (owner = current_setting('app.user_id', true)); \
        SET app.user_id = 'ada'; INSERT INTO notes VALUES (1, 'ada', 'a1'), (2, 'ada', 'a2'); \
        SET app.user_id = 'bob'; INSERT INTO notes VALUES (3, 'bob', 'b1'); RESET app.user_id;";
    let Some(own) = Own::open("rows", table).await else { return };
    let schema = own.schema.clone();
    let tool = |query: String, write: bool| {
        let params = if query.contains(":id") { json!({ "id": { "type": "integer" } }) } else { json!({}) };
        json!({ "description": "D.", "params": params, "sql": { "source": "db", "query": query, "write": write } })
    };
    let config = json!({
        "auth": auth(),
        "sources": { "db": { "sql": {
            "url": own.url, "read_only": false, "pool": { "max": 1 },
            "session": { "app.user_id": "caller.sub", "app.tenant": "caller.claims.tenant" },
        } } },
        "tools": {
            "list": tool(format!("SELECT id, text FROM {schema}.notes ORDER BY id"), false),
            "add": tool(format!("INSERT INTO {schema}.notes (id, text) VALUES (:id, 'new')"), true),
            "steal": tool(format!("UPDATE {schema}.notes SET owner = 'bob' WHERE id = :id"), true),
            "tenant": tool("SELECT current_setting('app.tenant') AS tenant".to_owned(), false),
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let call = async |key: &str, tool: &str, arguments: Value| {
        let mut headers = modern_headers("tools/call", Some(tool));
        headers.push(("X-API-Key".to_owned(), key.to_owned()));
        let body = modern("tools/call", json!({ "name": tool, "arguments": arguments })).to_string();
        gateway.post(&headers, body.as_bytes()).await.json()["result"].clone()
    };
    let ids = async |key: &str| -> Vec<i64> {
        let result = call(key, "list", json!({})).await;
        let rows = structured(&result)["rows"].as_array().unwrap().clone();
        rows.iter().map(|r| r["id"].as_i64().unwrap()).collect()
    };
    // One connection for all of them: nothing of one caller is left for the next.
    for _ in 0..3 {
        assert_eq!(ids("key-of-ada").await, [1, 2]);
        assert_eq!(ids("key-of-bob").await, [3]);
    }
    let result = call("key-of-ada", "tenant", json!({})).await;
    assert_eq!(structured(&result)["rows"][0]["tenant"], "t1");
    // A write is bound as well: bob's `UPDATE` meets no row of ada's, and what ada adds is hers.
    assert_eq!(*structured(&call("key-of-bob", "steal", json!({ "id": 1 })).await), json!({ "count": 0 }));
    assert_eq!(*structured(&call("key-of-ada", "add", json!({ "id": 4 })).await), json!({ "count": 1 }));
    assert_eq!(ids("key-of-ada").await, [1, 2, 4]);
    assert_eq!(ids("key-of-bob").await, [3]);
    // `bi` has no tenant: refused, and not run as nobody.
    let refused = call("key-of-bi", "list", json!({})).await;
    assert!(failure(&refused).contains("caller.claims.tenant"), "{refused}");
    own.gone().await;
}

#[tokio::test]
async fn a_role_of_its_own_is_a_role_and_never_the_one_that_logs_in() {
    let Some(own) = Own::open("roles", "CREATE TABLE t (id int)").await else { return };
    let config = json!({
        "auth": { "api_keys": [
            { "name": "none", "key": "key-of-none" }, { "name": "NONE", "key": "key-of-loud" },
            { "name": "x", "key": "key-of-x", "claims": { "role": "" } },
        ] },
        "sources": {
            "db": { "sql": { "url": own.url, "session": { "role": "caller.sub" } } },
            "empty": { "sql": { "url": own.url, "session": { "app.role": "caller.claims.role" } } },
        },
        "tools": {
            "who": { "description": "D.", "sql": { "source": "db", "query": "SELECT current_user AS who", "row": "one" } },
            "empty": { "description": "D.", "sql": { "source": "empty", "query": "SELECT 1 AS one", "row": "one" } },
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    for (key, tool) in [("key-of-none", "who"), ("key-of-loud", "who"), ("key-of-x", "empty")] {
        let mut headers = modern_headers("tools/call", Some(tool));
        headers.push(("X-API-Key".to_owned(), key.to_owned()));
        let body = modern("tools/call", json!({ "name": tool, "arguments": {} })).to_string();
        let result = gateway.post(&headers, body.as_bytes()).await.json()["result"].clone();
        assert!(failure(&result).contains("whose identity has a"), "{key}: {result}");
    }
    own.gone().await;
}

/// As cheap as a hash can be: what is tested is what is done with it.
fn hashed(key: &str) -> String {
    use argon2::password_hash::PasswordHasher as _;
    use argon2::{Algorithm, Argon2, Params, Version};
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(key.as_bytes(), b"a salt of its own").unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_people_chose_are_hashed_and_wrong_ones_keep_nobody_out() {
    let mut config = gateway(&json!({ "who": { "from": "caller.sub" } }), "SELECT :who AS who");
    config["auth"] = json!({ "api_keys": [
        { "name": "ada", "argon2": hashed("correct horse") },
        { "name": "bob", "argon2": hashed("battery staple") },
        { "name": "ci", "key": "key-of-ci" },
    ] });
    let gateway = std::sync::Arc::new(Gateway::start(&config.to_string()).await);
    for _ in 0..2 {
        for (key, who) in [("correct horse", "ada"), ("battery staple", "bob"), ("key-of-ci", "ci")] {
            assert_eq!(structured(&call(&gateway, key, json!({})).await)["who"], who);
        }
    }
    let strangers = (0..8).map(|stranger| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                let key = format!("correct hors{stranger}-{n}");
                let reply = knock(&gateway, "POST", "/mcp", &[("X-API-Key", &key)]).await;
                assert!(matches!(reply.status, 401 | 503), "{}", reply.status);
            }
        })
    });
    let strangers: Vec<_> = strangers.collect();
    for _ in 0..20 {
        assert_eq!(structured(&call(&gateway, "correct horse", json!({})).await)["who"], "ada");
    }
    for stranger in strangers {
        stranger.await.unwrap();
    }
    let long = "a".repeat(5000);
    for wrong in ["correct horse ", "Correct horse", hashed("correct horse").as_str(), long.as_str()] {
        let status = knock(&gateway, "POST", "/mcp", &[("X-API-Key", wrong)]).await.status;
        // Blanks around a header's value are none of it.
        assert_eq!(status, if wrong.trim() == "correct horse" { 200 } else { 401 }, "{wrong}");
    }
}

#[test]
fn keys_do_not_print() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = gateway(&json!({}), "SELECT 1");
    config["auth"]["api_keys"][1]["key"] = "key-of-ada".into();
    let shown = problems(folder.path(), &config.to_string());
    assert!(shown.contains("these two keys are the same") && !shown.contains("key-of-ada"), "{shown}");
}
