//! Everything at once, for a while: both eras, sessions, listeners, cancelled and failing calls, an upstream that comes and goes, reloads.
//! No call is lost, and memory, descriptors and threads stay. Ten seconds here; `SIDEGATE_SOAK=30` makes it that many minutes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::support::message::{headers, initialize, legacy, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Connection, Step, Upstream, upstream};

fn put(folder: &Path, url: &str, version: usize) -> String {
    let text = json!({
        "server": { "log": { "level": "error" } },
        "sources": {
            "api": { "rest": { "base_url": url, "timeout": "2s" } },
            "db": { "sql": { "url": "sqlite:soak.db", "init": "init.sql" } },
        },
        "tools": {
            "still": { "description": "S.", "static": { "text": "still" } },
            "rest": { "description": format!("Version {version}."), "rest": { "source": "api", "get": "/x" }, "policy": { "retry": {} } },
            "slow": { "description": "W.", "rest": { "source": "api", "get": "/slow" } },
            "sql": { "description": "D.", "sql": { "source": "db", "query": "SELECT n FROM t ORDER BY n" } },
            "tell": { "description": "T.", "static": { "steps": [{ "announce": "tools" }], "text": "told" } },
        },
    })
    .to_string();
    std::fs::write(folder.join("new.yaml"), &text).unwrap();
    std::fs::rename(folder.join("new.yaml"), folder.join("gateway.yaml")).unwrap();
    text
}

fn start(address: SocketAddr) -> Upstream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    Upstream::start_on(socket.listen(1024).unwrap(), |seen| {
        let wait = Duration::from_millis(if seen.path() == "/slow" { 300 } else { 2 });
        [vec![Step::Wait(wait)], upstream::json("{\"ok\":true}")].concat()
    })
}

/// What one of them does again and again; each answer is one, whatever it says.
async fn one_round(address: SocketAddr, kind: usize, calls: &AtomicUsize) {
    let mut connection = Connection::open(address).await.expect("no connection");
    let mut ask = async |headers: &[(String, String)], message: Value| {
        let reply = connection.send("POST", "/mcp", headers, message.to_string().as_bytes()).await;
        let reply = reply.expect("a call was lost");
        assert_eq!(reply.status, 200, "{}", reply.text());
        calls.fetch_add(1, Ordering::Relaxed);
        reply
    };
    let tool = ["still", "rest", "sql", "rest"][kind % 4];
    match kind {
        0..4 => {
            for _ in 0..5 {
                let call = modern("tools/call", json!({ "name": tool }));
                let reply = ask(&modern_headers("tools/call", Some(tool)), call).await.json();
                // The upstream is away at times; nothing else ever fails.
                let failed = reply["result"]["isError"] == true;
                assert!(reply["result"]["content"].is_array() && (!failed || tool == "rest"), "{reply}");
            }
        }
        4 => {
            let begun = ask(&plain_headers(), initialize("2025-11-25")).await;
            let mut session = plain_headers();
            session.extend(headers(&[("Mcp-Session-Id", begun.header("mcp-session-id").unwrap())]));
            for name in ["still", "sql", "tell"] {
                ask(&session, legacy("tools/call", &json!({ "name": name }))).await;
            }
            let reply = connection.send("DELETE", "/mcp", &session, b"").await.unwrap();
            assert_eq!(reply.status, 204);
        }
        // Leaves before the answer.
        5 => {
            let call = modern("tools/call", json!({ "name": "slow" })).to_string();
            let headers = modern_headers("tools/call", Some("slow"));
            connection.begin("POST", "/mcp", &headers, call.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        _ => {
            let listen =
                modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
            let headers = modern_headers("subscriptions/listen", None);
            connection.open_stream("POST", &headers, listen.to_string().as_bytes()).await;
            assert!(connection.event().await.is_some());
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Memory, descriptors and threads.
fn figures(process: &Process) -> (u64, usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", process.id())).unwrap().count();
    (process.memory(), count("fd"), count("task"))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_loses_nothing_and_leaves_nothing() {
    let minutes: Option<u64> = std::env::var("SIDEGATE_SOAK").ok().and_then(|m| m.parse().ok());
    let time = minutes.map_or(Duration::from_secs(10), |m| Duration::from_secs(m * 60));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("init.sql"),
        "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2);",
    )
    .unwrap();
    // Kept, so that nobody else takes the port while the upstream is away.
    let kept = TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.set_reuseport(true).unwrap();
    kept.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let place = kept.local_addr().unwrap();
    let url = format!("http://{place}");
    let mut api = Some(start(place));
    let (mut process, address) = Process::serve(folder.path(), &put(folder.path(), &url, 0)).await;

    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..14)
        .map(|n| {
            let (stop, calls) = (stop.clone(), calls.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    one_round(address, n % 7, &calls).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    let begun = Instant::now();
    let mut seen = Vec::new();
    let mut tick = 0;
    while begun.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(500)).await;
        tick += 1;
        match tick % 10 {
            3 => drop(api.take().unwrap().kill().await),
            4 => api = Some(start(place)),
            6 => drop(put(folder.path(), &url, tick)),
            _ => {}
        }
        assert!(clients.iter().all(|client| !client.is_finished()), "a client gave up");
        if let Some(api) = &api {
            api.take();
        }
        seen.push(figures(&process));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a call was lost");
    }
    report(&process, &seen, calls.load(Ordering::Relaxed), begun.elapsed());
    process.signal("TERM");
    assert_eq!(process.end(Duration::from_secs(25)).await.code(), Some(0));
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

/// Compares the third quarter of the run with the last one: by then everything is there that stays.
#[allow(clippy::print_stderr, reason = "the figures of a run by hand")]
fn report(process: &Process, seen: &[(u64, usize, usize)], calls: usize, time: Duration) {
    let quarter = seen.len() / 4;
    let middle = |part: &[(u64, usize, usize)]| {
        let mut memory: Vec<u64> = part.iter().map(|f| f.0).collect();
        memory.sort_unstable();
        memory[memory.len() / 2]
    };
    let (third, last) = (middle(&seen[quarter * 2..quarter * 3]), middle(&seen[quarter * 3..]));
    let grown = last.saturating_sub(third);
    let most = |part: &[(u64, usize, usize)], of: fn(&(u64, usize, usize)) -> usize| {
        part.iter().map(of).max().unwrap()
    };
    let (first, end) = seen.split_at(seen.len() / 2);
    let files = (most(first, |f| f.1), most(end, |f| f.1));
    let threads = (most(first, |f| f.2), most(end, |f| f.2));
    eprintln!(
        "{calls} calls in {time:.0?}: {} KiB, {} KiB more than a quarter of the time before; at most {files:?} descriptors and {threads:?} threads in the halves; log of {} bytes",
        last >> 10,
        grown >> 10,
        process.log().len()
    );
    // 1 MiB in ten minutes, beside what an allocator does in between.
    let allowed = (4 << 20) + (1 << 20) * time.as_secs() / 2400;
    assert!(grown <= allowed, "{} KiB more", grown >> 10);
    assert!(files.1 <= files.0 + 10, "descriptors {files:?}");
    assert!(threads.1 <= threads.0 + 4, "threads {threads:?}");
}
