//! What must hold for any bytes that a stranger sends: the laws behind the fuzz targets. `tests/it/fuzz_seeds.rs` runs the
//! committed inputs through the same ones.

mod exchange;
mod json;
mod ladder;
mod laws;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// Any bytes as one message.
pub fn decoder(data: &[u8]) {
    laws::decoding(data);
}

/// Header lines (`name: value`), a blank line, a body. Without a blank line all of it is a body that came over stdio.
pub fn answer(data: &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => exchange::hold(Some(&headers(&data[..end])), &data[end + 2..]),
        None => exchange::hold(None, data),
    }
}

/// A method, a name, arguments and header lines, each on a line of its own: a sound modern request with any headers.
/// What is not JSON stands for the argument `region`.
pub fn headers_of_calls(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (method, name, arguments) = (next(), next(), next());
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let arguments = match json::read(arguments.as_bytes()) {
        Some(_) => arguments.to_owned(),
        None => format!("{{\"region\":{}}}", quoted(arguments)),
    };
    let (method, name) = (quoted(method), quoted(name));
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":\"h\",\"method\":{method},\"params\":{{\"name\":{name},\"uri\":{name},\
         \"arguments\":{arguments},\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}"
    );
    // As bytes again: a header may hold what is not UTF-8.
    let rest = data.splitn(4, |b| *b == b'\n').nth(3).unwrap_or_default();
    exchange::hold(Some(&headers(rest)), body.as_bytes());
}

/// The header lines that HTTP would let through.
fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|b| *b == b'\n').take(32) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}
