//! Statements whose database could not be asked when the gateway started: once it answers, their schemas come by themselves, clients are
//! told, and nothing else is another thing than it was. A PostgreSQL behind a relay that lets nobody through at first, and a file of
//! SQLite that is not there yet.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::postgres::{Own, gate};
use crate::support::message::{headers, modern, modern_headers, modern_with_id};
use crate::support::process::{Process, call};
use crate::support::{Connection, until};

/// Longer than it takes to see that a source answers.
const SILENCE: Duration = Duration::from_millis(1500);

async fn schema_of(address: SocketAddr, tool: &str) -> Value {
    let body = modern_with_id(&json!(1), "tools/list", json!({})).to_string();
    let mut connection = Connection::open(address).await.unwrap();
    let reply = connection.send("POST", "/mcp", &modern_headers("tools/list", None), body.as_bytes()).await;
    let tools = reply.unwrap().json()["result"]["tools"].take();
    let found = tools.as_array().unwrap().iter().find(|found| found["name"] == tool);
    found.unwrap_or_else(|| panic!("no `{tool}` in {tools}"))["outputSchema"].clone()
}

async fn get(address: SocketAddr, path: &str) -> Value {
    let mut connection = Connection::open(address).await.unwrap();
    connection.send("GET", path, &headers(&[("Host", "localhost")]), b"").await.unwrap().json()
}

/// A stream that hears of tools.
async fn listen(address: SocketAddr) -> Connection {
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let request = modern("subscriptions/listen", wanted).to_string();
    let mut stream = Connection::open(address).await.unwrap();
    stream.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
    stream.event().await.unwrap();
    stream
}

#[tokio::test]
async fn a_statement_is_described_once_its_database_answers_and_nothing_else_changes() {
    let Some(own) = Own::open("described", "CREATE TABLE orders (id int, note text);").await else { return };
    let mut through = url::Url::parse(&own.url).unwrap();
    let (port, open) = gate(format!("127.0.0.1:{}", through.port().unwrap_or(5432))).await;
    open.store(false, Ordering::Relaxed);
    through.set_port(Some(port)).unwrap();
    let query = format!("SELECT id, note FROM {}.orders", own.schema);
    let config = |more: Value| {
        json!({
            "server": { "lists": { "ttl": "1m" } },
            "sources": {
                "db": { "sql": { "url": through.as_str(), "pool": { "acquire_timeout": "500ms" } } },
                "other": { "sql": { "url": "sqlite::memory:" } },
            },
            "tools": {
                "orders": { "description": "Orders.", "sql": { "source": "db", "query": query } },
                "kept": {
                    "description": "K.", "policy": { "cache": { "ttl": "10m" }, "rate_limit": { "rate": "3/h" } },
                    "sql": { "source": "other", "query": "SELECT hex(randomblob(8)) AS one" },
                },
                "more": { "description": "M.", "static": more },
            },
        })
        .to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config(json!({ "text": "a" }))).await;
    let generic = schema_of(address, "orders").await;
    assert!(generic.pointer("/properties/rows/items/properties").is_none(), "{generic}");
    let kept = call(address, "kept").await["structuredContent"].clone();
    let mut stream = listen(address).await;
    assert_eq!(call(address, "orders").await["isError"], true, "nobody is let through");
    assert!(stream.no_event(SILENCE).await, "and nothing is said of it");
    assert_eq!(get(address, "/status").await["config"]["generation"], 1);

    open.store(true, Ordering::Relaxed);
    // The first good call says that it answers.
    until("a call passes", async || call(address, "orders").await.get("isError").is_none()).await;
    let told = stream.event().await.unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    let schema = schema_of(address, "orders").await;
    let columns = &schema["properties"]["rows"]["items"]["properties"];
    assert!(columns["id"].is_object() && columns["note"].is_object(), "{schema}");
    let status = get(address, "/status").await;
    let config_now = &status["config"];
    assert_eq!(config_now["generation"], 2);
    assert_eq!(config_now["changed"]["tools"]["changed"]["names"], json!(["orders"]), "{config_now}");
    assert_eq!(config_now["reloads"]["applied"], 0, "the files had no part in it");
    until("it is told", async || process.log().contains("a database answers again: generation 2")).await;
    assert!(!process.log().contains("reloaded"), "{}", process.log());
    // What was kept is still kept, and what was counted is still counted.
    assert_eq!(call(address, "kept").await["structuredContent"], kept);
    assert_eq!(call(address, "kept").await["structuredContent"], kept);
    assert!(call(address, "kept").await.get("content").is_none(), "the fourth in an hour");
    assert!(stream.no_event(SILENCE).await, "once");

    // A reload keeps what was learned, and is no news of it.
    std::fs::write(folder.path().join("gateway.yaml"), config(json!({ "text": "b" }))).unwrap();
    until("the edit is in use", async || process.log().contains("reloaded, generation 3")).await;
    assert_eq!(schema_of(address, "orders").await, schema);
    assert!(stream.no_event(Duration::from_millis(200)).await);
    drop((stream, process));
    own.gone().await;
}

#[tokio::test]
async fn a_probe_says_as_well_that_a_database_is_there_and_a_refused_edit_stays_told() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
sources:
  files: { sql: { url: 'sqlite:shop.db' } }
tools:
  orders: { description: Orders., sql: { source: files, query: 'SELECT id, note FROM orders' } }
";
    let (process, address) = Process::serve(folder.path(), text).await;
    let generic = schema_of(address, "orders").await;
    let mut stream = listen(address).await;
    for _ in 0..2 {
        assert_eq!(get(address, "/readyz").await["sources"]["files"], "down");
        // As long as an answer is kept.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let times = |what: &str| process.log().matches(what).count();
    // What is written to the log is read a moment later.
    until("it is told", async || times("source not ready source=files") > 0).await;
    assert_eq!(times("source not ready source=files"), 1, "{}", process.log());
    std::fs::write(folder.path().join("gateway.yaml"), format!("{text}  nonsense: 1\n")).unwrap();
    until("the edit is refused", async || process.log().contains("not reloaded, generation 1")).await;
    // Whole at once: somebody else makes it elsewhere.
    let making = folder.path().join("shop.db.new");
    {
        use sqlx::Connection as _;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&making).create_if_missing(true);
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("CREATE TABLE orders (id INTEGER, note TEXT)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
    std::fs::rename(&making, folder.path().join("shop.db")).unwrap();
    until("it is ready", async || get(address, "/readyz").await["sources"]["files"] == "ready").await;
    until("it is told", async || times("source ready again source=files") == 1).await;
    let told = stream.event().await.unwrap();
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    let schema = schema_of(address, "orders").await;
    assert_ne!(schema, generic);
    let names: Vec<&String> =
        schema["properties"]["rows"]["items"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "note"], "{schema}");
    let status = get(address, "/status").await;
    assert_eq!(status["config"]["generation"], 2);
    assert!(status["config"]["error"].is_object(), "the edit is refused as before: {status}");
    // Mended, the file says what is in use.
    std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    until("it is mended", async || get(address, "/status").await["config"]["error"].is_null()).await;
    assert_eq!(schema_of(address, "orders").await, schema);
    assert_eq!(get(address, "/status").await["config"]["generation"], 2);
}
