//! Collections in SQLite as they are found: names in any case, vectors of nothing, rows of any size, ids that come twice, words of any
//! script, and an index that comes and goes.

use serde_json::{Value, json};
use sidegate::source::vector::hash::HashEmbedder;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use crate::support::gateway::online;
use crate::support::{Gateway, structured};

/// A text's vector as SQL.
fn vector(text: &str) -> String {
    let numbers: Vec<String> = HashEmbedder::new(64).embed(text).iter().map(f32::to_string).collect();
    format!("'[{}]'", numbers.join(","))
}

fn folder(script: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("init.sql"), script).unwrap();
    folder
}

/// One tool a mode over the table `t`.
fn config(more: &Value) -> Value {
    let mut sqlite = json!({ "url": "sqlite:t.db", "table": "t", "init": "init.sql" });
    sqlite.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let tool = |mode: &str| {
        json!({
            "description": "D.", "params": { "q": { "type": "string" }, "limit": { "type": "integer", "default": 5 } },
            "output": { "max_rows": 1000 },
            "vector": { "source": "t", "search": "{q}", "limit": "{limit}", "mode": mode }
        })
    };
    json!({
        "sources": { "t": { "vector": { "sqlite": sqlite, "embedder": { "hash": { "dimensions": 64 } } } } },
        "tools": { "vector": tool("vector"), "text": tool("text"), "hybrid": tool("hybrid") }
    })
}

async fn found(gateway: &Gateway, mode: &str, question: &str) -> Vec<Value> {
    let result = gateway.call(mode, json!({ "q": question })).await;
    structured(&result)["matches"].as_array().unwrap().clone()
}

#[tokio::test]
async fn names_are_found_in_any_case_and_the_vector_stays_here() {
    let script = format!(
        "CREATE TABLE t (ID INTEGER PRIMARY KEY, Content TEXT, Embedding TEXT, Tenant TEXT); \
         INSERT INTO t VALUES (1, 'refund of an order', {}, 'a'), (2, 'opening hours', {}, 'b');",
        vector("refund of an order"),
        vector("opening hours")
    );
    for metadata in [json!({}), json!({ "metadata": ["id", "tenant", "Tenant"] })] {
        let gateway = Gateway::start_in(folder(&script), &config(&metadata).to_string()).await;
        for mode in ["vector", "text", "hybrid"] {
            let first = &found(&gateway, mode, "refund").await[0];
            assert_eq!((&first["id"], &first["text"]), (&json!(1), &json!("refund of an order")), "{mode}");
            let metadata = first["metadata"].as_object().unwrap();
            assert_eq!(metadata.len(), 1, "{mode}: {first}");
            assert!(metadata.keys().all(|name| name.eq_ignore_ascii_case("tenant")), "{mode}: {first}");
        }
    }
}

#[tokio::test]
async fn vectors_of_nothing_hide_no_match() {
    let nothing: Vec<String> = (0..10).map(|n| format!("({n}, '---', {})", vector("---"))).collect();
    let script = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, content TEXT, embedding TEXT); INSERT INTO t VALUES {}; \
         INSERT INTO t VALUES (50, 'refund', {});",
        nothing.join(", "),
        vector("refund")
    );
    let gateway = Gateway::start_in(folder(&script), &config(&json!({})).to_string()).await;
    for mode in ["vector", "hybrid"] {
        let found = found(&gateway, mode, "refund").await;
        assert_eq!((found.len(), &found[0]["id"]), (1, &json!(50)), "{mode}: {found:?}");
    }
}

#[tokio::test]
async fn rows_of_any_size_end_at_the_cap() {
    let script = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, content TEXT, embedding TEXT, page TEXT); \
         WITH n AS (SELECT value AS n FROM generate_series(1, 300)) \
         INSERT INTO t SELECT n, 'refund ' || n, {}, printf('%.*c', 100000, 'x') FROM n;",
        vector("refund")
    )
    .replace(
        "SELECT value AS n FROM generate_series(1, 300)",
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 300) SELECT n FROM c",
    );
    let gateway = Gateway::start_in(folder(&script), &config(&json!({})).to_string()).await;
    for mode in ["vector", "text", "hybrid"] {
        let result = gateway.call(mode, json!({ "q": "refund", "limit": 250 })).await;
        let page = structured(&result);
        assert_eq!(page["truncated"], true, "{mode}");
        assert!(page.to_string().len() <= 64 << 10, "{mode}");
    }
}

#[tokio::test]
async fn ids_that_come_twice_are_rows_of_their_own() {
    let rows: Vec<String> =
        (0..5).map(|n| format!("(7, 'refund part {n}', {})", vector(&format!("refund part {n}")))).collect();
    let script = format!(
        "CREATE TABLE t (id INTEGER, content TEXT, embedding TEXT); INSERT INTO t VALUES {}, (8, 'refund', {});",
        rows.join(", "),
        vector("refund")
    );
    let gateway = Gateway::start_in(folder(&script), &config(&json!({})).to_string()).await;
    let found = found(&gateway, "hybrid", "refund").await;
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|m| m["score"].as_f64().unwrap() <= 1.0), "{found:?}");
}

#[tokio::test]
async fn words_of_any_script_are_found_and_an_index_may_come_and_go() {
    let script = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, content TEXT, embedding TEXT); INSERT INTO t VALUES \
         (1, 'Überweisung dauert zwei Tage', {v}), (2, 'ПЕРЕВОД денег', {v}), (3, 'ÉTÉ', {v});",
        v = vector("x")
    );
    let folder = folder(&script);
    let file = folder.path().join("t.db");
    let gateway = Gateway::start_in(folder, &config(&json!({})).to_string()).await;
    for (question, id) in
        [("Überweisung", 1), ("überweisung", 1), ("перевод денег", 2), ("été", 3), ("Été", 3)]
    {
        let first = found(&gateway, "text", question).await;
        assert_eq!(
            first.first().map(|m| (&m["id"], &m["score"])),
            Some((&json!(id), &json!(1.0))),
            "{question}"
        );
    }
    let mut own = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let index = "CREATE VIRTUAL TABLE t_fts USING fts5(content, content='t', content_rowid='id'); \
        INSERT INTO t_fts(t_fts) VALUES ('rebuild');";
    own.execute(index).await.unwrap();
    // Words that only an index matches: it folds accents.
    assert_eq!(found(&gateway, "text", "uberweisung").await[0]["id"], 1);
    own.execute("DROP TABLE t_fts").await.unwrap();
    let _ = gateway.call("text", json!({ "q": "Überweisung" })).await;
    assert_eq!(found(&gateway, "text", "Überweisung").await[0]["id"], 1);
}

#[tokio::test]
async fn what_would_fail_every_search_is_said_online() {
    let script = format!(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, content TEXT, embedding TEXT); INSERT INTO t VALUES (1, 'a', {});",
        vector("a")
    );
    let with = |change: &dyn Fn(&mut Value)| {
        let mut config = config(&json!({}));
        change(&mut config["sources"]["t"]["vector"]);
        config.to_string()
    };
    let fine = folder(&script);
    assert_eq!(online(fine.path(), &with(&|_| {})).await, "");
    for (change, said) in [
        (&(|v: &mut Value| v["sqlite"]["table"] = "tt".into()) as &dyn Fn(&mut Value), "no such table"),
        (&|v: &mut Value| v["sqlite"]["embedding"] = "emb".into(), "no such column"),
        (&|v: &mut Value| v["embedder"]["hash"]["dimensions"] = 32.into(), "another length"),
    ] {
        let told = online(folder(&script).path(), &with(change)).await;
        assert!(told.contains("error[") && told.contains(said), "{said}: {told}");
    }
}
