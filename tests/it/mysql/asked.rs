//! What MySQL and MariaDB say of statements before they run, and what they are told of the caller while they do.

use serde_json::{Value, json};

use super::Own;
use crate::online::{listed, snapshot, tools};
use crate::support::gateway::online;
use crate::support::message::{modern, modern_headers};
use crate::support::{Gateway, failure, structured};

const ORDERS: &str = "CREATE TABLE orders (id INT PRIMARY KEY, at TIMESTAMP NULL, total DECIMAL(10,2), big BIGINT UNSIGNED, note VARCHAR(20), \
    doc JSON, raw BLOB, open BOOL, part DOUBLE, year YEAR, state ENUM('calm', 'loud'))";

#[tokio::test]
async fn it_says_what_is_wrong_where_it_is() {
    let Some(own) = Own::open("checked", &[ORDERS]).await else { return };
    let statements = [
        ("fine", "{ id: { type: integer } }", "SELECT id, total FROM orders WHERE id = :id"),
        ("no_table", "{}", "SELECT id\nFROM ordres"),
        ("no_column", "{ id: { type: integer } }", "SELECT o.id, o.statte\nFROM orders o WHERE o.id = :id"),
        (
            "after_binds",
            "{ customer: { type: integer } }",
            "SELECT id FROM orders WHERE id = :customer\n  OR id + :customer > 2 AND nope = 3",
        ),
        ("no_function", "{}", "SELECT lenght(note) FROM orders"),
        ("syntax", "{ id: { type: integer } }", "SELECT id FROM orders WHERE id = :id ORDER id"),
        ("unfinished", "{}", "SELECT id FROM orders WHERE"),
    ];
    let said = online(std::path::Path::new("."), &tools(&own.url, &statements)).await;
    // Older servers have other words for the parts of a statement.
    let said = said.replace("'field list'", "'SELECT'").replace("'where clause'", "'WHERE'");
    snapshot("mysql", &said.replace(&own.database, "shop"));
    let foreign = tools(&own.url, &[("t", "{}", "SELECT user FROM mysql.user")]);
    let said = online(std::path::Path::new("."), &foreign).await;
    assert!(said.contains("error[statement]") && said.contains("denied"), "{said}");
    let mut root = url::Url::parse(&std::env::var("TEST_MYSQL_ROOT_URL").unwrap()).unwrap();
    root.set_path(&own.database);
    let said = online(std::path::Path::new("."), &tools(root.as_str(), &[("t", "{}", "SELECT 1")])).await;
    assert!(said.contains("warning[role-can-write]") && said.contains("write files"), "{said}");
    own.gone().await;
}

#[tokio::test]
async fn the_lists_say_what_a_statement_gives() {
    let Some(mut own) = Own::open("described", &[ORDERS]).await else { return };
    own.run("INSERT INTO orders VALUES (1, NOW(), 1.5, 7, 'n', '{}', 'r', 2, 0.5, 2026, 'calm')").await;
    let yaml = tools(
        &own.url,
        &[
            ("all", "{}", "SELECT *, COUNT(*) OVER () AS n, id FROM orders"),
            ("bound", "{ x: { type: number } }", "SELECT id, :x AS x, :x + 1 AS more FROM orders"),
        ],
    );
    let gateway = Gateway::start(&yaml).await;
    let schema = listed(&gateway, "all").await;
    let columns = &schema["properties"]["rows"]["items"]["properties"];
    for (name, wanted) in [
        ("id", json!({ "type": ["integer", "null"] })),
        ("at", json!({ "type": ["string", "null"] })),
        ("total", json!({ "type": ["number", "string", "null"] })),
        ("big", json!({ "type": ["integer", "null"] })),
        ("note", json!({ "type": ["string", "null"] })),
        ("doc", json!({})),
        ("raw", json!({ "type": ["string", "null"], "contentEncoding": "base64" })),
        ("open", json!({ "type": ["boolean", "integer", "null"] })),
        ("part", json!({ "type": ["number", "null"] })),
        ("year", json!({ "type": ["integer", "null"] })),
        ("state", json!({ "type": ["string", "null"] })),
        ("n", json!({ "type": ["integer", "null"] })),
        ("id_2", json!({ "type": ["integer", "null"] })),
    ] {
        assert_eq!(columns[name], wanted, "{name}");
    }
    for (tool, arguments) in
        [("all", json!({})), ("bound", json!({ "x": 1.5 })), ("bound", json!({ "x": 1 }))]
    {
        let validator = jsonschema::draft202012::new(&listed(&gateway, tool).await).unwrap();
        let result = gateway.call(tool, arguments).await;
        assert!(validator.is_valid(structured(&result)), "{result}");
    }
    own.gone().await;
}

#[tokio::test]
async fn each_caller_is_shown_rows_of_their_own_and_none_is_left_for_the_next() {
    let Some(mut own) = Own::open(
        "callers",
        &[
            "CREATE TABLE notes (id INT PRIMARY KEY, owner VARCHAR(20), text VARCHAR(20))",
            "INSERT INTO notes VALUES (1, 'ada', 'a1'), (2, 'ada', 'a2'), (3, 'bob', 'b1')",
            "CREATE FUNCTION who() RETURNS VARCHAR(20) CHARACTER SET utf8mb4 DETERMINISTIC NO SQL RETURN @`app.user`",
            "CREATE VIEW mine AS SELECT * FROM notes WHERE owner = who() WITH CHECK OPTION",
        ],
    )
    .await
    else {
        return;
    };
    let one_row = json!({ "row": "one" });
    let mut config = own.config(
        1,
        &[
            (
                "list",
                "SELECT GROUP_CONCAT(id ORDER BY id) AS ids, CONNECTION_ID() AS connection FROM mine",
                one_row.clone(),
            ),
            ("quoted", "SELECT @app.user AS who, @tenant AS tenant", one_row.clone()),
            ("add", "INSERT INTO mine VALUES (4, @app.user, 'new')", json!({ "write": true })),
            ("steal", "UPDATE mine SET owner = 'bob' WHERE id = 4", json!({ "write": true })),
            ("fail", "SELECT nope FROM mine", json!({})),
        ],
    );
    config["auth"] = json!({ "api_keys": [
        { "name": "ada", "key": "key-of-ada", "claims": { "tenant": "t'1\\" } },
        { "name": "bob", "key": "key-of-bob", "claims": { "tenant": "t2" } },
        { "name": "bi", "key": "key-of-bi" },
    ] });
    config["sources"]["db"]["sql"]["session"] =
        json!({ "app.user": "caller.sub", "tenant": "caller.claims.tenant" });
    let gateway = Gateway::start(&config.to_string()).await;
    let call = async |key: &str, tool: &str| -> Value {
        let mut headers = modern_headers("tools/call", Some(tool));
        headers.push(("X-API-Key".to_owned(), key.to_owned()));
        let body = modern("tools/call", json!({ "name": tool })).to_string();
        gateway.post(&headers, body.as_bytes()).await.json()["result"].clone()
    };
    let connection = structured(&call("key-of-ada", "list").await)["connection"].clone();
    for _ in 0..3 {
        for (key, ids) in [("key-of-ada", "1,2"), ("key-of-bob", "3")] {
            let wanted = json!({ "ids": ids, "connection": connection });
            assert_eq!(structured(&call(key, "list").await), &wanted, "{key}, on the same connection");
        }
    }
    assert_eq!(structured(&call("key-of-ada", "quoted").await), &json!({ "who": "ada", "tenant": "t'1\\" }));
    assert_eq!(structured(&call("key-of-ada", "add").await), &json!({ "count": 1 }));
    assert!(failure(&call("key-of-ada", "steal").await).contains("`db`"));
    assert_eq!(structured(&call("key-of-bob", "steal").await), &json!({ "count": 0 }));
    assert_eq!(own.number("SELECT COUNT(*) FROM notes WHERE owner = 'ada'").await, 3);
    // Refused, and not run as nobody.
    assert!(failure(&call("key-of-bi", "list").await).contains("caller.claims.tenant"));
    assert!(call("key-of-ada", "fail").await.get("isError").is_some());
    assert_eq!(structured(&call("key-of-bob", "list").await)["ids"], "3");
    own.gone().await;
}
