//! The gateway on several cores: connections are spread, each core keeps its own ways to an API, and what is for all reaches all.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sidegate::cores::Cores;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::gateway::Gateway;
use crate::support::message::{modern, modern_headers};
use crate::support::process::{Process, call};
use crate::support::upstream::{self, Upstream};
use crate::support::{Connection, until};

fn config(api: &str) -> String {
    format!(
        "server: {{ http: {{ drain: 30s }} }}\nsources: {{ api: {{ rest: {{ base_url: \"{api}\" }} }} }}\n\
         tools:\n  ask: {{ description: A., rest: {{ source: api, get: /ask }} }}\n  hello: {{ description: H., static: {{ text: hello }} }}\n"
    )
}

async fn ask(connection: &mut Connection, tool: &str) -> Value {
    let body = modern("tools/call", json!({ "name": tool })).to_string();
    let headers = modern_headers("tools/call", Some(tool));
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap().json()["result"].clone()
}

/// An API that says by which of its connections it was asked.
async fn numbered() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, count) = (format!("http://{}", listener.local_addr().unwrap()), Arc::<AtomicUsize>::default());
    let taken = count.clone();
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            connections.spawn(async move {
                let mut request = [0; 4096];
                while matches!(stream.read(&mut request).await, Ok(1..)) {
                    let body = format!("{{\"connection\":{number}}}");
                    let reply = upstream::reply("200 OK", "application/json", body.as_bytes());
                    stream.write_all(&reply).await.unwrap();
                }
            });
        }
    });
    (url, count)
}

#[tokio::test]
async fn connections_are_spread_and_each_core_keeps_its_own_way_to_an_api() {
    let (api, taken) = numbered().await;
    let cores = Cores::many(3).unwrap();
    let gateway = Gateway::start_on(&config(&api), cores.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = gateway.connect().await;
        // It has its place before the next one comes.
        ask(&mut client, "hello").await;
        clients.push(client);
    }
    let mut ways: Vec<HashSet<u64>> = vec![HashSet::new(); clients.len()];
    for _ in 0..5 {
        for (client, ways) in clients.iter_mut().zip(&mut ways) {
            let result = ask(client, "ask").await;
            ways.insert(result["structuredContent"]["connection"].as_u64().unwrap());
        }
    }
    // Clients 0 and 3 are on one core, and so on; they ask one after another.
    assert!(ways.iter().all(|way| way.len() == 1), "{ways:?}");
    assert_eq!(ways[..3], ways[3..]);
    assert_eq!(ways.into_iter().flatten().collect::<HashSet<_>>().len(), 3);
    assert_eq!(taken.load(Ordering::Relaxed), 3);
    gateway.stop().await;
    cores.end().await;
}

#[tokio::test]
async fn calls_on_all_cores_end_in_order_and_no_core_takes_new_ones() {
    let (slow, gate) = Upstream::gated().await;
    let cores = Cores::many(3).unwrap();
    let gateway = Gateway::start_on(&config(&slow.url()), cores.clone()).await;
    let calls: Vec<_> = join_all((0..9).map(|_| gateway.connect())).await;
    let calls: Vec<_> = calls
        .into_iter()
        .map(|mut client| tokio::spawn(async move { ask(&mut client, "ask").await }))
        .collect();
    until("all calls arrive", async || slow.count() == 9).await;
    // One that has said nothing yet is on one of them, too.
    let idle = gateway.connect().await;
    let address = gateway.address;
    let stopping = tokio::spawn(gateway.stop());
    until("nobody is let in", async || Connection::open(address).await.is_err()).await;
    assert!(!stopping.is_finished() && calls.iter().all(|call| !call.is_finished()));
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap()["structuredContent"], json!({}));
    }
    stopping.await.unwrap();
    drop(idle);
    cores.end().await;
}

#[tokio::test]
async fn one_http2_connection_is_worked_on_by_several_cores_and_loses_nothing() {
    let (slow, gate) = Upstream::gated().await;
    let cores = Cores::many(2).unwrap();
    let gateway = Gateway::start_on(&config(&slow.url()), cores.clone()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().tls_certs_only([]);
    let client = client.build().unwrap();
    let url = format!("http://{}/mcp", gateway.address);
    let calls = (0..60).map(|_| {
        let mut request = client.post(&url).body(modern("tools/call", json!({ "name": "ask" })).to_string());
        for (name, value) in
            modern_headers("tools/call", Some("ask")).into_iter().filter(|(name, _)| name != "Host")
        {
            request = request.header(name, value);
        }
        tokio::spawn(async move { request.send().await.unwrap().bytes().await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    until("all calls arrive", async || slow.count() == 60).await;
    gate.open();
    for call in calls {
        let answer: Value = serde_json::from_slice(&call.await.unwrap()).unwrap();
        assert_eq!(answer["result"]["structuredContent"], json!({}), "{answer}");
    }
    gateway.stop().await;
    cores.end().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_program_has_a_thread_for_each_core_that_it_may_use() {
    let threads = |process: &Process| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("core-")).count()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), config("http://127.0.0.1:9")).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let (mut all, mut one) =
        (Process::start(folder.path(), &serve), Process::start_on_one_core(folder.path(), &serve));
    let addresses = [all.address().await, one.address().await];
    for result in join_all((0..20).map(|n| call(addresses[n % 2], "hello"))).await {
        assert!(result.to_string().contains("hello"), "{result}");
    }
    let others = std::thread::available_parallelism().unwrap().get() - 1;
    assert_eq!((threads(&all), threads(&one)), (others, 0));
    for process in [&mut all, &mut one] {
        process.signal("TERM");
        assert_eq!(
            process.end(std::time::Duration::from_secs(30)).await.code(),
            Some(0),
            "{}",
            process.log()
        );
    }
}

#[tokio::test]
async fn large_arguments_are_checked_as_little_ones_are() {
    let api = Upstream::recorder().await;
    let config = format!(
        "sources: {{ api: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools: {{ put: {{ description: P., params: {{ text: {{ type: string, maxLength: 300000 }}, n: {{ type: integer }} }}, \
         rest: {{ source: api, post: /put, json: {{ text: \"{{text}}\", n: \"{{n}}\" }} }} }} }}\n",
        api.url()
    );
    let gateway = Gateway::start(&config).await;
    for length in [10, 200_000] {
        let text = "x".repeat(length);
        let put = async |arguments: Value| {
            gateway.modern("tools/call", json!({ "name": "put", "arguments": arguments })).await.json()
        };
        let good = put(json!({ "text": text, "n": 1 })).await;
        assert_eq!(good["result"]["structuredContent"], json!({}), "{length}");
        let seen = api.take();
        let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
        assert_eq!(body, json!({ "text": text, "n": 1 }));
        let bad = put(json!({ "text": text, "n": "one", "more": true })).await;
        let told = bad["result"]["content"][0]["text"].as_str().unwrap();
        assert!(told.contains("`n`") && told.contains("`more`"), "{told}");
        assert_eq!((bad["result"]["isError"].as_bool(), api.count()), (Some(true), 0));
    }
    let long = gateway
        .modern("tools/call", json!({ "name": "put", "arguments": { "text": "x".repeat(300_001), "n": 1 } }));
    let told = long.await.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(told.contains("`text`") && told.len() < 1000, "{told:.2000}");
    assert_eq!(api.count(), 0);
    gateway.stop().await;
}
