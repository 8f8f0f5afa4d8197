//! Signals at the moments that are easily forgotten: while it starts, and as the line that says "ready" is read.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::message::legacy;
use crate::support::process::{Process, call};

const HELLO: &str = "tools: { hello: { description: H., static: { text: hello } } }";
const END: Duration = Duration::from_secs(20);

/// A database that takes connections and never says a word, for which the start waits.
async fn silent_database() -> (TcpListener, String) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("postgres://u:p@{}/d?sslmode=disable", listener.local_addr().unwrap());
    let yaml = format!(
        "sources: {{ db: {{ sql: {{ url: \"{url}\" }} }} }}
tools:
  hello: {{ description: H., static: {{ text: hello }} }}
  rows: {{ description: R., sql: {{ source: db, query: SELECT 1 AS n }} }}
"
    );
    (listener, yaml)
}

fn start(folder: &std::path::Path, command: &[&str], yaml: &str) -> Process {
    std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
    Process::start(folder, command)
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn a_stop_as_soon_as_it_is_ready_is_one_in_order() {
    for signal in ["TERM", "INT"] {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let mut process = start(folder.path(), &SERVE, HELLO);
            process.line().await.unwrap_or_else(|| panic!("{}", process.log()));
            process.signal(signal);
            assert_eq!(process.end(END).await.code(), Some(0), "{signal}: {}", process.log());
        }
    }
}

#[tokio::test]
async fn a_stop_while_it_waits_for_a_database_is_one_in_order() {
    let (database, yaml) = silent_database().await;
    for command in [&SERVE[..], &["stdio"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), command, &yaml);
        let connection: TcpStream = timeout(END, database.accept()).await.unwrap().unwrap().0;
        process.signal("TERM");
        assert_eq!(process.end(END).await.code(), Some(0), "{command:?}: {}", process.log());
        drop(connection);
    }
}

#[tokio::test]
async fn a_hangup_while_it_starts_is_a_look_at_the_files() {
    let (database, yaml) = silent_database().await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &SERVE, &yaml);
    let _connection = timeout(END, database.accept()).await.unwrap().unwrap().0;
    process.signal("HUP");
    let line = process.line().await.unwrap_or_else(|| panic!("{}", process.log()));
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let answer = call(address.parse().unwrap(), "hello").await;
    assert_eq!(answer["content"][0]["text"], "hello", "{answer}");
    process.signal("TERM");
    assert_eq!(process.end(END).await.code(), Some(0), "{}", process.log());
}

#[tokio::test]
async fn a_hangup_makes_stdio_look_at_its_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(folder.path(), &["stdio"], HELLO);
    let asked = legacy("tools/call", &json!({ "name": "hello" }));
    process.say(&asked).await;
    assert_eq!(process.message().await["result"]["content"][0]["text"], "hello");
    process.signal("HUP");
    let looked = async {
        while !process.log().contains("nothing to reload: no file has changed") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(END, looked).await.unwrap_or_else(|_| panic!("{}", process.log()));
    process.say(&asked).await;
    assert_eq!(process.message().await["result"]["content"][0]["text"], "hello");
    process.close_input();
    assert_eq!(process.end(END).await.code(), Some(0), "{}", process.log());
}
