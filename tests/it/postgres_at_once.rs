//! Reads of PostgreSQL that go in one message, once their statement is known on a connection: what holds for those that go step by step
//! holds for them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::postgres::Own;
use crate::support::{Gateway, failure, structured, until};

/// A gateway with one connection whose tools take a number where their statement does.
async fn serve(own: &Own, tools: &[(&str, String)]) -> Gateway {
    let tools: Map<String, Value> = tools
        .iter()
        .map(|(name, query)| {
            let number = json!({ "n": { "type": "integer", "optional": true } });
            let params = if query.contains(":n") { number } else { json!({}) };
            let tool =
                json!({ "description": "D.", "params": params, "sql": { "source": "db", "query": query } });
            ((*name).to_owned(), tool)
        })
        .collect();
    let source = json!({ "url": own.url, "pool": { "max": 1, "acquire_timeout": "15s" } });
    let config = json!({
        "sources": { "db": { "sql": source } },
        "tools": tools,
    });
    Gateway::start(&config.to_string()).await
}

/// How many connections have last done a message of one that holds `mark`.
async fn at_once(own: &mut Own, mark: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/*sidegate%BEGIN READ ONLY;%{mark}%'"
    );
    own.number(&sql).await
}

/// Calls until the connection knows the statement.
async fn known(gateway: &Gateway, own: &mut Own, tool: &str, mark: &str) {
    for _ in 0..50 {
        structured(&gateway.call(tool, json!({ "n": 0 })).await);
        if at_once(own, mark).await == 1 {
            return;
        }
    }
    panic!("`{tool}` never went in one message");
}

#[tokio::test]
async fn a_known_read_goes_in_one_message_and_gives_the_same() {
    let Some(mut own) =
        Own::open("once", "CREATE TABLE t (id int, name text); INSERT INTO t VALUES (7, 'a''b')").await
    else {
        return;
    };
    let schema = own.schema.clone();
    let query = format!(
        "SELECT :n::int8 AS met_once, :n IS NULL AS none, (SELECT row_to_json(t) FROM {schema}.t -- it's\nWHERE id = :n) AS t"
    );
    let gateway = serve(&own, &[("get", query)]).await;
    let first = gateway.call("get", json!({ "n": 7 })).await;
    assert_eq!(
        structured(&first)["rows"][0],
        json!({ "met_once": 7, "none": false, "t": { "id": 7, "name": "a'b" } })
    );
    known(&gateway, &mut own, "get", "met_once").await;
    assert_eq!(gateway.call("get", json!({ "n": 7 })).await["structuredContent"], first["structuredContent"]);
    assert_eq!(at_once(&mut own, "met_once").await, 1);
    let none = gateway.call("get", json!({})).await;
    assert_eq!(structured(&none)["rows"][0], json!({ "met_once": null, "none": true, "t": null }));
    let least = gateway.call("get", json!({ "n": i64::MIN })).await;
    assert_eq!(structured(&least)["rows"][0]["met_once"], i64::MIN);
    // What is said of a statement that cannot run, and that its connection serves the next call.
    own.run(&format!("ALTER TABLE {schema}.t RENAME TO gone")).await;
    assert!(failure(&gateway.call("get", json!({ "n": 7 })).await).contains("`db`"));
    own.run(&format!("ALTER TABLE {schema}.gone RENAME TO t")).await;
    assert_eq!(gateway.call("get", json!({ "n": 7 })).await["structuredContent"], first["structuredContent"]);
    own.gone().await;
}

#[tokio::test]
async fn a_read_in_one_message_writes_nothing_and_leaves_nothing() {
    let functions = "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); CREATE SEQUENCE s; \
        CREATE FUNCTION does(n int8, what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF n > 0 THEN EXECUTE what; END IF; RETURN 1; END $$;";
    let Some(mut own) = Own::open("once_does", functions).await else { return };
    let schema = own.schema.clone();
    let does = |what: &str| {
        let what = what.replace("SCHEMA", &schema).replace('\'', "''");
        format!("SELECT {schema}.does(:n, '{what}') AS done_{}", what.len())
    };
    let mark = |what: &str| does(what).rsplit(' ').next().unwrap_or_default().to_owned();
    let refused = [
        "DELETE FROM SCHEMA.t",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SET TRANSACTION READ WRITE",
        "SELECT nextval('SCHEMA.s')",
        "CREATE TEMP TABLE kept ()",
        "SELECT lo_create(0)",
        "COMMIT",
    ];
    let left = [
        (
            "SET default_transaction_read_only = off",
            "SELECT (current_setting('transaction_read_only') = 'off')::int AS n",
        ),
        (
            "SET app.tenant = 'theirs'",
            "SELECT length(coalesce(current_setting('app.tenant', true), '')) AS n",
        ),
        ("SET search_path = pg_catalog", "SELECT (current_setting('search_path') = 'pg_catalog')::int AS n"),
        ("SET statement_timeout = 0", "SELECT (current_setting('statement_timeout') = '0')::int AS n"),
        ("SET TIME ZONE 'Asia/Tokyo'", "SELECT (current_setting('TimeZone') <> 'UTC')::int AS n"),
        ("LISTEN news", "SELECT count(*) AS n FROM pg_listening_channels()"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) AS n FROM pg_cursors WHERE name = 'c'"),
        (
            "SELECT pg_advisory_lock(90211)",
            "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        ),
    ];
    let names: Vec<(String, String)> = refused
        .iter()
        .enumerate()
        .map(|(n, what)| (format!("refused_{n}"), does(what)))
        .chain(left.iter().enumerate().map(|(n, (what, _))| (format!("left_{n}"), does(what))))
        .chain(left.iter().enumerate().map(|(n, (_, looks))| (format!("look_{n}"), (*looks).to_owned())))
        .collect();
    let tools: Vec<(&str, String)> =
        names.iter().map(|(name, query)| (name.as_str(), query.clone())).collect();
    let gateway = serve(&own, &tools).await;
    for (n, what) in refused.iter().enumerate() {
        let tool = format!("refused_{n}");
        known(&gateway, &mut own, &tool, &mark(what)).await;
        failure(&gateway.call(&tool, json!({ "n": 1 })).await);
        assert_eq!(own.number("SELECT count(*) FROM t").await, 2, "{what}");
    }
    for (n, (what, _)) in left.iter().enumerate() {
        let (leaves, looks) = (format!("left_{n}"), format!("look_{n}"));
        known(&gateway, &mut own, &leaves, &mark(what)).await;
        structured(&gateway.call(&leaves, json!({ "n": 1 })).await);
        assert_eq!(at_once(&mut own, &mark(what)).await, 1, "{what}: in one message");
        let found = gateway.call(&looks, json!({})).await;
        assert_eq!(structured(&found)["rows"][0]["n"], 0, "{what}");
    }
    own.gone().await;
}

#[tokio::test]
async fn a_read_in_one_message_ends_with_its_deadline_and_its_client() {
    let Some(mut own) = Own::open("once_ends", "").await else { return };
    let tools = [
        ("sleep", "SELECT pg_sleep(:n) AS slept_here".to_owned()),
        ("quick", "SELECT :n::int AS one".to_owned()),
    ];
    let gateway = serve(&own, &tools).await;
    known(&gateway, &mut own, "sleep", "slept_here").await;
    let leaving = gateway.call_with_and_hold("sleep", json!({ "n": 30 })).await;
    while own.running("/*sidegate%slept_here").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(leaving);
    until("it runs no more", async || own.running("slept_here").await == 0).await;
    assert_eq!(structured(&gateway.call("quick", json!({ "n": 1 })).await)["rows"], json!([{ "one": 1 }]));
    own.gone().await;
}

#[tokio::test]
async fn what_people_write_never_stands_in_the_text_of_a_read() {
    let Some(mut own) = Own::open("once_text", "").await else { return };
    let params = json!({ "said": { "type": "string" } });
    let query = "SELECT :said::text AS said_here";
    let config = json!({
        "sources": { "db": { "sql": { "url": own.url, "pool": { "max": 1 } } } },
        "tools": { "say": { "description": "D.", "params": params, "sql": { "source": "db", "query": query } } }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    for _ in 0..5 {
        let said = gateway.call("say", json!({ "said": "12345678987" })).await;
        assert_eq!(structured(&said)["rows"], json!([{ "said_here": "12345678987" }]));
        let shown = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%12345678987%'";
        assert_eq!(own.number(shown).await, 0);
        assert_eq!(at_once(&mut own, "said_here").await, 0);
    }
    own.gone().await;
}
