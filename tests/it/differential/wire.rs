//! One raw HTTP/1.1 exchange on a connection of its own; a stream of events is read until its answer, or until it stays silent.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a reply may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stream without an answer has to be silent to count as open.
const SILENCE: Duration = Duration::from_secs(3);

/// What came back.
#[derive(Debug, Default)]
pub struct Raw {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The reply had not ended when it fell silent.
    pub open: bool,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The media type, without its parameters.
    pub fn kind(&self) -> String {
        let kind = self.header("content-type").unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The JSON of every event that carries some.
    pub fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body).replace("\r\n", "\n");
        let events = text.split("\n\n").map(|event| {
            let lines = event.lines().filter_map(|l| l.strip_prefix("data:"));
            lines.map(|l| l.strip_prefix(' ').unwrap_or(l)).collect::<Vec<_>>().join("\n")
        });
        events.filter_map(|data| serde_json::from_str(&data).ok()).collect()
    }

    pub fn is_stream(&self) -> bool {
        self.kind() == "text/event-stream"
    }

    fn is_answered(&self) -> bool {
        self.is_stream()
            && self.events().iter().any(|e| e.get("result").is_some() || e.get("error").is_some())
    }
}

/// Sends the bytes and reads one reply; `None` if none came.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Raw> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    // A server that refuses early may have closed its side already; its reply is read all the same.
    let _ = stream.write_all(request).await;
    let mut buffer = Vec::new();
    let mut reply = Raw::default();
    let mut head = 0;
    loop {
        let patience = if reply.is_stream() { SILENCE } else { PATIENCE };
        let mut chunk = [0; 16 << 10];
        let read = match tokio::time::timeout(patience, stream.read(&mut chunk)).await {
            Err(_) => {
                reply.open = true;
                break;
            }
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(read)) => read,
        };
        buffer.extend_from_slice(&chunk[..read]);
        if head == 0 {
            let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            head = end + 4;
            read_head(&mut reply, &String::from_utf8_lossy(&buffer[..end]))?;
        }
        // A reply to HEAD says the length of a body that does not come.
        let ended = request.starts_with(b"HEAD ") || read_body(&mut reply, &buffer[head..]);
        if ended || reply.is_answered() {
            break;
        }
    }
    (head > 0).then_some(reply)
}

fn read_head(reply: &mut Raw, head: &str) -> Option<()> {
    let mut lines = head.split("\r\n");
    reply.status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|l| l.split_once(':'));
    reply.headers = headers.map(|(n, v)| (n.to_owned(), v.trim().to_owned())).collect();
    Some(())
}

/// Takes the body that came so far; says whether it is whole.
fn read_body(reply: &mut Raw, bytes: &[u8]) -> bool {
    if reply.header("transfer-encoding") != Some("chunked") {
        let length = reply.header("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
        reply.body = bytes[..bytes.len().min(length)].to_vec();
        return bytes.len() >= length;
    }
    reply.body.clear();
    let mut rest = bytes;
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let Ok(size) = usize::from_str_radix(String::from_utf8_lossy(&rest[..end]).trim(), 16) else { break };
        if size == 0 {
            return true;
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + size) else { break };
        reply.body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
    false
}
