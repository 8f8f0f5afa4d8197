//! How an API is reached: TLS with certificates on both sides, HTTP/2, a proxy, redirects, and addresses that are not public.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::tls::{Authority, authority, certificate};
use crate::support::tls_upstream::{acceptor, folder};
use crate::support::upstream::{Step, json as answer, reply};
use crate::support::{Gateway, Upstream, failure, structured};

/// A server on loopback with a certificate for `localhost`, which asks for one of `clients` if there are any. It answers with the
/// version of HTTP that was spoken and the headers it got.
async fn tls_server(servers: &Authority, clients: Option<&Authority>) -> SocketAddr {
    let acceptor = acceptor(servers, "localhost", clients, &["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(told);
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn told(
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, std::convert::Infallible> {
    let names: Vec<&str> = request.headers().keys().map(hyper::header::HeaderName::as_str).collect();
    let body = json!({ "version": format!("{:?}", request.version()), "headers": names }).to_string();
    let response = hyper::Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::from(body)).unwrap())
}

fn one_tool(rest: &serde_json::Value) -> String {
    json!({
        "sources": { "api": { "rest": rest } },
        "tools": { "get": { "description": "G.", "rest": { "source": "api", "get": "/" } } }
    })
    .to_string()
}

#[tokio::test]
async fn certificates_are_shown_and_asked_for_and_http_2_is_spoken() {
    let (servers, clients) = (authority(), authority());
    let address = tls_server(&servers, Some(&clients)).await;
    let url = format!("https://localhost:{}", address.port());
    let both = json!({ "ca": "ca.pem", "cert": "cert.pem", "key": "key.pem" });
    let gateway =
        Gateway::start_in(folder(&servers, &clients), &one_tool(&json!({ "base_url": url, "tls": both })))
            .await;
    let result = gateway.call("get", json!({})).await;
    assert_eq!(structured(&result)["version"], "HTTP/2.0", "{result}");
    // Nothing to show; somebody else's certificate; an authority that is not theirs; those of the platform.
    for (own, tls) in [
        (folder(&servers, &clients), json!({ "ca": "ca.pem" })),
        (folder(&servers, &servers), both.clone()),
        (folder(&clients, &clients), both.clone()),
        (folder(&servers, &clients), json!({ "cert": "cert.pem", "key": "key.pem" })),
    ] {
        let yaml = one_tool(&json!({ "base_url": url, "tls": tls, "timeout": "5s" }));
        let gateway = Gateway::start_in(own, &yaml).await;
        let result = gateway.call("get", json!({})).await;
        let sentence = failure(&result);
        assert!(sentence.contains("cannot be reached right now"), "{tls}: {sentence}");
        assert!(!sentence.contains("localhost") && !sentence.contains("ertificate"), "{sentence}");
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_at_load() {
    let authority = authority();
    let folder = folder(&authority, &authority);
    std::fs::write(folder.path().join("key.pem"), certificate(&authority, "other.example").1).unwrap();
    let yaml = one_tool(&json!({
        "base_url": "https://localhost", "tls": { "cert": "cert.pem", "key": "key.pem" }
    }));
    let said = crate::support::gateway::problems(folder.path(), &yaml);
    assert!(said.contains("bad-tls") && said.contains("does not belong to the certificate"), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
}

/// A proxy that connects where it is asked to, and keeps the heads of what it was asked.
async fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let port = head.split(' ').nth(1).and_then(|to| to.rsplit(':').next()).unwrap().to_owned();
                let known = head.contains("Basic dXM6cEBzcw==");
                kept.lock().unwrap().push(head);
                if !known {
                    let _ = stream.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await;
                    return;
                }
                let mut onward = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    (address, heads)
}

#[tokio::test]
async fn a_proxy_is_shown_its_own_password_and_nothing_of_the_api() {
    let authority = authority();
    let api = tls_server(&authority, None).await;
    let (proxy, heads) = proxy().await;
    for (password, good) in [("p%40ss", true), ("wrong1", false)] {
        let yaml = one_tool(&json!({
            "base_url": format!("https://localhost:{}", api.port()),
            "proxy": format!("http://us:{password}@{proxy}"),
            "tls": { "ca": "ca.pem" },
            "credentials": { "bearer": "t0ken-of-the-api" }
        }));
        let gateway = Gateway::start_in(folder(&authority, &authority), &yaml).await;
        let result = gateway.call("get", json!({})).await;
        if good {
            let seen = structured(&result)["headers"].to_string();
            assert!(seen.contains("\"authorization\"") && !seen.contains("proxy"), "{seen}");
        } else {
            assert!(failure(&result).contains("cannot be reached right now"), "{result}");
        }
        let heads = std::mem::take(&mut *heads.lock().unwrap());
        assert_eq!(heads.len(), 1);
        assert!(heads[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", api.port())), "{heads:?}");
        assert!(!heads[0].contains("t0ken"), "{heads:?}");
    }
}

/// Answers `/STATUS/place` with that status and the place from `to`, and all else with an object.
async fn moving(to: impl Fn(&str) -> String + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| {
        let mut parts = seen.path().trim_start_matches('/').splitn(2, '/');
        let status = parts.next().and_then(|s| s.parse::<u16>().ok());
        let Some(status) = status else { return answer("{}") };
        let place = to(parts.next().unwrap_or(""));
        let head = format!("HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n");
        vec![Step::Send(head.into_bytes())]
    })
    .await
}

#[tokio::test]
async fn redirects_are_followed_within_the_origin_and_only_where_that_does_no_harm() {
    let other = Upstream::recorder().await;
    let elsewhere = other.address;
    let api = moving(move |place| match place {
        "other" => format!("http://{elsewhere}/landed"),
        "user" => format!("//us:pw@{elsewhere}/landed"),
        "tls" => "https://127.0.0.1/landed".to_owned(),
        "loop" => "/302/loop".to_owned(),
        "twice" => "../307/once?b=2".to_owned(),
        "none" => "http://[".to_owned(),
        _ => "/landed?a=1#part".to_owned(),
    })
    .await;
    let gateway = Gateway::start(&format!(
        r#"
sources: {{ api: {{ rest: {{ base_url: "{}", follow_redirects: 2, headers: {{ X-Tenant: t }}, credentials: {{ api_key: {{ query: key, value: k3y }} }} }} }} }}
tools:
  get: {{ description: G., params: {{ p: {{ type: string }} }}, rest: {{ source: api, get: "/{{p*}}" }} }}
  post: {{ description: P., params: {{ p: {{ type: string }} }}, rest: {{ source: api, post: "/{{p*}}", json: {{ a: 1 }} }} }}
  put: {{ description: U., params: {{ p: {{ type: string }} }}, rest: {{ source: api, put: "/{{p*}}", json: {{ a: 1 }} }} }}
  wanted: {{ description: W., rest: {{ source: api, get: /302/once, expect: [302] }} }}
"#,
        api.url()
    ))
    .await;
    for (tool, p, requests, landed) in [
        ("get", "301/once", 2, true),
        ("get", "302/once", 2, true),
        ("get", "303/once", 2, true),
        ("get", "307/once", 2, true),
        ("get", "308/twice", 3, true),
        ("get", "302/loop", 3, false),
        ("get", "300/once", 1, false),
        ("get", "302/other", 1, false),
        ("get", "302/user", 1, false),
        ("get", "302/tls", 1, false),
        ("get", "302/none", 1, false),
        ("put", "307/once", 2, true),
        ("put", "308/once", 2, true),
        ("put", "302/once", 1, false),
        ("put", "303/once", 1, false),
        ("put", "307/other", 1, false),
        ("post", "307/once", 1, false),
        ("post", "308/once", 1, false),
        ("post", "303/once", 1, false),
    ] {
        let result = gateway.call(tool, json!({ "p": p })).await;
        let seen = api.take();
        assert_eq!(seen.len(), requests, "{tool} {p}: {seen:?}");
        let last = seen.last().unwrap();
        assert_eq!(last.path() == "/landed", landed, "{tool} {p}");
        if landed {
            structured(&result);
            assert_eq!((last.query(), last.header("x-tenant").as_deref()), ("a=1&key=k3y", Some("t")), "{p}");
            assert_eq!((&last.method, &last.body), (&seen[0].method, &seen[0].body), "{p}");
        } else {
            let sentence = failure(&result);
            assert!(sentence.contains("status 30") && !sentence.contains("landed"), "{tool} {p}: {sentence}");
        }
    }
    assert!(gateway.call("wanted", json!({})).await.get("isError").is_none());
    assert_eq!((api.take().len(), other.count()), (1, 0));
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    let connections = Arc::new(Mutex::new(0));
    let counted = connections.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            *counted.lock().unwrap() += 1;
            let _ = stream.write_all(&reply("200 OK", "application/json", b"{}")).await;
        }
    });
    for (host, public_only) in [("localhost", true), ("LOCALHOST", true), ("localhost", false)] {
        let yaml = one_tool(&json!({
            "base_url": format!("http://{host}:{port}"), "public_only": public_only, "credentials": { "bearer": "t0ken-1" }
        }));
        let gateway = Gateway::start(&yaml).await;
        let result = gateway.call("get", json!({})).await;
        if public_only {
            let sentence = failure(&result);
            assert!(sentence.contains("leads to an address that is not public"), "{sentence}");
            assert!(!sentence.contains("localhost") && !sentence.contains("127.0.0.1"), "{sentence}");
            let said = crate::support::gateway::online(gateway.folder(), &yaml).await;
            assert!(said.contains("not public") || said.contains("cannot be"), "{said}");
        } else {
            structured(&result);
        }
        assert_eq!(*connections.lock().unwrap() == 0, public_only, "{host}");
    }
}
