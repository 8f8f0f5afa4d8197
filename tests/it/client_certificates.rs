//! Callers who are known by a certificate: who is who, what stands above it, and that what is taken away is gone at once, also for
//! connections that are open.

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, SanType};
use serde_json::{Value, json};
use sidegate::pem::fingerprint;
use tempfile::TempDir;

use crate::support::message::{self, modern, modern_headers, plain_headers};
use crate::support::process::Process;
use crate::support::tls::{self, Authority, Hello, Pair, authority, client_certificate, folder, put};
use crate::support::{Connection, Gateway, Reply, structured};

fn san(uri: &str) -> SanType {
    SanType::URI(Ia5String::try_from(uri).unwrap())
}

fn billing(of: &Authority) -> Pair {
    client_certificate(of, |params| params.subject_alt_names = vec![san("spiffe://shop/billing")])
}

fn named(of: &Authority, name: &str) -> Pair {
    client_certificate(of, |params| params.distinguished_name.push(DnType::CommonName, name))
}

/// The SHA-256 of a certificate as `openssl` writes it.
fn pinned(pair: &Pair) -> String {
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
    let digest = fingerprint(&der).to_uppercase();
    digest.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":")
}

fn config(pin: &str, clients: &str) -> Value {
    json!({
        "server": {
            "audit": { "file": "audit.jsonl" },
            "http": { "tls": { "cert": "tls.crt", "key": "tls.key", "client_ca": "clients.pem", "clients": clients } },
        },
        "auth": {
            "api_keys": [{ "name": "ci", "key": "key-of-ci" }],
            "client_certificates": [
                { "name": "billing", "san": "spiffe://shop/billing", "scopes": ["orders.read"], "claims": { "tenant": "t1" } },
                { "name": "ada", "san": "Ada@SHOP.example" },
                { "name": "host", "san": "Batch.shop.example" },
                { "name": "ops", "subject": "Operations" },
                { "name": "pinned", "sha256": pin },
            ],
        },
        "sources": { "db": { "sql": { "url": "sqlite::memory:" } } },
        "tools": {
            "who": {
                "description": "W.", "params": { "who": { "from": "caller.sub" }, "scopes": { "from": "caller.scopes" } },
                "sql": { "source": "db", "query": "SELECT :who AS who, :scopes AS scopes", "row": "one" },
            },
            "orders": {
                "description": "O.", "static": { "text": "none" },
                "policy": { "auth": { "scopes": ["orders.read"], "when": "caller.claims.tenant == 't1'" } },
            },
        },
    })
}

/// A gateway that believes `clients`, and its folder's files.
async fn gateway(servers: &Authority, clients: &Authority, pin: &str, needed: &str) -> Gateway {
    Gateway::start_in(folder(servers, Some(clients)), &config(pin, needed).to_string()).await
}

async fn ask(connection: &mut Connection, tool: &str, own: &[(&str, &str)]) -> Reply {
    let mut headers = modern_headers("tools/call", Some(tool));
    headers.extend(message::headers(own));
    let body = modern("tools/call", json!({ "name": tool })).to_string();
    connection.send("POST", "/mcp", &headers, body.as_bytes()).await.unwrap()
}

/// Who a connection's caller is; the status where it is nobody.
async fn who(connection: &mut Connection, own: &[(&str, &str)]) -> Result<String, u16> {
    let reply = ask(connection, "who", own).await;
    if reply.status != 200 {
        return Err(reply.status);
    }
    Ok(structured(&reply.json()["result"])["who"].as_str().unwrap().to_owned())
}

async fn over(hello: Hello<'_>, gateway: &Gateway) -> Connection {
    Connection::over(hello.connect(gateway.address).await.unwrap())
}

#[tokio::test]
async fn a_certificate_says_who_calls_and_a_header_stands_above_it() {
    let (servers, clients) = (authority(), authority());
    let pair = |edit: &dyn Fn(&mut CertificateParams)| client_certificate(&clients, edit);
    let text = |text: &str| Ia5String::try_from(text).unwrap();
    let plain = pair(&|_| {});
    let gateway = gateway(&servers, &clients, &pinned(&plain), "optional").await;
    for (certificate, wanted) in [
        (billing(&clients), Ok("billing")),
        (pair(&|p| p.subject_alt_names = vec![SanType::Rfc822Name(text("Ada@shop.EXAMPLE"))]), Ok("ada")),
        (pair(&|p| p.subject_alt_names = vec![SanType::DnsName(text("batch.SHOP.example"))]), Ok("host")),
        (named(&clients, "Operations"), Ok("ops")),
        (plain.clone(), Ok("pinned")),
        // The first entry that fits, in the order of the file.
        (pair(&|p| p.subject_alt_names = vec![san("urn:x"), san("spiffe://shop/billing")]), Ok("billing")),
        (named(&clients, "operations"), Err(401)),
        (named(&clients, "spiffe://shop/billing"), Err(401)),
        (pair(&|p| p.subject_alt_names = vec![san("spiffe://shop/Billing")]), Err(401)),
        (pair(&|p| p.subject_alt_names = vec![san("spiffe://shop/billing/x")]), Err(401)),
        (pair(&|_| {}), Err(401)),
    ] {
        for versions in tls::VERSIONS {
            let hello = Hello { versions, ..Hello::with(&servers, &certificate) };
            let mut connection = over(hello, &gateway).await;
            let wanted = wanted.map(str::to_owned);
            assert_eq!(who(&mut connection, &[]).await, wanted);
            // What a header says has to hold, and is who calls then.
            for (header, wanted) in [
                (("X-API-Key", "key-of-ci"), Ok("ci".to_owned())),
                (("Authorization", "Bearer key-of-ci"), Ok("ci".to_owned())),
                (("X-API-Key", "key-of-eve"), Err(401)),
                (("Authorization", "Basic eA=="), Err(401)),
            ] {
                assert_eq!(who(&mut connection, &[header]).await, wanted, "{header:?}");
            }
            assert_eq!(who(&mut connection, &[]).await, wanted, "once more");
        }
    }
    let mut nobody = over(Hello::new(&servers), &gateway).await;
    let refused = ask(&mut nobody, "who", &[]).await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.text().contains("a client certificate that is known here, or a key"),
        "{}",
        refused.text()
    );
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(who(&mut nobody, &[("X-API-Key", "key-of-ci")]).await, Ok("ci".to_owned()));
}

#[tokio::test]
async fn who_is_not_of_the_authority_or_out_of_date_does_not_get_through_the_handshake() {
    let (servers, clients, others) = (authority(), authority(), authority());
    let gateway = gateway(&servers, &clients, &"0".repeat(64), "optional").await;
    let at = |from: i32, until: i32| {
        client_certificate(&clients, |params| {
            params.subject_alt_names = vec![san("spiffe://shop/billing")];
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(until, 1, 1);
        })
    };
    for (what, certificate) in [
        ("another authority", billing(&others)),
        ("the server's authority", billing(&servers)),
        ("expired", at(2019, 2020)),
        ("not good yet", at(3000, 3001)),
    ] {
        let hello = Hello::with(&servers, &certificate);
        // By TLS 1.3 the client has done its part before the server looks.
        let got = match hello.connect(gateway.address).await {
            Err(_) => continue,
            Ok(stream) => {
                let body = modern("tools/list", json!({})).to_string();
                let headers = modern_headers("tools/list", None);
                Connection::over(stream).send("POST", "/mcp", &headers, body.as_bytes()).await
            }
        };
        assert!(got.is_err(), "{what}: {got:?}");
    }
    let good = at(2020, 3000);
    assert_eq!(
        who(&mut over(Hello::with(&servers, &good), &gateway).await, &[]).await,
        Ok("billing".to_owned())
    );
}

#[tokio::test]
async fn routes_conditions_sessions_and_the_audit_know_the_holder() {
    let (servers, clients) = (authority(), authority());
    let gateway = gateway(&servers, &clients, &"0".repeat(64), "optional").await;
    let (billing, ops) = (billing(&clients), named(&clients, "Operations"));
    let mut first = over(Hello::with(&servers, &billing), &gateway).await;
    let mut second = over(Hello::with(&servers, &ops), &gateway).await;
    assert_eq!(ask(&mut first, "orders", &[]).await.status, 200);
    let refused = ask(&mut second, "orders", &[]).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(who(&mut second, &[]).await, Ok("ops".to_owned()));
    // A session is of who opened it.
    let open = message::initialize("2025-11-25").to_string();
    let opened = first.send("POST", "/mcp", &plain_headers(), open.as_bytes()).await.unwrap();
    let mut headers = plain_headers();
    headers.push(("Mcp-Session-Id".to_owned(), opened.header("mcp-session-id").unwrap().to_owned()));
    let list = message::legacy("tools/list", &json!({})).to_string();
    for (connection, status) in [(&mut first, 200), (&mut second, 404)] {
        assert_eq!(connection.send("POST", "/mcp", &headers, list.as_bytes()).await.unwrap().status, status);
    }
    let path = gateway.folder().join("audit.jsonl");
    let mut lines: Vec<Value> = Vec::new();
    for _ in 0..500 {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let noted: Vec<_> = lines
        .iter()
        .map(|line| [&line["caller"], &line["proof"], &line["route"], &line["decision"]])
        .collect();
    assert_eq!(
        json!(noted),
        json!([
            ["billing", "certificate", "orders", "allowed"],
            ["ops", "certificate", "orders", "forbidden"],
            ["ops", "certificate", "who", "allowed"]
        ])
    );
}

#[tokio::test]
async fn where_each_needs_one_nothing_is_answered_without() {
    let (servers, clients) = (authority(), authority());
    let gateway = gateway(&servers, &clients, &"0".repeat(64), "required").await;
    let url = format!("https://localhost:{}/healthz", gateway.address.port());
    assert!(tls::client(&servers, None).get(&url).send().await.is_err());
    // Known by nobody, and of the authority.
    let own = client_certificate(&clients, |_| {});
    assert_eq!(tls::client(&servers, Some(&own)).get(&url).send().await.unwrap().status(), 200);
    let mut connection = over(Hello::with(&servers, &own), &gateway).await;
    assert_eq!(who(&mut connection, &[]).await, Err(401));
    assert_eq!(who(&mut connection, &[("X-API-Key", "key-of-ci")]).await, Ok("ci".to_owned()));
}

#[tokio::test]
async fn a_certificate_that_expires_while_its_connection_is_open_counts_no_more() {
    let (servers, clients) = (authority(), authority());
    for (needed, after) in [("optional", 401), ("required", 421)] {
        let gateway = gateway(&servers, &clients, &"0".repeat(64), needed).await;
        let soon = client_certificate(&clients, |params| {
            params.subject_alt_names = vec![san("spiffe://shop/billing")];
            params.not_after = (std::time::SystemTime::now() + Duration::from_secs(6)).into();
        });
        let mut connection = over(Hello::with(&servers, &soon), &gateway).await;
        assert_eq!(who(&mut connection, &[]).await, Ok("billing".to_owned()));
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(who(&mut connection, &[]).await, Err(after), "{needed}");
    }
}

/// The real program, whose files change.
struct Rig {
    folder: TempDir,
    process: Process,
    address: std::net::SocketAddr,
    reloads: usize,
}

impl Rig {
    async fn start(servers: &Authority, clients: &Authority, config: &Value) -> Self {
        let folder = folder(servers, Some(clients));
        let (process, address) = Process::serve(folder.path(), &config.to_string()).await;
        Self { folder, process, address, reloads: 0 }
    }

    async fn change(&mut self, name: &str, text: &str) {
        put(self.folder.path(), name, text);
        self.reloads += 1;
        for _ in 0..500 {
            if self.process.log().matches("reloaded, generation").count() >= self.reloads {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is not put to use: {}", self.process.log());
    }
}

#[tokio::test]
async fn what_a_reload_takes_away_is_gone_for_connections_that_are_open() {
    let (servers, clients, others) = (authority(), authority(), authority());
    let whole = config(&"0".repeat(64), "optional");
    let mut rig = Rig::start(&servers, &clients, &whole).await;
    let (billing, ops) = (billing(&clients), named(&clients, "Operations"));
    let open = |own| Hello::with(&servers, own).connect(rig.address);
    let mut first = Connection::over(open(&billing).await.unwrap());
    let mut second = Connection::over(open(&ops).await.unwrap());
    assert_eq!(who(&mut first, &[]).await, Ok("billing".to_owned()));
    assert_eq!(who(&mut second, &[]).await, Ok("ops".to_owned()));
    let mut stream = Connection::over(open(&billing).await.unwrap());
    let listen = modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let headers = modern_headers("subscriptions/listen", None);
    let head = stream.open_stream("POST", &headers, listen.to_string().as_bytes()).await;
    assert_eq!((head.status, stream.event().await.is_some()), (200, true));
    // One entry goes.
    let mut fewer = whole.clone();
    fewer["auth"]["client_certificates"].as_array_mut().unwrap().remove(0);
    rig.change("gateway.yaml", &fewer.to_string()).await;
    assert_eq!(who(&mut first, &[]).await, Err(401));
    assert_eq!(who(&mut second, &[]).await, Ok("ops".to_owned()));
    assert_eq!(stream.event().await.unwrap()["result"]["resultType"], "complete", "it listens on");
    assert_eq!(stream.event().await, None);
    // It comes back, and then its authority goes.
    rig.change("gateway.yaml", &whole.to_string()).await;
    assert_eq!(who(&mut first, &[]).await, Ok("billing".to_owned()));
    rig.change("clients.pem", &others.pem()).await;
    assert_eq!(who(&mut first, &[]).await, Err(401));
    assert_eq!(who(&mut second, &[]).await, Err(401));
    let key = [("X-API-Key", "key-of-ci")];
    assert_eq!(who(&mut first, &key).await, Ok("ci".to_owned()));
    // Certificates are needed now: this connection has none that holds.
    rig.change("gateway.yaml", &config(&"0".repeat(64), "required").to_string()).await;
    let refused = ask(&mut first, "who", &key).await;
    assert_eq!((refused.status, refused.header("connection")), (421, Some("close")), "{}", refused.text());
    rig.change("clients.pem", &clients.pem()).await;
    assert_eq!(who(&mut second, &[]).await, Ok("ops".to_owned()));
}
