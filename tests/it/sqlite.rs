//! SQL on SQLite: values only ever bound, reads that cannot write whatever their text, writes whole or not at all, caps,
//! statements that never end, and files that come late.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::naughty::STRINGS;
use crate::support::gateway::problems;
use crate::support::process::Process;
use crate::support::{Gateway, LATE, failure, structured, text};

pub const INIT: &str = "
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INTEGER CHECK (n IS NULL OR n < 1000));
INSERT INTO t (id, name, n) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', NULL);
CREATE TABLE kinds (b BOOLEAN, i INTEGER, r REAL, s TEXT, x BLOB, d DATE, big INTEGER, inf REAL);
INSERT INTO kinds VALUES (1, 5, 2.5, 'text', X'00ff', '2026-01-02', 9007199254740993, 9e999), (0, NULL, NULL, '', X'', NULL, -1, NULL);
";
const ENDLESS: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c";

pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("init.sql"), INIT).unwrap();
    folder
}

/// A configuration over one database: a file, or memory.
pub fn config(url: &str, source: &str, tools: &str) -> String {
    format!("sources: {{ db: {{ sql: {{ url: \"{url}\", init: init.sql, {source} }} }} }}\ntools:\n{tools}")
}

pub fn tool(name: &str, params: &str, query: &str, more: &str) -> String {
    format!(
        "  {name}: {{ description: D., params: {{ {params} }}, sql: {{ source: db, query: {} {more} }} }}\n",
        json!(query)
    )
}

pub async fn start(url: &str, source: &str, tools: &[String]) -> Gateway {
    Gateway::start_in(folder(), &config(url, source, &tools.concat())).await
}

pub fn count_tool() -> String {
    tool("names", "", "SELECT name FROM t ORDER BY id", "")
}

pub async fn names(gateway: &Gateway) -> Vec<String> {
    let result = gateway.call("names", json!({})).await;
    let rows = structured(&result)["rows"].as_array().unwrap().clone();
    rows.iter().map(|r| r["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn values_keep_their_types() {
    let tools = [
        tool("kinds", "", "SELECT * FROM kinds ORDER BY rowid", ""),
        tool("twice", "", "SELECT 1 AS a, 2 AS a, 3 AS A", ""),
        tool("bind", "v: { }", "SELECT :v AS v, typeof(:v) AS t", ""),
        tool("one", "id: { type: integer }", "SELECT id, name FROM t WHERE id = :id", ", row: one"),
    ];
    let gateway = start("sqlite:a.db", "", &tools).await;
    let result = gateway.call("kinds", json!({})).await;
    assert_eq!(
        structured(&result)["rows"],
        json!([
            { "b": true, "i": 5, "r": 2.5, "s": "text", "x": "AP8=", "d": "2026-01-02", "big": 9_007_199_254_740_993_i64, "inf": "Infinity" },
            { "b": false, "i": null, "r": null, "s": "", "x": "", "d": null, "big": -1, "inf": null },
        ])
    );
    assert_eq!(
        structured(&gateway.call("twice", json!({})).await)["rows"][0],
        json!({ "a": 1, "a_2": 2, "A": 3 })
    );
    for (value, kind) in [
        (json!("5"), "text"),
        (json!(5), "integer"),
        (json!(i64::MAX), "integer"),
        (json!(i64::MIN), "integer"),
        (json!(1.5), "real"),
        (Value::Null, "null"),
    ] {
        let result = gateway.call("bind", json!({ "v": value })).await;
        assert_eq!(structured(&result)["rows"][0], json!({ "v": value, "t": kind }), "{value}");
    }
    assert_eq!(structured(&gateway.call("bind", json!({ "v": true })).await)["rows"][0]["v"], 1);
    let list = gateway.call("bind", json!({ "v": [1, { "a": "b" }] })).await;
    assert_eq!(structured(&list)["rows"][0]["v"], r#"[1,{"a":"b"}]"#);
    assert_eq!(
        *structured(&gateway.call("one", json!({ "id": 2 })).await),
        json!({ "id": 2, "name": "two" })
    );
    assert!(failure(&gateway.call("one", json!({ "id": 9 })).await).contains("Nothing was found"));
    assert_eq!(
        *structured(&gateway.call("one", json!({ "id": 2.0 })).await),
        json!({ "id": 2, "name": "two" })
    );
}

#[tokio::test]
async fn every_string_is_bound_as_text_and_nothing_of_it_runs() {
    let tools = [
        count_tool(),
        tool("echo", "v: { type: string }", "SELECT :v AS v, length(CAST(:v AS BLOB)) AS bytes", ""),
        tool("count", "", "SELECT count(*) AS c FROM t", ", row: one"),
        tool("find", "v: { type: string }", "SELECT id FROM t WHERE name = :v AND ':v' <> name", ""),
        tool(
            "add",
            "v: { type: string }",
            "INSERT INTO t (name) VALUES (:v) RETURNING name",
            ", write: true",
        ),
    ];
    let gateway = start("sqlite:a.db", "read_only: false", &tools).await;
    for value in STRINGS {
        let result = gateway.call("echo", json!({ "v": value })).await;
        assert_eq!(structured(&result)["rows"][0], json!({ "v": value, "bytes": value.len() }), "{value:?}");
        let result = gateway.call("find", json!({ "v": value })).await;
        assert_eq!(structured(&result)["rows"], json!([]), "{value:?}");
        let result = gateway.call("add", json!({ "v": value })).await;
        assert_eq!(structured(&result)["rows"][0]["name"], *value, "{value:?}");
    }
    let all = names(&gateway).await;
    assert_eq!(all.len(), 3 + STRINGS.len());
    assert_eq!(&all[..3], ["one", "two", "three"]);
    let large = "é'".repeat(300_000);
    let result = gateway.call("add", json!({ "v": large })).await;
    assert_eq!(structured(&result)["truncated"], true, "too large to be shown, but it was inserted");
    assert_eq!(*structured(&gateway.call("count", json!({})).await), json!({ "c": 4 + STRINGS.len() }));
}

/// Statements that do more than read although the text may not look like it. Each is either refused when the
/// configuration is read, or by the engine, and leaves no trace.
const HOSTILE: &[&str] = &[
    "DELETE FROM t",
    "WITH x AS (SELECT 1) DELETE FROM t",
    "WITH x AS (SELECT 1) INSERT INTO t (name) SELECT 'evil' FROM x",
    "WITH x AS (SELECT 1) UPDATE t SET name = 'evil' RETURNING 1",
    "REPLACE INTO t (id, name) VALUES (1, 'evil')",
    "INSERT INTO t (name) VALUES ('evil') RETURNING id",
    "CREATE TABLE evil (a)",
    "CREATE TEMP TABLE t AS SELECT 'evil' AS name, 1 AS id",
    "CREATE TEMP VIEW t AS SELECT 'evil' AS name, 1 AS id",
    "DROP TABLE t",
    "ALTER TABLE t RENAME TO evil",
    "VACUUM",
    "VACUUM INTO 'evil.db'",
    "VACUUM main INTO 'evil.db'",
    "ATTACH 'evil.db' AS evil",
    "ATTACH DATABASE 'evil.db' AS ('evil')",
    "ATTACH 'file:evil.db?mode=rwc' AS evil",
    "DETACH main",
    "PRAGMA query_only = 0",
    "PRAGMA query_only = OFF",
    "PRAGMA query_only(0)",
    "PRAGMA main.query_only = false",
    "PRAGMA writable_schema = ON",
    "PRAGMA user_version = 7",
    "PRAGMA journal_mode = WAL",
    "PRAGMA journal_mode = MEMORY",
    "PRAGMA temp_store_directory = 'evil'",
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "SAVEPOINT evil",
    "RELEASE evil",
    "COMMIT",
    "END",
    "END TRANSACTION",
    "ROLLBACK",
    "REINDEX",
    "REINDEX t",
    "ANALYZE",
    "ANALYZE t",
    "EXPLAIN ANALYZE DELETE FROM t",
    "SELECT load_extension('evil')",
    "SELECT writefile('evil.db', 'x')",
    "SELECT vec_npy_file('init.sql')",
    "SELECT fts3_tokenizer('evil', X'4141414141414141')",
    "SELECT * FROM pragma_journal_mode('wal')",
    "SELECT * FROM pragma_user_version(7)",
    "SELECT * FROM pragma_query_only(0)",
    "SELECT * FROM pragma_wal_checkpoint('TRUNCATE')",
    "EXPLAIN DELETE FROM t",
    "EXPLAIN ATTACH 'evil.db' AS evil",
    "SELECT 1 AS a$$; DELETE FROM t; SELECT 2 AS b$$",
    "SELECT 1 AS a$$; PRAGMA query_only = 0; SELECT 2 AS b$$",
    "SELECT 1 AS a$$; DROP TABLE t; SELECT 2 AS b$$",
    "SELECT 1 AS a$x$; PRAGMA query_only = 0; DELETE FROM t; SELECT 2 AS b$x$",
    "SELECT 1 AS a$$; PRAGMA query_only = 0; DELETE FROM t; SELECT 2 AS b$$",
    "SELECT 'a\\'; DELETE FROM t; --'",
    "SELECT /* /* */ 1; DELETE FROM t; -- */",
    "SELECT 1 -- \r; DELETE FROM t",
    "SELECT [a;b] FROM (SELECT 1 AS [a;b]); DELETE FROM t",
    "SELECT `a`; DELETE FROM t",
    ";DELETE FROM t",
    "SELECT 1;;DELETE FROM t",
    "SELECT 1; ; ",
    "SELECT U&'x'; DELETE FROM t",
    "SELECT E'\\'; DELETE FROM t; --'",
    "SELECT N'x'; DELETE FROM t",
    "SELECT X'00'; DELETE FROM t",
    "SELECT q'[';DELETE FROM t;--]'",
];

async fn hostile(url: &str) {
    let mut wrote = Vec::new();
    let mut reached = 0;
    for sql in HOSTILE {
        let folder = folder();
        let sql = &sql.replace("evil.db", folder.path().join("evil.db").to_str().unwrap());
        let yaml = config(url, "", &(count_tool() + &tool("hostile", "", sql, "")));
        if !problems(folder.path(), &yaml).is_empty() {
            continue;
        }
        reached += 1;
        let gateway = Gateway::start_in(folder, &yaml).await;
        assert_eq!(names(&gateway).await, ["one", "two", "three"], "{sql}");
        let before = files(gateway.folder());
        let result = gateway.call("hostile", json!({})).await;
        // Every connection that there may be in the pool sees the same as before.
        for _ in 0..3 {
            let after = gateway.call("names", json!({})).await;
            if after["structuredContent"]["rows"]
                != json!([{ "name": "one" }, { "name": "two" }, { "name": "three" }])
            {
                wrote.push(format!("{sql}: {result} then {after}"));
                break;
            }
        }
        if files(gateway.folder()) != before {
            wrote.push(format!("{sql}: it made or changed files: {:?}", files(gateway.folder())));
        }
    }
    assert!(reached > 3, "the engine was never asked");
    assert!(wrote.is_empty(), "on {url}:\n{}", wrote.join("\n"));
}

/// Names and contents of the files of a folder.
pub fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&p).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_read_route_on_a_file_cannot_write_whatever_its_text() {
    hostile("sqlite:a.db").await;
}

#[tokio::test]
async fn a_read_route_on_memory_cannot_write_whatever_its_text() {
    hostile("sqlite::memory:").await;
}

#[tokio::test]
async fn writes_happen_whole_or_not_at_all() {
    let integer = "id: { type: integer }";
    let tools = [
        count_tool(),
        tool(
            "rename",
            "id: { type: integer }, name: { type: string }",
            "UPDATE t SET name = :name WHERE id = :id",
            ", write: true",
        ),
        tool("remove", integer, "DELETE FROM t WHERE id = :id", ", write: true, row: count"),
        tool("bump", "by: { type: integer }", "UPDATE t SET n = coalesce(n, 0) + :by", ", write: true"),
        tool(
            "insert",
            integer,
            "INSERT INTO t (id, name) VALUES (:id, 'n' || :id) RETURNING id, name",
            ", write: true, row: one",
        ),
        tool(
            "twins",
            "",
            "INSERT INTO t (id, name) SELECT 10 + value, 'same' FROM json_each('[1,2,3]')",
            ", write: true",
        ),
        tool("numbers", "", "SELECT n FROM t ORDER BY id", ""),
    ];
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let gateway = start(url, "read_only: false", &tools).await;
        let renamed = gateway.call("rename", json!({ "id": 1, "name": "uno" })).await;
        assert_eq!(*structured(&renamed), json!({ "count": 1 }));
        assert_eq!(*structured(&gateway.call("remove", json!({ "id": 99 })).await), json!({ "count": 0 }));
        assert_eq!(
            *structured(&gateway.call("insert", json!({ "id": 7 })).await),
            json!({ "id": 7, "name": "n7" })
        );
        assert_eq!(names(&gateway).await, ["uno", "two", "three", "n7"], "{url}");
        assert_eq!(*structured(&gateway.call("remove", json!({ "id": 7 })).await), json!({ "count": 1 }));
        // The third row breaks a rule after others were changed: nothing stays.
        for (tool, arguments) in [
            ("twins", json!({})),
            ("insert", json!({ "id": 1 })),
            ("rename", json!({ "id": 1, "name": "two" })),
            ("bump", json!({ "by": 999 })),
        ] {
            let result = gateway.call(tool, arguments).await;
            let sentence = failure(&result);
            assert!(
                sentence.contains("refused this operation") && sentence.contains("(request "),
                "{sentence}"
            );
            assert!(!sentence.contains("UNIQUE") && !sentence.contains("INSERT"), "{sentence}");
        }
        assert_eq!(names(&gateway).await, ["uno", "two", "three"], "{url}");
        let numbers = gateway.call("numbers", json!({})).await;
        assert_eq!(structured(&numbers)["rows"], json!([{ "n": 1 }, { "n": 2 }, { "n": null }]));
        // Reads through the same source still cannot write.
        structured(&gateway.call("bump", json!({ "by": 1 })).await);
    }
}

#[tokio::test]
async fn rows_are_capped_by_number_and_size_and_say_so() {
    const MANY: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000000) SELECT x, 'some text' AS s FROM c";
    let large = "SELECT value AS n, hex(zeroblob(2000)) AS s FROM json_each('[1,2,3,4,5,6,7,8,9,10]')";
    let tools = [
        tool("many", "", MANY, ""),
        tool("count", "", "SELECT value FROM json_each('[1,2,3,4,5,6,7,8,9,10]')", ", row: count"),
        tool("large", "", large, ""),
        tool("cell", "", "SELECT hex(zeroblob(20000)) AS s", ""),
        tool("fits", "", "SELECT value FROM json_each('[1,2,3,4,5]')", ""),
    ];
    let yaml = config("sqlite:a.db", "", &tools.concat())
        + "defaults: { output: { max_rows: 5, max_bytes: 16KiB } }\n";
    let gateway = Gateway::start_in(folder(), &yaml).await;
    let started = Instant::now();
    let many = gateway.call("many", json!({})).await;
    assert_eq!(structured(&many)["rows"].as_array().unwrap().len(), 5);
    assert_eq!(structured(&many)["truncated"], true);
    assert!(structured(&many)["note"].as_str().unwrap().contains("first 5 rows"));
    assert!(started.elapsed() < LATE, "all rows were read");
    let large = gateway.call("large", json!({})).await;
    let rows = structured(&large)["rows"].as_array().unwrap().len();
    assert!((1..5).contains(&rows) && text(&large).len() <= 16 << 10, "{rows}");
    assert!(structured(&large)["note"].is_string());
    let cell = gateway.call("cell", json!({})).await;
    assert!(text(&cell).len() <= 16 << 10 && structured(&cell)["truncated"] == true);
    let fits = gateway.call("fits", json!({})).await;
    assert!(structured(&fits).get("truncated").is_none());
    // A count is of all rows, not of those that would be shown.
    assert_eq!(*structured(&gateway.call("count", json!({})).await), json!({ "count": 10 }));
}

#[tokio::test]
async fn a_statement_that_never_ends_is_stopped_in_the_engine() {
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let folder = folder();
        let tools = [count_tool(), tool("endless", "", ENDLESS, "")];
        let yaml = config(url, "statement_timeout: 500ms, pool: { max: 1 }", &tools.concat());
        let (process, address) = Process::serve(folder.path(), &yaml).await;
        let call = async |name: &str| crate::support::process::call(address, name).await;
        structured(&call("names").await);
        let started = Instant::now();
        let result = call("endless").await;
        assert!(started.elapsed() < LATE, "{url}: {:?}", started.elapsed());
        assert!(failure(&result).contains("within 500ms"), "{}", failure(&result));
        // The only connection is free again, and nobody computes on.
        assert_eq!(structured(&call("names").await)["rows"].as_array().unwrap().len(), 3);
        let before = process.cpu();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(process.cpu() - before < 0.3, "{url}: it still computes");
    }
}

#[tokio::test]
async fn a_pattern_of_any_length_takes_no_connection_away() {
    let find = "SELECT count(*) AS n FROM t WHERE name LIKE '%' || :q || '%'";
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let params = "q: { type: string }";
        let glob = "SELECT 1 AS a WHERE 'x' GLOB :q";
        let tools = [count_tool(), tool("find", params, find, ""), tool("glob", params, glob, "")];
        let gateway = start(url, "statement_timeout: 1s, pool: { max: 2 }", &tools).await;
        let result = gateway.call("find", json!({ "q": "o".repeat(998) })).await;
        assert_eq!(structured(&result)["rows"], json!([{ "n": 0 }]), "{url}");
        for (name, pattern) in [("find", "o".repeat(999)), ("glob", "*a".repeat(25_000))] {
            let result = gateway.call(name, json!({ "q": pattern })).await;
            assert!(failure(&result).contains("at most 1000 bytes"), "{url}: {}", failure(&result));
        }
        assert_eq!(names(&gateway).await.len(), 3, "{url}");
    }
}

#[tokio::test]
async fn a_write_that_never_ends_leaves_nothing_behind() {
    let endless = "INSERT INTO t (name) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 'evil' || x FROM c";
    let tools = [
        count_tool(),
        tool("endless", "", endless, ", write: true"),
        tool("add", "", "INSERT INTO t (name) VALUES ('new')", ", write: true"),
    ];
    for url in ["sqlite:a.db", "sqlite::memory:"] {
        let gateway = start(url, "read_only: false, statement_timeout: 400ms", &tools).await;
        assert!(failure(&gateway.call("endless", json!({})).await).contains("within 400ms"));
        structured(&gateway.call("add", json!({})).await);
        assert_eq!(names(&gateway).await, ["one", "two", "three", "new"], "{url}");
    }
}
