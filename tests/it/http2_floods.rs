//! Floods of HTTP/2, written frame by frame: requests that are taken back at once, headers without end, bodies in crumbs, and what
//! has to be answered by the connection itself. Each ends or is served in little memory, and the next client is served.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::memory::peak;
use crate::support::message::{modern, modern_headers};
use crate::support::process::{Process, call};
use crate::support::text;

const CONFIG: &str = "tools: { hello: { description: H., static: { text: Hello. } } }";
/// How much the process may grow by one flood.
const ROOM: u64 = 48 << 20;
/// How long a flood may go on.
const PATIENCE: Duration = Duration::from_secs(40);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

/// RFC 9113, section 4.1.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals without indexing (RFC 7541, section 6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// The header block of a call that is right in everything.
pub fn block(tool: &str) -> Vec<u8> {
    let mut block = [
        field(":method", "POST"),
        field(":scheme", "http"),
        field(":path", "/mcp"),
        field(":authority", "localhost"),
    ]
    .concat();
    for (name, value) in modern_headers("tools/call", Some(tool)) {
        if name != "Host" {
            block.extend(field(&name.to_ascii_lowercase(), &value));
        }
    }
    block
}

/// What came of a flood.
#[derive(Debug, Default)]
struct End {
    /// Everything was taken.
    sent: bool,
    /// The code of the GOAWAY, if one came.
    goaway: Option<u32>,
    /// Headers and data of replies that came.
    replies: usize,
}

/// Sends pieces one after the other until they end or nobody takes them, and reads what comes.
async fn flood(address: SocketAddr, pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> End {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let sending = tokio::spawn(async move {
        let start = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
        writer.write_all(&start).await.unwrap();
        for piece in pieces {
            if writer.write_all(&piece).await.is_err() {
                return (false, writer);
            }
        }
        (true, writer)
    });
    let reading = tokio::spawn(async move {
        let mut end = End::default();
        let mut head = [0; 9];
        // What comes after a GOAWAY is of no use to a client.
        while end.goaway.is_none() && reader.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if reader.read_exact(&mut payload).await.is_err() {
                break;
            }
            match head[3] {
                GOAWAY => end.goaway = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
                HEADERS => end.replies += 1,
                _ => {}
            }
        }
        end
    });
    let (sent, writer) =
        tokio::time::timeout(PATIENCE, sending).await.expect("it takes them for ever").unwrap();
    // The last replies have a moment to come.
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(writer);
    let end = tokio::time::timeout(PATIENCE, reading).await.expect("it never closes").unwrap();
    End { sent, ..end }
}

/// Floods a server of its own; it has to stay small, and to serve the next client.
async fn stands(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> End {
    let folder = tempfile::tempdir().unwrap();
    let (process, address) = Process::serve(folder.path(), CONFIG).await;
    assert_eq!(text(&call(address, "hello").await), "Hello.");
    let before = peak(&process);
    let end = flood(address, pieces).await;
    let grown = peak(&process).saturating_sub(before);
    assert!(grown < ROOM, "{} MiB more; {end:?}", grown >> 20);
    assert_eq!(text(&call(address, "hello").await), "Hello.");
    assert!(!process.log().contains("panicked"), "{}", process.log());
    end
}

fn odd(n: u32) -> u32 {
    2 * n + 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_call_is_answered() {
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    let call = [frame(HEADERS, 4, 1, &block("hello")), frame(DATA, 1, 1, body.as_bytes())].concat();
    let end = stands(std::iter::once(call)).await;
    assert!(end.sent && end.goaway.is_none() && end.replies == 1, "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let block = block("hello");
    // A hundred in one piece, so that many are taken back before anybody looks at them.
    let pieces = (0..1000).map(move |n| {
        let one =
            |n| [frame(HEADERS, 4, odd(n), &block), frame(RST_STREAM, 0, odd(n), &[0, 0, 0, 8])].concat();
        (n * 100..(n + 1) * 100).flat_map(one).collect()
    });
    let end = stands(pieces).await;
    // ENHANCE_YOUR_CALM
    assert!(!end.sent && end.goaway == Some(0xb), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_end_the_connection() {
    let filler: Vec<u8> =
        std::iter::repeat_with(|| field("x-filler", "0123456789abcdef")).take(500).flatten().collect();
    for junk in [filler, Vec::new()] {
        let first = frame(HEADERS, 0, 1, &block("hello"));
        let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &junk), 200_000);
        let end = stands(std::iter::once(first).chain(more)).await;
        assert!(!end.sent && end.replies == 0, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_nothing_takes_nothing() {
    let empty = frame(DATA, 0, 1, &[]).repeat(1000);
    let pieces =
        std::iter::once(frame(HEADERS, 4, 1, &block("hello"))).chain(std::iter::repeat_n(empty, 1000));
    let end = stands(pieces).await;
    assert!(end.replies <= 1, "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_crumbs_takes_little_more_than_it_holds() {
    // Two million frames of one byte: within the largest body, and within every window as long as the windows move.
    let crumbs = frame(DATA, 0, 1, b" ").repeat(1000);
    let body = modern("tools/call", json!({ "name": "hello" })).to_string();
    let last = frame(DATA, 1, 1, body.as_bytes());
    let pieces = std::iter::once(frame(HEADERS, 4, 1, &block("hello")))
        .chain(std::iter::repeat_n(crumbs, 2000))
        .chain(std::iter::once(last));
    let end = stands(pieces).await;
    assert!(end.replies <= 1, "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_the_connection_itself_answers_pile_up_nothing() {
    for one in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])] {
        stands(std::iter::repeat_n(one.repeat(1000), 500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_streams_that_are_wrong_end_the_connection_or_leave_no_trace() {
    let block = block("hello");
    // A reply is on its way, and the client goes on with the body of a stream that is no more.
    let closed = frame(DATA, 0, 1, &[b' '; 1000]);
    let refused = frame(HEADERS, 5, 1, &block);
    stands(std::iter::once(refused).chain(std::iter::repeat_n(closed, 20_000))).await;
    // Streams whose headers are wrong are reset one by one, for a while.
    let wrong = [field(":method", "POST"), field(":method", "POST")].concat();
    let end = stands((0..50_000).map(move |n| frame(HEADERS, 5, odd(n), &wrong))).await;
    assert!(!end.sent && end.goaway.is_some(), "{end:?}");
}
