//! Statements that would never end, as many as the pool has connections and more: each ends at its limit or with its client, nothing of
//! them runs on the server a second later, and the pool serves the next call at once.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Connection, Gateway, LATE, failure, structured, until};
use crate::{mysql, postgres};

/// Connections of the pool, and calls at once.
const POOL: usize = 6;
const CALLS: usize = 14;

/// The test's own look at the server.
enum Own {
    Postgres(postgres::Own),
    Mysql(mysql::Own),
}

impl Own {
    async fn running(&mut self) -> i64 {
        match self {
            Self::Postgres(own) => own.running("ten_minutes").await,
            Self::Mysql(own) => own.running("ten_minutes").await,
        }
    }

    async fn gone(self) {
        match self {
            Self::Postgres(own) => own.gone().await,
            Self::Mysql(own) => own.gone().await,
        }
    }
}

/// The calls that wait for a connection wait longer than the others take, so that all of them run some time.
fn config(url: &str, sleep: &str) -> Value {
    let pool = json!({ "max": POOL, "acquire_timeout": "15s" });
    let tool = |query: String| json!({ "description": "D.", "sql": { "source": "db", "query": query } });
    let mut slow = tool(format!("SELECT {sleep} AS ten_minutes"));
    slow["policy"] = json!({ "timeout": "60s" });
    json!({
        "sources": { "db": { "sql": { "url": url, "pool": pool, "statement_timeout": "1s" } } },
        "tools": { "slow": slow, "quick": tool("SELECT 1 AS one".to_owned()) },
    })
}

async fn quick(gateway: &Gateway) {
    let start = Instant::now();
    let results = join_all((0..2 * POOL).map(|_| gateway.call("quick", json!({})))).await;
    for result in results {
        assert_eq!(structured(&result)["rows"], json!([{ "one": 1 }]));
    }
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

async fn seen(own: &mut Own, wanted: i64) {
    let start = Instant::now();
    while own.running().await < wanted {
        assert!(start.elapsed() < LATE, "they do not run");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ends_at_the_limit(url: &str, sleep: &str, mut own: Own) {
    let gateway = Gateway::start(&config(url, sleep).to_string()).await;
    quick(&gateway).await;
    let start = Instant::now();
    let calls = join_all((0..CALLS).map(|_| gateway.call("slow", json!({}))));
    let (results, ()) = tokio::join!(calls, seen(&mut own, POOL.try_into().unwrap()));
    // Three rounds at the most, each of a second; the statements themselves take ten minutes.
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
    for result in results {
        let sentence = failure(&result);
        assert!(sentence.starts_with("The source `db` gave no answer within 1s."), "{sentence}");
    }
    quick(&gateway).await;
    until("none of them runs in the engine", async || own.running().await == 0).await;

    clients_leave(&gateway, &mut own).await;
    own.gone().await;
}

async fn clients_leave(gateway: &Gateway, own: &mut Own) {
    let clients: Vec<Connection> = join_all((0..CALLS).map(|_| gateway.call_and_hold("slow"))).await;
    seen(own, POOL.try_into().unwrap()).await;
    drop(clients);
    quick(gateway).await;
    until("nothing runs for clients that have left", async || own.running().await == 0).await;
}

#[tokio::test]
async fn many_statements_without_end_leave_the_pool_usable_on_postgres() {
    let Some(own) = postgres::Own::open("many", "").await else { return };
    ends_at_the_limit(&own.url.clone(), "pg_sleep(600)", Own::Postgres(own)).await;
}

#[tokio::test]
async fn many_statements_without_end_leave_the_pool_usable_on_mysql() {
    let Some(mut own) = mysql::Own::open("many", &[]).await else { return };
    // They wait for a lock that the test holds. Not in SLEEP: all who are in it share one mutex of MariaDB, and several kills at once
    // hold each other up there for seconds.
    let lock = format!("'never_{}'", std::process::id());
    assert_eq!(own.number(&format!("SELECT GET_LOCK({lock}, 0)")).await, 1);
    ends_at_the_limit(&own.url.clone(), &format!("GET_LOCK({lock}, 600)"), Own::Mysql(own)).await;
}
