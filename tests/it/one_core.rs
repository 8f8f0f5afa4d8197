//! The program where it may use one core, and runs on one thread: nothing that one call does holds up another, or the end.
#![cfg(target_os = "linux")]

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::support::message::legacy;
use crate::support::process::{Process, call};
use crate::support::until;

const CONFIG: &str = r#"
server: { http: { drain: 20s } }
sources:
  db: { sql: { url: "sqlite:shop.db", init: shop.sql } }
tools:
  hello: { description: H., static: { text: hello } }
  rows: { description: R., sql: { source: db, query: "SELECT id, name FROM items ORDER BY id" } }
  long:
    description: Takes a second or more of the processor.
    sql: { source: db, query: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT max(i) AS m FROM n", row: one }
  shaped: { description: S., static: { json: { a: [3, 4] } }, output: { select: "{sum: (.a | add)}" } }
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sql = "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO items VALUES (1, 'mug'), (2, 'pot');";
    std::fs::write(folder.path().join("shop.sql"), sql).unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), CONFIG).unwrap();
    folder
}

#[tokio::test]
async fn calls_go_on_beside_a_long_one_files_are_followed_and_it_ends_in_order() {
    let folder = folder();
    let mut process = Process::start_on_one_core(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
    let address = process.address().await;
    let long = tokio::spawn(call(address, "long"));
    let names = ["hello", "rows", "shaped"];
    for (index, result) in
        join_all((0..24).map(|n| call(address, names[n % 3]))).await.into_iter().enumerate()
    {
        let wanted = ["hello", "pot", "7"][index % 3];
        assert!(result.to_string().contains(wanted), "{}: {result}", names[index % 3]);
    }
    assert_eq!(long.await.unwrap()["structuredContent"]["m"], 3_000_000);
    std::fs::write(folder.path().join("gateway.yaml"), CONFIG.replace("text: hello", "text: changed"))
        .unwrap();
    until("the change is in use", async || call(address, "hello").await.to_string().contains("changed"))
        .await;
    process.signal("TERM");
    assert_eq!(process.end(Duration::from_secs(30)).await.code(), Some(0), "{}", process.log());
}

#[tokio::test]
async fn stdio_answers_while_a_call_runs_and_ends_with_its_input() {
    let folder = folder();
    let mut process = Process::start_on_one_core(folder.path(), &["stdio"]);
    process.say(&legacy("tools/call", &json!({ "name": "long" }))).await;
    let mut ping = legacy("ping", &json!({}));
    ping["id"] = json!("ping");
    process.say(&ping).await;
    let (first, second) = (process.message().await, process.message().await);
    assert_eq!(first["id"], "ping", "{first}\n{second}");
    assert_eq!(second["result"]["structuredContent"]["m"], 3_000_000, "{second}");
    process.close_input();
    assert_eq!(process.end(Duration::from_secs(30)).await.code(), Some(0), "{}", process.log());
}
