//! MySQL and MariaDB, a real MariaDB: types without loss, binds that cannot become syntax, reads that cannot write, statements that
//! end on the server, and nothing left for the next call. `tests/engines/run.sh` brings it; without it these tests are named by
//! `left_out`.

mod asked;
mod ends;
mod reaching;
mod safety;

use serde_json::{Map, Value, json};
use sqlx::{Connection as _, MySqlConnection, Row as _};

use crate::support::{Gateway, structured};

fn url() -> Option<String> {
    std::env::var("TEST_MYSQL_URL").ok()
}

/// A connection of the test's own, in a database of its own that goes with it.
pub struct Own {
    connection: MySqlConnection,
    pub database: String,
    /// Of an account that may do all in this database, and nothing elsewhere.
    pub url: String,
}

impl Own {
    pub async fn open(name: &str, statements: &[&str]) -> Option<Self> {
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

    pub async fn run(&mut self, sql: &str) {
        let query = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        query.execute(&mut self.connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.connection).await.unwrap().get(0)
    }

    /// Statements of others that run and hold `mark` in their text.
    pub async fn running(&mut self, mark: &str) -> i64 {
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Sleep' AND ID <> CONNECTION_ID() AND INFO LIKE '%{mark}%'"
        );
        self.number(&sql).await
    }

    pub async fn gone(mut self) {
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

pub async fn one(gateway: &Gateway, tool: &str) -> Value {
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
