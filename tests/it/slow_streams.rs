//! HTTP/2 clients that take their time, written frame by frame: requests whose bodies never come, replies that are read evenly or not at
//! all beside calls that go on, and connections without a request that end in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sidegate::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::http2_floods::{DATA, GOAWAY, HEADERS, PING, SETTINGS, block, frame};
use crate::support::message::{modern, modern_headers};
use crate::support::process::Process;
use crate::support::{Connection, Gateway, Step, Upstream, text, upstream};

const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
/// Beyond what the system takes from the gateway in advance.
const LARGE: usize = 6 << 20;
/// How long after its limit something may be seen; machines that test are busy.
const LATE: Duration = Duration::from_secs(30);

/// A frame that came.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A client that answers nothing by itself, no PING and no SETTINGS.
struct Client(TcpStream);

impl Client {
    /// Each stream and the connection have room for `window` bytes.
    async fn open(address: SocketAddr, window: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let windows = [&[0, 4][..], &window.to_be_bytes()].concat();
        let start = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &windows),
            frame(WINDOW_UPDATE, 0, 0, &(8_u32 << 20).to_be_bytes()),
        ];
        stream.write_all(&start.concat()).await.unwrap();
        Self(stream)
    }

    async fn call(&mut self, stream: u32, tool: &str) {
        let body = modern("tools/call", json!({ "name": tool })).to_string();
        let call =
            [frame(HEADERS, 4, stream, &block(tool)), frame(DATA, END_STREAM, stream, body.as_bytes())];
        self.0.write_all(&call.concat()).await.unwrap();
    }

    /// The next frame; nothing if there is no other.
    async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    async fn frame_of(&mut self, kind: u8, within: Duration) -> Frame {
        let seek = async {
            loop {
                let frame = self.frame().await.expect("it ended");
                if frame.kind == kind {
                    return frame;
                }
            }
        };
        tokio::time::timeout(within, seek).await.expect("it does not come")
    }

    /// The whole reply to a request.
    async fn reply(&mut self, stream: u32, within: Duration) -> String {
        let read = async {
            let mut reply = Vec::new();
            loop {
                let frame = self.frame().await.expect("a call was cut");
                if (frame.kind, frame.stream) == (DATA, stream) {
                    reply.extend(frame.payload);
                    if frame.flags & END_STREAM != 0 {
                        return String::from_utf8(reply).unwrap();
                    }
                }
            }
        };
        tokio::time::timeout(within, read).await.expect("it does not come")
    }

    /// Reads to the end of the connection; whether it was announced.
    async fn end(&mut self, within: Duration) -> bool {
        let read = async {
            let mut announced = false;
            while let Some(frame) = self.frame().await {
                announced |= frame.kind == GOAWAY;
            }
            announced
        };
        tokio::time::timeout(within, read).await.expect("it does not end")
    }
}

/// A tool that says hello, one that takes `wait`, and one whose reply is large.
async fn config(wait: Duration) -> (Upstream, String) {
    let slow =
        Upstream::start(move |_| [vec![Step::Wait(wait)], upstream::json("{\"slow\":1}")].concat()).await;
    let config = json!({
        "sources": { "s": { "rest": { "base_url": slow.url(), "timeout": "60s" } } },
        "tools": {
            "hello": { "description": "H.", "static": { "text": "hello" } },
            "large": { "description": "L.", "static": { "text": "x".repeat(LARGE) }, "output": { "max_bytes": "16MiB" } },
            "slow": { "description": "S.", "rest": { "source": "s", "get": "/" }, "policy": { "timeout": "60s" } },
        },
    });
    (slow, config.to_string())
}

async fn hello(address: SocketAddr) {
    let mut connection = Connection::open(address).await.unwrap();
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    let headers = modern_headers("tools/call", Some("hello"));
    let reply = connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(text(&reply.json()["result"]), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_whose_bodies_do_not_come_take_nothing_from_others() {
    let (_slow, yaml) = config(Duration::ZERO).await;
    let gateway = Gateway::start(&yaml).await;
    let mut clients = Vec::new();
    for _ in 0..129 {
        let mut client = Client::open(gateway.address, 1 << 16).await;
        let heads: Vec<u8> = (0..128).flat_map(|n| frame(HEADERS, 4, 2 * n + 1, &block("hello"))).collect();
        let heads = [heads, frame(PING, 0, 0, b"all came")].concat();
        client.0.write_all(&heads).await.unwrap();
        client.frame_of(PING, LATE).await;
        clients.push(client);
    }
    hello(gateway.address).await;
    // Nor do those of which hardly anything comes.
    for client in &mut clients {
        let crumbs: Vec<u8> = (0..128).flat_map(|n| frame(DATA, 0, 2 * n + 1, b"{")).collect();
        let crumbs = [crumbs, frame(PING, 0, 0, b"all came")].concat();
        client.0.write_all(&crumbs).await.unwrap();
        client.frame_of(PING, LATE).await;
    }
    hello(gateway.address).await;
}

/// Reads `LARGE` bytes and what ends them evenly over `time`; gives how much came.
async fn read_evenly(stream: &mut TcpStream, time: Duration, ends: impl Fn(usize) -> bool) -> usize {
    let (begun, mut came) = (Instant::now(), 0);
    let mut buffer = vec![0; 16 << 10];
    while !ends(came) {
        let due = LARGE as u128 * begun.elapsed().as_millis() / time.as_millis();
        if (came as u128) < due {
            match tokio::time::timeout(LATE, stream.read(&mut buffer)).await.expect("nothing comes") {
                Ok(length) if length > 0 => came += length,
                _ => break,
            }
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    came
}

const READING: Limits = Limits {
    head: Duration::from_secs(4),
    idle: Duration::from_secs(30),
    body: Duration::from_secs(4),
    stall: Duration::from_secs(2),
    proof: Duration::from_secs(4),
    connections: 100,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_evenly_gets_all_of_it_over_either_http() {
    let (_slow, yaml) = config(Duration::ZERO).await;
    let gateway = Gateway::start_limited(&yaml, READING).await;
    let address = gateway.address;
    let time = 8 * READING.stall;
    let first = tokio::spawn(async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let body = modern("tools/call", json!({ "name": "large" })).to_string();
        let mut head =
            format!("POST /mcp HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in modern_headers("tools/call", Some("large")) {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        read_evenly(&mut stream, time, |_| false).await
    });
    let second = tokio::spawn(async move {
        let mut client = Client::open(address, 8 << 20).await;
        client.call(1, "large").await;
        read_evenly(&mut client.0, time, |came| came > LARGE).await
    });
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first > LARGE && second > LARGE, "HTTP/1: {first}, HTTP/2: {second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_is_not_read_does_not_end_the_calls_beside_it() {
    let (slow, yaml) = config(3 * READING.stall).await;
    let gateway = Gateway::start_limited(&yaml, READING).await;
    let mut client = Client::open(gateway.address, 1000).await;
    client.call(1, "slow").await;
    client.call(3, "large").await;
    let reply = client.reply(1, LATE).await;
    assert!(reply.contains("slow"), "{reply}");
    assert_eq!(slow.take().len(), 1);
    // Then it ends, since the other is still not read.
    client.end(READING.stall + LATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_request_ends_in_order_and_one_that_comes_meanwhile_is_answered() {
    let (_slow, yaml) = config(Duration::from_secs(7)).await;
    let limits = Limits { head: Duration::from_secs(1), idle: Duration::from_secs(3), ..READING };
    let gateway = Gateway::start_limited(&yaml, limits).await;
    let begun = Instant::now();
    let [mut none, mut late] =
        [Client::open(gateway.address, 1 << 16).await, Client::open(gateway.address, 1 << 16).await];
    let late = tokio::spawn(async move {
        late.frame_of(GOAWAY, limits.idle + LATE).await;
        late.call(1, "slow").await;
        let reply = late.reply(1, LATE).await;
        assert!(reply.contains("slow"), "{reply}");
    });
    assert!(none.end(limits.idle + LATE).await, "it ended without a word");
    assert!(begun.elapsed() >= limits.idle, "it ended after {:?}", begun.elapsed());
    late.await.unwrap();
}

#[tokio::test]
async fn a_client_that_answers_no_ping_does_not_hold_the_stop() {
    let (_slow, yaml) = config(Duration::ZERO).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &yaml).await;
    let mut client = Client::open(address, 1 << 16).await;
    client.call(1, "hello").await;
    assert!(client.reply(1, LATE).await.contains("hello"));
    let begun = Instant::now();
    process.signal("TERM");
    assert_eq!(process.end(Duration::from_secs(15)).await.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    assert!(!process.log().contains("cut off"), "{}", process.log());
}
