//! What databases say before anything is called: the schemas of results, and `check --online` with its carets.

use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::postgres::Own;
use crate::support::gateway::online;
use crate::support::{Gateway, structured};

/// In a schema whose name does not change from run to run, as snapshots show it.
fn tables(schema: &str) -> String {
    format!(
        "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; SET search_path = {schema}; \
         CREATE TYPE mood AS ENUM ('calm', 'loud'); \
         CREATE TABLE orders (id int PRIMARY KEY, placed_at timestamptz, total numeric(10,2), note text, state mood, \
         tags text[], doc jsonb, who uuid, open boolean);"
    )
}

/// Compares with the snapshot, without what differs from run to run.
pub fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../online");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // As long as a URL that is made anew for each run.
    settings.add_filter(r"\*{3,}", "***");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A configuration with one tool a statement, in lines that carets can point into.
pub fn tools(url: &str, statements: &[(&str, &str, &str)]) -> String {
    let mut yaml = format!("sources:\n  db: {{ sql: {{ url: \"{url}\" }} }}\ntools:\n");
    for (name, params, query) in statements {
        let query = query.replace('\n', "\n        ");
        yaml.push_str(&format!(
            "  {name}:\n    description: D.\n    params: {params}\n    sql:\n      source: db\n      query: |\n        {query}\n"
        ));
    }
    yaml
}

#[tokio::test]
async fn postgres_says_what_is_wrong_where_it_is() {
    let Some(mut own) = Own::open("checked", &tables("shop_a")).await else { return };
    let url = own.url.clone();
    let statements = [
        ("fine", "{ id: { type: integer } }", "SELECT id, total FROM shop_a.orders WHERE id = :id"),
        ("no_table", "{}", "SELECT id\nFROM shop_a.ordres"),
        (
            "no_column",
            "{ id: { type: integer } }",
            "SELECT o.id, o.statte\nFROM shop_a.orders o WHERE o.id = :id AND o.totl > 1",
        ),
        (
            "after_binds",
            "{ customer: { type: integer } }",
            "SELECT id FROM shop_a.orders WHERE id = :customer\n  OR id + :customer > 2 AND nope = 3",
        ),
        ("no_function", "{}", "SELECT lenght(note) FROM shop_a.orders"),
        ("syntax", "{}", "SELECT id FROM shop_a.orders ORDER id"),
        (
            "never",
            "{ open: { type: boolean }, at: { type: integer } }",
            "SELECT id FROM shop_a.orders\nWHERE id = :open AND placed_at > :at",
        ),
        ("doubtful", "{ id: { type: string } }", "SELECT id FROM shop_a.orders WHERE id = :id"),
        (
            "right_types",
            "{ id: { type: number }, at: { type: string }, tags: { type: array }, doc: { type: object }, who: { type: string }, state: { type: string }, open: { type: boolean } }",
            "SELECT id FROM shop_a.orders WHERE total > :id AND placed_at > :at AND tags && :tags AND doc @> :doc AND who = :who AND state = :state AND open = :open",
        ),
        ("locks", "{}", "SELECT id FROM shop_a.orders FOR UPDATE"),
    ];
    let said = online(std::path::Path::new("."), &tools(&url, &statements)).await;
    assert!(!said.contains("secret@") && !said.contains("password"), "{said}");
    snapshot("postgres", &said);
    own.run("DROP SCHEMA shop_a CASCADE").await;
    own.gone().await;
}

#[tokio::test]
async fn a_role_that_can_write_is_named_where_the_source_only_reads() {
    let Ok(url) = std::env::var("TEST_POSTGRES_SUPERUSER_URL") else { return };
    let said = online(std::path::Path::new("."), &tools(&url, &[("t", "{}", "SELECT 1 AS one")])).await;
    assert!(said.contains("warning[role-can-write]") && said.contains("superuser"), "{said}");
    let writes =
        tools(&url, &[("t", "{}", "SELECT 1 AS one")]).replace("sql: { url", "sql: { read_only: false, url");
    assert_eq!(online(std::path::Path::new("."), &writes).await, "");
}

#[tokio::test]
async fn what_only_the_roles_of_callers_may_read_is_not_called_wrong() {
    let (Some(mut own), Ok(root)) = (
        Own::open("role_of_callers", "CREATE TABLE theirs (id int)").await,
        std::env::var("TEST_POSTGRES_SUPERUSER_URL"),
    ) else {
        return;
    };
    let (schema, role) = (own.schema.clone(), format!("reader_{}", std::process::id()));
    let mut admin = sqlx::PgConnection::connect(&root).await.unwrap();
    let grant = format!(
        "CREATE ROLE {role}; GRANT {role} TO sidegate WITH INHERIT FALSE; GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT ON {schema}.theirs TO {role}; ALTER TABLE {schema}.theirs OWNER TO postgres"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(grant)).execute(&mut admin).await.unwrap();
    let yaml = tools(&own.url, &[("t", "{}", &format!("SELECT id FROM {schema}.theirs"))]);
    let here = std::path::Path::new(".");
    assert!(online(here, &yaml).await.contains("permission denied"));
    let keys = format!("auth: {{ api_keys: [{{ name: {role}, key: key-of-reader }}] }}\n");
    let with = format!("{keys}{}", yaml.replace("sql: { url", "sql: { session: { role: caller.sub }, url"));
    assert!(!online(here, &with).await.contains("error["), "{}", online(here, &with).await);
    let gateway = Gateway::start(&with).await;
    let mut headers = crate::support::message::modern_headers("tools/call", Some("t"));
    headers.push(("X-API-Key".to_owned(), "key-of-reader".to_owned()));
    let call =
        crate::support::message::modern("tools/call", json!({ "name": "t", "arguments": {} })).to_string();
    let reply = gateway.post(&headers, call.as_bytes()).await.json();
    assert_eq!(*structured(&reply["result"]), json!({ "rows": [] }));
    let back = format!("DROP TABLE {schema}.theirs; DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&mut admin).await.unwrap();
    own.run("SELECT 1").await;
    own.gone().await;
}

#[tokio::test]
async fn sqlite_says_what_is_wrong_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("init.sql"),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL);",
    )
    .unwrap();
    let statements = [
        ("fine", "{ id: { type: integer } }", "SELECT id, total FROM orders WHERE id = :id"),
        ("no_table", "{}", "SELECT id\nFROM ordres"),
        ("no_column", "{ id: { type: integer } }", "SELECT o.id, o.totl\nFROM orders o WHERE o.id = :id"),
        ("no_function", "{}", "SELECT lenght(total) FROM orders"),
        ("syntax", "{}", "SELECT id FROM orders ORDER id"),
        ("writes", "{}", "WITH x AS (SELECT 1)\nDELETE FROM orders"),
        ("reaches", "{}", "SELECT load_extension('x')"),
        ("page", "{}", "SELECT id AS number FROM orders"),
    ];
    let yaml = tools("sqlite:shop.db", &statements).replace("shop.db\"", "shop.db\", init: init.sql");
    let yaml = format!("{yaml}      page: {{ by: numbr }}\n");
    snapshot("sqlite", &online(folder.path(), &yaml).await);
}

#[tokio::test]
async fn a_source_that_is_down_is_named_once_and_its_statements_are_left_alone() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("postgres://reader:hunter2@127.0.0.1:{port}/shop");
    let yaml = tools(&url, &[("a", "{}", "SELECT 1"), ("b", "{}", "SELECT nope")]);
    let said = online(std::path::Path::new("."), &yaml).await;
    assert_eq!(said.matches("error[").count(), 1, "{said}");
    assert!(said.contains("error[unreachable]: the source `db` cannot be reached"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

pub async fn listed(gateway: &Gateway, name: &str) -> Value {
    let list = gateway.modern("tools/list", json!({})).await.json();
    let tools = list["result"]["tools"].as_array().unwrap().clone();
    tools.iter().find(|t| t["name"] == name).unwrap()["outputSchema"].clone()
}

#[tokio::test]
async fn the_lists_say_what_a_statement_gives() {
    let Some(mut own) = Own::open("described", &tables("shop_b")).await else { return };
    let statements = [
        ("all", "{}", "SELECT * FROM shop_b.orders"),
        ("one", "{}", "SELECT count(*) AS n, now() AS at FROM shop_b.orders"),
    ];
    let yaml = tools(&own.url, &statements);
    let yaml = format!("{yaml}      row: one\n");
    let gateway = Gateway::start(&yaml).await;
    let schema = listed(&gateway, "all").await;
    let columns = &schema["properties"]["rows"]["items"]["properties"];
    for (name, wanted) in [
        ("id", json!({ "type": ["integer", "null"] })),
        ("placed_at", json!({ "type": ["string", "null"] })),
        ("total", json!({ "type": ["number", "string", "null"] })),
        ("state", json!({ "type": ["string", "null"], "description": "One of: calm, loud" })),
        ("tags", json!({ "type": ["array", "null"] })),
        ("doc", json!({})),
        ("open", json!({ "type": ["boolean", "null"] })),
    ] {
        assert_eq!(columns[name], wanted, "{name}");
    }
    let one = listed(&gateway, "one").await;
    assert_eq!(one["properties"]["n"], json!({ "type": ["integer", "null"] }));
    // What is given fits what is said.
    let result = gateway.call("one", json!({})).await;
    let validator = jsonschema::draft202012::new(&one).unwrap();
    assert!(validator.is_valid(structured(&result)), "{result}");
    own.run("DROP SCHEMA shop_b CASCADE").await;
    own.gone().await;
}
