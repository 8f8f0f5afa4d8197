//! Clients that take their time, a thousand at once: whoever is too slow with a head, a body or with reading is ended at its limit and not
//! before (who reads evenly is let: slow_streams.rs), who does nothing is ended later, who listens is not, and good clients are served all
//! the while. The limits are seconds here.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use sidegate::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::support::message::{modern, modern_headers};
use crate::support::{Connection, Gateway, Step, Upstream, text, upstream};

/// How long after its limit a connection may be seen to live; machines that test are busy.
const LATE: Duration = Duration::from_secs(30);
/// A slow client does something this often.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two that come: the system keeps only so many until they are let in.
const COMES: Duration = Duration::from_millis(3);
/// Beyond what the system takes from the gateway in advance.
const LARGE: usize = 6 << 20;

const LIMITS: Limits = Limits {
    head: Duration::from_secs(4),
    idle: Duration::from_secs(6),
    body: Duration::from_secs(4),
    stall: Duration::from_secs(5),
    proof: Duration::from_secs(10),
    connections: 4096,
};

/// A thousand, or as many as this process may have open.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let files = files.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(1024);
    // Both ends are in this process, with the other tests.
    (files.saturating_sub(400) / 3).clamp(100, 1000)
}

fn config() -> String {
    let large = "x".repeat(LARGE);
    json!({
        "tools": {
            "hello": { "description": "H.", "static": { "text": "hello" } },
            "large": { "description": "L.", "static": { "text": large }, "output": { "max_bytes": "16MiB" } },
        },
    })
    .to_string()
}

fn head(tool: &str, length: usize) -> Vec<u8> {
    let mut head = "POST /mcp HTTP/1.1\r\n".to_owned();
    for (name, value) in modern_headers("tools/call", Some(tool)) {
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}Content-Length: {length}\r\n\r\n").into_bytes()
}

fn request(tool: &str) -> Vec<u8> {
    let body = modern("tools/call", json!({ "name": tool })).to_string();
    [head(tool, body.len()), body.into_bytes()].concat()
}

async fn hello(connection: &mut Connection) -> String {
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    let headers = modern_headers("tools/call", Some("hello"));
    let reply = connection.send("POST", "/mcp", &headers, body.as_bytes()).await.expect("a call was lost");
    assert_eq!(reply.status, 200, "{}", reply.text());
    text(&reply.json()["result"]).to_owned()
}

/// A good client, with a new connection for every second call, until it is told to stop; gives the number of its calls.
fn good_client(address: SocketAddr) -> (JoinHandle<usize>, tokio::sync::oneshot::Sender<()>) {
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let calls = tokio::spawn(async move {
        let mut calls = 0;
        while stopped.try_recv().is_err() {
            let mut connection = Connection::open(address).await.expect("no connection");
            for _ in 0..2 {
                assert_eq!(hello(&mut connection).await, "hello");
                calls += 1;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calls
    });
    (calls, stop)
}

/// Sends the first bytes, then one at a time; gives how long it was let, and what it heard.
async fn trickle(address: SocketAddr, first: Vec<u8>, byte: u8) -> (Duration, Vec<u8>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let writing = async {
        if write.write_all(&first).await.is_ok() {
            while write.write_all(&[byte]).await.is_ok() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut heard = Vec::new();
    tokio::select! {
        () = writing => {}
        // A reset is an end too.
        _ = read.read_to_end(&mut heard) => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => {}
    }
    (begun.elapsed(), heard)
}

async fn all_end(what: &str, limit: Duration, first: Vec<u8>, byte: u8, heard: &str) {
    let gateway = Gateway::start_limited(&config(), LIMITS).await;
    let (good, stop) = good_client(gateway.address);
    let mut slow = Vec::new();
    for _ in 0..many() {
        slow.push(tokio::spawn(trickle(gateway.address, first.clone(), byte)));
        tokio::time::sleep(COMES).await;
    }
    for ended in join_all(slow).await {
        let (after, said) = ended.unwrap();
        assert!(after + Duration::from_millis(100) >= limit, "{what}: ended after {after:?}");
        assert!(after < limit + LATE, "{what}: ended after {after:?}");
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with(heard) && said.is_empty() == heard.is_empty(), "{what}: {said}");
    }
    stop.send(()).unwrap();
    assert!(good.await.unwrap() > 10, "{what}: the good client hardly got on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_heads_end_at_their_limit() {
    let whole = request("hello");
    all_end("head", LIMITS.head, b"POST /mcp HTTP/1.1\r\nHost: ".to_vec(), b'a', "").await;
    // The head of a second request.
    let gateway = Gateway::start_limited(&config(), LIMITS).await;
    let (after, said) =
        trickle(gateway.address, [&whole[..], b"POST /mcp HTTP/1.1\r\nX: "].concat(), b'a').await;
    assert!(after >= LIMITS.head && after < LIMITS.head + LATE, "{after:?}");
    assert!(said.starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_slow_bodies_end_at_their_limit() {
    all_end("body", LIMITS.body, head("hello", 1 << 20), b' ', "HTTP/1.1 408 ").await;
}

/// Asks for a lot and reads nothing, or a byte now and then; gives how long it was let, since it asked and since the reply came.
async fn reads_slowly(address: SocketAddr, nothing: bool) -> (Duration, Duration) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let asked = Instant::now();
    stream.write_all(&request("large")).await.unwrap();
    stream.readable().await.unwrap();
    let begun = Instant::now();
    let mut byte = [0; 16];
    while begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(PAUSE).await;
        // Who does not read learns of the end by writing.
        let reads = nothing || stream.read(&mut byte).await.is_ok_and(|n| n > 0);
        if !reads || stream.write(b" ").await.is_err() {
            break;
        }
    }
    (asked.elapsed(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_end_at_their_limit() {
    let gateway = Gateway::start_limited(&config(), LIMITS).await;
    let (good, stop) = good_client(gateway.address);
    let mut slow = Vec::new();
    // Not as many: each costs six megabytes here and four in the system. A thousand are for the release binary and slowhttptest.
    for n in 0..many() / 25 {
        slow.push(tokio::spawn(reads_slowly(gateway.address, n % 2 == 0)));
        tokio::time::sleep(COMES).await;
    }
    for ended in join_all(slow).await {
        let (since_asked, after) = ended.unwrap();
        assert!(since_asked >= LIMITS.stall, "ended after {since_asked:?}");
        assert!(after < LIMITS.stall + LATE, "ended after {after:?}");
    }
    stop.send(()).unwrap();
    assert!(good.await.unwrap() > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_over_http_2_that_gives_no_room_ends_too() {
    use http_body_util::{BodyExt as _, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
    let gateway = Gateway::start_limited(&config(), LIMITS).await;
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).initial_stream_window_size(1000);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    let begun = Instant::now();
    let ended = tokio::spawn(async move {
        let _ = connection.await;
        begun.elapsed()
    });
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let body =
            Full::new(bytes::Bytes::from(modern("tools/call", json!({ "name": "large" })).to_string()));
        let mut request = hyper::Request::post("http://127.0.0.1/mcp");
        for (name, value) in modern_headers("tools/call", Some("large")).iter().filter(|(n, _)| n != "Host") {
            request = request.header(name, value);
        }
        let reply = sender.send_request(request.body(body).unwrap()).await.unwrap();
        assert_eq!(reply.status(), 200);
        // Read by nobody.
        stuck.push(reply);
    }
    let after = tokio::time::timeout(LIMITS.stall + LATE, ended).await.expect("it still lives").unwrap();
    assert!(after >= LIMITS.stall, "ended after {after:?}");
    let cut = stuck.pop().unwrap().into_body().collect().await;
    assert!(cut.is_err(), "a reply that was cut looks whole");
}

/// An API that takes three seconds to answer.
async fn slow_api() -> Upstream {
    Upstream::start(|_| [vec![Step::Wait(Duration::from_secs(3))], upstream::json("{}")].concat()).await
}

#[tokio::test]
async fn idle_connections_end_and_those_that_listen_or_wait_for_a_call_do_not() {
    let slow = slow_api().await;
    let yaml = format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools:\n\
         \x20 hello: {{ description: H., static: {{ text: hello }} }}\n\
         \x20 slow: {{ description: S., rest: {{ source: s, get: / }} }}\n\
         \x20 tell: {{ description: T., static: {{ steps: [{{ announce: tools }}], text: told }} }}\n",
        slow.url()
    );
    let short = Duration::from_millis(800);
    let limits =
        Limits { head: short, idle: short, stall: short, body: short, proof: short, connections: 100 };
    let gateway = Gateway::start_limited(&yaml, limits).await;
    let mut listens = gateway.connect().await;
    let listen = modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let headers = modern_headers("subscriptions/listen", None);
    listens.open_stream("POST", &headers, listen.to_string().as_bytes()).await;
    assert!(listens.event().await.unwrap()["method"].is_string(), "the acknowledgement");
    let mut session = gateway.connect().await;
    let mut headers = gateway.session("2025-11-25", json!({})).await;
    headers.retain(|(name, _)| name != "Content-Type");
    session.open_stream("GET", &headers, b"").await;
    let mut calls = gateway.call_and_hold("slow").await;
    let mut idle = gateway.connect().await;
    assert_eq!(hello(&mut idle).await, "hello");
    let begun = Instant::now();
    assert!(idle.is_silent(short / 2).await, "ended at once");
    while !idle.is_closed().await {
        assert!(begun.elapsed() < LATE, "it is still open");
    }
    let reply = calls.reply().await.expect("a call is no idleness");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(listens.no_event(short).await && session.no_event(short).await);
    gateway.stop().await;
    assert!(listens.event().await.unwrap()["result"].is_object(), "the completion");
    assert_eq!((listens.event().await, session.event().await), (None, None));
}

#[tokio::test]
async fn where_there_are_too_many_the_one_that_keeps_it_waiting_longest_goes() {
    let slow = slow_api().await;
    let yaml = format!(
        "sources: {{ s: {{ rest: {{ base_url: \"{}\" }} }} }}\n\
         tools:\n\
         \x20 hello: {{ description: H., static: {{ text: hello }} }}\n\
         \x20 slow: {{ description: S., rest: {{ source: s, get: / }} }}\n",
        slow.url()
    );
    let gateway = Gateway::start_limited(&yaml, Limits { connections: 6, ..Limits::default() }).await;
    let mut calls = gateway.call_and_hold("slow").await;
    let mut others = Vec::new();
    // One of each kind: silent, half a head, half a body, between two calls.
    for first in [Vec::new(), b"POST /mcp".to_vec(), head("hello", 100), request("hello"), Vec::new()] {
        let mut other = gateway.connect().await;
        other.write(&first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        others.push(other);
    }
    assert_eq!(others[3].reply().await.unwrap().status, 200);
    // Each new client is served at once, and the oldest of those goes.
    for gone in 0..5 {
        let mut new = gateway.connect().await;
        assert_eq!(hello(&mut new).await, "hello");
        assert!(others[gone].is_closed().await, "{gone} lives");
        others.push(new);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(calls.reply().await.expect("a call was sacrificed").status, 200);
}

/// Asks for more and more, and reads nothing, until the other side takes no more.
async fn never_reads(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let many = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    for _ in 0..1000 {
        match tokio::time::timeout(PAUSE, stream.write_all(&many)).await {
            Ok(Ok(())) => {}
            // It is full, or was ended already.
            Ok(Err(_)) | Err(_) => break,
        }
    }
    stream
}

#[tokio::test]
async fn clients_that_do_not_read_never_shut_the_admin_address() {
    let yaml = json!({
        "server": { "admin": { "listen": "127.0.0.1:0" } },
        "tools": { "hello": { "description": "H.", "static": { "text": "hello" } } },
    });
    let gateway = Gateway::start(&yaml.to_string()).await;
    let admin = gateway.admin.unwrap();
    let deaf = join_all((0..64).map(|_| never_reads(admin))).await;
    let headers = crate::support::message::headers(&[("Host", "localhost")]);
    for path in ["/healthz", "/metrics", "/status"] {
        let mut probe = Connection::open(admin).await.unwrap();
        let reply = probe.send("GET", path, &headers, b"").await.expect("shut out");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    drop(deaf);
}

#[tokio::test]
async fn the_admin_address_ends_clients_at_the_limits_of_all() {
    let yaml = json!({
        "server": { "admin": { "listen": "127.0.0.1:0" } },
        "tools": { "hello": { "description": "H.", "static": { "text": "hello" } } },
    });
    let short = Duration::from_millis(300);
    let limits = Limits { head: short, idle: short, stall: short, ..Limits::default() };
    let gateway = Gateway::start_limited(&yaml.to_string(), limits).await;
    for first in ["", "GET /healthz HTTP/1.1\r\nHost: lo", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    {
        let mut client = TcpStream::connect(gateway.admin.unwrap()).await.unwrap();
        client.write_all(first.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(LATE, client.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "{first:?} is still open");
    }
}
