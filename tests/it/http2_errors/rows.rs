//! The rows: frames after the preface and SETTINGS, and what has to come of them.

use super::Want::{self, Coarse, Either, Goaway, Nothing, Reset};
use super::{
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PADDED, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, Row, STREAM_CLOSED, WINDOW_UPDATE, body, call,
};
use crate::http2_floods::{
    CONTINUATION, DATA, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, field, frame,
};

fn row(section: &'static str, what: &'static str, want: Want, frames: &[Vec<u8>]) -> Row {
    Row { section, what, frames: frames.concat(), want }
}

/// A setting (section 6.5.1).
fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// A request of these fields and no body on stream 1.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields)
}

const METHOD: (&str, &str) = (":method", "POST");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/mcp");
const HOST: (&str, &str) = (":authority", "localhost");

#[allow(clippy::too_many_lines, reason = "a table")]
pub fn of_connections() -> Vec<Row> {
    let full = (u32::MAX >> 1).to_be_bytes();
    vec![
        row(
            "4.2",
            "a frame beyond the largest",
            Goaway(FRAME_SIZE_ERROR),
            &[
                frame(HEADERS, END_HEADERS, 1, &block("hello")),
                frame(DATA, 0, 1, &vec![b' '; (16 << 10) + 1]),
            ],
        ),
        row(
            "4.3",
            "a field that is in no table",
            Coarse(COMPRESSION_ERROR),
            &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x7f])],
        ),
        row(
            "4.3",
            "another frame within a header block",
            Goaway(PROTOCOL_ERROR),
            &[frame(HEADERS, 0, 1, &block("hello")), frame(DATA, END_STREAM, 1, &body())],
        ),
        row(
            "4.3",
            "a header block that goes on on another stream",
            Goaway(PROTOCOL_ERROR),
            &[frame(HEADERS, 0, 1, &block("hello")), frame(CONTINUATION, END_HEADERS, 3, &[])],
        ),
        row("4.1", "a kind of frame that nobody knows", Nothing, &[frame(0xbb, 0xff, 0, b"who knows")]),
        row(
            "5.1",
            "DATA on a stream that was never opened",
            Goaway(PROTOCOL_ERROR),
            &[frame(DATA, 0, 5, b" ")],
        ),
        row(
            "5.1",
            "RST_STREAM of a stream that was never opened",
            Goaway(PROTOCOL_ERROR),
            &[frame(RST_STREAM, 0, 5, &[0, 0, 0, 8])],
        ),
        row(
            "5.1",
            "WINDOW_UPDATE of a stream that was never opened",
            Goaway(PROTOCOL_ERROR),
            &[frame(WINDOW_UPDATE, 0, 5, &[0, 0, 0, 8])],
        ),
        row("5.1.1", "a stream of the server's numbers", Goaway(PROTOCOL_ERROR), &[call(2)]),
        row("6.1", "DATA on no stream", Goaway(PROTOCOL_ERROR), &[frame(DATA, 0, 0, b" ")]),
        row(
            "6.1",
            "more padding than there is",
            Goaway(PROTOCOL_ERROR),
            &[
                frame(HEADERS, END_HEADERS, 1, &block("hello")),
                frame(DATA, PADDED | END_STREAM, 1, &[200, b' ', b' ']),
            ],
        ),
        row("6.2", "HEADERS on no stream", Goaway(PROTOCOL_ERROR), &[frame(HEADERS, 5, 0, &block("hello"))]),
        row(
            "6.3",
            "PRIORITY, which means nothing any more",
            Nothing,
            &[frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])],
        ),
        row("6.3", "PRIORITY of another length", Coarse(FRAME_SIZE_ERROR), &[frame(PRIORITY, 0, 1, &[0; 4])]),
        row("6.4", "RST_STREAM of no stream", Goaway(PROTOCOL_ERROR), &[frame(RST_STREAM, 0, 0, &[0; 4])]),
        row(
            "6.4",
            "RST_STREAM of another length",
            Coarse(FRAME_SIZE_ERROR),
            &[frame(HEADERS, END_HEADERS, 1, &block("hello")), frame(RST_STREAM, 0, 1, &[0; 3])],
        ),
        row("6.5", "SETTINGS of a stream", Goaway(PROTOCOL_ERROR), &[frame(SETTINGS, 0, 1, &[])]),
        row("6.5", "SETTINGS of another length", Coarse(FRAME_SIZE_ERROR), &[frame(SETTINGS, 0, 0, &[0; 5])]),
        row(
            "6.5",
            "SETTINGS that acknowledge and set",
            Coarse(FRAME_SIZE_ERROR),
            &[frame(SETTINGS, 1, 0, &setting(3, 9))],
        ),
        row(
            "6.5.2",
            "a push that is neither on nor off",
            Goaway(PROTOCOL_ERROR),
            &[frame(SETTINGS, 0, 0, &setting(2, 2))],
        ),
        row(
            "6.5.2",
            "a window beyond the largest",
            Coarse(FLOW_CONTROL_ERROR),
            &[frame(SETTINGS, 0, 0, &setting(4, 1 << 31))],
        ),
        row(
            "6.5.2",
            "frames below the smallest",
            Goaway(PROTOCOL_ERROR),
            &[frame(SETTINGS, 0, 0, &setting(5, 100))],
        ),
        row(
            "6.5.2",
            "frames beyond the largest",
            Goaway(PROTOCOL_ERROR),
            &[frame(SETTINGS, 0, 0, &setting(5, 1 << 24))],
        ),
        row("6.5.2", "a setting that nobody knows", Nothing, &[frame(SETTINGS, 0, 0, &setting(0xff, 7))]),
        row(
            "6.6",
            "PUSH_PROMISE of a client",
            Goaway(PROTOCOL_ERROR),
            &[
                frame(HEADERS, END_HEADERS, 1, &block("hello")),
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block("hello")].concat()),
            ],
        ),
        row("6.7", "PING of a stream", Goaway(PROTOCOL_ERROR), &[frame(PING, 0, 1, &[7; 8])]),
        row("6.7", "PING of another length", Coarse(FRAME_SIZE_ERROR), &[frame(PING, 0, 0, &[7; 7])]),
        row("6.8", "GOAWAY of a stream", Goaway(PROTOCOL_ERROR), &[frame(GOAWAY, 0, 1, &[0; 8])]),
        row(
            "6.9",
            "a window that grows by nothing",
            Goaway(PROTOCOL_ERROR),
            &[frame(WINDOW_UPDATE, 0, 0, &[0; 4])],
        ),
        row(
            "6.9",
            "WINDOW_UPDATE of another length",
            Coarse(FRAME_SIZE_ERROR),
            &[frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
        ),
        row(
            "6.9.1",
            "a window that grows beyond the largest",
            Goaway(FLOW_CONTROL_ERROR),
            &[frame(WINDOW_UPDATE, 0, 0, &full), frame(WINDOW_UPDATE, 0, 0, &full)],
        ),
        row(
            "6.10",
            "CONTINUATION of nothing",
            Goaway(PROTOCOL_ERROR),
            &[frame(CONTINUATION, END_HEADERS, 1, &block("hello"))],
        ),
    ]
}

pub fn of_streams() -> Vec<Row> {
    let open = || frame(HEADERS, END_HEADERS, 1, &block("hello"));
    let full = (u32::MAX >> 1).to_be_bytes();
    let long = [block("hello"), field("content-length", "1")].concat();
    vec![
        row(
            "5.1",
            "DATA after the end of its stream",
            Coarse(STREAM_CLOSED),
            &[frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("hello")), frame(DATA, 0, 1, b" ")],
        ),
        row(
            "5.1",
            "HEADERS after the end of their stream",
            Coarse(STREAM_CLOSED),
            &[
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("hello")),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &block("hello")),
            ],
        ),
        row(
            "6.9",
            "the window of a stream that grows by nothing",
            Either(PROTOCOL_ERROR),
            &[open(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
        ),
        row(
            "6.9.1",
            "the window of a stream that grows beyond the largest",
            Either(FLOW_CONTROL_ERROR),
            &[open(), frame(WINDOW_UPDATE, 0, 1, &full)],
        ),
        row(
            "8.1",
            "trailers that do not end the stream",
            Either(PROTOCOL_ERROR),
            &[open(), frame(HEADERS, END_HEADERS, 1, &field("x-a", "b"))],
        ),
        // The library lets them pass, and nobody here reads trailers.
        row(
            "8.1",
            "trailers with what only heads have",
            Nothing,
            &[open(), frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(":method", "GET"))],
        ),
        row(
            "8.1.1",
            "more of a body than was said",
            Reset(PROTOCOL_ERROR),
            &[frame(HEADERS, END_HEADERS, 1, &long), frame(DATA, END_STREAM, 1, &body())],
        ),
        row(
            "8.2.1",
            "a name in capitals",
            Either(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, ("Accept", "*/*")])],
        ),
        row(
            "8.2.2",
            "a field of connections",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, ("connection", "keep-alive")])],
        ),
        row(
            "8.2.2",
            "a transfer coding",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, ("transfer-encoding", "chunked")])],
        ),
        row(
            "8.2.2",
            "TE of anything but trailers",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, ("te", "gzip")])],
        ),
        row(
            "8.3",
            "a pseudo-header that nobody knows",
            Either(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, (":x", "y")])],
        ),
        row(
            "8.3",
            "a pseudo-header of responses",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, PATH, HOST, (":status", "200")])],
        ),
        row(
            "8.3",
            "a pseudo-header after others",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, HOST, ("x-a", "b"), PATH])],
        ),
        row("8.3.1", "no method", Reset(PROTOCOL_ERROR), &[request(&[SCHEME, PATH, HOST])]),
        row("8.3.1", "no scheme", Reset(PROTOCOL_ERROR), &[request(&[METHOD, PATH, HOST])]),
        row("8.3.1", "no path", Reset(PROTOCOL_ERROR), &[request(&[METHOD, SCHEME, HOST])]),
        row(
            "8.3.1",
            "an empty path",
            Reset(PROTOCOL_ERROR),
            &[request(&[METHOD, SCHEME, (":path", ""), HOST])],
        ),
        row("8.3.1", "two paths", Reset(PROTOCOL_ERROR), &[request(&[METHOD, SCHEME, PATH, PATH, HOST])]),
        row("8.3.1", "two methods", Reset(PROTOCOL_ERROR), &[request(&[METHOD, METHOD, SCHEME, PATH, HOST])]),
    ]
}
