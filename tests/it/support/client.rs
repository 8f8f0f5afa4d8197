//! A raw HTTP/1.1 client: what is written is what is sent, byte for byte.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest that one reply may take in any test.
const PATIENCE: Duration = Duration::from_secs(60);

/// One reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in a reply with {}: {}", self.status, self.text()))
    }

    /// The code of a JSON-RPC error; 0 if it is none.
    pub fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or(0)
    }
}

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection, kept between requests.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Over bytes that go some other way, such as through TLS.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Writes a request whose only own header is `Content-Length`, and reads nothing.
    pub async fn begin(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let mut bytes = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        self.write(&bytes).await
    }

    /// Sends a request and reads its reply.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> std::io::Result<Reply> {
        self.begin(method, path, headers, body).await?;
        self.reply().await
    }

    /// Sends a request whose reply is read event by event; gives its head.
    pub async fn open_stream(&mut self, method: &str, headers: &[(String, String)], body: &[u8]) -> Reply {
        self.begin(method, "/mcp", headers, body).await.unwrap();
        tokio::time::timeout(PATIENCE, self.read_head()).await.unwrap().unwrap()
    }

    /// The next message of an open stream, comments passed over; `None` at its end.
    pub async fn event(&mut self) -> Option<Value> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let chunk = self.read_chunk().await.unwrap()?;
                let text = String::from_utf8(chunk).unwrap();
                if let Some(data) = text.lines().find_map(|l| l.strip_prefix("data: ")) {
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
        })
        .await
        .unwrap()
    }

    /// Whether no message comes on an open stream for a while.
    pub async fn no_event(&mut self, time: Duration) -> bool {
        let coming = tokio::time::timeout(time, async {
            loop {
                match self.read_chunk().await {
                    Ok(Some(chunk)) if !String::from_utf8_lossy(&chunk).contains("data: ") => {}
                    _ => return,
                }
            }
        });
        coming.await.is_err()
    }

    /// The next reply, a `100 Continue` included.
    pub async fn reply(&mut self) -> std::io::Result<Reply> {
        tokio::time::timeout(PATIENCE, self.read_reply()).await.map_err(|_| std::io::ErrorKind::TimedOut)?
    }

    /// Whether the other side closes, with nothing more said.
    pub async fn is_closed(&mut self) -> bool {
        let more = tokio::time::timeout(PATIENCE, self.fill()).await;
        matches!(more, Ok(Ok(0) | Err(_)))
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && tokio::time::timeout(time, self.fill()).await.is_err()
    }

    async fn fill(&mut self) -> std::io::Result<usize> {
        let mut chunk = [0; 16 << 10];
        let n = self.stream.read(&mut chunk).await?;
        self.buffer.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    async fn read_head(&mut self) -> std::io::Result<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {head}"));
        let headers: Vec<(String, String)> = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
            .collect();
        Ok(Reply { status, headers, body: Vec::new() })
    }

    async fn read_reply(&mut self) -> std::io::Result<Reply> {
        let mut reply = self.read_head().await?;
        let status = reply.status;
        if (100..200).contains(&status) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = self.read_chunks().await?;
            return Ok(reply);
        }
        let length = reply.header("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        reply.body = self.buffer.drain(..length).collect();
        Ok(reply)
    }

    /// A chunked body to its end (RFC 9112 section 7.1), without trailers.
    async fn read_chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(chunk) = self.read_chunk().await? {
            body.extend(chunk);
        }
        Ok(body)
    }

    /// The next chunk; `None` for the last one.
    async fn read_chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let (start, size) = loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                break (at + 2, usize::from_str_radix(line.trim(), 16).unwrap());
            }
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        // Taken out as a whole, so that giving up in between loses nothing.
        while self.buffer.len() < start + size + 2 {
            if self.fill().await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let chunk = self.buffer.drain(..start + size + 2).skip(start).take(size).collect();
        Ok((size > 0).then_some(chunk))
    }
}
