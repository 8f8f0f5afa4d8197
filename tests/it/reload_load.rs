//! Reloads while calls come: none is lost, each is answered from one whole version, and nothing of the process grows.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::message::{modern, modern_headers};
use crate::support::process::Process;
use crate::support::{Connection, Upstream, structured, upstream};

/// The version stands in the source and in the tool: what is mixed of two shows.
fn put(folder: &Path, upstream: &str, version: usize) {
    let yaml = json!({
        "sources": { "api": { "rest": { "base_url": format!("{upstream}/v{version}") } } },
        "tools": { "get": { "description": format!("Version {version}."), "rest": { "source": "api", "get": format!("/t{version}") } } }
    });
    std::fs::write(folder.join("new.yaml"), yaml.to_string()).unwrap();
    std::fs::rename(folder.join("new.yaml"), folder.join("gateway.yaml")).unwrap();
}

async fn echo() -> Upstream {
    Upstream::start(|seen| upstream::json(&json!({ "target": seen.target }).to_string())).await
}

/// Calls at a steady rate until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    latest: Arc<AtomicUsize>,
    /// Each gives how long its calls took.
    tasks: Vec<JoinHandle<Vec<Duration>>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize, pause: Duration) -> Self {
        let (stop, latest) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let tasks = (0..clients).map(|_| {
            let (stop, latest) = (stop.clone(), latest.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await.unwrap();
                let (headers, body) = (
                    modern_headers("tools/call", Some("get")),
                    modern("tools/call", json!({ "name": "get" })).to_string(),
                );
                let (mut last, mut times) = (0, Vec::new());
                let mut tick = tokio::time::interval(pause);
                // Each call in its turn, also those that one which took long has held up.
                tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
                while !stop.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let reply = connection
                        .send("POST", "/mcp", &headers, body.as_bytes())
                        .await
                        .expect("a call was lost");
                    times.push(asked.elapsed());
                    let answer = reply.json();
                    let target = structured(&answer["result"])["target"].as_str().unwrap();
                    let (source, tool) = target.strip_prefix("/v").unwrap().split_once("/t").unwrap();
                    assert_eq!(source, tool, "mixed of two versions");
                    let version: usize = tool.parse().unwrap();
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    latest.fetch_max(version, Ordering::Relaxed);
                    tick.tick().await;
                }
                times
            })
        });
        let tasks = tasks.collect();
        Self { stop, latest, tasks }
    }

    async fn saw(&self, version: usize) {
        for _ in 0..1000 {
            if self.latest.load(Ordering::Relaxed) >= version {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("version {version} did not come; {} is in use", self.latest.load(Ordering::Relaxed));
    }

    /// How many calls were answered; none was lost.
    async fn end(self) -> usize {
        self.times().await.len()
    }

    /// How long each call took, the shortest first; none was lost.
    async fn times(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for task in self.tasks {
            times.extend(task.await.unwrap());
        }
        times.sort_unstable();
        times
    }
}

/// `SIDEGATE_RELOADS` makes it longer: that many reloads, one a second, at 500 calls a second.
#[allow(clippy::print_stderr, reason = "the figures of a run by hand")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_no_call() {
    let long = std::env::var("SIDEGATE_RELOADS").ok().and_then(|n| n.parse().ok());
    let (reloads, every) = long.map_or((40, Duration::from_millis(500)), |n| (n, Duration::from_secs(1)));
    let (api, folder) = (echo().await, tempfile::tempdir().unwrap());
    put(folder.path(), &api.url(), 0);
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let (process, address) = Process::serve(folder.path(), &yaml).await;
    // 8 clients of 62.5 calls a second.
    let steady = || Load::start(address, 8, Duration::from_millis(16));
    let slowest = |times: &[Duration]| times[times.len() * 99 / 100];
    let before = match long {
        Some(_) => {
            let load = steady();
            tokio::time::sleep(Duration::from_secs(10)).await;
            Some(slowest(&load.times().await))
        }
        None => None,
    };
    let load = steady();
    let begun = Instant::now();
    for version in 1..=reloads {
        put(folder.path(), &api.url(), version);
        tokio::time::sleep(every).await;
    }
    load.saw(reloads).await;
    let time = begun.elapsed();
    let (took, log) = (load.times().await, process.log());
    let done = took.len();
    let times = log.matches("reloaded, generation").count();
    assert!(times > reloads / 2 && times <= reloads && !log.contains("not reloaded"), "{log}");
    let slowest = slowest(&took);
    eprintln!(
        "{done} calls in {time:.1?}, none lost, {times} reloads; p99 {slowest:.1?}, without reloads {before:.1?}"
    );
    assert!(done > reloads * 20, "{done} calls");
    // What was asked for by hand is what was done.
    assert!(long.is_none() || (times == reloads && done >= reloads * 500), "{done} calls, {times} reloads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_bad_edits_in_a_row_change_nothing() {
    let (api, folder) = (echo().await, tempfile::tempdir().unwrap());
    put(folder.path(), &api.url(), 0);
    let good = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let (process, address) = Process::serve(folder.path(), &good).await;
    let load = Load::start(address, 4, Duration::from_millis(14));
    for n in 0..50 {
        let bad = match n % 5 {
            0 => good[..good.len() - 2 - n].to_owned(),
            1 => String::new(),
            2 => good.replace("\"source\":\"api\"", &format!("\"source\":\"api{n}\"")),
            3 => good.replace("\"get\":\"/t0\"", &format!("\"get\":\"/{{x{n}}}\"")),
            _ => format!("{good}\0{n}"),
        };
        std::fs::write(folder.path().join("gateway.yaml"), bad).unwrap();
        let before = process.log().matches("not reloaded").count();
        for _ in 0..500 {
            if process.log().matches("not reloaded").count() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(
            process.log().matches("not reloaded").count() > before,
            "edit {n} was not told: {}",
            process.log()
        );
    }
    put(folder.path(), &api.url(), 1);
    load.saw(1).await;
    assert!(load.end().await > 100);
    assert!(process.log().contains("reloaded, generation 2:"), "{}", process.log());
}

/// `SIDEGATE_MANY_RELOADS` says how many there are.
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr, reason = "the figures of a run by hand")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_reloads_leave_nothing_behind() {
    let reloads = std::env::var("SIDEGATE_MANY_RELOADS").map_or(200, |n| n.parse().expect("a number"));
    let count = |id: u32, what: &str| std::fs::read_dir(format!("/proc/{id}/{what}")).unwrap().count();
    let memory = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let (api, folder) = (echo().await, tempfile::tempdir().unwrap());
    put(folder.path(), &api.url(), 0);
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let (process, address) = Process::serve(folder.path(), &yaml).await;
    // One that listens from before the first to after the last.
    let mut listens = Connection::open(address).await.unwrap();
    let request =
        modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } })).to_string();
    listens.open_stream("POST", &modern_headers("subscriptions/listen", None), request.as_bytes()).await;
    let load = Load::start(address, 2, Duration::from_millis(10));
    let mut early = None;
    for version in 1..=reloads {
        put(folder.path(), &api.url(), version);
        load.saw(version).await;
        if version == 60 {
            early = Some((count(process.id(), "fd"), count(process.id(), "task"), memory(process.id())));
        }
    }
    let (fds, tasks, kib) = early.unwrap();
    let late = (count(process.id(), "fd"), count(process.id(), "task"), memory(process.id()));
    let calls = load.end().await;
    eprintln!(
        "{reloads} reloads beside {calls} calls; descriptors {fds}, then {}; threads {tasks}, then {}; KiB {kib}, then {}",
        late.0, late.1, late.2
    );
    // Connections to the upstream come and go, and threads for reading files.
    assert!(late.0 <= fds + 8, "descriptors: {fds}, then {}", late.0);
    assert!(late.1 <= tasks + 4, "threads: {tasks}, then {}", late.1);
    assert!(late.2 <= kib + kib / 5, "KiB: {kib}, then {}", late.2);
}
