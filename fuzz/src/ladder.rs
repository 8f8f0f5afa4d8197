//! A second, naive comparison of a modern request's headers with its body: what has to be there, once, and equal.

use hyper::HeaderMap;

use super::json::{self, Json, Node};

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The parameters of the tools in `gateway.yaml` that headers repeat: tool, header, path.
pub const PARAMS: [(&str, &str, &[&str]); 5] = [
    ("routed", "mcp-param-region", &["region"]),
    ("routed", "mcp-param-number", &["number"]),
    ("routed", "mcp-param-flag", &["flag"]),
    ("nested", "mcp-param-city", &["where", "city"]),
    ("nested", "mcp-param-floor", &["where", "floor"]),
];

/// Whether every header that this modern request has to repeat is there and equal.
pub fn agrees(headers: &HeaderMap, request: &Node<'_>) -> bool {
    let params = request.last("params");
    let meta = params.and_then(|p| p.last("_meta"));
    let version = meta.and_then(|m| m.last("io.modelcontextprotocol/protocolVersion"));
    let method = request.last("method").and_then(Node::text).unwrap_or_default();
    let name = match method {
        "tools/call" | "prompts/get" => params.and_then(|p| p.last("name")),
        "resources/read" => params.and_then(|p| p.last("uri")),
        _ => None,
    };
    plain(headers, "mcp-protocol-version") == version.and_then(Node::text)
        && plain(headers, "mcp-method") == Some(method)
        && name.and_then(Node::text).is_none_or(|n| plain(headers, "mcp-name").is_some_and(|h| same(h, n)))
        && (method != "tools/call" || params_agree(headers, name, params))
}

fn params_agree(headers: &HeaderMap, tool: Option<&Node<'_>>, params: Option<&Node<'_>>) -> bool {
    let tool = tool.and_then(Node::text);
    let arguments = params.and_then(|p| p.last("arguments")).filter(|a| !a.is_null());
    if arguments.is_some_and(|a| !a.is_object()) {
        // Refused for that, whatever the headers say.
        return true;
    }
    PARAMS.iter().filter(|(owner, ..)| tool == Some(owner)).all(|(_, header, path)| {
        let value = arguments.and_then(|a| path.iter().try_fold(a, |node, name| node.last(name)));
        // A header beside an argument that is not there says what the body does not.
        let Some(value) = value.filter(|v| !v.is_null()) else { return !headers.contains_key(*header) };
        let Some(header) = plain(headers, header) else { return false };
        match &value.value {
            Json::Text(Some(text)) => same(header, text),
            Json::Bool(flag) => same(header, if *flag { "true" } else { "false" }),
            Json::Number(number) => {
                let header = if marked(header) { unmarked(header) } else { Some(header.to_owned()) };
                header.is_some_and(|h| same_number(&h, number))
            }
            _ => false,
        }
    })
}

/// The one value of a header, in visible ASCII, without blanks around it.
fn plain<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values: Vec<_> = headers.get_all(name).iter().collect();
    let [value] = values.as_slice() else { return None };
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let visible = text.bytes().all(|b| (32..127).contains(&b) || b == b'\t');
    visible.then(|| text.trim_matches([' ', '\t']))
}

fn marked(header: &str) -> bool {
    header.len() >= 11 && header.starts_with("=?base64?") && header.ends_with("?=")
}

/// Whether the header says this text: as it is, or marked and in the one right spelling of base64.
fn same(header: &str, text: &str) -> bool {
    if marked(header) { header == format!("=?base64?{}?=", base64(text)) } else { header == text }
}

fn base64(text: &str) -> String {
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let mut bits = 0_u32;
        for index in 0..3 {
            bits = (bits << 8) | chunk.get(index).copied().map_or(0, u32::from);
        }
        for index in 0..4 {
            let letter = LETTERS.as_bytes()[((bits >> (18 - 6 * index)) & 63) as usize];
            out.push(if index > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

/// The text of a marked header, if writing it again gives the same letters.
fn unmarked(header: &str) -> Option<String> {
    let inner = header.strip_prefix("=?base64?")?.strip_suffix("?=")?;
    let mut bits = String::new();
    for letter in inner.trim_end_matches('=').chars() {
        let value = LETTERS.find(letter)?;
        bits.push_str(&format!("{value:06b}"));
    }
    let bytes = (0..bits.len() / 8).map(|i| u8::from_str_radix(bits.get(i * 8..i * 8 + 8)?, 2).ok());
    let text = String::from_utf8(bytes.collect::<Option<_>>()?).ok()?;
    (base64(&text) == inner).then_some(text)
}

/// Whether a header says the number that the body has: digit for digit where that is a whole one of 64 bits, else as
/// the nearest float, which is what a tool is given.
fn same_number(header: &str, body: &str) -> bool {
    let is_number = |t: &str| matches!(json::read(t.as_bytes()), Some(n) if n.raw == t && matches!(n.value, Json::Number(_)));
    let float = |t: &str| t.parse::<f64>().ok().filter(|f| f.is_finite());
    if !is_number(header) || float(header).is_none() {
        return false;
    }
    let whole = body != "-0" && (body.parse::<i64>().is_ok() || body.parse::<u64>().is_ok());
    let exact = decimal(header).is_some_and(|h| Some(h) == decimal(body));
    exact || (!whole && float(header) == float(body))
}

/// Sign, digits without zeros around them, and the power of ten they are multiplied with.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (digits, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{before}{after}");
    let short = all.trim_end_matches('0');
    if short.trim_start_matches('0').is_empty() {
        return Some((false, String::new(), 0));
    }
    let moved = i64::try_from(all.len() - short.len()).ok()? - i64::try_from(after.len()).ok()?;
    Some((negative, short.trim_start_matches('0').to_owned(), power.parse::<i64>().ok()?.checked_add(moved)?))
}
