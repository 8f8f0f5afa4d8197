//! Upstreams that come and go under load: what cannot be repeated is never seen twice, calls succeed again at once, a source that is down
//! holds up nobody else, and what guards a source outlives a reload.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sidegate::config::{Environment, load_text};
use sidegate::live::Live;
use sidegate::plan::{self, Plan};
use tokio::net::TcpSocket;

use crate::support::upstream::{Seen, reply};
use crate::support::{Gateway, LATE, Step, Upstream, failure, structured};

/// How often the upstream is killed and started, and how long it is there and away.
const ROUNDS: usize = 50;
const THERE: Duration = Duration::from_millis(250);
const AWAY: Duration = Duration::from_millis(130);
/// Each calls five times a second, together 200 times.
const CLIENTS: u32 = 40;
const PERIOD: Duration = Duration::from_millis(200);
/// Calls succeed again this long after a start; a busy machine may take longer now and then, but not as a rule.
const HEALS: Duration = Duration::from_secs(1);
const TOOLS: [&str; 3] = ["get", "post", "guarded"];

/// A port that stays ours while nobody listens on it.
struct Port {
    address: SocketAddr,
    _kept: TcpSocket,
}

impl Port {
    fn socket(address: SocketAddr) -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        socket
    }

    fn new() -> Self {
        let kept = Self::socket("127.0.0.1:0".parse().unwrap());
        Self { address: kept.local_addr().unwrap(), _kept: kept }
    }

    fn start(&self) -> Upstream {
        Upstream::start_on(Self::socket(self.address).listen(1024).unwrap(), |_| {
            let answer = reply("200 OK", "application/json", b"{}");
            // The end may come before, between and after these.
            vec![Step::Wait(Duration::from_millis(3)), Step::Send(answer)]
        })
    }
}

/// How often each numbered request was seen.
#[derive(Default)]
struct Numbers(HashMap<String, usize>);

impl Numbers {
    fn count(&mut self, seen: &[Seen]) {
        for one in seen.iter().filter(|s| s.method == "POST") {
            *self.0.entry(one.path().to_owned()).or_default() += 1;
        }
    }

    fn twice(&self) -> Vec<&String> {
        self.0.iter().filter(|(_, times)| **times > 1).map(|(number, _)| number).collect()
    }
}

fn config(address: SocketAddr) -> String {
    format!(
        r#"
sources:
  plain: {{ rest: {{ base_url: "http://{address}", timeout: 2s }} }}
  guarded: {{ rest: {{ base_url: "http://{address}", timeout: 2s, circuit_breaker: {{ failures: 3, open_for: 100ms }} }} }}
defaults: {{ policy: {{ retry: {{ attempts: 4, backoff: 20ms }} }} }}
tools:
  get: {{ description: G., params: {{ n: {{ type: string }} }}, rest: {{ source: plain, get: "/{{n}}" }} }}
  post: {{ description: P., params: {{ n: {{ type: string }} }}, rest: {{ source: plain, post: "/{{n}}", json: 1 }} }}
  guarded: {{ description: B., params: {{ n: {{ type: string }} }}, rest: {{ source: guarded, get: "/{{n}}" }} }}
"#
    )
}

/// What the load has met, by tool.
#[derive(Default)]
struct Met {
    over: AtomicBool,
    next: AtomicUsize,
    good: [AtomicUsize; 3],
    bad: [AtomicUsize; 3],
}

async fn load(gateway: &Gateway, met: &Met, client: u32) {
    let tool = client as usize % TOOLS.len();
    // Evenly over their time: together they could meet the upstream always while it is there.
    tokio::time::sleep(PERIOD / CLIENTS * client).await;
    while !met.over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let number = met.next.fetch_add(1, Ordering::Relaxed).to_string();
        let result = gateway.call(TOOLS[tool], json!({ "n": number })).await;
        if result.get("isError").is_none() {
            met.good[tool].fetch_add(1, Ordering::Relaxed);
        } else {
            let told = failure(&result);
            let known =
                ["cannot be reached right now", "ended before it answered", "broke off", "left alone"];
            assert!(known.iter().any(|k| told.contains(k)), "{told}");
            met.bad[tool].fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(PERIOD.saturating_sub(began.elapsed())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_killed_again_and_again_sees_nothing_twice_and_is_used_again_at_once() {
    let port = Port::new();
    let mut api = port.start();
    let gateway = Gateway::start(&config(port.address)).await;
    let met = Met::default();
    let storm = async {
        let (mut numbers, mut waits) = (Numbers::default(), Vec::new());
        for round in 0..ROUNDS {
            tokio::time::sleep(THERE).await;
            numbers.count(&api.kill().await);
            tokio::time::sleep(AWAY).await;
            let before: Vec<usize> = met.good.iter().map(|n| n.load(Ordering::Relaxed)).collect();
            api = port.start();
            let started = Instant::now();
            for (tool, before) in before.into_iter().enumerate() {
                while met.good[tool].load(Ordering::Relaxed) == before {
                    let waited = started.elapsed();
                    assert!(waited < LATE, "round {round}: `{}` still fails after {waited:?}", TOOLS[tool]);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                waits.push(started.elapsed());
            }
        }
        met.over.store(true, Ordering::Relaxed);
        tokio::time::sleep(THERE).await;
        numbers.count(&api.kill().await);
        waits.sort_unstable();
        let middle = waits[waits.len() / 2];
        assert!(middle < HEALS, "half of the times it takes longer than {middle:?}");
        numbers
    };
    let (numbers, _) = tokio::join!(storm, join_all((0..CLIENTS).map(|client| load(&gateway, &met, client))));
    assert_eq!(numbers.twice(), Vec::<&String>::new());
    let [_, posted, _] = met.good.each_ref().map(|n| n.load(Ordering::Relaxed));
    let lost: usize = met.bad.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    assert!(posted > ROUNDS && lost > 0, "nothing was tested: {posted} posted, {lost} lost");
    assert!(numbers.0.len() >= posted, "{} seen, {posted} answered", numbers.0.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_again_on_connections_that_the_upstream_closes() {
    let count = AtomicUsize::new(0);
    let api = Upstream::start(move |_| {
        let good = Step::Send(reply("200 OK", "application/json", b"{}"));
        match count.fetch_add(1, Ordering::Relaxed) % 7 {
            // After a reply that promised to go on.
            0 | 3 => vec![good, Step::Close],
            // A moment later, when the connection lies in the pool or carries the next request.
            1 => vec![good, Step::Wait(Duration::from_millis(1)), Step::Close],
            // Without any answer, and in the middle of one.
            4 => vec![Step::Close],
            5 => vec![Step::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Step::Close],
            _ => vec![good],
        }
    })
    .await;
    let gateway = Gateway::start(&config(api.address)).await;
    let mut good = 0;
    for round in 0..40 {
        let calls = (0..10).map(|n| gateway.call("post", json!({ "n": format!("{round}-{n}") })));
        let results = join_all(calls).await;
        good += results.iter().filter(|r| r.get("isError").is_none()).count();
    }
    let (seen, mut numbers) = (api.take(), Numbers::default());
    numbers.count(&seen);
    assert_eq!(numbers.twice(), Vec::<&String>::new());
    assert_eq!(numbers.0.len(), seen.len());
    assert!((100..400).contains(&good), "{good} of 400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_source_with_few_places_holds_up_nobody_else() {
    let dead = Upstream::start(|_| vec![Step::Hang]).await;
    let good = Upstream::recorder().await;
    let gateway = Gateway::start(&format!(
        r#"
sources:
  dead: {{ rest: {{ base_url: "{}", timeout: 20s, concurrency: 8 }} }}
  good: {{ rest: {{ base_url: "{}", concurrency: 8 }} }}
tools:
  dead: {{ description: D., rest: {{ source: dead, get: / }}, policy: {{ timeout: 20s }} }}
  good: {{ description: G., rest: {{ source: good, get: / }} }}
"#,
        dead.url(),
        good.url()
    ))
    .await;
    let (gateway, out) = (&gateway, &AtomicUsize::new(0));
    let call = async || {
        out.fetch_add(1, Ordering::SeqCst);
        let result = gateway.call("dead", json!({})).await;
        out.fetch_sub(1, Ordering::SeqCst);
        result
    };
    let waiting = join_all((0..200).map(|_| call()));
    let working = async {
        // Eight have places and hang, four times as many wait, and the others are refused at once.
        while dead.count() < 8 || out.load(Ordering::SeqCst) > 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..25 {
            let results = join_all((0..8).map(|_| gateway.call("good", json!({})))).await;
            results.iter().for_each(|r| {
                structured(r);
            });
        }
        // All the time the dead source was as full as it can be: not one good call waited for one of its calls to end.
        assert_eq!((out.load(Ordering::SeqCst), dead.count(), good.count()), (40, 8, 200));
    };
    // What hangs is given up as soon as the good ones are done.
    tokio::select! {
        _ = waiting => panic!("the dead source answered"),
        () = working => {}
    }
}

fn compile(yaml: &str) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = load_text("gateway.yaml", yaml, folder.path(), &Environment::default());
    plan::compile(&loaded.config.unwrap(), &mut loaded.diagnostics).unwrap()
}

#[tokio::test]
async fn what_guards_a_source_or_route_outlives_a_reload_unless_it_was_changed() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let yaml = r"
sources:
  api: { rest: { base_url: 'http://127.0.0.1:9', circuit_breaker: { failures: 3 }, concurrency: 4 } }
  other: { rest: { base_url: 'http://127.0.0.1:9' } }
tools:
  a: { description: A., rest: { source: api, get: /a }, policy: { concurrency: 2 } }
  b: { description: B., rest: { source: other, get: /b }, policy: { concurrency: 2 } }
";
    let first = Live::open(compile(yaml), None).unwrap();
    let open = |from: &str, to: &str| Live::open(compile(&yaml.replace(from, to)), Some(&first)).unwrap();
    let same_guard =
        |live: &Live, name: &str| Arc::ptr_eq(&first.sources[name].guard, &live.sources[name].guard);
    let places = |live: &Live, name: &str| live.tool(name).unwrap().route.places.clone().unwrap();
    let same_places = |live: &Live, name: &str| Arc::ptr_eq(&places(&first, name), &places(live, name));

    let again = open("description: A.", "description: Another text.");
    assert!(same_guard(&again, "api") && same_guard(&again, "other"));
    assert!(same_places(&again, "a") && same_places(&again, "b"));
    let route = &again.tool("a").unwrap().route;
    assert!(Arc::ptr_eq(route.guard.as_ref().unwrap(), &first.sources["api"].guard));

    let changed = open("failures: 3", "failures: 4");
    assert!(!same_guard(&changed, "api") && same_guard(&changed, "other"));
    let changed = open("get: /b }, policy: { concurrency: 2 }", "get: /b }, policy: { concurrency: 3 }");
    assert!(same_places(&changed, "a") && !same_places(&changed, "b"));
}
