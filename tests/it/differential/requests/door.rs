//! What is decided before a message is read: media types, host, origin, HTTP methods; in both eras.

use serde_json::json;

use crate::differential::request::{Request, Session};

fn list(name: &str) -> [Request; 2] {
    let [modern, legacy] = Request::both(name, "tools/list", &json!({}));
    [modern, legacy.session(Session::Own)]
}

/// A header set to every one of some values; `None` leaves it out.
fn set(header: &str, values: &[Option<&str>]) -> Vec<Request> {
    let each = values.iter().flat_map(|value| {
        let shown = value.map_or("missing".to_owned(), |v| format!("`{v}`"));
        list(&format!("{header} {shown}")).map(|request| match value {
            Some(value) => request.set(header, value),
            None => request.without(header),
        })
    });
    each.collect()
}

pub fn types() -> Vec<Request> {
    let accept = [
        None,
        Some("*/*"),
        Some("application/json"),
        Some("text/event-stream"),
        Some("application/*, text/*"),
        Some("text/event-stream,application/json"),
        Some("Application/JSON, TEXT/event-stream"),
        Some("application/json;q=0.5, text/event-stream;q=0.1"),
        Some("application/json, text/event-stream;q=0"),
        Some("application/json;profile=\"a,b\", text/event-stream"),
        Some("text/html"),
        Some(""),
    ];
    let content = [
        None,
        Some("text/plain"),
        Some("application/json; charset=utf-8"),
        Some("APPLICATION/JSON"),
        Some("application/json-rpc"),
        Some("application/vnd.api+json"),
        Some("application/jsonx"),
        Some("json"),
        Some(""),
    ];
    let mut all = set("Accept", &accept);
    all.extend(set("Content-Type", &content));
    all.extend(
        list("Accept on two lines")
            .map(|r| r.set("Accept", "application/json").with("Accept", "text/event-stream")),
    );
    all.extend(list("Content-Type twice").map(|r| r.with("Content-Type", "text/plain")));
    all
}

pub fn places() -> Vec<Request> {
    let hosts = [
        Some("evil.example"),
        Some("evil.example:8080"),
        Some("127.0.0.1.evil.example"),
        Some("localhost:80@evil.example"),
        Some("localhost:1"),
        Some("LOCALHOST"),
        Some("[::1]:8080"),
        Some("127.0.0.2"),
        Some("0.0.0.0"),
        Some("localhost."),
        Some("localhost:x"),
        Some(""),
        None,
    ];
    let origins = [
        Some("https://evil.example"),
        Some("http://localhost"),
        Some("http://localhost:3000"),
        Some("https://localhost:3000"),
        Some("http://127.0.0.1:3000"),
        Some("http://[::1]:3000"),
        Some("http://localhost.evil.example"),
        Some("http://localhost:80@evil.example"),
        Some("HTTP://LOCALHOST:3000"),
        Some("ftp://localhost"),
        Some("localhost"),
        Some("null"),
        Some(""),
    ];
    let mut all = set("Host", &hosts);
    all.extend(set("Origin", &origins));
    all.extend(list("two hosts").map(|r| r.with("Host", "evil.example")));
    all.extend(
        list("two origins")
            .map(|r| r.with("Origin", "http://localhost").with("Origin", "https://evil.example")),
    );
    for verb in ["PUT", "PATCH", "HEAD", "OPTIONS"] {
        all.extend(list(verb).map(|r| r.verb(verb)));
    }
    for verb in ["GET", "DELETE"] {
        let [modern, _] = list(verb);
        all.push(modern.verb(verb));
        let [modern, _] = list(&format!("{verb} with an unknown session"));
        all.push(modern.verb(verb).with("Mcp-Session-Id", "abc"));
    }
    all
}
