//! Callers and arguments without end: what a limit remembers and what a cache keeps has a bound, and so has the memory of the process.
//! `SIDEGATE_KEYS` says how many there are, by default few enough for every run: `SIDEGATE_KEYS=1000000 cargo test --test it many_keys`.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "the figures of a run by hand")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::metrics::samples;
use crate::support::Connection;
use crate::support::message::{headers, modern, modern_headers};
use crate::support::process::Process;

/// Requests on their way on one connection.
const TOGETHER: usize = 50;
/// Connections at the same time.
const CONNECTIONS: usize = 4;
const MIB: f64 = 1_048_576.0;

/// How many answers had each status.
type Statuses = BTreeMap<u16, usize>;

fn keys() -> usize {
    let written = std::env::var("SIDEGATE_KEYS").ok();
    written.map_or(10_000, |text| text.parse().expect("SIDEGATE_KEYS is a number"))
}

/// The memory of the process in MiB.
fn resident(process: &Process) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Sends the requests of these numbers, several at a time; gives how many had each status.
async fn send_all(
    address: SocketAddr,
    numbers: std::ops::Range<usize>,
    request: fn(usize) -> Vec<u8>,
) -> Statuses {
    let share = numbers.len().div_ceil(CONNECTIONS);
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|sender| {
            let from = (numbers.start + sender * share).min(numbers.end);
            let own = from..(from + share).min(numbers.end);
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await.unwrap();
                let mut statuses = Statuses::new();
                let own: Vec<usize> = own.collect();
                for some in own.chunks(TOGETHER) {
                    let bytes: Vec<u8> = some.iter().flat_map(|number| request(*number)).collect();
                    connection.write(&bytes).await.unwrap();
                    for _ in some {
                        *statuses.entry(connection.reply().await.unwrap().status).or_default() += 1;
                    }
                }
                statuses
            })
        })
        .collect();
    let mut all = Statuses::new();
    for sender in senders {
        for (status, count) in sender.await.unwrap() {
            *all.entry(status).or_default() += count;
        }
    }
    all
}

fn written(own: &[(&str, &str)], arguments: &Value) -> Vec<u8> {
    let body = modern("tools/call", json!({ "name": "t", "arguments": arguments })).to_string();
    let mut all = modern_headers("tools/call", Some("t"));
    all.extend(headers(own));
    let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("POST /mcp HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_callers_take_less_than_64_mib_and_each_has_a_limit() {
    let config = json!({
        "server": { "trusted_proxies": ["127.0.0.0/8"] },
        "tools": { "t": {
            "description": "D.", "static": { "text": "x" },
            "policy": { "rate_limit": { "rate": "1/h", "per": "client_ip" } }
        } },
    });
    let request = |number: usize| {
        let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        written(&[("X-Forwarded-For", &format!("10.{a}.{b}.{c}"))], &json!({}))
    };
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config.to_string()).await;
    let (keys, warm) = (keys(), 2000);
    send_all(address, 0..warm, request).await;
    let before = resident(&process);
    let statuses = send_all(address, warm..keys, request).await;
    let grown = resident(&process) - before;
    #[allow(clippy::cast_precision_loss, reason = "a share of a million")]
    let allowed = 16.0 + 48.0 * keys as f64 / 1e6;
    eprintln!("{keys} callers: {grown:.1} MiB more than {before:.1}, answers {statuses:?}");
    assert!(grown < allowed, "{grown:.1} MiB more, {allowed:.1} allowed");
    // As long as there is room each has a place of its own.
    let passed = statuses.get(&200).copied().unwrap_or_default();
    assert!(passed >= (keys - warm).min(490_000), "{statuses:?}");
    let again = send_all(address, keys - 1000..keys, request).await;
    assert_eq!(again.keys().copied().collect::<Vec<_>>(), [429], "they have had their one call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_answers_take_what_the_cache_may_take() {
    const MAX: f64 = MIB;
    /// What an entry takes at least, beside its key and its answer.
    const ENTRY: f64 = 256.0;
    let config = json!({
        "server": { "cache": { "max": "1MiB" }, "telemetry": { "metrics": "/metrics" } },
        "tools": { "t": {
            "description": "D.", "params": { "n": { "type": "integer" } }, "static": { "template": "Item {{ n }}" },
            "policy": { "cache": { "ttl": "1h" } }
        } },
    });
    let request = |number: usize| written(&[], &json!({ "n": number }));
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), &config.to_string()).await;
    let scrape = async || {
        let own = headers(&[("Host", "localhost")]);
        let mut connection = Connection::open(address).await.unwrap();
        samples(&connection.send("GET", "/metrics", &own, b"").await.unwrap().text())
    };
    let keys = keys();
    // Full after the first ones, so that what comes later has to make room.
    let full = keys.min(5000);
    send_all(address, 0..full, request).await;
    let before = resident(&process);
    let step = (keys / 20).max(1000);
    let mut sent = full;
    let (mut most_bytes, mut most_entries) = (0.0_f64, 0.0_f64);
    let end = keys.max(full + 5000);
    while sent < end {
        let next = (sent + step).min(end);
        let statuses = send_all(address, sent..next, request).await;
        assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200]);
        sent = next;
        let found = scrape().await;
        most_bytes = most_bytes.max(found["sidegate_cache_size_bytes"]);
        most_entries = most_entries.max(found["sidegate_cache_entries"]);
    }
    let grown = resident(&process) - before;
    eprintln!(
        "{sent} keys: at most {most_entries} answers of {most_bytes} bytes; {grown:.1} MiB more than {before:.1}"
    );
    assert!(most_bytes <= MAX && most_bytes > MAX / 2.0, "{most_bytes}");
    assert!(most_entries <= MAX / ENTRY && most_entries > 1000.0, "{most_entries}");
    assert!(grown < 8.0, "{grown:.1} MiB more");
    // What is asked for often is kept nevertheless.
    let mut connection = Connection::open(address).await.unwrap();
    let mut last = Value::Null;
    for _ in 0..50 {
        connection.write(&request(end + 1)).await.unwrap();
        last = connection.reply().await.unwrap().json()["result"].take();
    }
    assert_eq!(last["_meta"]["sidegate/cache"], "hit", "{last}");
}
