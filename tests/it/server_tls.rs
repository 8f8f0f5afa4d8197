//! TLS of our own: which clients are served and which are not, what a reload changes, and what strangers can hold open.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::issuer::{Issuer, Pair};
use crate::support::message::{modern, modern_headers};
use crate::support::process::Process;
use crate::support::tls::{self, Authority, Hello, authority, folder, put, write_server};
use crate::support::{Connection, Gateway, LATE, text};

const CONFIG: &str = "
server: { http: { tls: { cert: tls.crt, key: tls.key } } }
tools: { hello: { description: H., static: { text: Hello. } } }
";

/// A call over a connection of its own.
async fn hello(hello: Hello<'_>, address: SocketAddr) -> Value {
    let stream = hello.connect(address).await.unwrap();
    let (headers, body) =
        (modern_headers("tools/call", Some("hello")), modern("tools/call", json!({ "name": "hello" })));
    let reply = Connection::over(stream).send("POST", "/mcp", &headers, body.to_string().as_bytes()).await;
    reply.unwrap().json()["result"].clone()
}

/// The certificate that a server shows.
async fn shown(trusts: &Authority, address: SocketAddr) -> Vec<u8> {
    let stream = Hello::new(trusts).connect(address).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn both_versions_of_http_are_served_over_both_versions_of_tls() {
    let servers = authority();
    let gateway = Gateway::start_in(folder(&servers, None), CONFIG).await;
    for (http1, version) in [(true, "HTTP/1.1"), (false, "HTTP/2.0")] {
        let builder = tls::builder(&servers, None);
        let client = if http1 { builder.http1_only() } else { builder }.build().unwrap();
        let response =
            tls::send(&client, gateway.address, "tools/call", json!({ "name": "hello" }), &[]).await.unwrap();
        assert_eq!(
            (format!("{:?}", response.version()).as_str(), response.status().as_u16()),
            (version, 200)
        );
        assert!(response.text().await.unwrap().contains("Hello."), "{version}");
    }
    for versions in tls::VERSIONS {
        let result = hello(Hello { versions, ..Hello::new(&servers) }, gateway.address).await;
        assert_eq!(text(&result), "Hello.", "{versions:?}");
    }
    // An address is no name that a client could ask for.
    assert_eq!(
        text(&hello(Hello { name: "127.0.0.1", ..Hello::new(&servers) }, gateway.address).await),
        "Hello."
    );
}

#[tokio::test]
async fn who_trusts_another_authority_or_wants_another_name_or_protocol_is_not_served() {
    let (servers, others) = (authority(), authority());
    let gateway = Gateway::start_in(folder(&servers, None), CONFIG).await;
    for wrong in [
        Hello::new(&others),
        Hello { name: "gateway.example", ..Hello::new(&servers) },
        Hello { alpn: b"h3", ..Hello::new(&servers) },
    ] {
        assert!(wrong.connect(gateway.address).await.is_err(), "{}", wrong.name);
    }
    assert_eq!(text(&hello(Hello::new(&servers), gateway.address).await), "Hello.");
}

/// The first message of a client that knows nothing newer than TLS 1.`minor` (RFC 5246, section 7.4.1.2).
fn client_hello(minor: u8) -> Vec<u8> {
    let length = |bytes: &[u8]| [0, u8::try_from(bytes.len()).unwrap()];
    // Groups, signatures and points of elliptic curves.
    let extensions =
        [&[0, 10, 0, 4, 0, 2, 0, 23][..], &[0, 13, 0, 4, 0, 2, 4, 3], &[0, 11, 0, 2, 1, 0]].concat();
    let ciphers = [&[0, 4, 0xc0, 0x2b, 0xc0, 0x2f][..], &[1, 0], &length(&extensions)].concat();
    let body = [&[3, minor + 1][..], &[7; 32], &[0], &ciphers, &extensions].concat();
    let message = [&[1, 0][..], &length(&body), &body].concat();
    [&[0x16, 3, 1][..], &length(&message), &message].concat()
}

#[tokio::test]
async fn what_is_no_tls_or_an_old_one_is_closed_at_once() {
    let servers = authority();
    let gateway = Gateway::start_in(folder(&servers, None), CONFIG).await;
    let plain = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    for (what, bytes, alert) in [
        ("plain HTTP", plain.to_vec(), None),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), None),
        ("zeros", vec![0; 300], None),
        ("noise", (0..999_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect(), None),
        // protocol_version
        ("TLS 1.0", client_hello(0), Some(70)),
        ("TLS 1.1", client_hello(1), Some(70)),
    ] {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut said = Vec::new();
        let end = tokio::time::timeout(LATE, stream.read_to_end(&mut said)).await;
        assert!(end.is_ok(), "{what} is left open");
        assert!(!said.starts_with(b"HTTP"), "{what}");
        if let Some(alert) = alert {
            assert_eq!((said.first(), said.last()), (Some(&0x15), Some(&alert)), "{what}: {said:?}");
        }
    }
    // What was wrong with the last two was their version.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(&client_hello(2)).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0x16, "a handshake goes on");
    assert_eq!(text(&hello(Hello::new(&servers), gateway.address).await), "Hello.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_without_a_handshake_keep_nobody_out_and_end_by_themselves() {
    let servers = authority();
    let folder = folder(&servers, None);
    let (_process, address) = Process::serve(folder.path(), CONFIG).await;
    let mut idle = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Silent ones, and some that stop in the middle of their first message.
        if n % 2 == 1 {
            stream.write_all(&client_hello(2)[..20]).await.unwrap();
        }
        idle.push(stream);
    }
    assert_eq!(text(&hello(Hello::new(&servers), address).await), "Hello.");
    let ended = idle.into_iter().map(|mut stream| async move {
        let mut said = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut said)).await.is_ok()
    });
    let ended = futures_util::future::join_all(ended).await;
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1000);
    assert_eq!(text(&hello(Hello::new(&servers), address).await), "Hello.");
}

#[tokio::test]
async fn the_end_does_not_wait_for_those_who_have_not_begun() {
    let servers = authority();
    let gateway = Gateway::start_in(folder(&servers, None), CONFIG).await;
    let _silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut half = TcpStream::connect(gateway.address).await.unwrap();
    half.write_all(&client_hello(2)[..20]).await.unwrap();
    let mut begun = Vec::new();
    for alpn in [&b"http/1.1"[..], b"h2"] {
        begun.push(Hello { alpn, ..Hello::new(&servers) }.connect(gateway.address).await.unwrap());
    }
    // The default of `drain` is 20 seconds.
    tokio::time::timeout(Duration::from_secs(15), gateway.stop()).await.expect("it waits");
}

/// Calls without a pause to speak of until told to stop; each has to be answered.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// About 50 calls a second: clients that keep their connection, in both versions of HTTP, and one that makes a new one each time.
    fn start(servers: &Authority, address: SocketAddr) -> Self {
        let (stop, done) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let builders = [
            tls::builder(servers, None),
            tls::builder(servers, None),
            tls::builder(servers, None).http1_only(),
            tls::builder(servers, None).http1_only(),
            tls::builder(servers, None).pool_max_idle_per_host(0).http1_only(),
        ];
        let tasks = builders.map(|builder| {
            let (stop, done, client) = (stop.clone(), done.clone(), builder.build().unwrap());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(text(&tls::call(&client, address, "hello").await), "Hello.");
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(80)).await;
                }
            })
        });
        Self { stop, done, tasks: tasks.into() }
    }

    /// How many calls were answered; none was lost.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

/// Waits until the log says it so many times.
async fn says(process: &Process, what: &str, times: usize) {
    for _ in 0..500 {
        if process.log().matches(what).count() >= times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("`{what}` is not said {times} times: {}", process.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_exchanged_under_load_and_no_call_is_lost() {
    let servers = authority();
    let folder = folder(&servers, None);
    let (process, address) = Process::serve(folder.path(), CONFIG).await;
    // Made before all exchanges, and spoken over after them.
    let mut old = Connection::over(Hello::new(&servers).connect(address).await.unwrap());
    let load = Load::start(&servers, address);
    for round in 1..=5 {
        let before = shown(&servers, address).await;
        write_server(folder.path(), &servers);
        let start = Instant::now();
        while shown(&servers, address).await == before {
            assert!(start.elapsed() < Duration::from_secs(20), "round {round}: {}", process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let (headers, body) =
        (modern_headers("tools/call", Some("hello")), modern("tools/call", json!({ "name": "hello" })));
    let reply = old.send("POST", "/mcp", &headers, body.to_string().as_bytes()).await.unwrap();
    assert_eq!(reply.status, 200);
    let done = load.end().await;
    assert!(done > 50, "{done} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_by_name_and_the_last_good_stays() {
    let servers = authority();
    let folder = folder(&servers, None);
    let (process, address) = Process::serve(folder.path(), CONFIG).await;
    let before = shown(&servers, address).await;
    let good = ["tls.crt", "tls.key"].map(|name| (name, read(folder.path(), name)));
    let (_, other) = tls::certificate(&servers, "localhost");
    for (times, (name, content, why)) in [
        ("tls.key", other.as_str(), "this key does not belong to the certificate"),
        ("tls.crt", "", "holds no certificates in PEM"),
        ("tls.crt", &good[0].1[..200], "holds no certificates in PEM"),
        ("gateway.yaml", &CONFIG[CONFIG.find("tools").unwrap()..], "`server.http.tls` cannot change"),
    ]
    .into_iter()
    .enumerate()
    {
        put(folder.path(), name, content);
        says(&process, "not reloaded", times + 1).await;
        assert!(process.log().contains(why), "{why}: {}", process.log());
        assert!(!process.log().contains("PRIVATE"), "{}", process.log());
        assert_eq!(shown(&servers, address).await, before, "{why}");
        for (name, content) in good.iter().chain(&[("gateway.yaml", CONFIG.to_owned())]) {
            put(folder.path(), name, content);
        }
        says(&process, "say what is in use", times + 1).await;
    }
    // Nor on.
    let plain = &CONFIG[CONFIG.find("tools").unwrap()..];
    let (process, _) = Process::serve(folder.path(), plain).await;
    put(folder.path(), "gateway.yaml", CONFIG);
    says(&process, "`server.http.tls` cannot change while this runs", 1).await;
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[tokio::test]
async fn where_tokens_are_to_be_had_is_said_with_https() {
    let servers = authority();
    let issuer = Issuer::start(&[&Pair::ec("k")]).await;
    let config = json!({
        "server": { "http": { "tls": { "cert": "tls.crt", "key": "tls.key" } } },
        "auth": { "jwt": { "issuer": issuer.url(), "audience": "shop" } },
        "tools": { "hello": { "description": "H.", "static": { "text": "Hello." } } },
    });
    let gateway = Gateway::start_in(folder(&servers, None), &config.to_string()).await;
    let client = tls::client(&servers, None);
    let refused = tls::send(&client, gateway.address, "tools/list", json!({}), &[]).await.unwrap();
    let own = format!("https://localhost:{}", gateway.address.port());
    let metadata = format!("{own}/.well-known/oauth-protected-resource/mcp");
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(refused.status(), 401);
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    let metadata = client.get(metadata).send().await.unwrap().text().await.unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["resource"], format!("{own}/mcp"));
}

#[test]
fn check_says_that_it_is_https() {
    let folder = folder(&authority(), None);
    std::fs::write(folder.path().join("gateway.yaml"), CONFIG).unwrap();
    let check = std::process::Command::new(crate::support::process::PROGRAM)
        .arg("check")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && said.contains("over https"), "{said}");
}
