//! Answers that point elsewhere: nobody goes there unless the configuration says so, and the caller reads the status only.
#![cfg(target_os = "linux")] // elsewhere loopback is one address

use serde_json::{Value, json};

use crate::support::upstream::Seen;
use crate::support::{Gateway, Step, Upstream, failure};

/// Statuses that point elsewhere, and two that other clients follow on some days.
const STATUSES: [&str; 7] = [
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
    "300 Multiple Choices",
    "305 Use Proxy",
];

/// Where it points, `PORT` being that of a listener of this test.
const TARGETS: [&str; 9] = [
    "/landed",
    "landed?a=1",
    "http://SELF/landed",
    "http://127.0.0.1:PORT/landed",
    "http://localhost:PORT/landed",
    "http://127.0.0.2:PORT/landed",
    "https://127.0.0.1:PORT/landed",
    "//127.0.0.1:PORT/landed",
    "http://u:p@127.0.0.1:PORT/landed#x",
];

/// Answers `/STATUS/TARGET` by their places in the lists.
fn points(seen: &Seen, port: u16) -> Vec<Step> {
    let place = |n| seen.path().split('/').nth(n).and_then(|w| w.parse::<usize>().ok());
    let (Some(status), Some(target)) = (place(1), place(2)) else {
        panic!("it came along: {}", seen.target);
    };
    let itself = seen.header("host").unwrap();
    let target = TARGETS[target].replace("PORT", &port.to_string()).replace("SELF", &itself);
    let body = format!("{{\"message\":\"now at {target}\"}}");
    let head =
        format!("Location: {target}\r\nRefresh: 0; url={target}\r\nContent-Type: application/json\r\n");
    let head = format!("HTTP/1.1 {}\r\n{head}Content-Length: {}\r\n\r\n", STATUSES[status], body.len());
    vec![Step::Send((head + &body).into_bytes())]
}

/// Two addresses of loopback with one port, at which nobody is ever awaited.
fn listeners() -> ([std::net::TcpListener; 2], u16) {
    let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = first.local_addr().unwrap().port();
    let both = [first, std::net::TcpListener::bind(("127.0.0.2", port)).unwrap()];
    for listener in &both {
        listener.set_nonblocking(true).unwrap();
    }
    (both, port)
}

#[tokio::test]
async fn nobody_follows_a_redirect_and_its_status_is_all_that_is_told() {
    let (listeners, port) = listeners();
    let api = Upstream::start(move |seen| points(seen, port)).await;
    let source = json!({ "base_url": api.url(), "credentials": { "api_key": { "header": "X-Api-Key", "value": "key" } } });
    let tool = |method: &str| {
        let mut rest = json!({ "source": "api", method: "/{s}/{t}" });
        if method != "get" {
            rest["json"] = json!({ "a": 1 });
        }
        let params = json!({ "s": { "type": "integer" }, "t": { "type": "integer" } });
        json!({ "description": "D.", "params": params, "rest": rest })
    };
    let tools = json!({ "get": tool("get"), "post": tool("post"), "put": tool("put") });
    let config = json!({ "sources": { "api": { "rest": source } }, "tools": tools });
    let gateway = Gateway::start(&config.to_string()).await;
    for tool in ["get", "post", "put"] {
        for (s, status) in STATUSES.iter().enumerate() {
            for (t, target) in TARGETS.iter().enumerate() {
                let result: Value = gateway.call(tool, json!({ "s": s, "t": t })).await;
                let sentence = failure(&result);
                assert!(
                    sentence.contains(&format!("(status {})", &status[..3])),
                    "{tool} {target}: {sentence}"
                );
                for hidden in ["landed", "127.0.0", "localhost", &port.to_string(), "now at"] {
                    assert!(!result.to_string().contains(hidden), "{tool} {status} {target}: {result}");
                }
                assert_eq!(api.take().len(), 1, "{tool} {status} {target}");
            }
        }
    }
    for listener in listeners {
        let came = listener.accept().map(|(_, from)| from);
        assert!(came.is_err(), "somebody went there: {came:?}");
        // It would have been heard.
        drop(tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        assert!(listener.accept().is_ok());
    }
}
