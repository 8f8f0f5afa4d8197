//! stdio as a child process: protocol lines only, nothing of the input ends it, and it ends when its input does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::message::{initialize, legacy, modern, modern_with_id};
use crate::support::process::{PROGRAM, Process};
use crate::support::{LATE, Step, Upstream, failure, text, until, upstream};

const PLAIN: &str = r"
server: { log: { level: trace }, http: { drain: 60s } }
tools:
  hello: { description: Says hello., static: { text: hello } }
";

struct Client {
    process: Process,
    folder: TempDir,
}

impl Client {
    fn start(yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { process: Process::stdio(folder.path(), yaml), folder }
    }

    async fn ask(&mut self, message: &Value) -> Value {
        self.process.say(message).await;
        self.process.message().await
    }

    async fn assert_works(&mut self) {
        let answer =
            self.ask(&modern_with_id(&json!("works"), "tools/call", json!({ "name": "hello" }))).await;
        assert_eq!((&answer["id"], text(&answer["result"])), (&json!("works"), "hello"));
    }
}

fn slow_config(url: &str, drain: &str) -> String {
    format!(
        "server: {{ http: {{ drain: {drain} }} }}\n\
         sources: {{ s: {{ rest: {{ base_url: \"{url}\" }} }}, db: {{ sql: {{ url: \"sqlite::memory:\" }} }} }}\n\
         tools:\n\
         \x20 hello: {{ description: H., static: {{ text: hello }} }}\n\
         \x20 slow: {{ description: S., rest: {{ source: s, get: / }} }}\n"
    )
}

async fn slow_upstream(time: Duration) -> Upstream {
    Upstream::start(move |_| [vec![Step::Wait(time)], upstream::json("{\"late\":true}")].concat()).await
}

#[tokio::test]
async fn both_eras_are_spoken_on_one_process() {
    let mut client = Client::start(PLAIN);
    let found = client.ask(&modern("server/discover", json!({}))).await;
    assert_eq!(found["result"]["supportedVersions"], json!(["2026-07-28"]));
    // A client that probes, then shakes hands.
    let hands = client.ask(&initialize("2025-11-25")).await;
    assert_eq!(hands["result"]["protocolVersion"], "2025-11-25");
    client.process.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    let list = client.ask(&legacy("tools/list", &json!({}))).await;
    assert!(list["result"].get("resultType").is_none());
    let list = client.ask(&modern("tools/list", json!({}))).await;
    assert_eq!(list["result"]["resultType"], "complete");
    assert_eq!(client.ask(&legacy("ping", &json!({}))).await["result"], json!({}));
    client.assert_works().await;
    client.process.close_input();
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
    assert_eq!(client.process.line().await, None, "nothing else was on the output");
    assert!(!client.process.log().is_empty(), "the log is on stderr");
}

#[tokio::test]
async fn no_input_ends_it_and_the_next_request_is_answered() {
    let mut client = Client::start(PLAIN);
    let request = modern_with_id(&json!("next"), "tools/call", json!({ "name": "hello" })).to_string();
    let long = [vec![b'x'; 20 << 20], b"\n".to_vec()].concat();
    let lines: Vec<(&str, Vec<u8>, Option<i64>)> = vec![
        ("garbage", b"hello there\n".to_vec(), Some(-32700)),
        ("half a message", b"{\"jsonrpc\":\"2.0\",\n".to_vec(), Some(-32700)),
        ("blank", b"\n\n   \n\t\n".to_vec(), None),
        ("CR LF", b"\r\n\r\n".to_vec(), None),
        ("NUL", b"\0\0\n".to_vec(), Some(-32700)),
        ("not UTF-8", b"\xff\xfe\n".to_vec(), Some(-32700)),
        (
            "not UTF-8 in a string",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}\n".to_vec(),
            Some(-32700),
        ),
        ("a batch", b"[]\n".to_vec(), Some(-32600)),
        ("a number", b"5\n".to_vec(), Some(-32600)),
        ("deep", [b"{\"a\":".repeat(100_000), b"\n".to_vec()].concat(), Some(-32700)),
        ("20 MB", long, Some(-32600)),
        ("unknown notification", b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n".to_vec(), None),
        (
            "cancel of nothing",
            b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":99}}\n"
                .to_vec(),
            None,
        ),
        ("a response", b"{\"jsonrpc\":\"2.0\",\"id\":4,\"result\":{}}\n".to_vec(), None),
    ];
    for (what, line, code) in lines {
        client.process.write(&line).await;
        if let Some(code) = code {
            let answer = client.process.message().await;
            assert_eq!(answer["error"]["code"], code, "{what}: {answer}");
        }
        client.process.write(format!("{request}\r\n").as_bytes()).await;
        let answer = client.process.message().await;
        assert_eq!((&answer["id"], text(&answer["result"])), (&json!("next"), "hello"), "after {what}");
    }
    // A last line without its end is still a message.
    client.process.write(request.as_bytes()).await;
    client.process.close_input();
    assert_eq!(client.process.message().await["id"], "next");
    assert!(client.process.end(LATE).await.success());
}

#[tokio::test]
async fn answers_with_line_breaks_stay_on_one_line() {
    let api = Upstream::start(|_| upstream::json("{\n  \"a\": \"x\\ny\",\r\n  \"b\": [\n1\n]\n}")).await;
    let mut client = Client::start(&slow_config(&api.url(), "5s"));
    let answer = client.ask(&modern("tools/call", json!({ "name": "slow" }))).await;
    assert_eq!(answer["result"]["structuredContent"], json!({ "a": "x\ny", "b": [1] }));
    client.assert_works().await;
}

#[tokio::test]
async fn a_cancelled_call_stops_and_says_nothing_more() {
    let api = slow_upstream(Duration::from_millis(800)).await;
    let mut client = Client::start(&slow_config(&api.url(), "5s"));
    for id in [json!(7), json!("seven")] {
        client.process.say(&modern_with_id(&id, "tools/call", json!({ "name": "slow" }))).await;
        while api.count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        api.take();
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
        client.process.say(&cancel).await;
        client.assert_works().await;
        assert!(client.process.is_silent(Duration::from_millis(1100)).await, "a late message for {id}");
    }
    // Requests run side by side: a quick one does not wait for a slow one.
    client.process.say(&modern_with_id(&json!(8), "tools/call", json!({ "name": "slow" }))).await;
    client.assert_works().await;
    assert_eq!(client.process.message().await["id"], 8);
}

#[tokio::test]
async fn the_end_of_the_input_ends_it_after_what_runs() {
    // Idle.
    let mut client = Client::start(PLAIN);
    client.assert_works().await;
    client.process.close_input();
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
    // One call running: answered.
    let api = slow_upstream(Duration::from_millis(700)).await;
    let mut client = Client::start(&slow_config(&api.url(), "60s"));
    client.process.say(&modern("tools/call", json!({ "name": "slow" }))).await;
    client.process.close_input();
    assert_eq!(client.process.message().await["result"]["structuredContent"]["late"], true);
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
    // One that does not end in time: cut off.
    let stuck = Upstream::start(|_| vec![Step::Hang]).await;
    let mut client = Client::start(&slow_config(&stuck.url(), "500ms"));
    client.process.say(&modern("tools/call", json!({ "name": "slow" }))).await;
    client.process.close_input();
    let started = Instant::now();
    client.process.end(LATE).await;
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(client.process.line().await, None);
}

#[tokio::test]
async fn a_call_that_waits_for_the_client_ends_with_the_input() {
    let yaml = r#"
server: { http: { drain: 60s } }
tools:
  book:
    description: Asks.
    static: { steps: [{ ask: { guest: { form: { message: "Who?", fields: { name: { type: string } } } } } }], text: asked }
"#;
    let mut client = Client::start(yaml);
    let mut hands = initialize("2025-11-25");
    hands["params"]["capabilities"] = json!({ "elicitation": {} });
    client.ask(&hands).await;
    client.process.say(&legacy("tools/call", &json!({ "name": "book" }))).await;
    assert_eq!(client.process.message().await["method"], "elicitation/create");
    client.process.close_input();
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
    let answer = client.process.message().await;
    assert_eq!(answer["id"], 1, "{answer}");
    failure(&answer["result"]);
}

#[tokio::test]
async fn a_signal_after_the_end_of_the_input_ends_it_at_once() {
    let stuck = Upstream::start(|_| vec![Step::Hang]).await;
    for signal in ["TERM", "INT"] {
        stuck.take();
        let yaml = slow_config(&stuck.url(), "60s").replace("server: {", "server: { audit: { file: audit },");
        let mut client = Client::start(&yaml);
        client.process.say(&modern("tools/call", json!({ "name": "slow" }))).await;
        until("the call runs", async || stuck.count() == 1).await;
        client.process.close_input();
        until("the end is seen", async || client.process.log().contains("input ended")).await;
        client.process.signal(signal);
        assert_eq!(client.process.end(LATE).await.code(), Some(0), "{}", client.process.log());
        let audit = std::fs::read_to_string(client.folder.path().join("audit")).unwrap();
        assert!(audit.contains("cancelled"), "{signal}: {audit}");
    }
}

#[tokio::test]
async fn those_who_listen_take_no_place_of_a_call() {
    let yaml = "server: { http: { max_concurrent_calls: 1 } }\n\
                tools: { hello: { description: H., static: { steps: [{ announce: tools }], text: hello } } }";
    let mut client = Client::start(yaml);
    for id in [json!("first"), json!("second")] {
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        let begun = client.ask(&modern_with_id(&id, "subscriptions/listen", wanted)).await;
        assert_eq!(begun["method"], "notifications/subscriptions/acknowledged", "{begun}");
    }
    client.process.say(&modern_with_id(&json!(3), "tools/call", json!({ "name": "hello" }))).await;
    let said =
        [client.process.message().await, client.process.message().await, client.process.message().await];
    assert!(said.iter().any(|m| m["id"] == 3 && text(&m["result"]) == "hello"), "{said:?}");
    client.process.close_input();
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
}

#[tokio::test]
async fn a_request_of_a_batch_can_be_cancelled_and_a_request_is_no_cancellation() {
    let stuck = Upstream::start(|_| vec![Step::Hang]).await;
    let mut client = Client::start(&slow_config(&stuck.url(), "60s"));
    client.ask(&initialize("2025-03-26")).await;
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    let mut wrong = cancel.clone();
    wrong["id"] = json!(8);
    let answer = client.ask(&wrong).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(8), &json!(-32601)), "{answer}");
    let mut slow = legacy("tools/call", &json!({ "name": "slow" }));
    slow["id"] = json!(7);
    client.process.say(&json!([slow, legacy("ping", &json!({}))])).await;
    until("the call runs", async || stuck.count() == 1).await;
    client.process.say(&cancel).await;
    let answers = json!([{ "jsonrpc": "2.0", "id": 1, "result": {} }]);
    let line = client.process.line().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), answers);
    until("the upstream sees it", async || stuck.left() == 1).await;
}

#[tokio::test]
async fn sigterm_ends_it_too() {
    let api = slow_upstream(Duration::from_millis(600)).await;
    let mut client = Client::start(&slow_config(&api.url(), "60s"));
    client.assert_works().await;
    client.process.say(&modern("tools/call", json!({ "name": "slow" }))).await;
    while api.count() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.process.signal("TERM");
    assert_eq!(client.process.message().await["result"]["structuredContent"]["late"], true);
    assert_eq!(client.process.end(LATE).await.code(), Some(0));
}

#[tokio::test]
async fn a_client_that_goes_away_ends_it() {
    let mut client = Client::start(PLAIN);
    client.assert_works().await;
    let id = client.process.id();
    client.process.close_output();
    // What it says now cannot be written; it ends by itself, without a panic and though nobody says anything more.
    client.process.say(&modern("tools/list", json!({}))).await;
    let status = client.process.end(LATE).await;
    assert_eq!(status.code(), Some(0), "process {id}: {}", client.process.log());
    assert!(!client.process.log().contains("panicked"), "{}", client.process.log());
}

#[tokio::test]
async fn the_log_goes_to_its_file_and_is_rotated() {
    let yaml = r"
server: { log: { level: debug, file: logs/gate.log, max_size: 4KiB, keep: 2 } }
tools:
  hello: { description: Says hello., params: { w: { type: string, optional: true, maxLength: 3 } }, static: { text: hello } }
";
    let mut client = Client::start(yaml);
    for _ in 0..200 {
        client.assert_works().await;
    }
    let refused = client
        .ask(&modern("tools/call", json!({ "name": "hello", "arguments": { "w": "a\r\n\u{1b}[31mERROR" } })))
        .await;
    failure(&refused["result"]);
    client.process.close_input();
    assert!(client.process.end(LATE).await.success());
    assert_eq!(client.process.log(), "", "nothing is on stderr");
    let logs = client.folder.path().join("logs");
    let mut names: Vec<_> =
        std::fs::read_dir(&logs).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["gate.log", "gate.log.1", "gate.log.2"]);
    for name in names {
        let log = std::fs::read(logs.join(&name)).unwrap();
        assert!(!log.is_empty() && log.len() <= 4096 && !log.contains(&0x1b), "{name}: {}", log.len());
        let log = String::from_utf8(log).unwrap();
        assert!(log.lines().all(|l| l.contains("DEBUG") || l.contains("INFO")), "{log}");
    }
}

/// A client must not use an id twice at once; one that does still gets an answer to each.
#[tokio::test]
async fn equal_ids_at_the_same_time_are_both_answered() {
    let api = slow_upstream(Duration::from_millis(300)).await;
    let mut client = Client::start(&slow_config(&api.url(), "5s"));
    for _ in 0..2 {
        client.process.say(&modern("tools/call", json!({ "name": "slow" }))).await;
    }
    assert_eq!(client.process.message().await["id"], 1);
    assert!(!client.process.is_silent(LATE).await, "the second one was never answered");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    let mut client = Client::start("tools: { hello: { description: H., static: { text: hello } } }");
    client.assert_works().await;
    let ping = format!("{}\n", legacy("ping", &json!({}))).repeat(1000);
    let memory = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let before = memory(client.process.id());
    let mut sent = 0;
    while sent < 300 {
        let write = client.process.write(ping.as_bytes());
        if tokio::time::timeout(Duration::from_secs(2), write).await.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 300, "everything was taken");
    let grown = memory(client.process.id()).saturating_sub(before);
    assert!(grown < 64, "{grown} MiB more for {sent}000 requests");
    // Then it goes: everything that waits to be written is lost, and the process ends.
    client.process.close_output();
    client.process.close_input();
    let status = client.process.end(LATE).await;
    assert_eq!(status.code(), Some(0), "{}", client.process.log());
    assert!(!client.process.log().contains("panicked"), "{}", client.process.log());
}

#[tokio::test]
async fn notices_of_the_database_and_every_level_of_the_log_leave_the_output_alone() {
    let Ok(url) = std::env::var("TEST_POSTGRES_URL") else { return };
    let notice =
        json!({ "source": "db", "query": "DROP TABLE IF EXISTS there_never_was_one", "write": true });
    let tools = json!({
        "hello": { "description": "H.", "static": { "text": "hello" } },
        "notice": { "description": "N.", "sql": notice },
    });
    let yaml = json!({
        "server": { "log": { "level": "trace" } },
        "sources": { "db": { "sql": { "url": url, "read_only": false } } },
        "tools": tools,
    });
    let mut client = Client::start(&yaml.to_string());
    for _ in 0..3 {
        let answer = client.ask(&modern("tools/call", json!({ "name": "notice" }))).await;
        assert!(answer["result"].get("isError").is_none(), "{answer}");
        client.assert_works().await;
    }
    client.process.close_input();
    assert!(client.process.end(LATE).await.success());
    assert_eq!(client.process.line().await, None, "nothing else was on the output");
    let log = client.process.log();
    assert!(log.contains("does not exist, skipping"), "the notice is in the log: {log}");
}

/// What a parent does that starts the gateway, asks it something, and then waits for ever.
#[cfg(target_os = "linux")]
const PARENT: &str = r#"
coproc gate { exec "$1" stdio 2>"$2"; }
if [ -n "$3" ]; then echo "$3" >&"${gate[1]}"; else echo >&"${gate[1]}"; fi
echo "$gate_PID"
wait
"#;

/// Whether a process runs; one that has ended and that nobody has asked for its code yet does not.
#[cfg(target_os = "linux")]
fn runs(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn it_ends_by_itself_when_its_parent_is_killed() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let (api, gate) = Upstream::gated().await;
    let call = modern("tools/call", json!({ "name": "slow" })).to_string();
    for asked in ["", &call] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.yaml"), slow_config(&api.url(), "60s")).unwrap();
        let log = folder.path().join("log");
        let mut parent = tokio::process::Command::new("bash")
            .args(["-c", PARENT, "parent", PROGRAM])
            .args([log.as_os_str(), asked.as_ref()])
            .current_dir(folder.path())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let line = BufReader::new(parent.stdout.take().unwrap()).lines().next_line().await.unwrap();
        let id = line.unwrap().parse().unwrap();
        if !asked.is_empty() {
            until("the call runs", async || api.count() == 1).await;
        }
        assert!(runs(id));
        // SIGKILL: it can do nothing more, not even close what it holds.
        parent.kill().await.unwrap();
        if !asked.is_empty() {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(runs(id), "the call was not let end");
            gate.open();
        }
        until("it ends", async || !runs(id)).await;
        let log = std::fs::read_to_string(log).unwrap();
        assert!(!log.contains("panicked") && !log.contains("cut off"), "{log}");
    }
}
