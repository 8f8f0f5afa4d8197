//! The door: who may knock, with what, how large, and where; health beside it.

use serde_json::json;

use crate::http::{CONFIG, call_hello, hello_headers, replaced, with, without};
use crate::support::message::plain_headers;
use crate::support::{Gateway, Upstream};

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let gateway = Gateway::start(CONFIG).await;
    let large = vec![b' '; 4097];
    let reply = gateway.post(&hello_headers(), &large).await;
    assert_eq!(reply.status, 413, "{}", reply.text());

    // A length alone is enough: nothing of the body is waited for.
    let mut connection = gateway.connect().await;
    let mut head = String::from("POST /mcp HTTP/1.1\r\n");
    hello_headers().iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    connection.write(format!("{head}Content-Length: 100000000000\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 413);

    let mut connection = gateway.connect().await;
    connection.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    for _ in 0..5 {
        let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
        if connection.write(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(connection.reply().await.unwrap().status, 413);

    // Exactly at the limit it is read.
    let mut body = call_hello().to_string();
    body.push_str(&" ".repeat(4096 - body.len()));
    assert_eq!(gateway.post(&hello_headers(), body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn types_are_negotiated() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    let both = "application/json, text/event-stream";
    for (kind, status) in [
        (Some("application/json"), 200),
        (Some("application/json; charset=utf-8"), 200),
        (Some("APPLICATION/JSON"), 200),
        (Some("text/plain"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("multipart/form-data"), 415),
        (Some(""), 415),
        (None, 415),
    ] {
        let mut list = without(hello_headers(), "Content-Type");
        list.extend(kind.map(|k| ("Content-Type".to_owned(), k.to_owned())));
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "{kind:?}");
    }
    for (accept, status) in [
        (both, 200),
        ("text/event-stream;q=0.5, application/json;q=0.1", 200),
        ("*/*", 200),
        ("Application/Json, Text/Event-Stream", 200),
        ("application/json;q=0, */*, text/event-stream, application/json", 200),
        ("*/*;q=0, application/json, text/event-stream", 200),
        ("application/*;q=0, text/event-stream, application/json", 200),
        ("application/json", 406),
        ("text/event-stream", 406),
        ("*/*, text/event-stream;q=0", 406),
        ("text/event-stream;q=0.0, */*", 406),
        ("text/*;q=0, */*", 406),
        ("application/json; q=0, text/*, application/*", 406),
        ("text/html", 406),
        ("", 406),
    ] {
        let list = replaced(hello_headers(), "Accept", accept);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "{accept:?}");
    }
    for (coding, status) in
        [("identity", 200), ("gzip", 415), ("br", 415), ("identity, gzip", 415), ("zstd, identity", 415)]
    {
        let list = with(hello_headers(), "Content-Encoding", coding);
        let reply = gateway.post(&list, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{coding}: {}", reply.text());
        assert_eq!(reply.text().contains("`Content-Encoding`"), status == 415, "{}", reply.text());
    }
    let split = with(replaced(hello_headers(), "Accept", "application/json"), "Accept", "text/event-stream");
    assert_eq!(gateway.post(&split, body.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn host_and_origin_are_each_checked_alone() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("localhost:1", 200),
        ("LocalHost:65535", 200),
        ("[::1]", 200),
        ("[::1]:8080", 200),
        ("gate.example", 200),
        ("gate.example:443", 200),
        ("evil.example", 403),
        ("evil.example:8080", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("gate.example.evil.example", 403),
        ("127.0.0.2", 200),
        ("127.255.255.254:8080", 200),
        ("[0:0:0:0:0:0:0:1]:8080", 200),
        ("127.0.0.256", 403),
        ("127.1", 403),
        ("128.0.0.1", 403),
        ("[::2]", 403),
        ("0.0.0.0", 403),
        ("localhost:80@evil.example", 400),
        ("localhost evil.example", 400),
        ("localhost:x", 400),
        ("", 400),
    ] {
        let list = replaced(hello_headers(), "Host", host);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "Host {host:?}");
    }
    for (origin, status) in [
        ("https://app.example", 200),
        ("http://localhost:5173", 200),
        ("http://127.0.0.1", 200),
        ("http://[::1]:3000", 200),
        ("http://127.0.0.2:3000", 200),
        ("https://evil.example", 403),
        ("http://app.example", 403),
        ("https://app.example:444", 403),
        ("https://app.example.evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("chrome-extension://localhost", 403),
        ("", 403),
    ] {
        let list = with(hello_headers(), "Origin", origin);
        assert_eq!(gateway.post(&list, body.as_bytes()).await.status, status, "Origin {origin:?}");
    }
    let both = with(replaced(hello_headers(), "Host", "evil.example"), "Origin", "https://evil.example");
    assert_eq!(gateway.post(&both, body.as_bytes()).await.status, 403);
    let second =
        with(with(hello_headers(), "Origin", "https://app.example"), "Origin", "https://evil.example");
    assert_eq!(gateway.post(&second, body.as_bytes()).await.status, 403);
    let twice = with(hello_headers(), "Host", "evil.example");
    assert_eq!(gateway.post(&twice, body.as_bytes()).await.status, 400);
    assert_eq!(gateway.post(&without(hello_headers(), "Host"), body.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn a_target_with_an_evil_host_of_its_own_is_refused() {
    let gateway = Gateway::start(CONFIG).await;
    let body = call_hello().to_string();
    for (target, status) in [("http://localhost/mcp", 200), ("http://evil.example/mcp", 403)] {
        let mut connection = gateway.connect().await;
        let reply = connection.send("POST", target, &hello_headers(), body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, status, "{target}");
    }
}

#[tokio::test]
async fn a_refused_request_is_answered_without_its_body() {
    let gateway = Gateway::start(CONFIG).await;
    for (name, value, status) in [
        ("Host", "evil.example", 403),
        ("Origin", "https://evil.example", 403),
        ("Accept", "text/html", 406),
        ("Content-Type", "text/plain", 415),
    ] {
        let mut connection = gateway.connect().await;
        let mut head = String::from("POST /mcp HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n");
        replaced(hello_headers(), name, value)
            .iter()
            .for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
        connection.write(format!("{head}\r\n").as_bytes()).await.unwrap();
        let reply = connection.reply().await.unwrap();
        assert_eq!(reply.status, status, "{name}: no `100 Continue`, and the refusal at once");
    }
    // A good one is asked for its body.
    let mut connection = gateway.connect().await;
    let body = call_hello().to_string();
    let mut head =
        format!("POST /mcp HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n", body.len());
    hello_headers().iter().for_each(|(n, v)| head.push_str(&format!("{n}: {v}\r\n")));
    connection.write(format!("{head}\r\n").as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 100);
    connection.write(body.as_bytes()).await.unwrap();
    assert_eq!(connection.reply().await.unwrap().status, 200);
}

#[tokio::test]
async fn other_verbs_and_paths() {
    let gateway = Gateway::start(CONFIG).await;
    for verb in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"] {
        let mut connection = gateway.connect().await;
        let reply = connection.send(verb, "/mcp", &plain_headers(), b"").await.unwrap();
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, POST, DELETE")), "{verb}");
    }
    for path in [
        "/",
        "/mcp/",
        "/MCP",
        "/mcpx",
        "//mcp",
        "/mcp%2f",
        "/metrics",
        "/.well-known/oauth-protected-resource",
    ] {
        let mut connection = gateway.connect().await;
        let reply =
            connection.send("POST", path, &hello_headers(), call_hello().to_string().as_bytes()).await;
        assert_eq!(reply.unwrap().status, 404, "{path}");
    }
    let query = gateway
        .connect()
        .await
        .send("POST", "/mcp?x=1", &hello_headers(), call_hello().to_string().as_bytes())
        .await;
    assert_eq!(query.unwrap().status, 200);
}

#[tokio::test]
async fn health_tells_which_source_is_down_and_nothing_more() {
    let up = Upstream::recorder().await;
    let down = Upstream::refusing().await;
    let config = |second: &str| {
        format!(
            "sources:\n  good_api: {{ rest: {{ base_url: \"{}\" }} }}\n  other_api: {{ rest: {{ base_url: \"{second}/secret-path\" }} }}\n\
             tools:\n  a: {{ description: A., rest: {{ source: good_api, get: / }} }}\n  b: {{ description: B., rest: {{ source: other_api, get: / }} }}",
            up.url()
        )
    };
    let gateway = Gateway::start(&config(&up.url())).await;
    assert_eq!(gateway.get("/healthz").await.status, 200);
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    assert_eq!(ready.json()["sources"], json!({ "good_api": "ready", "other_api": "ready" }));

    let gateway = Gateway::start(&config(&format!("http://{down}"))).await;
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["sources"], json!({ "good_api": "ready", "other_api": "down" }));
    for detail in [&down.port().to_string(), "127.0.0.1", "secret-path", "refused"] {
        assert!(!ready.text().contains(detail), "{detail} in {}", ready.text());
    }
    // A dead source does not make the process dead, nor the other source's tools.
    assert_eq!(gateway.get("/healthz").await.status, 200);
    assert!(gateway.call("a", json!({})).await.get("isError").is_none());
    let mut connection = gateway.connect().await;
    let wrong = connection.send("POST", "/readyz", &plain_headers(), b"{}").await.unwrap();
    assert_eq!(wrong.status, 405);
}

#[tokio::test]
async fn a_page_that_may_call_may_also_read() {
    let gateway = Gateway::start(CONFIG).await;
    let ask = |origin: &str| {
        format!(
            "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: content-type, mcp-param-region\r\n\r\n"
        )
    };
    let mut connection = gateway.connect().await;
    connection.write(ask("http://localhost:3000").as_bytes()).await.unwrap();
    let reply = connection.reply().await.unwrap();
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_eq!(reply.header("access-control-allow-headers"), Some("content-type, mcp-param-region"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("POST, GET, DELETE"));

    let mut connection = gateway.connect().await;
    connection.write(ask("https://evil.example").as_bytes()).await.unwrap();
    let reply = connection.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None));

    let body = call_hello().to_string();
    let mut list = hello_headers();
    list.push(("Origin".to_owned(), "http://127.0.0.1:8123".to_owned()));
    let reply = gateway.post(&list, body.as_bytes()).await;
    assert_eq!(
        (reply.status, reply.header("access-control-allow-origin")),
        (200, Some("http://127.0.0.1:8123"))
    );
    assert_eq!(
        gateway.post(&hello_headers(), body.as_bytes()).await.header("access-control-allow-origin"),
        None
    );
}
