//! What RFC 9113 calls an error, frame by frame: the connection ends with the code that it asks for, or the stream alone does and the next
//! call on the connection is answered; and what it has receivers ignore changes nothing. Other connections never notice. Where the
//! library under the server says a code that is less exact, the row says so.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http2_floods::{DATA, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, frame};
use crate::support::message::{modern, modern_headers};
use crate::support::{Connection, Gateway, LATE, text};

mod rows;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
/// The stream of the call that follows what is wrong.
const NEXT: u32 = 101;

// Section 7.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;

/// What has to come of it.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// The connection ends with this code.
    Goaway(u32),
    /// Stream 1 ends with this code, and the next call is answered.
    Reset(u32),
    /// One or the other, with this code: the receiver may take any error of a stream for one of the connection (section 5.4.2).
    Either(u32),
    /// The connection ends with PROTOCOL_ERROR, though the RFC asks for this code: so does the library under the server.
    Coarse(u32),
    /// The next call is answered, and nothing is said of it.
    Nothing,
}

struct Row {
    section: &'static str,
    what: &'static str,
    frames: Vec<u8>,
    want: Want,
}

fn body() -> Vec<u8> {
    modern("tools/call", json!({ "name": "hello" })).to_string().into_bytes()
}

fn call(stream: u32) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &block("hello")), frame(DATA, END_STREAM, stream, &body())].concat()
}

/// What came of it.
#[derive(Debug, Default)]
struct Came {
    goaway: Option<u32>,
    /// Of stream 1.
    reset: Option<u32>,
    /// The reply to the next call.
    reply: Vec<u8>,
}

impl Came {
    fn is(&self, want: Want) -> bool {
        let answered = String::from_utf8_lossy(&self.reply).contains("Hello.");
        let ended = |code| self.goaway == Some(code);
        let reset = |code| self.goaway.is_none() && self.reset == Some(code) && answered;
        match want {
            Want::Goaway(code) => ended(code) && !answered,
            Want::Reset(code) => reset(code),
            Want::Either(code) => ended(code) || reset(code),
            Want::Coarse(code) => code != PROTOCOL_ERROR && ended(PROTOCOL_ERROR) && !answered,
            Want::Nothing => self.goaway.is_none() && self.reset.is_none() && answered,
        }
    }
}

/// Sends the preface, SETTINGS and these frames, and a call when stream 1 was reset or nothing is to come; reads to the end.
async fn send(address: SocketAddr, row: &Row) -> Came {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut start = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &row.frames].concat();
    let mut called = matches!(row.want, Want::Nothing);
    if called {
        start.extend(call(NEXT));
    }
    // One that ended already does not take all of it.
    let _ = stream.write_all(&start).await;
    let mut came = Came::default();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).await.is_err() {
            break;
        }
        let code =
            |at: usize| payload.get(at..at + 4).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        let id = u32::from_be_bytes(head[5..9].try_into().unwrap());
        match (head[3], id) {
            (GOAWAY, _) => came.goaway = code(4),
            (RST_STREAM, 1) => came.reset = code(0),
            (DATA, NEXT) => {
                came.reply.extend(&payload);
                if head[4] & END_STREAM != 0 {
                    break;
                }
            }
            _ => {}
        }
        if came.reset.is_some() && !called {
            called = true;
            let _ = stream.write_all(&call(NEXT)).await;
        }
    }
    came
}

async fn hold(rows: Vec<Row>) {
    let gateway = Gateway::start("tools: { hello: { description: H., static: { text: Hello. } } }").await;
    let mut beside = gateway.connect().await;
    let mut wrong = Vec::new();
    for row in rows {
        let name = format!("section {}: {}", row.section, row.what);
        match tokio::time::timeout(LATE, send(gateway.address, &row)).await {
            Ok(came) if came.is(row.want) => {}
            Ok(came) => wrong.push(format!("{name}: {:?} was wanted, and {came:?} came", row.want)),
            Err(_) => wrong.push(format!("{name}: {:?} was wanted, and nothing came", row.want)),
        }
        assert_eq!(hello(&mut beside).await, "Hello.", "another connection after {name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn hello(connection: &mut Connection) -> String {
    let headers = modern_headers("tools/call", Some("hello"));
    let reply = connection.send("POST", "/mcp", &headers, &body()).await.expect("a call was lost");
    text(&reply.json()["result"]).to_owned()
}

#[tokio::test]
async fn what_is_wrong_with_a_connection_ends_it_with_its_code() {
    hold(rows::of_connections()).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_ends_the_stream() {
    hold(rows::of_streams()).await;
}

#[tokio::test]
async fn what_does_not_begin_as_http_2_is_not_served_as_such() {
    let gateway = Gateway::start("tools: { hello: { description: H., static: { text: Hello. } } }").await;
    let mut beside = gateway.connect().await;
    for start in [&b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..], b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        // One that ended already does not take all of it.
        let _ = stream.write_all(&[start, &frame(SETTINGS, 0, 0, &[]), &call(1)].concat()).await;
        let mut said = Vec::new();
        let ended = tokio::time::timeout(LATE, stream.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "the connection goes on");
        assert!(!String::from_utf8_lossy(&said).contains("Hello."), "{said:?}");
        assert_eq!(hello(&mut beside).await, "Hello.", "another connection");
    }
}
