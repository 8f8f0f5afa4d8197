//! An upstream that fails on purpose until it is healed: scripted bytes over TCP, before or after a request was read, and a ledger
//! of its connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::upstream::{self, Step};

/// What a healed upstream says.
pub const GOOD: &str = "{\"fine\":true}";

/// When the script begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as somebody is connected: nothing is read.
    Connected,
    /// When a request was read.
    Asked,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The bodies of the requests that were read.
    pub requests: Vec<Vec<u8>>,
    /// Bytes that the system took for the other side.
    pub sent: usize,
    /// When it was over, whoever ended it.
    pub closed: Option<Instant>,
}

/// A running upstream; it ends with the test's runtime.
pub struct Faults {
    pub address: SocketAddr,
    ledger: Arc<Mutex<Vec<Line>>>,
    healed: Arc<AtomicBool>,
}

impl Faults {
    /// Every connection (or request) gets the steps until [`Self::heal`].
    pub async fn start(when: When, steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let healed = Arc::new(AtomicBool::new(false));
        let (lines, good, steps) = (ledger.clone(), healed.clone(), Arc::new(steps));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = Own { lines: lines.clone(), at: lines.lock().unwrap().len(), good: good.clone() };
                lines.lock().unwrap().push(Line::default());
                let steps = steps.clone();
                tokio::spawn(async move {
                    let _ = own.serve(stream, when, &steps).await;
                    own.write(|line| line.closed = Some(Instant::now()));
                });
            }
        });
        Self { address, ledger, healed }
    }

    /// From now on every request gets [`GOOD`].
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    /// Every connection so far, in their order.
    pub fn lines(&self) -> Vec<Line> {
        self.ledger.lock().unwrap().clone()
    }
}

/// One connection's place in the ledger.
struct Own {
    lines: Arc<Mutex<Vec<Line>>>,
    at: usize,
    good: Arc<AtomicBool>,
}

impl Own {
    fn write(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.lines.lock().unwrap()[self.at]);
    }

    async fn serve(&self, mut stream: TcpStream, when: When, steps: &[Step]) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        if when == When::Connected && !self.good.load(Ordering::Relaxed) {
            return self.play(&mut stream, steps).await.map(drop);
        }
        let mut buffer = Vec::new();
        while let Some(seen) = upstream::read(&mut stream, &mut buffer).await? {
            self.write(|line| line.requests.push(seen.body));
            if self.good.load(Ordering::Relaxed) {
                self.play(&mut stream, &upstream::json(GOOD)).await?;
            } else if !self.play(&mut stream, steps).await? {
                break;
            }
        }
        Ok(())
    }

    /// Plays the steps, each write in the ledger; whether the connection goes on after them.
    async fn play(&self, stream: &mut TcpStream, steps: &[Step]) -> std::io::Result<bool> {
        for step in steps {
            match step {
                Step::Repeat(bytes, times) => {
                    for _ in 0..*times {
                        upstream::send(stream, bytes).await?;
                        self.write(|line| line.sent += bytes.len());
                    }
                }
                Step::Hang => {
                    let mut rest = [0; 1024];
                    while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
                    return Ok(false);
                }
                Step::Close => return Ok(false),
                Step::Reset => {
                    stream.set_zero_linger()?;
                    return Ok(false);
                }
                plain => {
                    upstream::play(stream, plain).await?;
                    self.write(|line| line.sent += plain.len());
                }
            }
        }
        Ok(true)
    }
}
