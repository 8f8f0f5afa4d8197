//! MySQL and MariaDB, a real MariaDB: types without loss, binds that cannot become syntax, reads that cannot write, statements that
//! end on the server, and nothing left for the next call. `tests/engines/run.sh` brings it; without it these tests are named by
//! `left_out`.

use std::time::Duration;

use serde_json::{Map, Value, json};
use sqlx::{Connection as _, MySqlConnection, Row as _};

use crate::support::message::{modern, modern_headers};
use crate::support::{Gateway, failure, structured};

fn url() -> Option<String> {
    std::env::var("TEST_MYSQL_URL").ok()
}

/// A connection of the test's own, in a database of its own that goes with it.
struct Own {
    connection: MySqlConnection,
    database: String,
    /// Of an account that may do all in this database, and nothing elsewhere.
    url: String,
}

impl Own {
    async fn open(name: &str, statements: &[&str]) -> Option<Self> {
        let (mine, root) = (url()?, std::env::var("TEST_MYSQL_ROOT_URL").ok()?);
        let mut connection = MySqlConnection::connect(&root).await.unwrap();
        let database = format!("{name}_{}", std::process::id());
        let mut mine = url::Url::parse(&mine).unwrap();
        let user = mine.username().to_owned();
        mine.set_path(&database);
        let mut own = Self {
            database: database.clone(),
            url: mine.to_string(),
            connection: {
                sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                "DROP DATABASE IF EXISTS {database}; CREATE DATABASE {database}; GRANT ALL ON {database}.* TO '{user}'@'%'; USE {database}"
            )))
            .execute(&mut connection)
            .await
            .unwrap();
                connection
            },
        };
        for statement in statements {
            own.run(statement).await;
        }
        Some(own)
    }

    async fn run(&mut self, sql: &str) {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        query.execute(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    async fn number(&mut self, sql: &str) -> i64 {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.connection).await.unwrap().get(0)
    }

    /// Statements of others that run and hold `mark` in their text.
    async fn running(&mut self, mark: &str) -> i64 {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep' AND ID <> CONNECTION_ID() AND INFO LIKE '%{mark}%'"
        );
        self.number(&sql).await
    }

    async fn gone(mut self) {
        let end = format!("DROP DATABASE {}", self.database);
        self.run(&end).await;
    }

    /// A configuration with these reading tools: name, statement, and more keys of the statement.
    fn config(&self, pool: u32, tools: &[(&str, &str, Value)]) -> Value {
        let tool = |(name, query, more): &(&str, &str, Value)| {
            let mut sql = json!({ "source": "db", "query": query });
            sql.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ((*name).to_owned(), json!({ "description": "D.", "sql": sql }))
        };
        let tools: Map<String, Value> = tools.iter().map(tool).collect();
        let source = json!({ "url": self.url, "read_only": false, "pool": { "max": pool, "acquire_timeout": "500ms" } });
        json!({ "sources": { "db": { "sql": source } }, "tools": tools })
    }
}

async fn one(gateway: &Gateway, tool: &str) -> Value {
    structured(&gateway.call(tool, json!({})).await).clone()
}

#[tokio::test]
async fn every_type_reaches_json_without_loss() {
    let Some(mut own) = Own::open("types", &[]).await else { return };
    let cases = [
        ("TINYINT", "-128", json!(-128)),
        ("TINYINT UNSIGNED", "255", json!(255)),
        ("SMALLINT", "-32768", json!(-32_768)),
        ("SMALLINT UNSIGNED", "65535", json!(65_535)),
        ("MEDIUMINT", "-8388608", json!(-8_388_608)),
        ("MEDIUMINT UNSIGNED", "16777215", json!(16_777_215)),
        ("INT", "-2147483648", json!(-2_147_483_648_i64)),
        ("INT UNSIGNED", "4294967295", json!(4_294_967_295_u64)),
        ("INT(6) ZEROFILL", "7", json!(7)),
        ("BIGINT", "-9223372036854775808", json!(i64::MIN)),
        ("BIGINT UNSIGNED", "18446744073709551615", json!(u64::MAX)),
        ("BOOL", "TRUE", json!(true)),
        ("BOOL", "FALSE", json!(false)),
        ("TINYINT(1)", "-7", json!(-7)),
        ("TINYINT(1) UNSIGNED", "200", json!(200)),
        ("DECIMAL(10,2)", "1.10", json!(1.1)),
        ("DECIMAL(40,10)", "12345678901234567890.123456789", json!("12345678901234567890.1234567890")),
        ("DECIMAL(20,0)", "18446744073709551615", json!(u64::MAX)),
        ("FLOAT", "1.1", json!(1.1)),
        ("DOUBLE", "0.1e0 + 0.2e0", json!(0.1 + 0.2)),
        ("BIT(1)", "b'1'", json!(1)),
        ("BIT(64)", "b'1111111111111111111111111111111111111111111111111111111111111111'", json!(u64::MAX)),
        ("DATE", "'2026-11-21'", json!("2026-11-21")),
        ("DATE", "'9999-12-31'", json!("9999-12-31")),
        ("DATETIME(6)", "'2026-11-21 06:00:00.123450'", json!("2026-11-21T06:00:00.12345")),
        ("DATETIME", "'2026-11-21 00:00:00'", json!("2026-11-21T00:00:00")),
        ("TIMESTAMP(3)", "'2026-11-21 06:00:00.250'", json!("2026-11-21T06:00:00.25+00:00")),
        ("TIME", "'838:59:59'", json!("838:59:59")),
        ("TIME(6)", "'-25:00:00.000001'", json!("-25:00:00.000001")),
        ("TIME", "0", json!("00:00:00")),
        ("YEAR", "2026", json!(2026)),
        ("CHAR(5)", "'ab'", json!("ab")),
        ("VARCHAR(20)", "'a''b\\\\ é 😀'", json!("a'b\\ é 😀")),
        ("VARCHAR(20) CHARACTER SET latin1", "'é'", json!("é")),
        ("VARCHAR(20) COLLATE utf8mb4_bin", "'Text'", json!("Text")),
        ("TINYTEXT", "'t'", json!("t")),
        ("LONGTEXT", "'{\"no\": \"json\"}'", json!("{\"no\": \"json\"}")),
        ("BINARY(4)", "x'DEAD'", json!("3q0AAA==")),
        ("VARBINARY(10)", "x'DEADBEEF'", json!("3q2+7w==")),
        ("BLOB", "''", json!("")),
        ("LONGBLOB", "x'00FF'", json!("AP8=")),
        ("ENUM('calm', 'Loud')", "'Loud'", json!("Loud")),
        ("SET('a', 'b', 'c')", "'c,a'", json!("a,c")),
        (
            "JSON",
            "'{\"b\": 1.0000000000000000000001, \"a\": [null, 2]}'",
            json!({ "b": "1.0000000000000000000001", "a": [null, 2] }),
        ),
        ("UUID", "'6f1e2d3c-0000-4000-8000-000000000001'", json!("6f1e2d3c-0000-4000-8000-000000000001")),
        ("INET6", "'2001:db8::1'", json!("2001:db8::1")),
        ("INET4", "'10.0.0.1'", json!("10.0.0.1")),
        ("POINT", "POINT(1, 2)", json!("AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==")),
        ("INT", "NULL", json!(null)),
        ("DATETIME", "NULL", json!(null)),
    ];
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind} NULL")).collect();
    own.run(&format!("SET time_zone = '+00:00'; CREATE TABLE t ({})", columns.join(", "))).await;
    let values: Vec<&str> = cases.iter().map(|(_, value, _)| *value).collect();
    own.run(&format!("INSERT INTO t VALUES ({})", values.join(", "))).await;
    own.run("SET sql_mode = ''; CREATE TABLE zero (d DATE, at DATETIME(6), ts TIMESTAMP NULL, part DATE)")
        .await;
    own.run("INSERT INTO zero VALUES ('0000-00-00', '0000-00-00', '0000-00-00', '2026-00-10')").await;
    let gateway = Gateway::start(
        &own.config(
            5,
            &[
                ("all", "SELECT * FROM t", json!({ "row": "one" })),
                ("zero", "SELECT * FROM zero", json!({ "row": "one" })),
                ("twice", "SELECT 1 AS a, 2 AS a, 3 AS b, 4 AS a", json!({ "row": "one" })),
                ("made", "SELECT 1.50 AS d, 'x' AS s, TRUE AS t, NULL AS n, 1 = 1 AS e, UTC_DATE() > '2020-01-01' AS u", json!({ "row": "one" })),
                ("large", "SELECT REPEAT('x', 20000000) AS x", json!({ "row": "one" })),
            ],
        )
        .to_string(),
    )
    .await;
    let all = one(&gateway, "all").await;
    for (n, (kind, value, wanted)) in cases.iter().enumerate() {
        assert_eq!(&all[format!("c{n}")], wanted, "{kind} {value}");
    }
    assert_eq!(
        one(&gateway, "zero").await,
        json!({ "d": "0000-00-00", "at": "0000-00-00T00:00:00", "ts": "0000-00-00T00:00:00", "part": "2026-00-10" })
    );
    assert_eq!(one(&gateway, "twice").await, json!({ "a": 1, "a_2": 2, "b": 3, "a_3": 4 }));
    assert_eq!(one(&gateway, "made").await, json!({ "d": 1.5, "s": "x", "t": 1, "n": null, "e": 1, "u": 1 }));
    assert!(gateway.call("large", json!({})).await.to_string().len() < 200_000);
    own.gone().await;
}

#[tokio::test]
async fn values_are_bound_in_each_place_of_their_name() {
    let Some(own) = Own::open(
        "binds",
        &[
            "CREATE TABLE t (id INT, name VARCHAR(40), at DATETIME, price DECIMAL(10,2), big BIGINT UNSIGNED, flag BOOL)",
            "INSERT INTO t VALUES (1, 'a', '2026-01-01', 9.99, 18446744073709551615, TRUE), (2, 'b'';--', NULL, 1, 5, FALSE), (3, '\\\\', NULL, 1, 6, NULL)",
        ],
    )
    .await
    else {
        return;
    };
    let params = json!({
        "id": { "type": "integer", "optional": true }, "name": { "type": "string", "optional": true },
        "at": { "type": "string", "optional": true }, "price": { "type": "number", "optional": true },
        "big": { "type": "integer", "optional": true }, "flag": { "type": "boolean", "optional": true },
        "ids": { "type": "array", "items": { "type": "integer" }, "optional": true },
        "want": { "type": "object", "optional": true }
    });
    let query = "SELECT id FROM t WHERE (id = :id OR :id IS NULL) AND (name = :name OR :name IS NULL) AND (at >= :at OR :at IS NULL) \
        AND (price < :price OR :price IS NULL) AND (big = :big OR :big IS NULL) AND (flag = :flag OR :flag IS NULL) \
        AND (:ids IS NULL OR id IN (SELECT jt.v FROM JSON_TABLE(:ids, '$[*]' COLUMNS (v INT PATH '$')) jt)) \
        AND (:want IS NULL OR name = JSON_VALUE(:want, '$.name')) AND ':id' <> \"\\\":id\" ORDER BY id # :id is not bound here";
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url.replace("mysql://", "mariadb://") } } },
        "tools": {
            "find": { "description": "Find.", "params": params, "sql": { "source": "db", "query": query } },
            "back": {
                "description": "Back.", "params": { "text": { "type": "string" }, "n": { "type": "integer", "default": 2 } },
                "sql": { "source": "db", "query": "SELECT :text AS text, HEX(:text) AS hex FROM t LIMIT :n" }
            }
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    for (arguments, ids) in [
        (json!({}), vec![1, 2, 3]),
        (json!({ "id": 2 }), vec![2]),
        (json!({ "name": "b';--" }), vec![2]),
        (json!({ "name": "\\" }), vec![3]),
        (json!({ "name": "' OR '1'='1" }), vec![]),
        (json!({ "at": "2025-12-31T23:00:00" }), vec![1]),
        (json!({ "price": 9.98 }), vec![2, 3]),
        (json!({ "big": u64::MAX }), vec![1]),
        (json!({ "flag": false }), vec![2]),
        (json!({ "ids": [1, 5, -7] }), vec![1]),
        (json!({ "ids": [] }), vec![]),
        (json!({ "want": { "name": "b';--" } }), vec![2]),
    ] {
        let result = gateway.call("find", arguments.clone()).await;
        let rows = structured(&result)["rows"].as_array().unwrap().iter();
        let found: Vec<i64> = rows.map(|r| r["id"].as_i64().unwrap()).collect();
        assert_eq!(found, ids, "{arguments}");
    }
    for text in ["", "\u{0}\u{1f}", "\\'\"`", "😀é", "%_", "?", ":id", "/*! */ -- #"] {
        let rows = structured(&gateway.call("back", json!({ "text": text })).await)["rows"].clone();
        let hex: String = text.bytes().map(|b| format!("{b:02X}")).collect();
        assert_eq!(rows, json!([{ "text": text, "hex": hex }, { "text": text, "hex": hex }]));
    }
    own.gone().await;
}

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
async fn a_statement_ends_on_the_server_with_its_deadline_and_its_client() {
    let Some(mut own) = Own::open("ends", &["CREATE TABLE t (id INT)"]).await else { return };
    let mut config = own.config(
        1,
        &[
            ("late", "SELECT SLEEP(30) AS late_one", json!({})),
            ("busy", "SELECT BENCHMARK(1000000000000, SHA2('busy_one', 512))", json!({})),
            ("write", "INSERT INTO t SELECT SLEEP(30) AS write_one", json!({ "write": true })),
            ("left", "SELECT SLEEP(30) AS left_one", json!({})),
            ("quick", "SELECT 1 AS one", json!({})),
        ],
    );
    for tool in ["late", "busy", "write"] {
        config["tools"][tool]["policy"] = json!({ "timeout": "700ms" });
    }
    let gateway = Gateway::start(&config.to_string()).await;
    for tool in ["late", "busy", "write"] {
        assert!(failure(&gateway.call(tool, json!({})).await).contains("within 700ms"), "{tool}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(own.running(&format!("{tool}_one")).await, 0, "{tool}");
        assert_eq!(structured(&gateway.call("quick", json!({})).await)["rows"], json!([{ "one": 1 }]));
    }
    assert_eq!(own.number("SELECT COUNT(*) FROM t").await, 0);

    let mut leaving = gateway.connect().await;
    let call = modern("tools/call", json!({ "name": "left" })).to_string();
    let mut bytes = "POST /mcp HTTP/1.1\r\n".to_owned();
    for (name, value) in modern_headers("tools/call", Some("left")) {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    leaving.write(format!("{bytes}Content-Length: {}\r\n\r\n{call}", call.len()).as_bytes()).await.unwrap();
    while own.running("left_one").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(leaving);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(own.running("left_one").await, 0);
    assert_eq!(structured(&gateway.call("quick", json!({})).await)["rows"], json!([{ "one": 1 }]));
    own.gone().await;
}

#[tokio::test]
async fn a_kill_never_meets_the_statement_of_another_call() {
    let Some(own) = Own::open("kills", &[]).await else { return };
    let mut config = own.config(
        2,
        &[("edge", "SELECT SLEEP(0.05) AS s", json!({})), ("calm", "SELECT SLEEP(0.02) AS s", json!({}))],
    );
    // Its deadline comes about when it ends.
    config["tools"]["edge"]["policy"] = json!({ "timeout": "52ms" });
    config["sources"]["db"]["sql"]["pool"]["acquire_timeout"] = json!("5s");
    let gateway = Gateway::start(&config.to_string()).await;
    let (mut late, mut done) = (0, 0);
    for _ in 0..40 {
        let (edge, calm, calmer) = tokio::join!(
            gateway.call("edge", json!({})),
            gateway.call("calm", json!({})),
            gateway.call("calm", json!({}))
        );
        if edge.get("isError").is_some() {
            late += 1
        } else {
            done += 1
        }
        for result in [calm, calmer] {
            assert_eq!(structured(&result)["rows"], json!([{ "s": 0 }]));
        }
    }
    assert!(late > 0, "{late} late, {done} done");
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

#[tokio::test]
async fn caps_end_the_reading() {
    let Some(own) = Own::open(
        "caps",
        &["CREATE TABLE t (doc JSON)", "INSERT INTO t VALUES (JSON_ARRAY(REPEAT('x', 20000)))"],
    )
    .await
    else {
        return;
    };
    let mut config = own.config(
        1,
        &[
            ("many", "SELECT seq AS g FROM seq_1_to_100000000", json!({})),
            ("ordered", "SELECT seq AS g FROM seq_1_to_1000 ORDER BY seq DESC", json!({})),
            ("own_limit", "SELECT seq AS g FROM seq_1_to_100000000 LIMIT 90000000", json!({})),
            ("union", "SELECT 1 AS g UNION ALL SELECT seq FROM seq_1_to_1000", json!({})),
            ("wide_json", "SELECT doc FROM t, seq_1_to_150", json!({})),
            ("wide", "SELECT REPEAT('x', 1000000) AS x FROM seq_1_to_150", json!({})),
            ("one", "SELECT seq AS g FROM seq_1_to_100000000", json!({ "row": "one" })),
            ("count", "SELECT 1, 1, seq FROM seq_1_to_250000; # all", json!({ "row": "count" })),
            (
                "count_with",
                "WITH a AS (SELECT 1 AS x) SELECT *, x FROM a, seq_1_to_7",
                json!({ "row": "count" }),
            ),
            ("count_shown", "SHOW VARIABLES LIKE 'sql_mode'", json!({ "row": "count" })),
            ("connection", "SELECT CONNECTION_ID() AS id", json!({ "row": "one" })),
        ],
    );
    for tool in ["many", "ordered", "own_limit", "union"] {
        config["tools"][tool]["output"] = json!({ "max_rows": 3 });
    }
    let gateway = Gateway::start(&config.to_string()).await;
    let connection = one(&gateway, "connection").await;
    for (tool, wanted) in
        [("many", [1, 2, 3]), ("ordered", [1000, 999, 998]), ("union", [1, 1, 2]), ("own_limit", [1, 2, 3])]
    {
        let result = one(&gateway, tool).await;
        let found: Vec<i64> =
            result["rows"].as_array().unwrap().iter().map(|r| r["g"].as_i64().unwrap()).collect();
        assert_eq!((found.as_slice(), &result["truncated"]), (&wanted[..], &json!(true)), "{tool}");
        if tool != "own_limit" {
            assert_eq!(one(&gateway, "connection").await, connection, "{tool} has nothing more to send");
        }
    }
    assert_ne!(one(&gateway, "connection").await, connection, "what still sends is closed");
    assert_eq!(one(&gateway, "one").await, json!({ "g": 1 }));
    let wide = gateway.call("wide", json!({})).await;
    assert_eq!(structured(&wide)["truncated"], true, "{wide}");
    assert!(wide.to_string().len() < 200_000);
    let wide = one(&gateway, "wide_json").await;
    assert_eq!((&wide["truncated"], wide["rows"][0]["doc"].is_array()), (&json!(true), true), "{wide}");
    for (tool, count) in [("count", 250_000), ("count_with", 7), ("count_shown", 1)] {
        assert_eq!(one(&gateway, tool).await, json!({ "count": count }), "{tool}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again_and_each_lack_has_its_message() {
    let Some(own) = Own::open("heals", &[]).await else { return };
    let mut through = url::Url::parse(&own.url).unwrap();
    let target = format!("127.0.0.1:{}", through.port().unwrap_or(3306));
    let (port, open) = crate::postgres::gate(target).await;
    through.set_port(Some(port)).unwrap();
    let mut config =
        own.config(1, &[("quick", "SELECT 1 AS one", json!({})), ("slow", "SELECT SLEEP(2)", json!({}))]);
    config["sources"]["db"]["sql"]["url"] = json!(through.as_str());
    let gateway = Gateway::start(&config.to_string()).await;
    structured(&gateway.call("quick", json!({})).await);
    let (slow, busy) = tokio::join!(gateway.call("slow", json!({})), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.call("quick", json!({})).await
    });
    structured(&slow);
    assert!(failure(&busy).contains("no connection became free within 500ms"), "{busy}");

    open.store(false, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(failure(&gateway.call("quick", json!({})).await).contains("cannot be reached"));
    assert_eq!(gateway.get("/readyz").await.status, 503);
    open.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut healed = false;
    for _ in 0..20 {
        healed = healed || gateway.call("quick", json!({})).await.get("isError").is_none();
    }
    assert!(healed);
    own.gone().await;
}

#[tokio::test]
async fn a_changed_table_is_met_with_its_new_columns() {
    let Some(mut own) =
        Own::open("alters", &["CREATE TABLE t (id VARCHAR(5))", "INSERT INTO t VALUES ('7')"]).await
    else {
        return;
    };
    let tools =
        [("all", "SELECT * FROM t", json!({})), ("count", "SELECT * FROM t", json!({ "row": "count" }))];
    let gateway = Gateway::start(&own.config(1, &tools).to_string()).await;
    assert_eq!(one(&gateway, "all").await["rows"], json!([{ "id": "7" }]));
    assert_eq!(one(&gateway, "count").await["count"], 1);
    own.run("ALTER TABLE t MODIFY id INT, ADD COLUMN more JSON DEFAULT '[1]'").await;
    assert_eq!(one(&gateway, "all").await["rows"], json!([{ "id": 7, "more": [1] }]));
    // The first call may still count by the old columns.
    gateway.call("count", json!({})).await;
    assert_eq!(one(&gateway, "count").await["count"], 1);
    own.gone().await;
}
