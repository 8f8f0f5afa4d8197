//! The laws of the decoder, and of everything that is sent back.

use serde_json::Value;
use serde_json::value::RawValue;
use sidegate::mcp::{self, Answer, Message};

use super::json::{self, Json, Node};

/// What the decoder takes is a JSON-RPC message and is read as the naive reader reads it; the rest is refused in form.
pub fn decoding(data: &[u8]) {
    let tree = json::read(data);
    match mcp::parse(data) {
        Ok(message) => {
            let tree = tree.expect("a message was taken that is not JSON");
            let read = serde_json::from_slice::<Value>(data);
            assert!(read.is_ok() || tree.is_extreme(), "a message was taken that no reader takes: {read:?}");
            taken(&message, &tree);
        }
        Err(refusal) => refused(&refusal, tree.as_ref()),
    }
}

fn taken(message: &Message<'_>, tree: &Node<'_>) {
    assert!(tree.is_object(), "a message is an object");
    for name in ["jsonrpc", "id", "method", "params", "result", "error"] {
        assert!(tree.all(name).len() <= 1, "`{name}` is given twice");
    }
    let version = tree.last("jsonrpc").and_then(Node::text);
    assert_eq!(version, Some("2.0"), "the version of JSON-RPC");
    assert_eq!(
        message.id.as_deref(),
        tree.last("id").map(|id| id.raw),
        "the id is not the one that was sent"
    );
    assert!(tree.last("id").is_none_or(is_id), "not an id: {:?}", message.id);
    let method = tree.last("method").filter(|m| !m.is_null());
    assert_eq!(
        message.method.as_deref(),
        method.map(|m| m.text().expect("a method is a text")),
        "the method"
    );
    let (result, error) = (tree.last("result").is_some(), tree.last("error").is_some());
    assert_eq!(u8::from(method.is_some()) + u8::from(result) + u8::from(error), 1, "a request or a response");
    assert!(!result || message.id.is_some(), "a result belongs to a request");
    assert_eq!(message.result.map(RawValue::get), tree.last("result").map(|r| r.raw), "the result");
    params(message, tree.last("params").filter(|p| !p.is_null()));
}

fn params(message: &Message<'_>, sent: Option<&Node<'_>>) {
    assert!(sent.is_none_or(Node::is_object), "`params` is an object");
    let read = &message.params;
    let members: [(&str, Option<&RawValue>); 12] = [
        ("name", read.name),
        ("uri", read.uri),
        ("arguments", read.arguments),
        ("cursor", read.cursor),
        ("protocolVersion", read.protocol_version),
        ("requestId", read.request_id),
        ("ref", read.reference),
        ("argument", read.argument),
        ("context", read.context),
        ("capabilities", read.capabilities),
        ("level", read.level),
        ("notifications", read.notifications),
    ];
    for (name, member) in members {
        only(sent, name, member, false);
    }
    only(sent, "inputResponses", read.input_responses, true);
    only(sent, "requestState", read.request_state, true);
    let meta = sent.and_then(|p| p.last("_meta")).filter(|m| !m.is_null());
    assert!(meta.is_none_or(Node::is_object), "`_meta` is an object");
    assert_eq!(meta.is_some(), read.meta.is_some(), "`_meta`");
    let Some(read) = &read.meta else { return };
    only(meta, "io.modelcontextprotocol/protocolVersion", read.protocol_version, true);
    only(meta, "io.modelcontextprotocol/clientCapabilities", read.client_capabilities, true);
    let token = meta.and_then(|m| m.last("progressToken"));
    // What is sent back is a string or an integer, as long as an id may be.
    let readable = token.is_some_and(|t| is_id(t) && t.raw.len() <= 256);
    only(meta.filter(|_| readable), "progressToken", read.progress_token, false);
    assert!(meta.is_none_or(|m| m.all("progressToken").len() <= 1), "`progressToken` is given twice");
    only(meta, "io.modelcontextprotocol/logLevel", read.log_level, false);
}

/// A member is there at most once and was read as it was written.
fn only(object: Option<&Node<'_>>, name: &str, read: Option<&RawValue>, null_counts: bool) {
    let all = object.map(|o| o.all(name)).unwrap_or_default();
    assert!(all.len() <= 1, "`{name}` is given twice");
    let sent = all.first().filter(|n| null_counts || !n.is_null()).map(|n| n.raw);
    assert_eq!(read.map(RawValue::get), sent, "`{name}`");
}

fn refused(refusal: &Answer, tree: Option<&Node<'_>>) {
    let Answer::Reply { status, body, .. } = refusal else { panic!("what cannot be read is not accepted") };
    assert_eq!(*status, 400);
    let body = &body.clone().into_vec();
    let text = String::from_utf8_lossy(body);
    let code = error_code(body).unwrap_or_else(|| panic!("a refusal is an error: {text}"));
    assert!(matches!(code, -32700 | -32600 | -32602), "{text}");
    assert!(code != -32700 || tree.is_none_or(Node::is_extreme), "refused as no JSON, which it is: {text}");
    let echoed = json::read(body).and_then(|r| r.last("id").map(|id| id.raw));
    let sent = tree.and_then(|t| t.last("id")).map(|id| id.raw);
    assert!(echoed.is_none() || echoed == sent, "the id {echoed:?} was never sent: {text}");
    reply(body, echoed);
}

/// A string, or an integer of 64 bits.
pub fn is_id(node: &Node<'_>) -> bool {
    match &node.value {
        Json::Text(text) => text.is_some(),
        Json::Number(text) => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
        _ => false,
    }
}

/// The code of an error reply.
pub fn error_code(body: &[u8]) -> Option<i64> {
    serde_json::from_slice::<Value>(body).ok()?.get("error")?.get("code")?.as_i64()
}

/// One line, one JSON-RPC response, one of result and error, the id as it was sent, no name twice.
pub fn reply(body: &[u8], id: Option<&str>) {
    let tree = sound(body);
    let text = String::from_utf8_lossy(body);
    let Json::Object(members) = &tree.value else { panic!("a response is an object: {text}") };
    let names: Vec<&str> = members.iter().filter_map(|(name, _)| name.as_deref()).collect();
    let wanted: &[&str] = if id.is_some() { &["jsonrpc", "id"] } else { &["jsonrpc"] };
    let (last, rest) = names.split_last().expect("a response has members");
    assert_eq!(rest, wanted, "{text}");
    assert!(matches!(*last, "result" | "error"), "{text}");
    assert_eq!(tree.last("id").map(|n| n.raw), id, "{text}");
    if let Some(error) = tree.last("error") {
        assert!(error_code(body).is_some(), "an error has a code: {text}");
        assert!(error.last("message").and_then(Node::text).is_some_and(|m| !m.is_empty()), "{text}");
    }
    assert!(tree.last("result").is_none_or(Node::is_object), "{text}");
}

/// One line of JSON-RPC 2.0 that every reader takes.
pub fn sound(line: &[u8]) -> Node<'_> {
    let text = String::from_utf8_lossy(line);
    assert!(!line.iter().any(|b| matches!(b, b'\n' | b'\r')), "more than one line: {text}");
    let tree = json::read(line).unwrap_or_else(|| panic!("not JSON: {text}"));
    assert!(serde_json::from_slice::<Value>(line).is_ok(), "no reader takes this: {text}");
    assert!(!tree.has_duplicates(), "a name twice: {text}");
    assert_eq!(tree.last("jsonrpc").and_then(Node::text), Some("2.0"), "{text}");
    tree
}
