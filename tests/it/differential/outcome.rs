//! The normal form of a reply: what a client can act on, without texts that are each server's own.

use std::collections::BTreeSet;

use serde_json::Value;

use super::wire::Raw;

/// What a client saw.
pub struct Outcome {
    /// Status, then what the body is; equal if both servers did the same.
    pub form: String,
    /// The same without the members of a result; for a row whose other side has no result.
    pub brief: String,
    pub status: u16,
    /// How a message was framed: `json` or `sse`; empty if there was none.
    pub framing: &'static str,
    /// Whether a result carried `_meta`; `None` if there was no result.
    pub stamped: Option<bool>,
}

/// `id` is the one that was sent, if one could be read.
pub fn of(reply: Option<&Raw>, id: Option<&Value>) -> Outcome {
    let Some(reply) = reply else {
        let form = "no reply".to_owned();
        return Outcome { brief: form.clone(), form, status: 0, framing: "", stamped: None };
    };
    let (framing, messages) = match reply.kind().as_str() {
        "text/event-stream" => ("sse", reply.events()),
        "application/json" => ("json", serde_json::from_slice(&reply.body).into_iter().collect()),
        _ => ("", Vec::new()),
    };
    let answered = |m: &&Value| m.is_array() || m.get("result").is_some() || m.get("error").is_some();
    let answer = messages.iter().find(answered);
    let before: Vec<String> = messages.iter().filter_map(notification).collect();
    let whole = |brief: bool| {
        let mut parts = vec![reply.status.to_string()];
        parts.extend(before.iter().cloned());
        parts.push(match answer {
            Some(Value::Array(all)) => format!("batch of {}", batch(all)),
            Some(message) => message_form(message, id, brief),
            None if framing == "sse" => "stream".to_owned(),
            None if reply.body.is_empty() => "no body".to_owned(),
            None => "text".to_owned(),
        });
        parts.extend(reply.open.then(|| "left open".to_owned()));
        parts.extend(reply.header("mcp-session-id").map(|_| "with a session id".to_owned()));
        if reply.status == 405 {
            parts.push(format!("Allow {}", reply.header("allow").unwrap_or("missing")));
        }
        parts.join("; ")
    };
    let result = answer.and_then(|m| m.get("result"));
    Outcome {
        form: whole(false),
        brief: whole(true),
        status: reply.status,
        framing: if answer.is_some() { framing } else { "" },
        stamped: result.map(|r| r.get("_meta").is_some()),
    }
}

/// A message before the answer; of an acknowledgement, what was acknowledged.
fn notification(message: &Value) -> Option<String> {
    let method = message.get("method")?.as_str()?;
    let accepted = message["params"].get("notifications").map(|n| format!(" {}", canonical(n)));
    Some(format!("after {method}{}", accepted.unwrap_or_default()))
}

/// Members by id: their order is free.
fn batch(all: &[Value]) -> String {
    let mut forms: Vec<String> = all
        .iter()
        .map(|m| format!("{} {}", canonical(&m["id"]), message_form(m, m.get("id"), false)))
        .collect();
    forms.sort();
    format!("{}: {}", all.len(), forms.join(", "))
}

fn message_form(message: &Value, id: Option<&Value>, brief: bool) -> String {
    let mut form = match (message.get("result"), message.get("error")) {
        (Some(result), None) if brief && result["isError"] == true => "tool error".to_owned(),
        (Some(_), None) if brief => "result".to_owned(),
        (Some(result), None) => format!("result {}", shape(result)),
        (None, Some(error)) => {
            let data = error.get("data").map(|d| format!(" data {}", keys(d))).unwrap_or_default();
            format!("error {}{data}", canonical(&error["code"]))
        }
        _ => "no JSON-RPC response".to_owned(),
    };
    match message.get("id") {
        found if found == id => {}
        None => form.push_str(", no id"),
        Some(Value::Null) => form.push_str(", id null"),
        Some(_) => form.push_str(", another id"),
    }
    form
}

/// The members of a result, sorted; `_meta` is compared for all results at once, and `isError: false` is the default.
fn shape(result: &Value) -> String {
    let Some(object) = result.as_object() else { return keys(result) };
    let skipped = |name: &str, value: &Value| name == "_meta" || (name == "isError" && *value == false);
    let mut members: Vec<String> = object
        .iter()
        .filter(|(name, value)| !skipped(name, value))
        .map(|(name, value)| member(name, value))
        .collect();
    members.sort();
    format!("{{{}}}", members.join(", "))
}

fn member(name: &str, value: &Value) -> String {
    let each = |show: fn(&Value) -> String| {
        let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
        format!("{name} [{}]", all.iter().map(show).collect::<Vec<_>>().join(", "))
    };
    match name {
        "content" => each(|c| text(&c["type"])),
        "contents" => each(keys),
        "messages" => each(|m| format!("{} {}", text(&m["role"]), text(&m["content"]["type"]))),
        "tools" | "prompts" | "resources" | "resourceTemplates" => format!("{name} {}", items(value)),
        "structuredContent" | "completion" | "capabilities" | "supportedVersions" | "protocolVersion"
        | "resultType" | "isError" | "cacheScope" => format!("{name} {}", canonical(value)),
        _ => name.to_owned(),
    }
}

/// A list's length, and which members its items have.
fn items(value: &Value) -> String {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let forms: BTreeSet<String> = all.iter().map(keys).collect();
    format!("{} of {}", all.len(), forms.into_iter().collect::<Vec<_>>().join(" or "))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn keys(value: &Value) -> String {
    let Some(object) = value.as_object() else { return canonical(value) };
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    format!("{{{}}}", names.join(" "))
}

/// JSON with sorted members.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let mut members: Vec<String> =
                object.iter().map(|(name, value)| format!("{name}: {}", canonical(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(all) => {
            format!("[{}]", all.iter().map(canonical).collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}
