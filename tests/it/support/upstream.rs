//! An upstream on loopback that keeps the exact bytes of every request and answers what a script says, faults included.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// The request target: path and query, as sent.
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).first().map(|v| String::from_utf8_lossy(v).into_owned())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// The query without `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What an upstream does, in order.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    /// The bytes again and again.
    Repeat(Vec<u8>, usize),
    Wait(Duration),
    /// Goes on when the gate is open.
    Gate(Gate),
    /// Counts down.
    Leave(Arc<AtomicUsize>),
    /// One byte at a time.
    Drip(Vec<u8>, Duration),
    /// Never goes on.
    Hang,
    Close,
    /// Ends the connection without a goodbye (RST).
    Reset,
}

impl Step {
    /// How many bytes it sends.
    pub fn len(&self) -> usize {
        match self {
            Self::Send(bytes) | Self::Drip(bytes, _) => bytes.len(),
            Self::Repeat(bytes, times) => bytes.len() * times,
            Self::Wait(_) | Self::Gate(_) | Self::Leave(_) | Self::Hang | Self::Close | Self::Reset => 0,
        }
    }
}

/// Holds up replies until the test lets them go.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn is_open(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

type Script = Arc<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;

/// A running upstream; it ends with the test's runtime.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    left: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

/// A whole reply of a type.
pub fn reply(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A good reply.
pub fn json(body: &str) -> Vec<Step> {
    vec![Step::Send(reply("200 OK", "application/json", body.as_bytes()))]
}

impl Upstream {
    pub async fn start(script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// One at a place of its own.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::new(AtomicUsize::new(0));
        let (script, sink, gone): (Script, _, _) = (Arc::new(script), seen.clone(), left.clone());
        let running = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (script, sink, gone) = (script.clone(), sink.clone(), gone.clone());
                connections.spawn(async move {
                    let _ = serve(stream, &script, &sink, &gone).await;
                });
            }
        });
        Self { address, seen, left, running }
    }

    /// Ends at once, wherever its connections are; gives the requests that came.
    pub async fn kill(self) -> Vec<Seen> {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// One that says `{}` to everything once the gate is open.
    pub async fn gated() -> (Self, Gate) {
        let gate = Gate::default();
        let closed = gate.clone();
        let script = move |_: &Seen| [vec![Step::Gate(closed.clone())], json("{}")].concat();
        (Self::start(script).await, gate)
    }

    /// One that says `{}` to everything.
    pub async fn recorder() -> Self {
        Self::start(|_| json("{}")).await
    }

    /// An address where nobody listens.
    pub async fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last time this was asked.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    /// How many requests were given up by the other side while they hung.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: &Script,
    sink: &Mutex<Vec<Seen>>,
    left: &AtomicUsize,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(seen) = read(&mut stream, &mut buffer).await? {
        let steps = script(&seen);
        sink.lock().unwrap().push(seen);
        for step in steps {
            match step {
                Step::Hang => {
                    // Holds the connection until the other side gives up.
                    let mut rest = [0; 1024];
                    while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
                    left.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Step::Close => return Ok(()),
                Step::Reset => return stream.set_zero_linger(),
                plain => play(&mut stream, &plain).await?,
            }
        }
    }
    Ok(())
}

pub(super) async fn send(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await
}

/// Plays a step after which the connection goes on.
pub(super) async fn play(stream: &mut TcpStream, step: &Step) -> std::io::Result<()> {
    match step {
        Step::Send(bytes) => send(stream, bytes).await?,
        Step::Repeat(bytes, times) => {
            for _ in 0..*times {
                send(stream, bytes).await?;
            }
        }
        Step::Wait(time) => tokio::time::sleep(*time).await,
        Step::Gate(gate) => gate.is_open().await,
        Step::Leave(number) => drop(number.fetch_sub(1, Ordering::SeqCst)),
        Step::Drip(bytes, pause) => {
            for byte in bytes {
                send(stream, &[*byte]).await?;
                tokio::time::sleep(*pause).await;
            }
        }
        Step::Hang | Step::Close | Step::Reset => {}
    }
    Ok(())
}

/// One request; `None` when the other side closes.
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Seen>> {
    let mut chunk = vec![0; 64 << 10];
    let mut searched: usize = 0;
    let end = loop {
        let from = searched.saturating_sub(3);
        if let Some(at) = buffer[from..].windows(4).position(|w| w == b"\r\n\r\n") {
            break from + at;
        }
        searched = buffer.len();
        let n = stream.read(&mut chunk).await?;
        if n == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..n]);
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    let mut lines = head[..end].split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<(String, Vec<u8>)> = lines
        .filter_map(|l| {
            let colon = l.iter().position(|b| *b == b':')?;
            let value = l[colon + 1..].strip_prefix(b" ").unwrap_or(&l[colon + 1..]);
            Some((String::from_utf8_lossy(&l[..colon]).into_owned(), value.to_vec()))
        })
        .collect();
    let mut seen = Seen { method, target, headers, body: Vec::new() };
    let length = seen.header("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
    while buffer.len() < length {
        let n = stream.read(&mut chunk).await?;
        if n == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..n]);
    }
    seen.body = buffer.drain(..length).collect();
    Ok(Some(seen))
}
