//! The load: one hyper client connection per task, all on one thread, sending one request again and
//! again. Every answer is checked, and nothing is parsed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
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
    body: Bytes,
    /// Where a number stands that is another one in each request.
    number: Option<usize>,
}

impl Message {
    pub fn new(headers: Vec<(&'static str, String)>, body: &Value) -> Self {
        Self { headers, body: body.to_string().into(), number: None }
    }

    pub fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// [`NUMBER`] in the body is another one in each request.
    pub fn numbered(mut self) -> Self {
        self.number = self.body.windows(NUMBER.len()).position(|bytes| bytes == NUMBER.as_bytes());
        self
    }

    /// What the tool is called with, as JSON.
    pub fn arguments(&self) -> Result<String> {
        let body: Value = serde_json::from_slice(&self.body)?;
        let arguments = body.pointer("/params/arguments").ok_or("the message calls no tool")?;
        Ok(arguments.to_string())
    }

    fn to(&self, address: SocketAddr) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::post("/mcp")
            .header(header::HOST, address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        Ok(request.body(Full::new(self.body.clone()))?)
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
pub async fn ask(address: SocketAddr, message: &Message) -> Result<Bytes> {
    let once = async { Connection::open(address, message).await?.ask().await };
    tokio::time::timeout(PATIENCE, once).await?
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

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    /// The body, and where its number stands.
    numbered: Option<(Vec<u8>, usize)>,
    /// The last body that was read in full: an equal one is known to be good.
    good: Bytes,
}

impl Connection {
    async fn open(address: SocketAddr, message: &Message) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection); // ends with the sender
        let numbered = message.number.map(|at| (message.body.to_vec(), at));
        Ok(Self { sender, request: message.to(address)?, numbered, good: Bytes::new() })
    }

    async fn repeat_until(mut self, deadline: Instant) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let mut sent = Instant::now();
        while sent < deadline {
            self.ask().await?;
            let now = Instant::now();
            latencies.push(now - sent);
            sent = now;
        }
        Ok(latencies)
    }

    async fn ask(&mut self) -> Result<Bytes> {
        self.sender.ready().await?;
        let mut request = self.request.clone();
        if let Some((body, at)) = &mut self.numbered {
            let number = format!("{:012}", NEXT.fetch_add(1, Ordering::Relaxed));
            body.splice(*at..*at + NUMBER.len(), number.into_bytes());
            *request.body_mut() = Full::new(Bytes::copy_from_slice(body));
        }
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK || body != self.good {
            check(status, &body)?;
            self.good = body.clone();
        }
        Ok(body)
    }
}

fn check(status: StatusCode, body: &[u8]) -> Result<()> {
    let text = String::from_utf8_lossy(body);
    if status == StatusCode::OK && text.contains(r#""result""#) && !text.contains(r#""isError":true"#) {
        return Ok(());
    }
    Err(format!("an answer is not a success: HTTP {status}\n{text:.4000}").into())
}
