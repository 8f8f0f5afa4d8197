//! PostgreSQL, a real one: types without loss, binds that cannot become syntax, reads that cannot write, statements that end on the
//! server, and connections that heal. `tests/engines/run.sh` brings it; without it these tests are named by `left_out`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Gateway, failure, structured, until};

fn url() -> Option<String> {
    std::env::var("TEST_POSTGRES_URL").ok()
}

/// A connection of the test's own, in a schema of its own that goes with it.
pub struct Own {
    connection: PgConnection,
    pub schema: String,
    pub url: String,
}

impl Own {
    pub async fn open(schema: &str, sql: &str) -> Option<Self> {
        let url = url()?;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let schema = format!("{schema}_{}", std::process::id());
        let begin = format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}, public; {sql}"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut connection).await.unwrap();
        Some(Self { connection, schema, url })
    }

    pub async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut self.connection).await.unwrap();
    }

    pub async fn text(&mut self, sql: &str) -> String {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.connection).await.unwrap().get(0)
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&mut self.connection).await.unwrap().get(0)
    }

    /// Statements of others that run and hold `mark` in their text.
    pub async fn running(&mut self, mark: &str) -> i64 {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{mark}%'"
        );
        self.number(&sql).await
    }

    pub async fn gone(mut self) {
        let end = format!("DROP SCHEMA {} CASCADE", self.schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(end)).execute(&mut self.connection).await.unwrap();
    }
}

#[tokio::test]
async fn every_type_reaches_json_without_loss() {
    let types = "CREATE TYPE mood AS ENUM ('calm', 'Loud'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN positive AS int CHECK (VALUE > 0);";
    let Some(own) = Own::open("types", types).await else { return };
    let schema = &own.schema;
    let cases = [
        ("true", json!(true)),
        ("7::int2", json!(7)),
        ("9223372036854775807::int8", json!(9_223_372_036_854_775_807_i64)),
        ("1.5::float4", json!(1.5)),
        ("0.1::float8 + 0.2::float8", json!(0.1 + 0.2)),
        ("'NaN'::float8", json!("NaN")),
        ("'-Infinity'::float8", json!("-Infinity")),
        ("1.10::numeric", json!(1.1)),
        ("12345678901234567890.123456789::numeric", json!("12345678901234567890.123456789")),
        ("'NaN'::numeric", json!("NaN")),
        ("'a''b'::text", json!("a'b")),
        ("'x'::char(3)", json!("x  ")),
        ("'6f1e2d3c-0000-4000-8000-000000000001'::uuid", json!("6f1e2d3c-0000-4000-8000-000000000001")),
        ("'2026-11-21 06:00:00.123456+02'::timestamptz", json!("2026-11-21T04:00:00.123456+00:00")),
        ("'2026-11-21 06:00:00'::timestamp", json!("2026-11-21T06:00:00")),
        ("'infinity'::timestamptz", json!("infinity")),
        ("'-infinity'::date", json!("-infinity")),
        ("'2026-11-21'::date", json!("2026-11-21")),
        ("'24:00:00'::time", json!("24:00:00")),
        ("'1 year 2 mons 3 days 04:05:06.7'::interval", json!("P1Y2M3DT4H5M6.7S")),
        (
            "'{\"b\": 1, \"a\": [1.0000000000000000000001]}'::jsonb",
            json!({ "a": ["1.0000000000000000000001"], "b": 1 }),
        ),
        ("'{\"b\": null}'::json", json!({ "b": null })),
        ("ARRAY[1, NULL, 3]", json!([1, null, 3])),
        ("ARRAY[ARRAY['a','b'],ARRAY['c','d']]", json!([["a", "b"], ["c", "d"]])),
        ("'[1,5)'::int4range", json!("[1,5)")),
        ("'{[1,3),[7,9)}'::int4multirange", json!("{[1,3),[7,9)}")),
        ("'10.0.0.1/8'::inet", json!("10.0.0.1/8")),
        ("'08:00:2b:01:02:03'::macaddr", json!("08:00:2b:01:02:03")),
        ("B'101'", json!("101")),
        ("'(1,2)'::point", json!("(1,2)")),
        ("to_tsvector('simple', 'b a')", json!("'a':2 'b':1")),
        ("NULL::int", json!(null)),
        ("'Loud'::SCHEMA.mood", json!("Loud")),
        ("ROW(1, 'x')::SCHEMA.pair", json!({ "a": 1, "b": "x" })),
        ("5::SCHEMA.positive", json!(5)),
    ];
    let columns: Vec<String> =
        cases.iter().enumerate().map(|(n, (sql, _))| format!("{sql} AS c{n}")).collect();
    let query = format!("SELECT {}", columns.join(", ")).replace("SCHEMA", schema);
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url } } },
        "tools": {
            "all": { "description": "All.", "sql": { "source": "db", "query": query, "row": "one" } },
            "bytes": { "description": "B.", "sql": { "source": "db", "query": "SELECT '\\xdeadbeef'::bytea AS b, ''::bytea AS none", "row": "one" } }
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let result = gateway.call("all", json!({})).await;
    for (n, (sql, wanted)) in cases.iter().enumerate() {
        assert_eq!(&structured(&result)[format!("c{n}")], wanted, "{sql}");
    }
    let bytes = gateway.call("bytes", json!({})).await;
    assert_eq!(structured(&bytes), &json!({ "b": "3q2+7w==", "none": "" }));
    own.gone().await;
}

#[tokio::test]
async fn values_are_bound_and_read_as_the_types_they_meet() {
    let table = "CREATE TYPE mood AS ENUM ('calm', 'loud'); \
        CREATE TABLE t (id int, name text, tags text[], doc jsonb, at timestamptz, price numeric, state mood); \
        INSERT INTO t VALUES (1, 'a', '{x,y}', '{\"k\": 1}', '2026-01-01', 9.99, 'calm'), (2, 'b'';--', '{}', '{}', NULL, 1, 'loud');";
    let Some(own) = Own::open("binds", table).await else { return };
    let params = json!({
        "id": { "type": "integer", "optional": true }, "name": { "type": "string", "optional": true },
        "tags": { "type": "array", "items": { "type": "string" }, "optional": true }, "doc": { "type": "object", "optional": true },
        "at": { "type": "string", "optional": true }, "price": { "type": "number", "optional": true },
        "state": { "type": "string", "optional": true }, "ids": { "type": "array", "items": { "type": "integer" }, "optional": true }
    });
    let query = format!(
        "SELECT id FROM {}.t WHERE (id = :id OR :id IS NULL) AND (name = :name OR :name IS NULL) AND (tags && :tags OR :tags IS NULL) \
         AND (doc @> :doc OR :doc IS NULL) AND (at >= :at OR :at IS NULL) AND (price < :price OR :price IS NULL) \
         AND (state = :state OR :state IS NULL) AND (id = ANY(:ids) OR :ids IS NULL) ORDER BY id -- :id is not bound here",
        own.schema
    );
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url } } },
        "tools": { "find": { "description": "Find.", "params": params, "sql": { "source": "db", "query": query } } }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    for (arguments, ids) in [
        (json!({}), vec![1, 2]),
        (json!({ "id": 2 }), vec![2]),
        (json!({ "name": "b';--" }), vec![2]),
        (json!({ "name": "' OR '1'='1" }), vec![]),
        (json!({ "tags": ["y", "a\"b,c\\"] }), vec![1]),
        (json!({ "doc": { "k": 1 } }), vec![1]),
        (json!({ "at": "2025-12-31T23:00:00-01:00" }), vec![1]),
        (json!({ "price": 9.98 }), vec![2]),
        (json!({ "state": "loud" }), vec![2]),
        (json!({ "ids": [1, 5, -7] }), vec![1]),
    ] {
        let result = gateway.call("find", arguments.clone()).await;
        let found: Vec<i64> = structured(&result)["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["id"].as_i64().unwrap())
            .collect();
        assert_eq!(found, ids, "{arguments}");
    }
    let words = json!({
        "sources": { "db": { "sql": { "url": own.url, "read_only": false } } },
        "tools": {
            "letters": { "description": "D.", "params": { "c": { "type": "string" } },
                "sql": { "source": "db", "query": "SELECT :c::char(3) = 'USD'::char(3) AS same, 'USD'::char(3) = :c AS typed, \
                    'USD' = ANY(ARRAY[:c]::char(3)[]) AS listed, 1 AS \"twice\", 2 AS \"twice\"", "row": "one" } },
            "deep": { "description": "D.", "output": { "max_bytes": "64KiB" },
                "sql": { "source": "db", "query": "SELECT (repeat('[', 5000) || repeat(']', 5000))::json AS deep", "row": "one" } },
            "bits": { "description": "D.", "params": { "b": { "type": "string" } },
                "sql": { "source": "db", "query": "SELECT B'1010' = :b AS same", "row": "one" } },
        }
    });
    let lengths = Gateway::start(&words.to_string()).await;
    let result = lengths.call("letters", json!({ "c": "USD" })).await;
    assert_eq!(
        *structured(&result),
        json!({ "same": true, "typed": true, "listed": true, "twice": 1, "twice_2": 2 })
    );
    let deep = lengths.call("deep", json!({})).await;
    assert!(structured(&deep).to_string().len() > 10_000, "what is too deep to be read is a text");
    assert_eq!(*structured(&lengths.call("bits", json!({ "b": "1010" })).await), json!({ "same": true }));
    for (wrong, word) in [
        (json!({ "at": "yesterdayish" }), "timestamp"),
        (json!({ "state": "glad" }), "mood"),
        (json!({ "id": 3_000_000_000_i64 }), "out of range"),
    ] {
        let result = gateway.call("find", wrong.clone()).await;
        let sentence = failure(&result);
        assert!(sentence.contains(word) && !sentence.contains("SELECT"), "{wrong}: {sentence}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_value_may_be_absent_and_may_be_met_as_two_types() {
    let table = "CREATE TABLE t (id int, at timestamptz, tags text[], doc jsonb); \
        INSERT INTO t VALUES (1, '2026-01-01', '{a,b}', '[\"a\",\"b\"]'), (2, '2026-02-01', '{c}', '[\"c\"]')";
    let Some(own) = Own::open("twice", table).await else { return };
    let params = json!({
        "since": { "type": "string", "optional": true }, "id": { "type": "integer", "optional": true },
        "tags": { "type": "array", "items": { "type": "string" }, "optional": true },
    });
    let tools: serde_json::Map<String, Value> = [
        ("since", "SELECT id FROM t WHERE :since IS NULL OR at >= :since"),
        ("cast", "SELECT id FROM t WHERE :since IS NULL OR at::date >= :since::date"),
        ("only_null", "SELECT id FROM t WHERE :since IS NULL"),
        ("two_types", "SELECT id FROM t WHERE id = :id AND 'n' || :id::text = 'n1' AND :id IS NOT NULL"),
        ("both_forms", "SELECT id FROM t WHERE :tags IS NULL OR (tags && :tags AND doc = :tags)"),
        ("grouped", "SELECT date_trunc(:since, at) AS id FROM t GROUP BY date_trunc(:since, at) ORDER BY 1"),
    ]
    .into_iter()
    .map(|(name, query)| {
        let used: Value = params
            .as_object()
            .unwrap()
            .iter()
            .filter(|(param, _)| query.contains(&format!(":{param}")))
            .map(|(param, schema)| (param.clone(), schema.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let query = query.replace("FROM t", &format!("FROM {}.t", own.schema));
        let sql = json!({ "source": "db", "query": format!("{query}") });
        (name.to_owned(), json!({ "description": "D.", "params": used, "sql": sql }))
    })
    .collect();
    let config = json!({ "sources": { "db": { "sql": { "url": own.url } } }, "tools": tools });
    let gateway = Gateway::start(&config.to_string()).await;
    let first = json!({ "id": 1 });
    let second = json!({ "id": 2 });
    for (tool, arguments, rows) in [
        ("since", json!({}), json!([first, second])),
        ("since", json!({ "since": "2026-01-15" }), json!([second])),
        ("cast", json!({ "since": "2026-01-15" }), json!([second])),
        ("cast", json!({}), json!([first, second])),
        ("only_null", json!({}), json!([first, second])),
        ("only_null", json!({ "since": "x" }), json!([])),
        ("two_types", json!({ "id": 1 }), json!([first])),
        ("two_types", json!({}), json!([])),
        ("both_forms", json!({}), json!([first, second])),
        ("both_forms", json!({ "tags": ["a", "b"] }), json!([first])),
        (
            "grouped",
            json!({ "since": "month" }),
            json!([{ "id": "2026-01-01T00:00:00+00:00" }, { "id": "2026-02-01T00:00:00+00:00" }]),
        ),
    ] {
        let result = gateway.call(tool, arguments.clone()).await;
        assert_eq!(structured(&result)["rows"], rows, "{tool} {arguments}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_read_writes_nothing_whatever_the_statement_does() {
    let table = "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); CREATE SEQUENCE s; \
        CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1'; \
        CREATE FUNCTION open_up() RETURNS text LANGUAGE sql AS $$ SELECT set_config('transaction_read_only', 'off', false) $$;";
    let Some(mut own) = Own::open("reads", table).await else { return };
    let schema = own.schema.clone();
    let tools: Value = [
        ("wipe", format!("SELECT {schema}.wipe()")),
        ("wipe_open", format!("SELECT {schema}.open_up(), {schema}.wipe()")),
        ("sequence", format!("SELECT nextval('{schema}.s')")),
        ("lock", format!("SELECT * FROM {schema}.t FOR UPDATE")),
        ("large", "SELECT lo_create(0)".to_owned()),
    ]
    .into_iter()
    .map(|(name, query)| {
        (name.to_owned(), json!({ "description": "D.", "sql": { "source": "db", "query": query } }))
    })
    .collect::<serde_json::Map<_, _>>()
    .into();
    let config = json!({ "sources": { "db": { "sql": { "url": own.url } } }, "tools": tools });
    let gateway = Gateway::start(&config.to_string()).await;
    for tool in ["wipe", "wipe_open", "sequence", "lock", "large"] {
        let result = gateway.call(tool, json!({})).await;
        let sentence = failure(&result);
        assert!(sentence.contains("`db`") && !sentence.contains(&schema), "{tool}: {sentence}");
        assert_eq!(own.number("SELECT count(*) FROM t").await, 2, "{tool}");
    }
    let folder = tempfile::tempdir().unwrap();
    for stacked in [
        "SELECT 1; COMMIT",
        "COMMIT",
        "DELETE FROM t",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x",
    ] {
        let config = json!({
            "sources": { "db": { "sql": { "url": own.url } } },
            "tools": { "t": { "description": "D.", "sql": { "source": "db", "query": stacked } } }
        });
        let problems = crate::support::gateway::problems(folder.path(), &config.to_string());
        assert!(problems.contains("error["), "{stacked}: {problems}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_write_is_kept_only_when_it_succeeds() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, name text CHECK (length(name) < 10));";
    let Some(mut own) = Own::open("writes", table).await else { return };
    let schema = own.schema.clone();
    let tool = |query: String| {
        let params = json!({ "id": { "type": "integer" }, "name": { "type": "string", "optional": true } });
        json!({ "description": "D.", "params": params, "sql": { "source": "db", "query": query, "write": true } })
    };
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "read_only": false } } },
        "tools": {
            "add": tool(format!("INSERT INTO {schema}.t VALUES (:id, :name) RETURNING id, name")),
            "rename": tool(format!("UPDATE {schema}.t SET name = :name WHERE id >= :id")),
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let added = gateway.call("add", json!({ "id": 1, "name": "O'Neil" })).await;
    assert_eq!(structured(&added)["rows"], json!([{ "id": 1, "name": "O'Neil" }]));
    gateway.call("add", json!({ "id": 2 })).await;
    for refused in [json!({ "id": 1, "name": "again" }), json!({ "id": 3, "name": "much too long" })] {
        assert!(failure(&gateway.call("add", refused).await).contains("refused"));
    }
    let renamed = gateway.call("rename", json!({ "id": 1, "name": "new" })).await;
    assert_eq!(structured(&renamed), &json!({ "count": 2 }));
    assert_eq!(own.number("SELECT count(*) FROM t WHERE name = 'new'").await, 2);
    own.gone().await;
}

#[tokio::test]
async fn a_statement_ends_on_the_server_with_its_deadline_and_its_client() {
    let Some(mut own) = Own::open("ends", "").await else { return };
    let slow = |mark: &str| json!({ "source": "db", "query": format!("SELECT pg_sleep(30) AS {mark}") });
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "pool": { "max": 1, "acquire_timeout": "15s" } } } },
        "tools": {
            "late": { "description": "D.", "sql": slow("late_one"), "policy": { "timeout": "700ms" } },
            "left": { "description": "D.", "sql": slow("left_one") },
            "quick": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 AS one" } }
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    assert!(failure(&gateway.call("late", json!({})).await).contains("within 700ms"));
    until("it runs no more", async || own.running("late_one").await == 0).await;

    let leaving = gateway.call_and_hold("left").await;
    while own.running("left_one").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(leaving);
    until("it runs no more", async || own.running("left_one").await == 0).await;
    // The only connection serves the next call.
    assert_eq!(structured(&gateway.call("quick", json!({})).await)["rows"], json!([{ "one": 1 }]));
    own.gone().await;
}

#[tokio::test]
async fn nothing_of_a_call_is_left_for_the_next_on_its_connection() {
    let Some(mut own) = Own::open("left", "").await else { return };
    let one =
        |query: &str| json!({ "description": "D.", "sql": { "source": "db", "query": query, "row": "one" } });
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "pool": { "max": 1 } } } },
        "tools": {
            "set": one("SELECT set_config('shop.tenant', 'seven', false) AS tenant, set_config('TimeZone', 'Asia/Tokyo', false) AS zone"),
            "get": one("SELECT coalesce(current_setting('shop.tenant', true), '') AS tenant, current_setting('TimeZone') AS zone"),
            "lock": one("SELECT pg_try_advisory_lock(4711) AS locked"),
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    assert_eq!(structured(&gateway.call("set", json!({})).await)["tenant"], "seven");
    assert_eq!(structured(&gateway.call("get", json!({})).await), &json!({ "tenant": "", "zone": "UTC" }));
    assert_eq!(structured(&gateway.call("lock", json!({})).await)["locked"], true);
    assert_eq!(own.number("SELECT pg_try_advisory_lock(4711)::int::int8").await, 1, "the lock is free again");
    own.gone().await;
}

#[tokio::test]
async fn caps_end_the_reading() {
    let Some(own) = Own::open("caps", "").await else { return };
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "pool": { "max": 1 } } } },
        "tools": {
            "many": { "description": "D.", "sql": { "source": "db", "query": "SELECT generate_series(1, 100000000) AS g" }, "output": { "max_rows": 3 } },
            "wide": { "description": "D.", "sql": { "source": "db", "query": "SELECT repeat('x', 1000000) AS x FROM generate_series(1, 150)" } },
            "more": { "description": "D.", "sql": { "source": "db", "query": "SELECT generate_series(1, 100000000) AS g" }, "output": { "max_rows": 4 } },
            "one": { "description": "D.", "sql": { "source": "db", "query": "SELECT generate_series(1, 100000000) AS g", "row": "one" } },
            "named": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 AS q, 2 AS j, 3 AS r", "row": "one" } },
            "count": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 FROM generate_series(1, 250000)", "row": "count" } },
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let many = gateway.call("many", json!({})).await;
    assert_eq!(structured(&many)["rows"], json!([{ "g": 1 }, { "g": 2 }, { "g": 3 }]));
    assert_eq!(structured(&many)["truncated"], true);
    // The same text under other caps.
    let more = gateway.call("more", json!({})).await;
    assert_eq!(structured(&more)["rows"].as_array().unwrap().len(), 4);
    assert_eq!(structured(&gateway.call("one", json!({})).await), &json!({ "g": 1 }));
    // Columns with the names that stand around the statement.
    assert_eq!(structured(&gateway.call("named", json!({})).await), &json!({ "q": 1, "j": 2, "r": 3 }));
    let wide = gateway.call("wide", json!({})).await;
    assert_eq!(structured(&wide)["truncated"], true, "{wide}");
    assert!(wide.to_string().len() < 200_000);
    assert_eq!(structured(&gateway.call("count", json!({})).await), &json!({ "count": 250_000 }));
    own.gone().await;
}

/// A way to the server that can be shut.
pub async fn gate(target: String) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = Arc::new(AtomicBool::new(true));
    let is_open = open.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (target, is_open) = (target.clone(), is_open.clone());
            tokio::spawn(async move {
                if !is_open.load(Ordering::Relaxed) {
                    return;
                }
                let mut far = TcpStream::connect(target).await.unwrap();
                let shut = async {
                    while is_open.load(Ordering::Relaxed) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = shut => {}
                }
            });
        }
    });
    (port, open)
}

#[tokio::test]
async fn a_server_that_was_away_is_used_again_and_each_lack_has_its_message() {
    let Some(own) = Own::open("heals", "").await else { return };
    let mut through = url::Url::parse(&own.url).unwrap();
    let target = format!("127.0.0.1:{}", through.port().unwrap_or(5432));
    let (port, open) = gate(target).await;
    through.set_port(Some(port)).unwrap();
    let config = json!({
        "sources": { "db": { "sql": { "url": through.as_str(), "pool": { "max": 1, "acquire_timeout": "500ms" } } } },
        "tools": {
            "quick": { "description": "D.", "sql": { "source": "db", "query": "SELECT 1 AS one" } },
            "slow": { "description": "D.", "sql": { "source": "db", "query": "SELECT pg_sleep(5)" } }
        }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    each_lack_has_its_message(&gateway, &open).await;
    own.gone().await;
}

/// `quick` beside `slow` (five seconds) on a pool of one connection that is waited for half a second, through a gate that closes and
/// opens.
pub async fn each_lack_has_its_message(gateway: &Gateway, open: &AtomicBool) {
    structured(&gateway.call("quick", json!({})).await);
    let (slow, busy) = tokio::join!(gateway.call("slow", json!({})), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        gateway.call("quick", json!({})).await
    });
    structured(&slow);
    assert!(failure(&busy).contains("no connection became free within 500ms"), "{busy}");

    open.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(failure(&gateway.call("quick", json!({})).await).contains("cannot be reached"));
    assert_eq!(gateway.get("/readyz").await.status, 503);
    open.store(true, Ordering::Relaxed);
    until("it is used again", async || gateway.call("quick", json!({})).await.get("isError").is_none()).await;
}

#[tokio::test]
async fn connections_that_broke_in_the_pool_cost_no_call() {
    let Some(mut own) = Own::open("broken", "").await else { return };
    let name = format!("broken_{}", std::process::id());
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "pool": { "max": 3 } } } },
        "tools": { "slow": { "description": "D.", "sql": { "source": "db", "query": format!("SELECT pg_sleep(0.2), pg_backend_pid() AS pid, 1 AS {name}"), "row": "one" } } }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    let three = || async {
        tokio::join!(
            gateway.call("slow", json!({})),
            gateway.call("slow", json!({})),
            gateway.call("slow", json!({}))
        )
    };
    let (first, second, third) = three().await;
    for result in [&first, &second, &third] {
        let ended = own
            .number(&format!("SELECT pg_terminate_backend({}, 5000)::int::int8", structured(result)["pid"]))
            .await;
        assert_eq!(ended, 1);
    }
    let (first, second, third) = three().await;
    for result in [&first, &second, &third] {
        assert_eq!(structured(result)[&name], 1);
    }
    own.gone().await;
}

#[tokio::test]
async fn a_changed_table_is_met_with_its_new_types() {
    let Some(mut own) = Own::open("alters", "CREATE TABLE t (id text); INSERT INTO t VALUES ('7');").await
    else {
        return;
    };
    let query = format!("SELECT id FROM {}.t WHERE id = :id", own.schema);
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url } } },
        "tools": { "find": { "description": "D.", "params": { "id": {} }, "sql": { "source": "db", "query": query } } }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    assert_eq!(structured(&gateway.call("find", json!({ "id": "7" })).await)["rows"], json!([{ "id": "7" }]));
    let alter = "ALTER TABLE t ALTER COLUMN id TYPE int USING id::int";
    sqlx::raw_sql(alter).execute(&mut own.connection).await.unwrap();
    // The first call may still ask with the old type.
    gateway.call("find", json!({ "id": 7 })).await;
    assert_eq!(structured(&gateway.call("find", json!({ "id": 7 })).await)["rows"], json!([{ "id": 7 }]));
    own.gone().await;
}
