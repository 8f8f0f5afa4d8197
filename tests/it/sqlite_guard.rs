//! What SQLite lets a route do, whatever its text: no other file, no mode, nothing that the next call on the same connection
//! would meet; and everything that reads and writes rows in the usual ways.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sqlite::{config, count_tool, files, folder, names, start, tool};
use crate::support::gateway::problems;
use crate::support::process::{self, Process};
use crate::support::{Gateway, failure, structured};

/// Statements of a route that may write, each refused.
const REFUSED: &[&str] = &[
    "ATTACH 'evil.db' AS evil",
    "ATTACH DATABASE ':memory:' AS evil",
    "ATTACH '' AS evil",
    "DETACH main",
    "DETACH temp",
    "VACUUM",
    "VACUUM INTO 'evil.db'",
    "PRAGMA writable_schema = ON",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA main.ignore_check_constraints(1)",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA query_only = ON",
    "PRAGMA user_version = 7",
    "PRAGMA page_size = 512",
    "PRAGMA encoding = 'UTF-16'",
    "PRAGMA journal_mode = WAL",
    "PRAGMA journal_mode",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA temp_store = 2",
    "PRAGMA temp_store_directory = 'evil'",
    "PRAGMA mmap_size = 1000000000",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA shrink_memory",
    "PRAGMA hard_heap_limit = 1",
    "PRAGMA busy_timeout = 0",
    "PRAGMA trusted_schema = OFF",
    "CREATE TEMP TABLE t AS SELECT 'evil' AS name, 1 AS id",
    "CREATE TABLE temp.t (id, name)",
    "CREATE VIEW temp.t AS SELECT 'evil' AS name, 1 AS id",
    "CREATE TRIGGER temp.evil AFTER INSERT ON main.t BEGIN DELETE FROM t; END",
    "CREATE TEMP VIEW t AS SELECT 'evil' AS name, 1 AS id",
    "CREATE TEMP TRIGGER evil AFTER INSERT ON main.t BEGIN DELETE FROM t; END",
    "CREATE VIRTUAL TABLE temp.evil USING fts5(x)",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "END",
    "ROLLBACK",
    "RELEASE evil",
    "ROLLBACK TO evil",
    "SELECT load_extension('evil')",
    "SELECT writefile('evil.db', 'x')",
    "SELECT readfile('init.sql')",
    "SELECT vec_npy_file('init.sql')",
    "SELECT * FROM vec_npy_each('init.sql')",
    "SELECT fts3_tokenizer('evil')",
    "SELECT fts3_tokenizer('evil', X'4141414141414141')",
    "SELECT edit('x', 'touch evil.db')",
    "UPDATE t SET name = load_extension('evil')",
    "SELECT last_insert_rowid()",
    "SELECT Changes()",
    "INSERT INTO t (name) SELECT 'evil' || total_changes()",
    "SELECT * FROM pragma_journal_mode",
    "SELECT * FROM pragma_database_list",
    "INSERT INTO sqlite_master VALUES ('table', 'evil', 'evil', 0, 'CREATE TABLE evil (a)')",
    "UPDATE sqlite_schema SET sql = 'CREATE TABLE t (evil)'",
    "DELETE FROM sqlite_master",
    "DELETE FROM temp.sqlite_master",
];

/// Statements of a route that only reads, each refused by the engine, not by a look at the text.
const REFUSED_READS: &[&str] = &[
    "WITH x AS (SELECT 1) DELETE FROM t",
    "WITH x AS (SELECT 1) INSERT INTO t (name) SELECT 'evil' FROM x",
    "WITH x AS (SELECT 1) UPDATE t SET name = 'evil' RETURNING 1",
    "EXPLAIN DELETE FROM t",
    "EXPLAIN QUERY PLAN DELETE FROM t",
    "SELECT load_extension('evil')",
    "SELECT LOAD_EXTENSION('evil', 'x')",
    "SELECT fts3_tokenizer('evil')",
    "SELECT last_insert_rowid()",
    "SELECT name FROM t WHERE changes() = 0",
    "SELECT * FROM pragma_journal_mode",
    "SELECT * FROM pragma_database_list",
];

/// A change that shows what stayed on the connection: a mode, or something temporary.
const SOUND: &str = "UPDATE t SET n = n WHERE id = 1 RETURNING 'A' LIKE 'a' AS same, (SELECT count(*) FROM temp.sqlite_master) AS temporary, \
     (SELECT group_concat(user_version) FROM pragma_user_version) AS version";

fn source() -> &'static str {
    "read_only: false, pool: { max: 1 }"
}

/// Fails unless nothing of a hostile statement is left on any connection.
async fn unharmed(gateway: &Gateway, sql: &str) {
    assert_eq!(names(gateway).await, ["one", "two", "three"], "{sql}");
    let sound = gateway.call("sound", json!({})).await;
    let wanted = json!([{ "same": 1, "temporary": 0, "version": "0" }]);
    assert_eq!(structured(&sound)["rows"], wanted, "{sql}");
    let unsound = gateway.call("unsound", json!({})).await;
    assert!(failure(&unsound).contains("refused this operation"), "{sql}: {unsound}");
}

#[tokio::test]
async fn a_route_that_writes_reaches_nothing_but_its_rows() {
    let tools = [
        count_tool(),
        tool("sound", "", SOUND, ", write: true"),
        tool("unsound", "", "INSERT INTO t (name, n) VALUES ('bad', 5000)", ", write: true"),
    ];
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let folder = folder();
        let evil = folder.path().join("evil.db");
        let mut reached = Vec::new();
        let mut all = tools.concat();
        for sql in REFUSED {
            let name = format!("hostile_{}", reached.len());
            // Behind a comment, so that what is refused by its first word is left to the engine too.
            let asked = format!("/* */ {}", sql.replace("evil.db", evil.to_str().unwrap()));
            let one = tool(&name, "", &asked, ", write: true");
            if problems(folder.path(), &config(url, source(), &one)).is_empty() {
                all += &one;
                reached.push((name, sql));
            }
        }
        assert!(reached.len() > REFUSED.len() - 3, "the engine was hardly asked");
        let gateway = Gateway::start_in(folder, &config(url, source(), &all)).await;
        unharmed(&gateway, "before").await;
        let before = files(gateway.folder());
        for (name, sql) in reached {
            for _ in 0..2 {
                let result = gateway.call(&name, json!({})).await;
                assert_eq!(result["isError"], true, "{sql}: {result}");
                unharmed(&gateway, sql).await;
            }
        }
        let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
        assert_eq!(names(&files(gateway.folder())), names(&before), "{url}");
    }
}

#[tokio::test]
async fn a_route_that_reads_is_refused_all_else_by_the_engine() {
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let mut tools = vec![
            count_tool(),
            tool("sound", "", SOUND, ", write: true"),
            tool("unsound", "", "INSERT INTO t (name, n) VALUES ('bad', 5000)", ", write: true"),
        ];
        tools.extend(
            REFUSED_READS.iter().enumerate().map(|(i, sql)| tool(&format!("hostile_{i}"), "", sql, "")),
        );
        let gateway = start(url, source(), &tools).await;
        unharmed(&gateway, "before").await;
        for (index, sql) in REFUSED_READS.iter().enumerate() {
            let result = gateway.call(&format!("hostile_{index}"), json!({})).await;
            assert!(failure(&result).contains("refused this operation"), "{sql}: {result}");
            unharmed(&gateway, sql).await;
        }
    }
}

#[tokio::test]
async fn what_was_compiled_for_a_write_is_of_no_use_to_a_read() {
    let delete = "WITH x AS (SELECT 3 AS id) DELETE FROM t WHERE id IN (SELECT id FROM x)";
    let tools = [
        count_tool(),
        tool("explain_write", "", "EXPLAIN DELETE FROM t", ", write: true"),
        tool("explain_read", "", "EXPLAIN DELETE FROM t", ""),
        tool("delete_write", "", delete, ", write: true"),
        tool("delete_read", "", delete, ""),
        tool("add", "", "INSERT INTO t (id, name) VALUES (3, 'three')", ", write: true"),
        tool("names_write", "", "SELECT name FROM t ORDER BY id", ", write: true"),
        tool("begin", "", "BEGIN IMMEDIATE", ", write: true"),
        tool("savepoint", "", "SAVEPOINT evil", ", write: true"),
        tool("release", "", "RELEASE evil", ", write: true"),
    ];
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let gateway = start(url, source(), &tools).await;
        for _ in 0..3 {
            // The engine gives the plan of a write to a write only; no mode of the connection stops it in a read.
            let explained = gateway.call("explain_write", json!({})).await;
            assert!(!structured(&explained)["rows"].as_array().unwrap().is_empty(), "{url}: {explained}");
            assert!(failure(&gateway.call("explain_read", json!({})).await).contains("refused"), "{url}");
            structured(&gateway.call("delete_write", json!({})).await);
            assert_eq!(names(&gateway).await, ["one", "two"], "{url}");
            structured(&gateway.call("add", json!({})).await);
            assert!(failure(&gateway.call("delete_read", json!({})).await).contains("refused"), "{url}");
            structured(&gateway.call("names_write", json!({})).await);
            // The text of one of our own statements.
            failure(&gateway.call("begin", json!({})).await);
            // It ends with its call.
            structured(&gateway.call("savepoint", json!({})).await);
            failure(&gateway.call("release", json!({})).await);
            assert_eq!(names(&gateway).await, ["one", "two", "three"], "{url}");
        }
    }
}

#[tokio::test]
async fn what_was_described_at_the_start_is_of_no_use_to_a_call_either() {
    let folder = folder();
    let explain = |name, more| tool(name, "", "EXPLAIN DELETE FROM t", more);
    let tools = [count_tool(), explain("explain_write", ", write: true"), explain("explain_read", "")];
    let (process, address) =
        Process::serve(folder.path(), &config("sqlite:a.db", source(), &tools.concat())).await;
    for _ in 0..2 {
        structured(&process::call(address, "explain_write").await);
        assert!(failure(&process::call(address, "explain_read").await).contains("refused this operation"));
        structured(&process::call(address, "names").await);
    }
    drop(process);
}

/// Tables of every kind that is built in.
const KINDS: &str = "
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE log (of INTEGER);
CREATE TRIGGER logs AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); INSERT INTO log VALUES (last_insert_rowid()); END;
CREATE VIEW v AS SELECT id, upper(name) AS name FROM t;
CREATE VIRTUAL TABLE five USING fts5(body);
CREATE VIRTUAL TABLE four USING fts4(body);
CREATE VIRTUAL TABLE boxes USING rtree(id, x1, x2);
CREATE VIRTUAL TABLE near USING vec0(at float[2]);
INSERT INTO t (name) VALUES ('one');
INSERT INTO five VALUES ('a red fox');
INSERT INTO four VALUES ('a blue fox');
INSERT INTO boxes VALUES (1, 0, 10);
INSERT INTO near (rowid, at) VALUES (1, '[1, 0]');
";

#[tokio::test]
async fn what_reads_and_writes_rows_in_the_usual_ways_goes_on() {
    let reads = [
        ("SELECT * FROM v", json!([{ "id": 1, "name": "ONE" }])),
        ("SELECT body FROM five WHERE five MATCH 'red'", json!([{ "body": "a red fox" }])),
        (
            "SELECT snippet(four) AS s FROM four WHERE four MATCH 'blue'",
            json!([{ "s": "a <b>blue</b> fox" }]),
        ),
        ("SELECT id FROM boxes WHERE x1 <= 5 AND x2 >= 5", json!([{ "id": 1 }])),
        ("SELECT rowid AS id FROM near WHERE at MATCH '[1, 0]' AND k = 1", json!([{ "id": 1 }])),
        ("SELECT name FROM pragma_table_info('t')", json!([{ "name": "id" }, { "name": "name" }])),
        (
            "SELECT count(*) AS c FROM pragma_compile_options WHERE compile_options LIKE 'ENABLE_FTS5%'",
            json!([{ "c": 1 }]),
        ),
        ("SELECT value AS v FROM json_each('[1,2]')", json!([{ "v": 1 }, { "v": 2 }])),
        (
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 3) SELECT sum(x) AS s FROM c",
            json!([{ "s": 6 }]),
        ),
        ("SELECT id, row_number() OVER (ORDER BY id) AS r FROM t", json!([{ "id": 1, "r": 1 }])),
        ("SELECT name FROM sqlite_master WHERE type = 'view'", json!([{ "name": "v" }])),
        ("EXPLAIN QUERY PLAN SELECT id FROM v WHERE id = 1", Value::Null),
    ];
    let writes = [
        "INSERT INTO t (name) VALUES ('two')",
        "INSERT INTO five VALUES ('a green fox')",
        "INSERT INTO five(five) VALUES ('optimize')",
        "INSERT INTO four VALUES ('a grey fox')",
        "INSERT INTO four(four) VALUES ('optimize')",
        "INSERT INTO boxes VALUES (2, 5, 15)",
        "INSERT INTO near (rowid, at) VALUES (2, '[0, 1]')",
        "DELETE FROM near WHERE rowid = 2",
        "CREATE TABLE made (a, b)",
        "CREATE INDEX made_a ON made (a)",
        "ALTER TABLE made RENAME TO remade",
        "ALTER TABLE remade DROP COLUMN b",
        "CREATE VIRTUAL TABLE six USING fts5(body)",
        "DROP TABLE six",
        "DROP TABLE remade",
        "ANALYZE",
        "REINDEX",
    ];
    let read = reads.iter().enumerate().map(|(i, (sql, _))| tool(&format!("read_{i}"), "", sql, ""));
    let write =
        writes.iter().enumerate().map(|(i, sql)| tool(&format!("write_{i}"), "", sql, ", write: true"));
    let tools: String = read.chain(write).collect();
    let log = tool("log", "", "SELECT of FROM log ORDER BY rowid", "");
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("init.sql"), KINDS).unwrap();
        let gateway = Gateway::start_in(folder, &config(url, source(), &(tools.clone() + &log))).await;
        for (index, (sql, wanted)) in reads.iter().enumerate() {
            let result = gateway.call(&format!("read_{index}"), json!({})).await;
            assert!(result.get("isError").is_none(), "{url}: {sql}: {result}");
            let rows = &structured(&result)["rows"];
            assert!(wanted.is_null() || rows == wanted, "{url}: {sql}: {rows}");
        }
        for (index, sql) in writes.iter().enumerate() {
            let result = gateway.call(&format!("write_{index}"), json!({})).await;
            assert!(result.get("isError").is_none(), "{url}: {sql}: {result}");
        }
        // A trigger sees what it inserted itself.
        let log = gateway.call("log", json!({})).await;
        assert_eq!(
            structured(&log)["rows"],
            json!([{ "of": 1 }, { "of": 1 }, { "of": 2 }, { "of": 3 }]),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_call_that_finds_no_free_connection_says_so_in_time() {
    let long = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";
    let tools = [
        count_tool(),
        tool("long", "", long, ""),
        tool("long_write", "", &format!("INSERT INTO t (name) {long}"), ", write: true"),
        tool("write", "", "UPDATE t SET n = n", ", write: true"),
    ];
    let source = "read_only: false, statement_timeout: 3s, pool: { max: 1, acquire_timeout: 300ms }";
    for (url, long, short) in [
        ("sqlite:a.db", "long", "names"),
        ("sqlite:a.db", "long_write", "write"),
        ("sqlite::memory:", "long", "write"),
    ] {
        let gateway = start(url, source, &tools).await;
        names(&gateway).await;
        let waiting = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let result = gateway.call(short, json!({})).await;
            let sentence = failure(&result);
            assert!(
                sentence.contains("is busy: no connection became free within 300ms"),
                "{url}: {sentence}"
            );
            Instant::now()
        };
        let endless = async { (gateway.call(long, json!({})).await, Instant::now()) };
        let ((endless, given_up), told) = tokio::join!(endless, waiting);
        assert!(told < given_up, "{url}: it waited for the other one");
        assert!(failure(&endless).contains("within 3s"), "{url}: {endless}");
        assert_eq!(names(&gateway).await, ["one", "two", "three"], "{url}");
    }
}
