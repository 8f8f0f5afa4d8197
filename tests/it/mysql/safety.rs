//! What a statement may do on MySQL and MariaDB: nothing but read, unless it is to write; and nothing of it is left.

use serde_json::{Value, json};

use super::{Own, one};
use crate::support::{Gateway, failure, structured};

const HOSTILE: [&str; 8] = [
    "CREATE TABLE t (id INT) ENGINE = InnoDB",
    "CREATE TABLE m (id INT) ENGINE = MyISAM",
    "INSERT INTO t VALUES (1), (2)",
    "INSERT INTO m VALUES (1), (2)",
    "CREATE SEQUENCE s",
    "CREATE FUNCTION wipe() RETURNS INT BEGIN DELETE FROM t; RETURN 1; END",
    "CREATE FUNCTION wipe_m() RETURNS INT BEGIN DELETE FROM m; RETURN 1; END",
    "CREATE FUNCTION wipe_open() RETURNS INT BEGIN SET SESSION TRANSACTION READ WRITE; DELETE FROM t; RETURN 1; END",
];

#[tokio::test]
async fn a_read_writes_nothing_whatever_the_statement_does() {
    let Some(mut own) = Own::open("reads", &HOSTILE).await else { return };
    own.run("CREATE FUNCTION temp() RETURNS INT BEGIN CREATE TEMPORARY TABLE x (a INT); RETURN 1; END").await;
    own.run(
        "CREATE FUNCTION set_open() RETURNS INT BEGIN SET @@tx_read_only = 0; DELETE FROM t; RETURN 1; END",
    )
    .await;
    own.run("CREATE VIEW v AS SELECT wipe() AS w").await;
    let tools: Vec<(&str, &str, Value)> = [
        ("wipe", "SELECT wipe()"),
        ("wipe_m", "SELECT wipe_m()"),
        ("wipe_open", "SELECT wipe_open(), wipe()"),
        ("set_open", "SELECT set_open()"),
        ("temp", "SELECT temp()"),
        ("view", "SELECT * FROM v"),
        ("sequence", "SELECT NEXTVAL(s)"),
        ("with", "WITH q AS (SELECT wipe() AS w) SELECT * FROM q, t"),
        ("values", "VALUES (wipe())"),
    ]
    .into_iter()
    .map(|(name, query)| (name, query, json!({})))
    .collect();
    let gateway = Gateway::start(&own.config(1, &tools).to_string()).await;
    for (tool, ..) in tools.iter().chain(&tools) {
        let result = gateway.call(tool, json!({})).await;
        let sentence = failure(&result);
        assert!(sentence.contains("`db`") && !sentence.contains(&own.database), "{tool}: {sentence}");
        assert_eq!(
            own.number("SELECT (SELECT COUNT(*) FROM t) + (SELECT COUNT(*) FROM m)").await,
            4,
            "{tool}"
        );
    }
    assert_eq!(own.number("SELECT NEXTVAL(s)").await, 1);
    own.gone().await;
}

#[tokio::test]
async fn what_a_read_may_not_begin_with_or_hold_is_refused_at_load() {
    let Some(own) = Own::open("loads", &[]).await else { return };
    let folder = tempfile::tempdir().unwrap();
    for hostile in [
        "SELECT 1; COMMIT",
        "COMMIT",
        "SET GLOBAL read_only = 0",
        "SET @@tx_read_only = 0",
        "SET SESSION TRANSACTION READ WRITE",
        "SET STATEMENT max_statement_time = 0 FOR SELECT 1",
        "START TRANSACTION READ WRITE",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
        "CREATE TABLE x (a INT)",
        "DELETE FROM t",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "CALL p()",
        "DO wipe()",
        "HANDLER t OPEN",
        "ANALYZE DELETE FROM t",
        "EXECUTE IMMEDIATE 'DELETE FROM t'",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 into/**/dumpfile '/tmp/x'",
        "SELECT 1 INTO @x",
        "SELECT 1 /*!INTO OUTFILE '/tmp/x' */",
        "SELECT 1 /*M!100000 INTO OUTFILE '/tmp/x' */",
        "/*!50000 DELETE FROM t */",
        "BEGIN NOT ATOMIC DELETE FROM t END",
    ] {
        let config = own.config(1, &[("t", hostile, json!({}))]).to_string();
        let problems = crate::support::gateway::problems(folder.path(), &config);
        assert!(problems.contains("error["), "{hostile}: {problems}");
    }
    let fine =
        ["SELECT * FROM `into`", "SHOW TABLES", "DESCRIBE t", "SELECT 'INTO' -- INTO\n", "EXPLAIN SELECT 1"];
    for query in fine {
        let config = own.config(1, &[("t", query, json!({}))]).to_string();
        let problems = crate::support::gateway::problems(folder.path(), &config);
        assert!(!problems.contains("error["), "{query}: {problems}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_write_is_kept_only_when_it_succeeds() {
    let Some(mut own) = Own::open(
        "writes",
        &[
            "CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(10) CHECK (name <> 'bad'), at DATE, doc JSON DEFAULT '[1]')",
            "CREATE TRIGGER loud BEFORE INSERT ON t FOR EACH ROW BEGIN IF NEW.id = 99 THEN SIGNAL SQLSTATE '45000'; END IF; END",
        ],
    )
    .await
    else {
        return;
    };
    let params = json!({
        "id": { "type": "integer" }, "name": { "type": "string", "optional": true }, "at": { "type": "string", "optional": true }
    });
    let mut config = own.config(
        2,
        &[
            (
                "add",
                "INSERT INTO t (id, name, at) VALUES (:id, :name, :at) RETURNING id, name, doc",
                json!({ "write": true }),
            ),
            ("add_two", "INSERT INTO t (id) VALUES (:id + 100), (:id)", json!({ "write": true })),
            (
                "added",
                "INSERT INTO t (id, name, at) VALUES (:id, :name, :at) RETURNING id",
                json!({ "write": true, "row": "count" }),
            ),
            ("rename", "UPDATE t SET name = :name WHERE id >= :id", json!({ "write": true })),
        ],
    );
    for tool in ["add", "add_two", "added", "rename"] {
        let mut all = params.clone();
        let names: &[&str] = if tool == "add_two" {
            &["name", "at"]
        } else if tool == "rename" {
            &["at"]
        } else {
            &[]
        };
        for name in names {
            all.as_object_mut().unwrap().shift_remove(*name);
        }
        config["tools"][tool]["params"] = all;
    }
    let gateway = Gateway::start(&config.to_string()).await;
    let added = gateway.call("add", json!({ "id": 1, "name": "O'Neil" })).await;
    assert_eq!(structured(&added)["rows"], json!([{ "id": 1, "name": "O'Neil", "doc": [1] }]));
    assert_eq!(structured(&gateway.call("added", json!({ "id": 2 })).await), &json!({ "count": 1 }));
    for refused in
        [json!({ "id": 1, "name": "again" }), json!({ "id": 3, "name": "bad" }), json!({ "id": 99 })]
    {
        let result = gateway.call("add", refused.clone()).await;
        assert!(failure(&result).contains("refused"), "{refused}: {result}");
    }
    // The first row of the two is undone with the second.
    assert!(failure(&gateway.call("add_two", json!({ "id": 2 })).await).contains("refused"));
    for (wrong, word) in [
        (json!({ "id": 4, "name": "much too long" }), "too long"),
        (json!({ "id": 4, "at": "yesterdayish" }), "date"),
        (json!({ "id": 4, "at": "2026-02-30" }), "date"),
        (json!({ "id": 4, "at": "0000-00-00" }), "date"),
        (json!({ "id": 3_000_000_000_i64 }), "ange"),
    ] {
        let result = gateway.call("add", wrong.clone()).await;
        let sentence = failure(&result);
        assert!(sentence.contains(word) && !sentence.contains(&own.database), "{wrong}: {sentence}");
    }
    let renamed = gateway.call("rename", json!({ "id": 1, "name": "new" })).await;
    assert_eq!(structured(&renamed), &json!({ "count": 2 }));
    // Counted as met, whether the value was another or not.
    let renamed = gateway.call("rename", json!({ "id": 1, "name": "new" })).await;
    assert_eq!(structured(&renamed), &json!({ "count": 2 }));
    assert_eq!(own.number("SELECT COUNT(*) FROM t WHERE name = 'new'").await, 2);
    assert_eq!(own.number("SELECT COUNT(*) FROM t").await, 2);
    own.gone().await;
}

#[tokio::test]
async fn nothing_of_a_call_is_left_for_the_next_on_its_connection() {
    let Some(mut own) = Own::open(
        "leaves",
        &[
            "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT)",
            "CREATE FUNCTION set_user() RETURNS INT BEGIN SET @leak = 7; RETURN 1; END",
            "CREATE FUNCTION into_user() RETURNS INT BEGIN SELECT 7 INTO @leak; RETURN 1; END",
            "CREATE FUNCTION set_mode() RETURNS INT BEGIN SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+09:00', max_error_count = 3; RETURN 1; END",
            "CREATE FUNCTION temp() RETURNS INT BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS temporary_one (a INT); RETURN 1; END",
            "CREATE PROCEDURE call_set() BEGIN SET @leak = 7; SET SESSION sql_mode = ''; END",
        ],
    )
    .await
    else {
        return;
    };
    let write = json!({ "write": true });
    let gateway = Gateway::start(
        &own.config(
            1,
            &[
                ("assign", "SELECT @leak := 7", json!({})),
                ("set_user", "SELECT set_user()", json!({})),
                ("into_user", "SELECT into_user()", json!({})),
                ("set_mode", "SELECT set_mode()", json!({})),
                ("insert", "INSERT INTO t (n) VALUES (1)", write.clone()),
                ("insert_temp", "INSERT INTO t (n) VALUES (temp())", write.clone()),
                ("temporary", "CREATE TEMPORARY TABLE temporary_one AS SELECT 1 AS a", write.clone()),
                ("call", "CALL call_set()", write.clone()),
                ("set", "SET @leak = 7, SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+09:00'", write.clone()),
                ("lock_tables", "LOCK TABLES t WRITE", write.clone()),
                ("use", "USE information_schema", write.clone()),
                ("begin", "BEGIN", write),
                ("last", "SELECT LAST_INSERT_ID(41) AS last", json!({})),
                ("lock", "SELECT GET_LOCK('sidegate_leaves', 0) AS locked", json!({})),
                (
                    "see",
                    "SELECT @leak AS leak, @@sql_mode AS mode, @@time_zone AS zone, @@max_error_count AS errors, LAST_INSERT_ID() AS last, DATABASE() AS base, \
                     @@in_transaction AS open",
                    json!({ "row": "one" }),
                ),
                ("temp_there", "SELECT * FROM temporary_one", json!({})),
                ("connection", "SELECT CONNECTION_ID() AS id", json!({ "row": "one" })),
            ],
        )
        .to_string(),
    )
    .await;
    let clean = one(&gateway, "see").await;
    assert_eq!(clean["zone"], "+00:00");
    assert_eq!((&clean["leak"], &clean["last"], &clean["open"]), (&json!(null), &json!(0), &json!(1)));
    assert!(clean["mode"].as_str().unwrap().contains("STRICT_ALL_TABLES"), "{clean}");
    for tool in [
        "assign",
        "set_user",
        "into_user",
        "set_mode",
        "insert",
        "insert_temp",
        "temporary",
        "call",
        "set",
        "lock_tables",
        "use",
        "begin",
        "last",
    ] {
        let result = gateway.call(tool, json!({})).await;
        assert!(result.get("isError").is_none(), "{tool}: {result}");
        assert_eq!(one(&gateway, "see").await, clean, "{tool}");
        assert!(gateway.call("temp_there", json!({})).await.get("isError").is_some(), "{tool}");
    }
    assert_eq!(structured(&gateway.call("lock", json!({})).await)["rows"], json!([{ "locked": 1 }]));
    assert_eq!(own.number("SELECT GET_LOCK('sidegate_leaves', 0)").await, 1, "the lock is free again");
    // What leaves nothing keeps its connection.
    let first = one(&gateway, "connection").await;
    for tool in ["insert", "last", "lock", "see"] {
        gateway.call(tool, json!({})).await;
        assert_eq!(one(&gateway, "connection").await, first, "{tool}");
    }
    own.run("DO RELEASE_ALL_LOCKS()").await;
    own.gone().await;
}
