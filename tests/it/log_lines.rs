//! What others send stays inside its line of the log: line breaks, escapes of terminals and other controls in arguments, names, headers,
//! addresses and in what upstreams say, in both forms of the log, at every level.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::message::{modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::{Connection, Step, Upstream, upstream};

/// Looks like a line of its own wherever a control character gets through.
const HOSTILE: &str = "x\r\n2026-01-01T00:00:00.000000Z  INFO forged\n{\"level\":\"INFO\",\"message\":\"forged\"}\r\u{1b}[31mred\u{1b}[0m\u{8}\u{0}\u{9b}31m\u{2028}\u{85}";

fn config(url: &str, format: &str) -> String {
    json!({
        "server": { "log": { "level": "trace", "format": format } },
        "sources": {
            "s": { "rest": { "base_url": url, "timeout": "2s" } },
            "db": { "sql": { "url": "sqlite::memory:" } },
        },
        "tools": {
            "get": {
                "description": "G.", "params": { "q": { "type": "string" } },
                "rest": { "source": "s", "get": "/x", "query": { "q": "{q}" } },
            },
            "short": {
                "description": "S.", "params": { "q": { "type": "string", "maxLength": 2 } },
                "static": { "text": "short" },
            },
            "sql": {
                "description": "D.", "params": { "q": { "type": "string" } },
                "sql": { "source": "db", "query": "SELECT json_extract(:q, '$') AS v" },
            },
        },
    })
    .to_string()
}

/// An upstream whose every answer is a fault with something hostile in it.
async fn faulty() -> Upstream {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |_| {
        let plain = upstream::reply("500 Internal Server Error", "text/plain", HOSTILE.as_bytes());
        let kind = upstream::reply("200 OK", "text/\u{1b}[31mhtml", b"<p>");
        let json = json!({ "message": HOSTILE, "error": HOSTILE }).to_string();
        let said = upstream::reply("422 Unprocessable", "application/json", json.as_bytes());
        let broken = b"HTTP/1.1 200 \x1b[31mOK\r\nX-\x1b[31m: forged\r\n\r\n".to_vec();
        let reason = b"HTTP/1.1 503 Forged\x9b31m\r\nContent-Length: 0\r\nRetry-After: \xff\r\n\r\n".to_vec();
        let not_json = upstream::reply("200 OK", "application/json", HOSTILE.as_bytes());
        let all = [plain, kind, said, broken, reason, not_json];
        let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        vec![Step::Send(all[at % all.len()].clone()), Step::Close]
    })
    .await
}

async fn provoke(address: std::net::SocketAddr) {
    let post = async |headers: &[(String, String)], path: &str, body: &[u8]| {
        let mut connection = Connection::open(address).await.unwrap();
        let _ = connection.send("POST", path, headers, body).await;
    };
    for _ in 0..6 {
        let call = modern("tools/call", json!({ "name": "get", "arguments": { "q": HOSTILE } })).to_string();
        post(&modern_headers("tools/call", Some("get")), "/mcp", call.as_bytes()).await;
    }
    for tool in ["short", "sql"] {
        let call = modern("tools/call", json!({ "name": tool, "arguments": { "q": HOSTILE, HOSTILE: 1 } }))
            .to_string();
        post(&modern_headers("tools/call", Some(tool)), "/mcp", call.as_bytes()).await;
        let call = modern("tools/call", json!({ "name": tool, "arguments": { "q": HOSTILE } })).to_string();
        post(&modern_headers("tools/call", Some(tool)), "/mcp", call.as_bytes()).await;
    }
    // A name, a method, a client and ids that are hostile; a body that is no JSON.
    for (method, params) in [
        ("tools/call", json!({ "name": HOSTILE })),
        ("resources/read", json!({ "uri": HOSTILE })),
        (HOSTILE, json!({})),
        (
            "initialize",
            json!({ "protocolVersion": HOSTILE, "capabilities": {}, "clientInfo": { "name": HOSTILE, "version": HOSTILE } }),
        ),
    ] {
        let legacy =
            json!({ "jsonrpc": "2.0", "id": HOSTILE, "method": method, "params": params }).to_string();
        post(&plain_headers(), "/mcp", legacy.as_bytes()).await;
    }
    post(&plain_headers(), "/mcp", HOSTILE.as_bytes()).await;
    // In headers and in the address, where HTTP lets it through or not.
    for value in ["\u{1b}[31mred", "a\tb", "\u{9b}31m", "x\u{0}", "\u{2028}"] {
        for name in ["Mcp-Name", "Origin", "Host", "Mcp-Session-Id", "Authorization", "User-Agent"] {
            let mut headers = modern_headers("tools/list", None);
            headers.retain(|(n, _)| n != name);
            headers.push((name.to_owned(), value.to_owned()));
            post(&headers, "/mcp", modern("tools/list", json!({})).to_string().as_bytes()).await;
        }
        post(&plain_headers(), &format!("/{value}?{value}"), b"{}").await;
    }
}

fn is_stamped(line: &str) -> bool {
    let stamp = line.as_bytes().get(..27).unwrap_or_default();
    stamp.len() == 27 && stamp[10] == b'T' && stamp[26] == b'Z' && stamp[..4].iter().all(u8::is_ascii_digit)
}

async fn lines(format: &str) -> String {
    let faulty = faulty().await;
    let folder = tempfile::tempdir().unwrap();
    let (mut process, address) = Process::serve(folder.path(), &config(&faulty.url(), format)).await;
    provoke(address).await;
    process.signal("TERM");
    assert_eq!(process.end(Duration::from_secs(10)).await.code(), Some(0));
    assert!(faulty.count() >= 6, "the upstream was asked {} times", faulty.count());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = process.log();
    assert!(log.contains("call failed"), "{log}");
    for line in log.lines() {
        let control = line.chars().find(|c| c.is_control() && *c != '\t');
        assert!(control.is_none(), "{control:?} in {line:?}");
    }
    log
}

#[tokio::test]
async fn nothing_from_outside_breaks_a_line_of_the_text_log() {
    let log = lines("text").await;
    for line in log.lines() {
        assert!(is_stamped(line), "no line of ours: {line:?}");
        assert!(!line.starts_with("2026-01-01"), "forged: {line:?}");
    }
}

#[tokio::test]
async fn nothing_from_outside_breaks_a_line_of_the_json_log() {
    let log = lines("json").await;
    for line in log.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert!(is_stamped(parsed["timestamp"].as_str().unwrap_or_default()), "{line:?}");
        assert_ne!(parsed["message"], "forged", "{line:?}");
        assert!(parsed["fields"].is_object(), "{line:?}");
    }
}
