//! pgvector, a real one: any table and half vectors, an index that is used, filters that do not empty a result, full-text search in a
//! language, and tables that change. `tests/engines/run.sh` brings it; without it these tests are named by `left_out`.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::postgres::Own;
use crate::support::vectors::embedder;
use crate::support::{Gateway, failure, structured, until};

fn ids(result: &Value) -> Vec<i64> {
    structured(result)["matches"].as_array().unwrap().iter().map(|m| m["id"].as_i64().unwrap()).collect()
}

/// Rows `(id, content, embedding, tenant)` in a circle of directions: row n has the angle n; every hundredth is of the tenant `rare`.
fn circle(kind: &str, rows: usize) -> String {
    format!(
        "CREATE TABLE c (id int PRIMARY KEY, content text, embedding {kind}(2), tenant text); \
         INSERT INTO c SELECT n, 'row ' || n, ARRAY[cos(n * 2 * pi() / {rows}), sin(n * 2 * pi() / {rows})]::real[]::vector, \
         CASE WHEN n % 100 = 50 THEN 'rare' ELSE 'many' END FROM generate_series(0, {rows} - 1) AS n; \
         CREATE INDEX c_hnsw ON c USING hnsw (embedding {kind}_cosine_ops); ANALYZE c;"
    )
}

fn source(own: &Own, table: &str, url: &str, more: &Value) -> Value {
    let mut at = json!({ "url": own.url, "table": format!("{}.{table}", own.schema) });
    at.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "vector": { "pgvector": at, "embedder": { "openai": { "base_url": url, "model": "own" } } } })
}

fn tool(source: &str, more: &Value) -> Value {
    let mut op = json!({ "source": source, "search": "{q}" });
    op.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "description": "D.", "params": { "q": { "type": "string" } }, "vector": op })
}

async fn count(connection: &mut PgConnection, sql: String) -> i64 {
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await.unwrap().get(0)
}

async fn raw(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

#[tokio::test]
async fn the_index_is_used_by_vectors_and_half_vectors() {
    for kind in ["vector", "halfvec"] {
        let rows = format!(
            "CREATE TABLE c (id int PRIMARY KEY, content text, embedding {kind}(8)); SELECT setseed(0.5); \
             INSERT INTO c SELECT n, repeat('row ', 200) || n, (SELECT array_agg(random() - 0.5) FROM generate_series(1, 8) WHERE n > -1)::{kind} \
             FROM generate_series(0, 3999) AS n; CREATE INDEX c_hnsw ON c USING hnsw (embedding {kind}_cosine_ops); ANALYZE c;"
        );
        let Some(mut own) = Own::open(&format!("index_{kind}"), &rows).await else { return };
        let wanted = own.text("SELECT embedding::text FROM c WHERE id = 1234").await;
        let service = embedder().await;
        let sources = json!({ "c": source(&own, "c", &service.url(), &json!({ "pool": { "max": 1 } })) });
        let tools = json!({ "find": tool("c", &json!({ "limit": 5, "ef_search": 100 })) });
        let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
        let scans = |column: &str| {
            format!(
                "SELECT {column}::bigint FROM pg_stat_user_{} WHERE relid = '{}.c'::regclass",
                if column == "seq_scan" { "tables" } else { "indexes" },
                own.schema
            ) + if column == "seq_scan" { "" } else { " AND indexrelname = 'c_hnsw'" }
        };
        let (by_index, by_reading) = (scans("idx_scan"), scans("seq_scan"));
        let (before, read_before) = (own.number(&by_index).await, own.number(&by_reading).await);
        // More often than the server plans a prepared statement by its values; the counters are written once a second.
        for round in 0..9 {
            if round == 8 {
                tokio::time::sleep(Duration::from_millis(1200)).await;
            }
            let result = gateway.call("find", json!({ "q": wanted })).await;
            assert_eq!((ids(&result).len(), ids(&result)[0]), (5, 1234), "{kind}");
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(15);
        while own.number(&by_index).await < before + 9 {
            assert!(
                std::time::Instant::now() < deadline,
                "{kind}: {} scans of 9",
                own.number(&by_index).await
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Making and measuring the index reads the table too, and is counted late.
        let read = own.number(&by_reading).await - read_before;
        assert!(read < 9, "{kind}: the table was read as a whole {read} times");
        gateway.stop().await;
        own.gone().await;
    }
}

/// A role that never reads a whole table, so that a small one is searched as a large one is.
async fn index_only(own: &Own) -> Option<(String, String)> {
    let superuser = std::env::var("TEST_POSTGRES_SUPERUSER_URL").ok()?;
    let role = format!("reader_{}", own.schema);
    let mut connection = PgConnection::connect(&superuser).await.unwrap();
    let schema = &own.schema;
    let made = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'reader'; ALTER ROLE {role} SET enable_seqscan = off; \
         GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    raw(&mut connection, made).await;
    let (_, place) = own.url.split_once('@').unwrap();
    Some((format!("postgres://{role}:reader@{place}"), role))
}

#[tokio::test]
async fn filters_high_limits_and_deleted_rows_do_not_empty_what_an_index_gives() {
    let Some(mut own) = Own::open("rare", &circle("vector", 4000)).await else { return };
    let Some((url, role)) = index_only(&own).await else {
        own.gone().await;
        return;
    };
    // What pgvector does by itself: conditions are applied to the 40 candidates of the index.
    let mut reader = PgConnection::connect(&url).await.unwrap();
    let schema = own.schema.clone();
    let plain = |limit: u32, filter: &str| {
        format!(
            "SELECT count(*) FROM (SELECT id FROM {schema}.c WHERE {filter} ORDER BY embedding <=> '[1,0]' LIMIT {limit}) AS q"
        )
    };
    assert_eq!(count(&mut reader, plain(10, "tenant = 'rare'")).await, 0);
    assert!(count(&mut reader, plain(200, "true")).await < 200);
    let service = embedder().await;
    let sources = json!({ "c": source(&own, "c", &service.url(), &json!({ "url": url })) });
    let tools = json!({
        "rare": tool("c", &json!({ "limit": 10, "where": { "tenant": "rare" } })),
        "many": tool("c", &json!({ "limit": 200 })),
        "ten": tool("c", &json!({ "limit": 10 })),
        "few": tool("c", &json!({ "limit": 10, "ef_search": 1 }))
    });
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    assert_eq!(ids(&gateway.call("rare", json!({ "q": "[1,0]" })).await).len(), 10);
    assert_eq!(ids(&gateway.call("many", json!({ "q": "[1,0]" })).await).len(), 200);
    assert_eq!(ids(&gateway.call("few", json!({ "q": "[1,0]" })).await).len(), 10);
    // Until a vacuum the index still gives what was deleted.
    own.run("ALTER TABLE c SET (autovacuum_enabled = off); DELETE FROM c WHERE id < 100 OR id > 3900").await;
    assert_eq!(count(&mut reader, plain(10, "true")).await, 0);
    reader.close().await.unwrap();
    assert_eq!(ids(&gateway.call("ten", json!({ "q": "[1,0]" })).await).len(), 10);
    gateway.stop().await;
    own.gone().await;
    let superuser = std::env::var("TEST_POSTGRES_SUPERUSER_URL").unwrap();
    let mut connection = PgConnection::connect(&superuser).await.unwrap();
    raw(&mut connection, format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn ef_search_reaches_the_statement_and_nothing_beyond_it() {
    // The setting is a column of a view, so that the search itself says what it ran with.
    let view = "CREATE TABLE r (id int, content text, embedding vector(2)); INSERT INTO r VALUES (1, 'a', '[1,0]'); \
        CREATE VIEW v AS SELECT r.*, current_setting('hnsw.ef_search', true) AS ef, current_setting('hnsw.iterative_scan', true) AS scan, \
        current_setting('transaction_read_only') AS reads FROM r;";
    let Some(own) = Own::open("ef", view).await else { return };
    let service = embedder().await;
    let sources = json!({ "v": source(&own, "v", &service.url(), &json!({ "pool": { "max": 1 } })) });
    let tools = json!({
        "plain": tool("v", &json!({})),
        "set": tool("v", &json!({ "ef_search": 123 })),
        "one": tool("v", &json!({ "limit": 1 })),
        "same": tool("v", &json!({ "limit": 1, "where": { "reads": "on" } })),
    });
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    // What gave fewer rows than were asked for has been searched once more.
    let (on, off) = ("relaxed_order", "off");
    let called = [("set", "123", on), ("plain", "40", on), ("one", "40", off), ("same", "40", on)];
    for (name, ef, scan) in called.into_iter().cycle().take(12) {
        let result = gateway.call(name, json!({ "q": "[1,0]" })).await;
        let metadata = json!({ "ef": ef, "scan": scan, "reads": "on" });
        assert_eq!(structured(&result)["matches"][0]["metadata"], metadata, "{name}");
    }
    own.gone().await;
}

#[tokio::test]
async fn words_are_found_in_a_language_in_a_column_and_with_vectors() {
    let rows = "CREATE TABLE d (id int, content text, embedding vector(2), topic text, found tsvector GENERATED ALWAYS AS (to_tsvector('english', coalesce(topic, '') || ' ' || content)) STORED); \
        INSERT INTO d VALUES (1, 'Parcels are shipped the same day.', '[1,0]', 'shipping'), (2, 'A refund takes five days.', '[0,1]', 'returns'), \
        (3, 'The order ORD-77 was lost.', '[0.7,0.7]', 'shipping'), (4, NULL, NULL, 'none');";
    let Some(own) = Own::open("fulltext", rows).await else { return };
    let service = embedder().await;
    let sources = json!({
        "simple": source(&own, "d", &service.url(), &json!({})),
        "english": source(&own, "d", &service.url(), &json!({ "language": "english" })),
        "column": source(&own, "d", &service.url(), &json!({ "language": "english", "words": "found" })),
        "klingon": source(&own, "d", &service.url(), &json!({ "language": "kling'on" }))
    });
    let mut tools = json!({});
    for name in ["simple", "english", "column", "klingon"] {
        tools[format!("text_{name}")] = tool(name, &json!({ "mode": "text" }));
        tools[format!("hybrid_{name}")] = tool(name, &json!({ "mode": "hybrid" }));
    }
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    let found = async |name: &str, question: &str| ids(&gateway.call(name, json!({ "q": question })).await);
    assert_eq!(found("text_simple", "parcel").await, [] as [i64; 0]);
    assert_eq!(found("text_simple", "PARCELS refund").await.len(), 2);
    assert_eq!(found("text_english", "parcel").await, [1]);
    assert_eq!(found("text_english", "where is ORD-77?").await, [3]);
    assert_eq!(found("text_english", "returns").await, [] as [i64; 0]);
    assert_eq!(found("text_column", "return").await, [2]);
    assert_eq!(found("text_english", "the of and").await, [] as [i64; 0]);
    for operator in ["\"", "a & | b", "!parcel", "-parcel", "a <-> b", "'; DROP TABLE d; --", "(", ":*", "\\"]
    {
        assert!(found("text_english", operator).await.len() <= 1, "{operator}");
    }
    let result = gateway.call("text_english", json!({ "q": "lost parcel ship" })).await;
    let scores: Vec<f64> = structured(&result)["matches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["score"].as_f64().unwrap())
        .collect();
    assert_eq!(scores.len(), 2);
    assert!((scores[0] - 1.0).abs() < 1e-9 && scores[1] < 1.0 && scores[1] > 0.0, "{scores:?}");
    assert!(structured(&result)["matches"][0]["metadata"].get("found").is_none(), "{result}");
    // First by its words and second by its vector beats first by its vector alone.
    let hybrid = found("hybrid_english", "[0.9,0.1] lost order").await;
    assert_eq!(hybrid, [3, 1, 2]);
    assert!(failure(&gateway.call("text_klingon", json!({ "q": "parcel" })).await).contains("failed"));
    own.gone().await;
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_told_and_one_that_changes_is_asked_again() {
    let table = "CREATE TABLE t (id int, content text, embedding vector(3)); INSERT INTO t VALUES (1, 'a', '[1,0,0]'); \
        CREATE TABLE any_length (id int, content text, embedding vector); INSERT INTO any_length VALUES (1, 'a', '[1,0,0]');";
    let Some(mut own) = Own::open("change", table).await else { return };
    let service = embedder().await;
    let sources = json!({
        "t": source(&own, "t", &service.url(), &json!({})),
        "missing": source(&own, "nowhere", &service.url(), &json!({})),
        "column": source(&own, "t", &service.url(), &json!({ "text": "body" })),
        "any": source(&own, "any_length", &service.url(), &json!({})),
        "hostile": source(&own, "t\"; DROP TABLE t; --", &service.url(), &json!({ "id": "id\" FROM x; --" }))
    });
    let mut tools = json!({});
    for (name, _) in sources.as_object().unwrap() {
        tools[name] = tool(name, &json!({}));
    }
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    for (name, wanted) in [
        ("t", "another length"),
        ("missing", "its table is not there"),
        ("column", "not all columns"),
        ("hostile", "its table is not there"),
    ] {
        let said = gateway.call(name, json!({ "q": "[1,0]" })).await;
        assert!(failure(&said).contains(wanted), "{name}: {}", failure(&said));
    }
    // Vectors of any length: the server compares, and its refusal is no fault of the arguments.
    assert_eq!(ids(&gateway.call("any", json!({ "q": "[1,0,0]" })).await), [1]);
    let said = gateway.call("any", json!({ "q": "[1,0]" })).await;
    assert!(failure(&said).contains("another length"), "{}", failure(&said));
    assert_eq!(ids(&gateway.call("t", json!({ "q": "[1,0,0]" })).await), [1]);
    let change = "ALTER TABLE t RENAME COLUMN content TO body; ALTER TABLE t ADD COLUMN content text DEFAULT 'new'; \
        ALTER TABLE t DROP COLUMN embedding; ALTER TABLE t ADD COLUMN embedding halfvec(2) DEFAULT '[1,0]';";
    own.run(change).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(gateway.call("t", json!({ "q": "[1,0]" })).await);
    }
    let last = &structured(answers.last().unwrap())["matches"][0];
    assert_eq!((&last["text"], &last["metadata"]["body"]), (&json!("new"), &json!("a")));
    own.gone().await;
}

#[tokio::test]
async fn a_search_ends_on_the_server_with_its_time_and_reads_no_more_than_the_caps() {
    let rows = "CREATE TABLE big (id int, content text, embedding vector(2)); \
        INSERT INTO big SELECT n, repeat('x', 10000), '[1,0]' FROM generate_series(1, 500) AS n; \
        CREATE VIEW slow AS SELECT big.*, pg_sleep(10)::text AS never FROM big;";
    let Some(mut own) = Own::open("caps", rows).await else { return };
    let service = embedder().await;
    let sources = json!({
        "big": source(&own, "big", &service.url(), &json!({})),
        "slow": source(&own, "slow", &service.url(), &json!({ "statement_timeout": "400ms" }))
    });
    let mut big = tool("big", &json!({ "limit": 500 }));
    big["output"] = json!({ "max_bytes": "100KiB" });
    let few = tool("big", &json!({ "limit": 3 }));
    let tools = json!({ "big": big, "few": few, "slow": tool("slow", &json!({})) });
    let gateway = Gateway::start(&json!({ "sources": sources, "tools": tools }).to_string()).await;
    let result = gateway.call("big", json!({ "q": "[1,0]" })).await;
    assert!((2..15).contains(&ids(&result).len()), "{}", ids(&result).len());
    assert_eq!(structured(&result)["truncated"], true);
    let result = gateway.call("few", json!({ "q": "[1,0]" })).await;
    assert_eq!((ids(&result).len(), structured(&result).get("truncated")), (3, None));
    let started = std::time::Instant::now();
    let said = gateway.call("slow", json!({ "q": "[1,0]" })).await;
    assert!(failure(&said).contains("The source `slow` gave no answer"), "{}", failure(&said));
    // A single row takes ten seconds.
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    let running = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%{}%slow%'",
        own.schema
    );
    until("it does not run in the engine", async || own.number(&running).await == 0).await;
    own.gone().await;
}
