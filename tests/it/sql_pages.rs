//! Pages of statements on every engine: all rows come once and in order, whatever cuts a page, and a cursor is a value like any other.

use serde_json::{Value, json};

use crate::postgres::Own;
use crate::support::gateway::problems;
use crate::support::{Gateway, failure, structured, text};

/// 137 rows; `day` is the same for ten of them, `word` is long and hostile.
fn rows() -> String {
    let rows = (1..=137)
        .map(|n| format!("({n}, '2026-01-{:02}', 'it''s \"{n}\" {}')", n / 10 + 1, "x".repeat(n % 40)));
    format!("INSERT INTO events VALUES {};", rows.collect::<Vec<_>>().join(", "))
}

fn config(source: &Value, table: &str) -> Value {
    let tool = |query: &str, page: Value| {
        let query = query.replace("events", table);
        json!({ "description": "D.", "sql": { "source": "db", "query": query, "page": page } })
    };
    let mut few = tool("SELECT id, word FROM events", json!({ "by": "id", "size": 100 }));
    few["output"] = json!({ "max_bytes": "1KiB" });
    let mut table_tool = tool("SELECT id FROM events", json!({ "by": "id", "size": 100 }));
    table_tool["output"] = json!({ "format": "markdown" });
    let mut selected = tool("SELECT id, word FROM events", json!({ "by": "id", "size": 100 }));
    selected["output"] = json!({ "select": "[.[].id]" });
    let mut where_tool = tool(
        "SELECT id, day FROM events WHERE id > :above -- a comment at the end;",
        json!({ "by": ["day", "id"], "size": 7 }),
    );
    where_tool["params"] = json!({ "above": { "type": "integer" } });
    json!({
        "sources": { "db": { "sql": source } },
        "tools": {
            "by_id": tool("SELECT * FROM events ORDER BY word;", json!({ "by": "id" })),
            "down": tool("SELECT id FROM events", json!({ "by": "id", "size": 10, "order": "desc" })),
            "by_two": where_tool,
            "by_word": tool("SELECT word FROM events", json!({ "by": "word", "size": 20 })),
            "few": few, "table": table_tool, "selected": selected,
            "tied": tool("SELECT id, day FROM events", json!({ "by": "day", "size": 12 })),
            "ten": tool("SELECT id FROM events ORDER BY id DESC LIMIT 10", json!({ "by": "id", "size": 4 })),
        }
    })
}

/// Walks through all pages; gives the rows and how many pages there were.
async fn walk(gateway: &Gateway, tool: &str, arguments: &Value) -> (Vec<Value>, usize) {
    let (mut rows, mut pages) = (Vec::new(), 0);
    let mut arguments = arguments.clone();
    loop {
        let result = gateway.call(tool, arguments.clone()).await;
        let page = structured(&result);
        let found = page["rows"].as_array().unwrap_or_else(|| panic!("{page}"));
        rows.extend(found.iter().cloned());
        pages += 1;
        assert!(pages < 500);
        if page.get("next").is_none() {
            assert!(page.get("truncated").is_none(), "the last page is whole: {page}");
            return (rows, pages);
        }
        assert!(!found.is_empty());
        assert!(page["note"].as_str().unwrap().contains("`next`"), "{page}");
        arguments["next"] = page["next"].clone();
    }
}

fn ids(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
}

/// `met` are the rows after a text where a number is wanted, for an engine that takes one.
async fn pages_are_whole(source: &Value, table: &str, met: &[i64]) {
    let config = config(source, table);
    let gateway = Gateway::start(&config.to_string()).await;
    let all: Vec<i64> = (1..=137).collect();
    let (rows, pages) = walk(&gateway, "by_id", &json!({})).await;
    assert_eq!((ids(&rows), pages), (all.clone(), 3));
    let (rows, pages) = walk(&gateway, "down", &json!({})).await;
    assert_eq!((ids(&rows), pages), (all.iter().rev().copied().collect(), 14));
    let (rows, _) = walk(&gateway, "by_two", &json!({ "above": 20 })).await;
    assert_eq!(ids(&rows), all[20..]);
    let (rows, _) = walk(&gateway, "by_word", &json!({})).await;
    assert_eq!(rows.len(), 137);
    // Cut by bytes in the middle of a page: the next one begins at the first row that was not shown.
    let (rows, pages) = walk(&gateway, "few", &json!({})).await;
    assert_eq!(ids(&rows), all);
    assert!(pages > 5, "{pages}");
    let few = gateway.call("few", json!({})).await;
    assert!(structured(&few).to_string().len() <= 1024);
    // The statement's own limit stays: a page shows nothing that it would not.
    let (rows, _) = walk(&gateway, "ten", &json!({})).await;
    assert_eq!(ids(&rows), (128..=137).collect::<Vec<i64>>());

    let shown = gateway.call("table", json!({})).await;
    assert!(text(&shown).contains("| 100 |") && text(&shown).contains("next: "), "{shown}");
    let selected = gateway.call("selected", json!({})).await;
    let page = structured(&selected);
    assert_eq!(page["items"].as_array().unwrap().len(), 100);
    let rest = gateway.call("selected", json!({ "next": page["next"] })).await;
    assert_eq!(*structured(&rest), json!((101..=137).collect::<Vec<i64>>()));

    // A row would be lost between two pages: said, and not lost.
    assert!(failure(&gateway.call("tied", json!({})).await).contains("Tell the person"));
    for forged in ["x", "", "WzFd!", "W251bGxd", "WzEsMl0", "e30", "WyInIE9SIDE9MSAtLSJd", "W3siYSI6MX1d"] {
        let result = gateway.call("by_id", json!({ "next": forged })).await;
        // One of the right form is a value like any other.
        if forged == "WyInIE9SIDE9MSAtLSJd" && result.get("isError").is_none() {
            assert_eq!(ids(structured(&result)["rows"].as_array().unwrap()), met);
            continue;
        }
        let sentence = failure(&result);
        assert!(!sentence.contains("events") && !sentence.contains("SELECT"), "{forged}: {sentence}");
    }
    listed(&gateway).await;
}

/// The argument and the member are in the schemas, and what is given fits them.
async fn listed(gateway: &Gateway) {
    let list = gateway.modern("tools/list", json!({})).await.json();
    for tool in list["result"]["tools"].as_array().unwrap() {
        assert_eq!(tool["inputSchema"]["properties"]["next"]["type"], "string", "{tool}");
        let Some(schema) = tool.get("outputSchema") else { continue };
        let validator = jsonschema::draft202012::new(schema).unwrap();
        let arguments = if tool["name"] == "by_two" { json!({ "above": 1 }) } else { json!({}) };
        if tool["name"] != "tied" {
            let result = gateway.call(tool["name"].as_str().unwrap(), arguments).await;
            assert!(validator.is_valid(structured(&result)), "{tool}: {result}");
        }
    }
}

const CREATE: &str = "CREATE TABLE events (id int PRIMARY KEY, day varchar(10), word varchar(100));";

#[tokio::test]
async fn pages_are_whole_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let init = folder.path().join("init.sql");
    std::fs::write(&init, format!("{CREATE}{}", rows())).unwrap();
    // All texts are after all numbers.
    pages_are_whole(&json!({ "url": "sqlite::memory:", "init": init }), "events", &[]).await;
}

#[tokio::test]
async fn pages_are_whole_on_postgres() {
    let Some(own) = Own::open("pages", &format!("{CREATE}{}", rows())).await else { return };
    pages_are_whole(&json!({ "url": own.url }), &format!("{}.events", own.schema), &[]).await;
    own.gone().await;
}

#[tokio::test]
async fn pages_are_whole_on_mysql() {
    let Some(own) = crate::mysql::Own::open("pages", &[CREATE, &rows()]).await else { return };
    // A text that is no number is 0.
    let first: Vec<i64> = (1..=50).collect();
    pages_are_whole(&json!({ "url": own.url }), "events", &first).await;
    own.gone().await;
}

#[tokio::test]
async fn rows_that_come_and_go_between_pages_move_no_others() {
    let Some(mut own) = Own::open("moving", &format!("{CREATE}{}", rows())).await else { return };
    let table = format!("{}.events", own.schema);
    let gateway = Gateway::start(&config(&json!({ "url": own.url }), &table).to_string()).await;
    let first = gateway.call("by_id", json!({})).await;
    let page = structured(&first);
    own.run(&format!(
        "DELETE FROM {table} WHERE id <= 50; INSERT INTO {table} VALUES (0, 'x', 'x'), (200, 'x', 'x')"
    ))
    .await;
    let second = gateway.call("by_id", json!({ "next": page["next"] })).await;
    assert_eq!(ids(structured(&second)["rows"].as_array().unwrap()), (51..=100).collect::<Vec<i64>>());
    own.gone().await;
}

#[test]
fn pages_that_could_not_work_are_refused_at_load() {
    let folder = tempfile::tempdir().unwrap();
    let with = |sql: Value| {
        let config = json!({
            "sources": { "db": { "sql": { "url": "sqlite::memory:", "read_only": false } } },
            "tools": { "t": { "description": "D.", "sql": sql } }
        });
        problems(folder.path(), &config.to_string())
    };
    let query = "SELECT 1 AS id";
    assert_eq!(with(json!({ "source": "db", "query": query, "page": { "by": "id" } })), "");
    for page in
        [json!({ "by": [] }), json!({ "by": 7 }), json!({ "by": ["a", 1] }), json!({ "by": "id", "size": 0 })]
    {
        let said = with(json!({ "source": "db", "query": query, "page": page }));
        assert!(said.contains("error[bad-page]"), "{page}: {said}");
    }
    for more in [json!({ "row": "one" }), json!({ "write": true })] {
        let mut sql = json!({ "source": "db", "query": query, "page": { "by": "id" } });
        sql.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert!(with(sql.clone()).contains("error[bad-page]"), "{sql}");
    }
}

/// Tools whose pages would lose a row: the first page or a later one says so, and none is quietly short.
async fn loud(source: &Value, cases: &[(&str, &str, Value)]) {
    let tools: serde_json::Map<String, Value> = cases
        .iter()
        .map(|(name, query, page)| {
            let sql = json!({ "source": "db", "query": query, "page": page });
            ((*name).to_owned(), json!({ "description": "D.", "sql": sql }))
        })
        .collect();
    let config = json!({ "sources": { "db": { "sql": source } }, "tools": tools });
    let gateway = Gateway::start(&config.to_string()).await;
    for (name, ..) in cases {
        let mut arguments = json!({});
        let mut said = None;
        for _ in 0..20 {
            let result = gateway.call(name, arguments.clone()).await;
            if result["isError"] == true {
                said = Some(failure(&result).to_owned());
                break;
            }
            let next = structured(&result).get("next").cloned();
            assert!(next.is_some(), "{name}: the last page came, and rows are lost");
            arguments["next"] = next.unwrap();
        }
        assert!(said.is_some_and(|s| s.contains("Tell the person")), "{name}");
    }
}

const LOSING: &str = "CREATE TABLE odd (id int, n int, r float, s varchar(9)); \
    INSERT INTO odd VALUES (1, 1, 1, 'a'), (2, 2, 2, 'a'), (3, 3, 3, 'b'), (4, NULL, 4, 'c'), (5, NULL, 5, 'd');";

#[tokio::test]
async fn rows_without_a_place_of_their_own_are_said_and_not_lost() {
    let cases = |t: &str| {
        [
            ("null_up", format!("SELECT id, n FROM {t}"), json!({ "by": "n", "size": 2 })),
            ("null_down", format!("SELECT id, n FROM {t}"), json!({ "by": "n", "size": 3, "order": "desc" })),
            ("tied", format!("SELECT id, s FROM {t}"), json!({ "by": "s", "size": 4 })),
            ("wrong_name", format!("SELECT id FROM {t}"), json!({ "by": "ID", "size": 9 })),
        ]
    };
    let folder = tempfile::tempdir().unwrap();
    let init = folder.path().join("init.sql");
    let more = "CREATE TABLE bytes (id BLOB, r REAL); INSERT INTO bytes VALUES (x'01', -9e999), (x'02', 1), (x'03', 2), (x'04', 9e999);";
    std::fs::write(&init, format!("{LOSING}{more}")).unwrap();
    let mut all: Vec<_> = cases("odd").into();
    all.push(("bytes", "SELECT id FROM bytes".to_owned(), json!({ "by": "id", "size": 2 })));
    all.push(("infinite", "SELECT r FROM bytes".to_owned(), json!({ "by": "r", "size": 2 })));
    let all: Vec<_> = all.iter().map(|(n, q, p)| (*n, q.as_str(), p.clone())).collect();
    loud(&json!({ "url": "sqlite::memory:", "init": init }), &all).await;

    if let Some(own) = Own::open("odd", LOSING).await {
        let mut all: Vec<_> = cases(&format!("{}.odd", own.schema)).into();
        all.retain(|(name, ..)| *name != "wrong_name");
        let from = format!("{}.odd", own.schema);
        all.push((
            "bytes",
            format!("SELECT s::bytea AS b, id FROM {from}"),
            json!({ "by": ["b", "id"], "size": 2 }),
        ));
        all.push(("list", format!("SELECT ARRAY[id] AS l FROM {from}"), json!({ "by": "l", "size": 2 })));
        let all: Vec<_> = all.iter().map(|(n, q, p)| (*n, q.as_str(), p.clone())).collect();
        loud(&json!({ "url": own.url }), &all).await;
        own.gone().await;
    }
    if let Some(own) = crate::mysql::Own::open("odd", &[LOSING]).await {
        let mut all: Vec<_> = cases(&format!("{}.odd", own.database)).into();
        all.retain(|(name, ..)| *name != "wrong_name");
        let from = format!("{}.odd", own.database);
        all.push((
            "bytes",
            format!("SELECT CAST(s AS BINARY(4)) AS b, id FROM {from}"),
            json!({ "by": ["b", "id"], "size": 2 }),
        ));
        all.push(("float", format!("SELECT r FROM {from}"), json!({ "by": "r", "size": 2 })));
        let all: Vec<_> = all.iter().map(|(n, q, p)| (*n, q.as_str(), p.clone())).collect();
        loud(&json!({ "url": own.url }), &all).await;
        own.gone().await;
    }
}

#[tokio::test]
async fn what_a_program_makes_of_a_page_is_followed_by_the_rows_it_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let init = folder.path().join("init.sql");
    std::fs::write(&init, format!("{CREATE}{}", rows())).unwrap();
    let tool = |select: &str| {
        json!({
            "description": "D.", "output": { "select": select, "max_bytes": "1KiB" },
            "sql": { "source": "db", "query": "SELECT id, word FROM events", "page": { "by": "id", "size": 100 } }
        })
    };
    let config = json!({
        "sources": { "db": { "sql": { "url": "sqlite::memory:", "init": init } } },
        "tools": { "object": tool("{items: map({id, word})}"), "list": tool("map({id, word})"), "ids": tool("{items: map({id})}") }
    });
    let gateway = Gateway::start(&config.to_string()).await;
    for name in ["object", "list", "ids"] {
        let (mut found, mut arguments) = (Vec::new(), json!({}));
        loop {
            let result = gateway.call(name, arguments.clone()).await;
            let page = structured(&result);
            assert!(page.to_string().len() <= 1024);
            let items = page.get("items").unwrap_or(page).as_array().unwrap();
            found.extend(ids(items));
            let Some(next) = page.get("next") else { break };
            arguments["next"] = next.clone();
        }
        assert_eq!(found, (1..=137).collect::<Vec<i64>>(), "{name}");
    }
}
