//! What a call can leave on its PostgreSQL connection, and that the next one on the same connection meets nothing of it: every kind of
//! state that outlives a transaction, from routes that commit and from functions that a read calls.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use crate::postgres::Own;
use crate::support::{Gateway, structured};

/// The name, the statement that leaves something, and one whose only value says what there is now.
const LEFT: &[(&str, &str, &str)] = &[
    (
        "table",
        "CREATE TEMP TABLE kept AS SELECT 'theirs' AS who",
        "SELECT count(*) AS n FROM pg_class WHERE relname = 'kept' AND relpersistence = 't'",
    ),
    // A table of the same name is met before the real one.
    ("shadow", "CREATE TEMP TABLE shown AS SELECT 1", "SELECT (to_regclass('shown') IS NOT NULL)::int AS n"),
    (
        "view",
        "CREATE TEMP VIEW seen AS SELECT 1",
        "SELECT count(*) AS n FROM pg_class WHERE relname = 'seen' AND relpersistence = 't'",
    ),
    (
        "prepared",
        "PREPARE plan AS SELECT 1",
        "SELECT count(*) AS n FROM pg_prepared_statements WHERE from_sql",
    ),
    ("channel", "LISTEN news", "SELECT count(*) AS n FROM pg_listening_channels()"),
    (
        "cursor",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) AS n FROM pg_cursors WHERE name = 'c'",
    ),
    (
        "setting",
        "SET app.tenant = 'theirs'",
        "SELECT length(coalesce(current_setting('app.tenant', true), '')) AS n",
    ),
    ("zone", "SET TIME ZONE 'Asia/Tokyo'", "SELECT (current_setting('TimeZone') <> 'UTC')::int AS n"),
    (
        "path",
        "SET search_path = pg_catalog",
        "SELECT (current_setting('search_path') = 'pg_catalog')::int AS n",
    ),
    (
        "only",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SELECT (current_setting('transaction_isolation') = 'serializable')::int AS n",
    ),
    ("role", "SET ROLE sidegate", "SELECT (current_setting('role') <> 'none')::int AS n"),
    (
        "lock",
        "SELECT pg_advisory_lock(90210)",
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
    (
        "shared",
        "SELECT pg_advisory_lock_shared(90210)",
        "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ),
    ("number", "SELECT nextval('SCHEMA.numbers')", "SELECT SCHEMA.last_number() AS n"),
    ("seed", "SELECT setseed(0.5)", "SELECT ((random() * 1e9)::int8 = SEEDED)::int AS n"),
    ("seed_set", "SET seed = 0.5", "SELECT ((random() * 1e9)::int8 = SEEDED)::int AS n"),
];

/// Left by functions that are called in a read, whose transaction is undone.
const BY_FUNCTIONS: &[(&str, &str)] = &[
    ("seed", "SELECT set_config('seed', '0.5', false)"),
    ("channel", "SELECT SCHEMA.does('LISTEN news')"),
    ("cursor", "SELECT SCHEMA.does('DECLARE c CURSOR WITH HOLD FOR SELECT 1')"),
    ("setting", "SELECT SCHEMA.does('SET app.tenant = ''theirs''')"),
    ("zone", "SELECT SCHEMA.does('SET TIME ZONE ''Asia/Tokyo''')"),
    ("lock", "SELECT SCHEMA.does('SELECT pg_advisory_lock(90210)')"),
    ("role", "SELECT set_config('role', 'sidegate', false)"),
    ("path", "SELECT set_config('search_path', 'pg_catalog', false)"),
];

const FUNCTIONS: &str = "CREATE SEQUENCE numbers START 4711; \
    CREATE FUNCTION does(what text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE what; RETURN 1; END $$; \
    CREATE FUNCTION last_number() RETURNS int8 LANGUAGE plpgsql AS $$ BEGIN RETURN lastval(); \
        EXCEPTION WHEN object_not_in_prerequisite_state THEN RETURN 0; END $$;";

/// A statement as it runs in this schema.
fn written(own: &Own, seeded: i64, query: &str) -> String {
    query.replace("SCHEMA", &own.schema).replace("SEEDED", &seeded.to_string())
}

/// A gateway with one connection: `leave_…` and `look_…` for each row, and `read_…` for each of the functions.
fn config(own: &Own, seeded: i64) -> Value {
    let tool = |query: &str, write: bool| json!({ "description": "D.", "sql": { "source": "db", "query": written(own, seeded, query), "write": write } });
    let mut tools = Map::new();
    for (name, leaves, looks) in LEFT {
        tools.insert(format!("leave_{name}"), tool(leaves, true));
        tools.insert(format!("look_{name}"), tool(looks, false));
    }
    for (name, leaves) in BY_FUNCTIONS {
        tools.insert(format!("read_{name}"), tool(leaves, false));
    }
    tools.insert("who".to_owned(), tool("SELECT pg_backend_pid() AS n", false));
    let source = json!({ "url": own.url, "read_only": false, "pool": { "max": 1 } });
    json!({ "sources": { "db": { "sql": source } }, "tools": tools })
}

async fn number(gateway: &Gateway, tool: &str) -> i64 {
    let result = gateway.call(tool, json!({})).await;
    structured(&result)["rows"][0]["n"].as_i64().unwrap_or_else(|| panic!("{tool}: {result}"))
}

/// What the statement says on a session of one's own, after another one.
async fn on_a_session(own: &Own, leaves: &str, looks: &str) -> i64 {
    let mut session = PgConnection::connect(&own.url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(leaves.to_owned())).execute(&mut session).await.unwrap();
    let said = sqlx::raw_sql(AssertSqlSafe(looks.to_owned())).fetch_one(&mut session).await.unwrap();
    said.try_get::<i64, _>(0).unwrap_or_else(|_| i64::from(said.get::<i32, _>(0)))
}

#[tokio::test]
async fn no_state_of_a_session_outlives_its_call() {
    let Some(own) = Own::open("state", FUNCTIONS).await else { return };
    let seeded = on_a_session(&own, "SELECT setseed(0.5)", "SELECT (random() * 1e9)::int8").await;
    let gateway = Gateway::start(&config(&own, seeded).to_string()).await;
    for (name, leaves, looks) in LEFT {
        let (leaves, looks) = (written(&own, seeded, leaves), written(&own, seeded, looks));
        assert_ne!(on_a_session(&own, &leaves, &looks).await, 0, "{name}: it is left on a session");
        let before = number(&gateway, "who").await;
        structured(&gateway.call(&format!("leave_{name}"), json!({})).await);
        let after = number(&gateway, "who").await;
        assert_eq!(number(&gateway, &format!("look_{name}")).await, 0, "{name}");
        // What cannot be undone takes the connection with it; the others keep theirs.
        let closes = ["prepared", "seed", "seed_set"].contains(name);
        assert_eq!(before != after, closes, "{name}");
    }
    for (name, _) in BY_FUNCTIONS {
        let before = number(&gateway, "who").await;
        structured(&gateway.call(&format!("read_{name}"), json!({})).await);
        assert_eq!(number(&gateway, &format!("look_{name}")).await, 0, "{name}, by a function");
        assert_eq!(number(&gateway, "who").await == before, *name != "seed", "{name}");
    }
    own.gone().await;
}
