//! Certificates of authorities that last as long as a test, folders with a server's files, and clients that speak TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::message;

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, in PEM.
pub type Pair = (String, String);

pub fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two authorities of one name are taken for each other.
    let key = KeyPair::generate().unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("Authority {}", fastrand::u64(..)));
    CertifiedIssuer::self_signed(params, key).unwrap()
}

/// A certificate for a name.
pub fn certificate(of: &Authority, name: &str) -> Pair {
    made(of, &CertificateParams::new(vec![name.to_owned()]).unwrap())
}

/// A certificate of a client, with what `edit` says of it.
pub fn client_certificate(of: &Authority, edit: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::default();
    edit(&mut params);
    made(of, &params)
}

fn made(of: &Authority, params: &CertificateParams) -> Pair {
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, of).unwrap().pem(), key.serialize_pem())
}

/// Writes a server's certificate for `localhost` and 127.0.0.1, and its key.
pub fn write_server(folder: &Path, of: &Authority) {
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = made(of, &params);
    put(folder, "tls.key", &key);
    put(folder, "tls.crt", &cert);
}

/// Puts a file in the place of another, at once.
pub fn put(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(".new"), text).unwrap();
    std::fs::rename(folder.join(".new"), folder.join(name)).unwrap();
}

/// A folder with `tls.crt`, `tls.key`, and `clients.pem` where there are such.
pub fn folder(servers: &Authority, clients: Option<&Authority>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_server(folder.path(), servers);
    if let Some(clients) = clients {
        put(folder.path(), "clients.pem", &clients.pem());
    }
    folder
}

/// A client that trusts an authority, and shows a certificate if it has one.
pub fn builder(servers: &Authority, own: Option<&Pair>) -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let trusted = reqwest::Certificate::from_pem(servers.pem().as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]);
    let builder = builder.timeout(Duration::from_secs(20));
    match own {
        Some((cert, key)) => {
            builder.identity(reqwest::Identity::from_pem(format!("{key}\n{cert}").as_bytes()).unwrap())
        }
        None => builder,
    }
}

pub fn client(servers: &Authority, own: Option<&Pair>) -> reqwest::Client {
    builder(servers, own).build().unwrap()
}

/// Each version of TLS by itself.
pub static VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

/// How a raw connection is made.
#[derive(Clone, Copy)]
pub struct Hello<'a> {
    pub trusts: &'a Authority,
    pub own: Option<&'a Pair>,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub alpn: &'static [u8],
    pub name: &'static str,
}

impl<'a> Hello<'a> {
    /// HTTP/1.1 to `localhost` by whatever TLS both know.
    pub fn new(trusts: &'a Authority) -> Self {
        Self { trusts, own: None, versions: rustls::ALL_VERSIONS, alpn: b"http/1.1", name: "localhost" }
    }

    pub fn with(trusts: &'a Authority, own: &'a Pair) -> Self {
        Self { own: Some(own), ..Self::new(trusts) }
    }

    pub async fn connect(self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trusts.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(self.versions);
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match self.own {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(self.name.try_into().unwrap(), stream).await
    }
}

/// A modern request over https, with headers of its own.
pub async fn send(
    client: &reqwest::Client,
    address: SocketAddr,
    method: &str,
    params: Value,
    own: &[(&str, &str)],
) -> reqwest::Result<reqwest::Response> {
    let name = params.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut request = client.post(format!("https://localhost:{}/mcp", address.port()));
    let mut headers = message::modern_headers(method, name.as_deref());
    headers.extend(message::headers(own));
    for (name, value) in headers.into_iter().filter(|(name, _)| name != "Host") {
        request = request.header(name, value);
    }
    request.body(message::modern(method, params).to_string()).send().await
}

/// The result of a tool without arguments.
pub async fn call(client: &reqwest::Client, address: SocketAddr, tool: &str) -> Value {
    let response = send(client, address, "tools/call", json!({ "name": tool }), &[]).await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    serde_json::from_str::<Value>(&text).unwrap()["result"].take()
}
