//! The load: one connection per task, all on one thread, sending the same bytes again and again. It is written on the socket,
//! so that it costs less than the cheapest server and the server is what sets the rate. Every answer is checked, and nothing
//! is parsed but its length.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;

/// How long an answer may be late before the run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands where each request has a number of its own.
pub const NUMBER: &str = "000000000000";
/// The number of the next request, of whatever connection.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A request without its destination.
pub struct Message {
    headers: Vec<(&'static str, String)>,
    body: String,
    /// Whether [`NUMBER`] in it is another one in each request.
    numbered: bool,
}

impl Message {
    pub fn new(headers: Vec<(&'static str, String)>, body: &Value) -> Self {
        Self { headers, body: body.to_string(), numbered: false }
    }

    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// [`NUMBER`] in the body is another one in each request.
    pub fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// The body alone, which is a message over stdio too.
    pub fn line(&self) -> String {
        format!("{}\n", self.body)
    }

    /// What the tool is called with, as JSON.
    pub fn arguments(&self) -> Result<String> {
        let body: Value = serde_json::from_str(&self.body)?;
        let arguments = body.pointer("/params/arguments").ok_or("the message calls no tool")?;
        Ok(arguments.to_string())
    }

    fn bytes(&self, address: SocketAddr) -> Vec<u8> {
        let mut head = format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n");
        head.push_str("accept: application/json, text/event-stream\r\n");
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{head}content-length: {}\r\n\r\n{}", self.body.len(), self.body).into_bytes()
    }
}

pub struct Round {
    pub elapsed: Duration,
    /// One for each answer, shortest first.
    latencies: Vec<Duration>,
}

impl Round {
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    pub fn percentile(&self, percent: usize) -> Duration {
        let place = self.latencies.len() * percent / 100;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}

/// Sends the message once and answers the body.
pub async fn ask(address: SocketAddr, message: &Message) -> Result<Vec<u8>> {
    let once = async { Connection::open(address, message).await?.ask().await };
    tokio::time::timeout(PATIENCE, once).await?
}

/// Opens connections and sends the message once on each, which then stand idle until they are dropped.
pub async fn hold(address: SocketAddr, message: &Message, connections: usize) -> Result<Vec<Connection>> {
    let opening = async {
        let mut held = Vec::new();
        for _ in 0..connections {
            let mut connection = Connection::open(address, message).await?;
            connection.ask().await?;
            held.push(connection);
        }
        Ok(held)
    };
    tokio::time::timeout(PATIENCE, opening).await?
}

pub async fn run(
    address: SocketAddr,
    message: &Message,
    connections: usize,
    length: Duration,
) -> Result<Round> {
    let round = async {
        let mut ready = Vec::new();
        for _ in 0..connections {
            ready.push(Connection::open(address, message).await?);
        }
        let started = Instant::now();
        let mut tasks: JoinSet<_> =
            ready.into_iter().map(|connection| connection.repeat_until(started + length)).collect();
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done??);
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        Ok(Round { elapsed, latencies })
    };
    tokio::time::timeout(length + PATIENCE, round).await?
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where in the request its number stands.
    number: Option<usize>,
    /// What was read, from the begin of an answer.
    read: Vec<u8>,
    /// The last body that was read in full: an equal one is known to be good.
    good: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, message: &Message) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = message.bytes(address);
        let place = || request.windows(NUMBER.len()).position(|bytes| bytes == NUMBER.as_bytes());
        let number = if message.numbered { place() } else { None };
        Ok(Self { stream, number, request, read: Vec::new(), good: Vec::new() })
    }

    async fn repeat_until(mut self, deadline: Instant) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let mut sent = Instant::now();
        while sent < deadline {
            self.exchange().await?;
            let now = Instant::now();
            latencies.push(now - sent);
            sent = now;
        }
        Ok(latencies)
    }

    async fn ask(&mut self) -> Result<Vec<u8>> {
        self.exchange().await?;
        Ok(self.good.clone())
    }

    /// Sends the request and reads its answer.
    async fn exchange(&mut self) -> Result<()> {
        if let Some(at) = self.number {
            let number = format!("{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
            self.request.splice(at..at + NUMBER.len(), number.into_bytes());
        }
        self.stream.write_all(&self.request).await?;
        self.read.clear();
        let head = loop {
            self.more().await?;
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let (fine, length) = said(self.read.get(..head).unwrap_or_default())?;
        while self.read.len() < head + length {
            self.more().await?;
        }
        let body = self.read.get(head..).unwrap_or_default();
        if !fine || body != self.good {
            check(fine, body)?;
            self.good = body.to_vec();
        }
        Ok(())
    }

    async fn more(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err("the server closed a connection".into()),
            _ => Ok(()),
        }
    }
}

/// Whether an answer is a success, and how long its body is.
fn said(head: &[u8]) -> Result<(bool, usize)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.lines();
    let fine = lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 200"));
    let mut lengths = lines.filter_map(|line| line.split_once(':'));
    let length = lengths.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or_else(|| format!("an answer has no length:\n{head}"))?;
    Ok((fine, length.trim().parse()?))
}

fn check(fine: bool, body: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    if fine && text.contains(r#""result""#) && !text.contains(r#""isError":true"#) {
        return Ok(());
    }
    Err(format!("an answer is not a success:\n{text:.4000}").into())
}
