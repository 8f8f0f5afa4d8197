//! The faults of an upstream, one row each: what it sends, what is said of it, and what becomes of the connection.

use std::time::Duration;

use crate::support::Step;
use crate::support::faults::When;
use crate::support::upstream::reply;

/// Stands in every body and header that must not be told.
pub const SECRET: &str = "upstream-body-secret";
const UNREACHABLE: &str = "cannot be reached right now. Try again in a moment.";
const LATE: &str = "gave no answer within 1s. Try again, or ask for less.";
const BROKE: &str = "gave an answer that cannot be used: the answer broke off.";
const NO_HTTP: &str = "gave an answer that cannot be used: it is not sound HTTP.";
const LARGE: &str = "is larger than 1048576 bytes. Ask for less.";

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Nothing more is asked on it.
    Over,
    /// The answer was whole and only its content is bad: it may serve on.
    Kept,
    /// Where the answer ended is agreed on by then, and what else is there would not be taken for another one.
    Either,
}

pub struct Row {
    pub name: &'static str,
    pub when: When,
    pub steps: Vec<Step>,
    pub says: &'static str,
    pub line: Line,
}

pub fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// A success of JSON with these header lines, and what follows it.
fn head(rest: &str) -> Step {
    send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Own: {SECRET}\r\n{rest}\r\n"))
}

fn sized() -> Step {
    head("Content-Length: 100\r\n")
}

fn chunked() -> Step {
    head("Transfer-Encoding: chunked\r\n")
}

fn again(bytes: impl AsRef<[u8]>, times: usize) -> Step {
    Step::Repeat(bytes.as_ref().to_vec(), times)
}

fn drip(bytes: &[u8], millis: u64) -> Step {
    Step::Drip(bytes.to_vec(), Duration::from_millis(millis))
}

fn asked(name: &'static str, steps: Vec<Step>, says: &'static str) -> Row {
    Row { name, when: When::Asked, steps, says, line: Line::Over }
}

fn connected(name: &'static str, steps: Vec<Step>, says: &'static str) -> Row {
    Row { name, when: When::Connected, steps, says, line: Line::Over }
}

/// A whole answer with content that is of no use.
fn whole(name: &'static str, status: &str, kind: &str, body: &[u8], says: &'static str) -> Row {
    let steps = vec![Step::Send(reply(status, kind, body))];
    Row { name, when: When::Asked, steps, says, line: Line::Kept }
}

/// Too late, or never.
pub fn late() -> Vec<Row> {
    vec![
        connected("accepts_and_says_nothing", vec![Step::Hang], LATE),
        connected("tls_stalls", vec![Step::Hang], LATE),
        connected("tls_stalls_half_way", vec![send([22, 3, 3, 0, 122, 2, 0]), Step::Hang], LATE),
        asked("says_nothing", vec![Step::Hang], LATE),
        asked("head_stalls", vec![send("HTTP/1.1 200 OK\r\nContent-Ty"), Step::Hang], LATE),
        asked("head_drips", vec![drip(b"HTTP/1.1 200 OK\r\n", 1000)], LATE),
        asked("body_stalls_at_once", vec![sized(), Step::Hang], LATE),
        asked("body_stalls_half_way", vec![sized(), send([b' '; 50]), Step::Hang], LATE),
        asked("body_drips", vec![sized(), drip(&[b' '; 100], 1000)], LATE),
        asked("chunks_drip", vec![chunked(), drip(&b"1\r\n \r\n".repeat(50), 200)], LATE),
        asked("chunk_never_ends", vec![chunked(), send("5\r\nhel"), Step::Hang], LATE),
        asked("last_chunk_never_comes", vec![chunked(), send("2\r\n{}\r\n"), Step::Hang], LATE),
        asked(
            "hundred_continues",
            vec![again("HTTP/1.1 100 Continue\r\n\r\n".repeat(2000), 200_000), Step::Hang],
            LATE,
        ),
        asked(
            "unknown_transfer_encoding",
            vec![head("Transfer-Encoding: xchunked\r\n"), send("{}"), Step::Hang],
            LATE,
        ),
        asked(
            "early_hints",
            vec![again("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", 500), Step::Hang],
            LATE,
        ),
    ]
}

/// The connection ends, or the body is not framed as said.
pub fn broken() -> Vec<Row> {
    let secret = SECRET;
    vec![
        connected(
            "tls_answered_in_the_open",
            vec![send("HTTP/1.1 400 Bad Request\r\n\r\n"), Step::Hang],
            UNREACHABLE,
        ),
        connected("closes_at_once", vec![Step::Close], UNREACHABLE),
        connected("resets_at_once", vec![Step::Reset], UNREACHABLE),
        asked("closes", vec![Step::Close], UNREACHABLE),
        asked("resets", vec![Step::Reset], UNREACHABLE),
        asked("head_cut", vec![send("HTTP/1.1 200 OK\r\nX-Own: up"), Step::Close], UNREACHABLE),
        asked("body_cut", vec![sized(), send(secret), Step::Close], BROKE),
        asked(
            "body_reset",
            vec![sized(), send(secret), Step::Wait(Duration::from_millis(50)), Step::Reset],
            BROKE,
        ),
        asked("chunks_cut", vec![chunked(), send("5\r\nhello\r\n"), Step::Close], BROKE),
        asked(
            "chunk_size_is_no_number",
            vec![chunked(), send("zz\r\nhello\r\n0\r\n\r\n"), Step::Hang],
            BROKE,
        ),
        asked("chunk_size_is_negative", vec![chunked(), send("-2\r\n{}\r\n0\r\n\r\n"), Step::Hang], BROKE),
        asked("chunk_size_with_a_prefix", vec![chunked(), send("0x2\r\n{}\r\n0\r\n\r\n"), Step::Hang], BROKE),
        asked("chunk_lines_without_return", vec![chunked(), send("2\n{}\n0\n\n"), Step::Hang], BROKE),
        asked(
            "chunk_extension_on_two_lines",
            vec![chunked(), send("2;a=\"b\r\n\";c\r\n{}\r\n0\r\n\r\n"), Step::Hang],
            BROKE,
        ),
        asked("chunk_size_overflows", vec![chunked(), send("ffffffffffffffff1\r\nx"), Step::Hang], BROKE),
        asked("chunk_is_longer_than_said", vec![chunked(), send("2\r\n{} \r\n0\r\n\r\n"), Step::Hang], BROKE),
        asked(
            "chunk_extensions_flood",
            vec![chunked(), send("2"), again(format!(";{secret}=1"), 100_000), Step::Hang],
            BROKE,
        ),
        asked(
            "every_chunk_extended",
            vec![chunked(), again(format!("1;{}\r\n \r\n", "e".repeat(200)), 100_000), Step::Hang],
            BROKE,
        ),
        asked(
            "endless_trailers",
            vec![chunked(), send("2\r\n{}\r\n0\r\n"), again(format!("X-T: {secret}\r\n"), 1_000_000)],
            BROKE,
        ),
    ]
}

/// What comes is no head of HTTP.
pub fn no_heads() -> Vec<Row> {
    let secret = SECRET;
    vec![
        asked(
            "two_lengths",
            vec![head("Content-Length: 2\r\nContent-Length: 3\r\n"), send("{} "), Step::Hang],
            NO_HTTP,
        ),
        asked("length_with_a_sign", vec![head("Content-Length: +2\r\n"), send("{}"), Step::Hang], NO_HTTP),
        asked("length_is_no_number", vec![head("Content-Length: two\r\n"), send("{}"), Step::Hang], NO_HTTP),
        asked("length_is_negative", vec![head("Content-Length: -1\r\n"), send("{}"), Step::Hang], NO_HTTP),
        asked(
            "length_overflows",
            vec![head("Content-Length: 99999999999999999999\r\n"), send("{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "nul_in_a_header",
            vec![head("X-N: a\0b\r\nContent-Length: 2\r\n"), send("{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "header_without_a_colon",
            vec![head("nonsense\r\nContent-Length: 2\r\n"), send("{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "control_in_a_status_line",
            vec![send("HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "return_in_a_header",
            vec![head("X-A: b\rc\r\nContent-Length: 2\r\n"), send("{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "header_on_two_lines",
            vec![head("X-A: b\r\n c\r\nContent-Length: 2\r\n"), send("{}"), Step::Hang],
            NO_HTTP,
        ),
        asked("space_before_a_colon", vec![head("Content-Length : 2\r\n"), send("{}"), Step::Hang], NO_HTTP),
        asked("http_0_9", vec![send(format!("<html>{secret}</html>\n")), Step::Close], NO_HTTP),
        asked("another_protocol", vec![send("SSH-2.0-OpenSSH_9.6\r\n"), Step::Hang], NO_HTTP),
        asked("random_bytes", vec![send([0, 255, 1, 254, 13, 10, 13, 10]), Step::Hang], NO_HTTP),
        asked(
            "status_of_two_digits",
            vec![send("HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "status_of_letters",
            vec![send("HTTP/1.1 two OK\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "version_2_in_text",
            vec![send("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "version_3_in_text",
            vec![send("HTTP/3.7 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang],
            NO_HTTP,
        ),
        asked("status_0", vec![send("HTTP/1.1 000 No\r\nContent-Length: 2\r\n\r\n{}"), Step::Hang], NO_HTTP),
        asked(
            "head_of_a_mebibyte",
            vec![send("HTTP/1.1 200 OK\r\nX: "), again([b'y'; 1024], 1024), Step::Hang],
            NO_HTTP,
        ),
        asked(
            "ten_thousand_headers",
            vec![
                send("HTTP/1.1 200 OK\r\n"),
                again("X-Pad: y\r\n", 10_000),
                send("Content-Length: 0\r\n\r\n"),
                Step::Hang,
            ],
            NO_HTTP,
        ),
    ]
}

/// Sound in parts, and not what was asked for.
pub fn doubtful() -> Vec<Row> {
    let switching = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let both = |name, lines| {
        let steps = vec![head(lines), send("2\r\n{}\r\n0\r\n\r\n")];
        Row { name, when: When::Asked, steps, says: NO_HTTP, line: Line::Either }
    };
    vec![
        asked("another_protocol_is_begun", vec![send(switching), Step::Hang], "failed (status 101)."),
        both("length_beside_chunks", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
        both("chunks_beside_length", "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n"),
    ]
}

/// Larger than the cap, said or not.
pub fn large() -> Vec<Row> {
    let piece = vec![b'x'; 64 << 10];
    let chunk = [b"10000\r\n", piece.as_slice(), b"\r\n"].concat();
    vec![
        asked(
            "large_and_says_so",
            vec![head("Content-Length: 10000000000\r\n"), again(&piece, 160_000)],
            LARGE,
        ),
        asked("large_in_chunks", vec![chunked(), again(chunk, 160_000)], LARGE),
        asked("large_until_it_closes", vec![head(""), again(&piece, 160_000)], LARGE),
    ]
}

/// Sound HTTP, and nothing that can be used.
pub fn unusable() -> Vec<Row> {
    let secret = SECRET;
    let page = format!("<html>{secret}</html>");
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let json = "application/json";
    vec![
        whole("html", "200 OK", "text/html; charset=utf-8", page.as_bytes(), "an HTML page instead of data."),
        whole("html_called_json", "200 OK", json, page.as_bytes(), "JSON that is not valid."),
        whole("json_cut", "200 OK", json, format!("{{\"{secret}\": ").as_bytes(), "JSON that is not valid."),
        whole("two_jsons", "200 OK", json, b"{}{}", "JSON that is not valid."),
        whole(
            "json_200000_deep",
            "200 OK",
            json,
            deep(200_000).as_bytes(),
            "JSON that is too deeply nested.",
        ),
        whole("json_1000_deep", "200 OK", json, deep(1000).as_bytes(), "JSON that is too deeply nested."),
        whole("json_not_utf8", "200 OK", json, b"{\"a\":\"\xff\xfe\"}", "text that is not UTF-8."),
        whole("text_not_utf8", "200 OK", "text/plain", b"\xff\xfe", "text that is not UTF-8."),
        whole(
            "redirect",
            "302 Found",
            "text/plain",
            secret.as_bytes(),
            "a redirect (status 302), which is not followed.",
        ),
        whole(
            "status_400",
            "400 Bad Request",
            "text/plain",
            secret.as_bytes(),
            "refused the request (status 400).",
        ),
        whole(
            "status_401",
            "401 Unauthorized",
            "text/plain",
            secret.as_bytes(),
            "this server's own credentials (status 401).",
        ),
        whole(
            "status_403",
            "403 Forbidden",
            "text/plain",
            secret.as_bytes(),
            "this server's own credentials (status 403).",
        ),
        whole(
            "status_429",
            "429 Too Many",
            "text/plain",
            secret.as_bytes(),
            "takes no more requests for now (status 429).",
        ),
        whole(
            "status_500",
            "500 No",
            json,
            format!("{{\"trace\":\"{secret}\"}}").as_bytes(),
            "failed (status 500).",
        ),
        whole(
            "status_503",
            "503 No",
            "text/plain",
            secret.as_bytes(),
            "failed (status 503). Try again in a moment.",
        ),
        whole("status_799", "799 Odd", "text/plain", secret.as_bytes(), "failed (status 799)."),
    ]
}
