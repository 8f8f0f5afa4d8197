//! Statements on MySQL and MariaDB end where they should: on the server, at the deadline, with the client, and at the caps.

use std::time::Duration;

use serde_json::json;

use super::{Own, one};
use crate::support::{Gateway, failure, structured, until};

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
    // The connection of a statement that was killed is made anew.
    config["sources"]["db"]["sql"]["pool"]["acquire_timeout"] = json!("15s");
    let gateway = Gateway::start(&config.to_string()).await;
    for tool in ["late", "busy", "write"] {
        assert!(failure(&gateway.call(tool, json!({})).await).contains("within 700ms"), "{tool}");
        until("it runs no more", async || own.running(&format!("{tool}_one")).await == 0).await;
        assert_eq!(structured(&gateway.call("quick", json!({})).await)["rows"], json!([{ "one": 1 }]));
    }
    assert_eq!(own.number("SELECT COUNT(*) FROM t").await, 0);

    let leaving = gateway.call_and_hold("left").await;
    while own.running("left_one").await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(leaving);
    until("it runs no more", async || own.running("left_one").await == 0).await;
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
    // Their deadlines come about when they end: some before, some after.
    for ms in 47..55 {
        config["tools"][format!("edge_{ms}")] = config["tools"]["edge"].clone();
        config["tools"][format!("edge_{ms}")]["policy"] = json!({ "timeout": format!("{ms}ms") });
    }
    config["sources"]["db"]["sql"]["pool"]["acquire_timeout"] = json!("5s");
    let gateway = Gateway::start(&config.to_string()).await;
    let (mut late, mut done) = (0, 0);
    for round in 0..40 {
        let edge = format!("edge_{}", 47 + round % 8);
        let (edge, calm, calmer) = tokio::join!(
            gateway.call(&edge, json!({})),
            gateway.call("calm", json!({})),
            gateway.call("calm", json!({}))
        );
        if edge.get("isError").is_some() {
            late += 1;
        } else {
            done += 1;
        }
        for result in [calm, calmer] {
            assert_eq!(structured(&result)["rows"], json!([{ "s": 0 }]));
        }
    }
    assert!(late > 0, "{late} late, {done} done");
    own.gone().await;
}

#[tokio::test]
async fn caps_end_the_reading() {
    let Some(own) = Own::open(
        "caps",
        &["CREATE TABLE t (doc JSON)", "INSERT INTO t VALUES (JSON_ARRAY(REPEAT('x', 20000)))", "CREATE FUNCTION walks() RETURNS INT BEGIN DECLARE n INT DEFAULT 0; FOR r IN (SELECT seq FROM seq_1_to_10) DO SET n = n + 1; END FOR; RETURN n; END"],
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
            ("function", "SELECT walks() AS g FROM seq_1_to_1000;", json!({})),
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
    for tool in ["many", "ordered", "own_limit", "union", "function"] {
        config["tools"][tool]["output"] = json!({ "max_rows": 3 });
    }
    let gateway = Gateway::start(&config.to_string()).await;
    let connection = one(&gateway, "connection").await;
    for (tool, wanted) in [
        ("many", [1, 2, 3]),
        ("ordered", [1000, 999, 998]),
        ("union", [1, 1, 2]),
        ("function", [10, 10, 10]),
        ("own_limit", [1, 2, 3]),
    ] {
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
