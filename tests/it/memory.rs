//! Answers without end and cells without measure: cut or refused, and the gateway's own memory does not grow with them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::{Process, call};
use crate::support::{Connection, failure, message, structured};

/// The caps of every route here.
const CAP: u64 = 256 << 10;
/// What an answer may take besides.
const CONSTANT: u64 = 32 << 20;
/// A table of its own: 200 MB in one cell, and rows of 1 MB.
const LARGE: &str = "
CREATE TABLE cell (id INTEGER PRIMARY KEY, s TEXT, b BLOB);
INSERT INTO cell VALUES (1, 'small', NULL), (2, hex(zeroblob(100000000)), NULL), (3, NULL, zeroblob(200000000));
CREATE TABLE wide (s TEXT);
INSERT INTO wide WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 60) SELECT hex(zeroblob(500000)) FROM c;
";

/// How large the process has been at most.
pub(crate) fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

fn configuration(source: &Value, queries: &[(&str, &str)]) -> String {
    let tools: serde_json::Map<String, Value> = queries
        .iter()
        .map(|(name, query)| {
            let write = name.starts_with("write");
            let sql = json!({ "source": "db", "query": query, "write": write });
            ((*name).to_owned(), json!({ "description": "D.", "sql": sql }))
        })
        .collect();
    json!({ "sources": { "db": { "sql": source } }, "tools": tools, "defaults": { "output": { "max_rows": 1000, "max_bytes": "256KiB" } } })
        .to_string()
}

/// Calls every tool but the first, which only opens what has to be open; fails if the process grows by more than it may.
async fn stays_small(process: &Process, address: SocketAddr, queries: &[(&str, &str)]) -> Vec<Value> {
    structured(&call(address, queries[0].0).await);
    let mut answers = Vec::new();
    for (name, _) in &queries[1..] {
        let before = peak(process);
        answers.push(call(address, name).await);
        let grown = peak(process).saturating_sub(before);
        assert!(grown < 2 * CAP + CONSTANT, "{name}: {} MiB more", grown >> 20);
    }
    answers
}

fn is_cut(answer: &Value, at_most: usize) {
    let answer = structured(answer);
    assert_eq!(answer["truncated"], true);
    assert!(
        answer["rows"].as_array().unwrap().len() <= at_most && answer["note"].is_string(),
        "{}",
        answer["note"]
    );
}

fn is_refused(answer: &Value) {
    let sentence = failure(answer);
    assert!(sentence.contains("is larger than 4194304 bytes. Ask for less."), "{sentence}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sqlite_answers_without_measure_take_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("init.sql"), LARGE).unwrap();
    let queries = [
        ("one", "SELECT s FROM cell WHERE id = 1"),
        (
            "many",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10000000) SELECT x, 'some text' AS s FROM c",
        ),
        ("text", "SELECT s FROM cell WHERE id = 2"),
        ("blob", "SELECT b FROM cell WHERE id = 3"),
        ("after", "SELECT id, s, b FROM cell ORDER BY id"),
        ("made", "SELECT hex(zeroblob(100000000)) AS s"),
        ("wide", "SELECT s FROM wide"),
        ("lengths", "SELECT id, length(b) AS n FROM cell WHERE b IS NOT NULL"),
    ];
    // Another process fills it.
    let source = json!({ "url": "sqlite:a.db", "init": "init.sql", "statement_timeout": "30s" });
    std::fs::write(folder.path().join("gateway.yaml"), configuration(&source, &queries)).unwrap();
    let mut filling = Process::start(folder.path(), &["call", "one"]);
    assert!(filling.end(Duration::from_secs(60)).await.success(), "{}", filling.log());
    let (process, address) = Process::serve(folder.path(), &configuration(&source, &queries)).await;
    let answers = stays_small(&process, address, &queries).await;
    let [many, text, blob, after, made, wide, lengths] = &answers[..] else { panic!("{answers:?}") };
    is_cut(many, 1000);
    is_refused(text);
    is_refused(blob);
    is_refused(made);
    is_cut(after, 1);
    assert_eq!(structured(after)["rows"], json!([{ "id": 1, "s": "small", "b": null }]));
    is_cut(wide, 1);
    assert_eq!(structured(lengths)["rows"], json!([{ "id": 3, "n": 200_000_000 }]));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn postgres_answers_without_measure_take_no_memory() {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else { return };
    let large = "repeat('x', 200000000)";
    let cell = format!("SELECT {large} AS s");
    let bytes = format!("SELECT {large}::bytea AS s");
    let after = format!("SELECT 1 AS id, 'small' AS s UNION ALL SELECT 2, {large}");
    let write = format!("SELECT 1 AS id, 'small' AS s UNION ALL SELECT 2, {large}");
    let queries = [
        ("one", "SELECT 1 AS one"),
        ("many", "SELECT g, 'some text' AS s FROM generate_series(1, 10000000) AS g"),
        ("cell", &cell),
        ("bytes", &bytes),
        ("after", &after),
        ("write", &write),
        ("wide", "SELECT repeat('x', 1000000) AS s FROM generate_series(1, 60)"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let source = json!({ "url": url, "read_only": false, "statement_timeout": "60s" });
    let defaults = configuration(&source, &queries);
    let (process, address) = Process::serve(folder.path(), &defaults).await;
    let answers = stays_small(&process, address, &queries).await;
    let [many, cell, bytes, after, write, wide] = &answers[..] else { panic!("{answers:?}") };
    is_cut(many, 1000);
    is_refused(cell);
    is_refused(bytes);
    for cut in [after, write] {
        is_cut(cut, 1);
        assert_eq!(structured(cut)["rows"], json!([{ "id": 1, "s": "small" }]));
    }
    is_cut(wide, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn mysql_answers_without_measure_take_no_memory() {
    let Some(own) = crate::mysql::Own::open("memory", &[]).await else { return };
    // A row is sent whole, and the driver holds it up to three times while it grows: less than the server's 16 MiB shows that no more
    // than that comes to it.
    let queries = [
        ("one", "SELECT 1 AS one"),
        ("many", "SELECT seq, 'some text' AS s FROM seq_1_to_10000000"),
        ("cell", "SELECT REPEAT('x', 8000000) AS s"),
        ("bytes", "SELECT CAST(REPEAT('x', 8000000) AS BINARY) AS s"),
        ("after", "SELECT 1 AS id, 'small' AS s UNION ALL SELECT 2, REPEAT('x', 8000000)"),
        ("wide", "SELECT REPEAT('x', 1000000) AS s FROM seq_1_to_60"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let source = json!({ "url": own.url, "read_only": false, "statement_timeout": "60s" });
    let (process, address) = Process::serve(folder.path(), &configuration(&source, &queries)).await;
    let answers = stays_small(&process, address, &queries).await;
    let [many, cell, bytes, after, wide] = &answers[..] else { panic!("{answers:?}") };
    is_cut(many, 1000);
    is_refused(cell);
    is_refused(bytes);
    is_cut(after, 1);
    assert_eq!(structured(after)["rows"], json!([{ "id": 1, "s": "small" }]));
    is_cut(wide, 1);
    own.gone().await;
}

/// HTTP/1.1 cannot tell that a body in crumbs is an attack; HTTP/2 does.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_chunks_of_a_byte_takes_little_more_than_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (process, address) =
        Process::serve(folder.path(), "tools: { a: { description: A., static: { text: a } } }").await;
    structured(&call(address, "a").await);
    let before = peak(&process);
    let mut connection = Connection::open(address).await.unwrap();
    let mut head = "POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n".to_owned();
    for (name, value) in message::modern_headers("tools/call", Some("a")) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    connection.write(format!("{head}\r\n").as_bytes()).await.unwrap();
    let crumbs = "1\r\n \r\n".repeat(1000);
    for _ in 0..600 {
        connection.write(crumbs.as_bytes()).await.unwrap();
    }
    let body = message::modern("tools/call", json!({ "name": "a" })).to_string();
    connection.write(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    let reply = connection.reply().await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let grown = peak(&process).saturating_sub(before);
    // 26 MiB when every piece is kept by itself.
    assert!(grown < CONSTANT / 2, "{} MiB more", grown >> 20);
}
