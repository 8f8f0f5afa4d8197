//! SQLite databases that are missing, empty, broken, in memory, or used by many at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sqlite::{INIT, config, count_tool, files, folder, names, start, tool};
use crate::support::gateway::problems;
use crate::support::process::Process;
use crate::support::{Gateway, failure, structured};

#[tokio::test]
async fn a_missing_file_is_told_and_heals_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let yaml =
        format!("sources: {{ db: {{ sql: {{ url: \"sqlite:late/a.db\" }} }} }}\ntools:\n{}", count_tool());
    let gateway = Gateway::start_in(folder, &yaml).await;
    let result = gateway.call("names", json!({})).await;
    let sentence = failure(&result);
    assert!(sentence.contains("cannot be reached") && sentence.contains("(request "), "{sentence}");
    assert!(!sentence.contains("a.db"), "{sentence}");
    assert_eq!(gateway.get("/readyz").await.status, 503);
    assert!(!gateway.folder().join("late").exists(), "a read made something");
    // Another process makes it.
    std::fs::create_dir(gateway.folder().join("late")).unwrap();
    std::fs::write(gateway.folder().join("init.sql"), INIT).unwrap();
    let other = config("sqlite:late/a.db", "", &count_tool());
    let other = problems(gateway.folder(), &other).is_empty().then_some(other).unwrap();
    std::fs::write(gateway.folder().join("other.yaml"), other).unwrap();
    let made = std::process::Command::new(crate::support::process::PROGRAM)
        .args(["call", "names", "-c", "other.yaml"])
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(names(&gateway).await, ["one", "two", "three"]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn init_fills_what_is_missing_or_empty_and_leaves_the_rest_alone() {
    let tools = [count_tool(), tool("add", "", "INSERT INTO t (name) VALUES ('kept')", ", write: true")];
    let yaml = config("sqlite:a.db", "read_only: false", &tools.concat());
    let folder = folder();
    std::fs::write(folder.path().join("a.db"), b"").unwrap();
    let gateway = Gateway::start_in(folder, &yaml).await;
    structured(&gateway.call("add", json!({})).await);
    let copy = std::fs::read(gateway.folder().join("a.db")).unwrap();
    let again = crate::sqlite::folder();
    std::fs::write(again.path().join("a.db"), copy).unwrap();
    let gateway = Gateway::start_in(again, &yaml).await;
    assert_eq!(names(&gateway).await, ["one", "two", "three", "kept"]);
    // A script that is wrong leaves no half-filled file, and works once it is mended.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("init.sql"),
        "CREATE TABLE t (id, name); INSERT INTO nowhere VALUES (1);",
    )
    .unwrap();
    let gateway = Gateway::start_in(folder, &yaml).await;
    assert!(failure(&gateway.call("names", json!({})).await).contains("cannot be reached"));
    let left: Vec<_> = files(gateway.folder()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["init.sql"]);
    // A file that is no database stays as it is.
    let folder = crate::sqlite::folder();
    std::fs::write(folder.path().join("a.db"), b"these are somebody's notes, not a database").unwrap();
    let gateway = Gateway::start_in(folder, &yaml).await;
    failure(&gateway.call("names", json!({})).await);
    failure(&gateway.call("add", json!({})).await);
    assert!(std::fs::read(gateway.folder().join("a.db")).unwrap().starts_with(b"these are"));
}

#[tokio::test]
async fn processes_that_start_at_once_share_one_filled_file() {
    let folder = folder();
    let yaml = config("sqlite:a.db", "", &count_tool());
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    let mut children: Vec<Process> =
        (0..4).map(|_| Process::start(folder.path(), &["call", "names"])).collect();
    for child in &mut children {
        let status = child.end(Duration::from_secs(20)).await;
        assert!(status.success(), "{}", child.log());
    }
    let left: Vec<_> = files(folder.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["a.db", "gateway.yaml", "init.sql"]);
}

#[tokio::test]
async fn a_memory_database_is_one_for_all_calls() {
    let tools = [
        count_tool(),
        tool("add", "v: { type: string }", "INSERT INTO t (name) VALUES (:v)", ", write: true"),
    ];
    let gateway = start("sqlite::memory:", "read_only: false", &tools).await;
    let gateway = &gateway;
    let adds = (0..40).map(async |i| gateway.call("add", json!({ "v": format!("v{i}") })).await);
    for result in futures_util::future::join_all(adds).await {
        assert_eq!(*structured(&result), json!({ "count": 1 }));
    }
    assert_eq!(names(gateway).await.len(), 43);
    // Two sources are two databases.
    let other = start("sqlite::memory:", "", &[count_tool()]).await;
    assert_eq!(names(&other).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_run_side_by_side_without_mixing() {
    let tools = [
        tool(
            "echo",
            "v: { type: integer }",
            "SELECT :v AS v, (SELECT name FROM t WHERE id = 1 + :v % 3) AS name",
            ", row: one",
        ),
        tool("add", "v: { type: integer }", "INSERT INTO t (name) VALUES ('v' || :v)", ", write: true"),
        tool("all", "", "SELECT count(*) AS c FROM t", ", row: one"),
    ];
    let gateway = start("sqlite:a.db", "read_only: false, pool: { max: 4 }", &tools).await;
    let gateway = &gateway;
    let calls = (0..200_usize).map(async |i| {
        if i % 4 == 0 {
            assert_eq!(*structured(&gateway.call("add", json!({ "v": i })).await), json!({ "count": 1 }));
            return;
        }
        let result = gateway.call("echo", json!({ "v": i })).await;
        assert_eq!(*structured(&result), json!({ "v": i, "name": (["one", "two", "three"][i % 3]) }));
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(structured(&gateway.call("all", json!({})).await)["c"], 53);
}

#[tokio::test]
async fn resources_and_prompts_read_from_it_too() {
    let yaml = config("sqlite:a.db", "", &count_tool())
        + r#"
resources:
  "db://t/{id}": { description: T., params: { id: { type: integer } }, sql: { source: db, query: "SELECT * FROM t WHERE id = :id", row: one } }
prompts:
  about: { description: A., params: { id: { description: I. } }, data: { row: { sql: { source: db, query: "SELECT * FROM t WHERE id = :id", row: one } } }, messages: [{ user: "It is {{ row.name }}." }] }
"#;
    let gateway = Gateway::start_in(folder(), &yaml).await;
    let read = gateway.modern("resources/read", json!({ "uri": "db://t/2" })).await.json();
    let contents = &read["result"]["contents"][0];
    assert_eq!((&contents["mimeType"], &contents["uri"]), (&json!("application/json"), &json!("db://t/2")));
    assert_eq!(serde_json::from_str::<Value>(contents["text"].as_str().unwrap()).unwrap()["name"], "two");
    for uri in ["db://t/99", "db://t/x", "db://t/2;DROP", "db://t/"] {
        let missing = gateway.modern("resources/read", json!({ "uri": uri })).await;
        assert_eq!((missing.code(), missing.json()["error"]["data"]["uri"].as_str()), (-32602, Some(uri)));
    }
    let prompt =
        gateway.modern("prompts/get", json!({ "name": "about", "arguments": { "id": "3" } })).await.json();
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "It is three.");
    let missing =
        gateway.modern("prompts/get", json!({ "name": "about", "arguments": { "id": "77" } })).await;
    assert_eq!(missing.code(), -32602, "{}", missing.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_name_the_same_empty_file_fill_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..2000).map(|n| format!("INSERT INTO t VALUES ({n});\n")).collect();
    std::fs::write(folder.path().join("init.sql"), format!("BEGIN;\nCREATE TABLE t (n);\n{rows}COMMIT;"))
        .unwrap();
    let (mut sources, mut tools) = (json!({}), json!({}));
    for n in 0..6 {
        let name = format!("s{n}");
        sources[&name] = json!({ "sql": { "url": "sqlite:one.db", "init": "init.sql" } });
        let statement = json!({ "source": name, "query": "SELECT count(*) AS n FROM t", "row": "one" });
        tools[&name] = json!({ "description": "D.", "sql": statement });
    }
    let config = json!({ "sources": sources, "tools": tools });
    let gateway = Gateway::start_in(folder, &config.to_string()).await;
    let names: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    let calls = names.iter().map(|name| gateway.call(name, json!({})));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(structured(&result)["n"], 2000);
    }
}
