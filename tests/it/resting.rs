//! Connections without a request for a while, which hold nothing for one: what comes later, or came in part before, is answered as ever,
//! and what is left of a request that was refused is never taken for the next one.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Gateway;
use crate::support::message::{modern, modern_headers};

/// After this long a connection rests, by far.
const PAUSE: Duration = Duration::from_millis(1200);
const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str =
    "tools: { hello: { description: H., static: { text: hello } } }\nserver: { http: { max_body: 64KiB } }\n";

fn head(length: usize, kind: &str) -> String {
    let mut head = "POST /mcp HTTP/1.1\r\n".to_owned();
    for (name, value) in modern_headers("tools/call", Some("hello")) {
        let value = if name.eq_ignore_ascii_case("content-type") { kind.to_owned() } else { value };
        head += &format!("{name}: {value}\r\n");
    }
    format!("{head}Content-Length: {length}\r\n\r\n")
}

fn request() -> Vec<u8> {
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    (head(body.len(), "application/json") + &body).into_bytes()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads one reply, which has a length, and gives it.
async fn reply(stream: &mut TcpStream) -> String {
    let reading = async {
        let mut read = Vec::new();
        loop {
            read.push(stream.read_u8().await.expect("the connection ended"));
            let text = String::from_utf8_lossy(&read).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| length.parse() == Ok(body.len())) {
                return text;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("no reply")
}

#[tokio::test]
async fn a_connection_serves_on_after_each_rest_wherever_a_request_was_cut() {
    let gateway = Gateway::start(CONFIG).await;
    let whole = request();
    let middle = whole.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    // In the head's first line, in its last, behind it, in the body.
    let cuts = [1, 9, middle + 2, middle + 4, whole.len() - 1];
    let mut conversations = Vec::new();
    for cut in cuts {
        let (whole, address) = (whole.clone(), gateway.address);
        conversations.push(tokio::spawn(async move {
            let mut stream = connect(address).await;
            for round in 0..3 {
                stream.write_all(&whole[..cut]).await.unwrap();
                tokio::time::sleep(PAUSE).await;
                stream.write_all(&whole[cut..]).await.unwrap();
                let reply = reply(&mut stream).await;
                assert!(reply.starts_with("HTTP/1.1 200 OK"), "cut at {cut}, round {round}: {reply}");
                assert!(reply.contains("hello"), "cut at {cut}, round {round}: {reply}");
                tokio::time::sleep(PAUSE).await;
            }
            // Two at once and the begin of a third, which comes with them.
            let ahead = [&whole[..], &whole[..], &whole[..cut]].concat();
            stream.write_all(&ahead).await.unwrap();
            for _ in 0..2 {
                assert!(reply(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
            }
            tokio::time::sleep(PAUSE).await;
            stream.write_all(&whole[cut..]).await.unwrap();
            let reply = reply(&mut stream).await;
            assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("hello"), "cut at {cut}: {reply}");
        }));
    }
    for conversation in conversations {
        conversation.await.unwrap();
    }
}

#[tokio::test]
async fn what_is_left_of_a_refused_request_is_never_the_next_one() {
    let gateway = Gateway::start(CONFIG).await;
    let inner = request();
    for (refused, length, kind) in [
        ("413", (64 << 10) + inner.len(), "application/json"),
        ("415", inner.len() + 10, "text/plain"),
        ("415", inner.len(), "text/plain"),
    ] {
        let mut stream = connect(gateway.address).await;
        let begin = " ".repeat(length - inner.len());
        stream.write_all(head(length, kind).as_bytes()).await.unwrap();
        let refusal = reply(&mut stream).await;
        assert!(refusal.starts_with(&format!("HTTP/1.1 {refused} ")), "{refusal}");
        tokio::time::sleep(PAUSE).await;
        // The rest of the body, which would be a request. Who has closed already may not even take it.
        let _ = stream.write_all(begin.as_bytes()).await;
        let _ = stream.write_all(&inner).await;
        let mut more = Vec::new();
        let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut more)).await;
        // A reset is an end too.
        let _ = reading.expect("it goes on");
        assert_eq!(String::from_utf8_lossy(&more), "", "{refused} of {length}");
    }
}

#[tokio::test]
async fn http_2_that_begins_byte_by_byte_is_spoken_and_what_only_begins_like_it_is_not() {
    let gateway = Gateway::start(CONFIG).await;
    let mut stream = connect(gateway.address).await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // An empty SETTINGS frame (RFC 9113, section 6.5); theirs comes back.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame = [0; 9];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut frame)).await.expect("no answer").unwrap();
    assert_eq!((frame[3], &frame[5..]), (4, &[0, 0, 0, 0][..]), "{frame:?}");

    let mut stream = connect(gateway.address).await;
    stream.write_all(b"PRI ").await.unwrap();
    tokio::time::sleep(PAUSE).await;
    stream.write_all(b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert!(reply(&mut stream).await.starts_with("HTTP/1.1 4"));
}
