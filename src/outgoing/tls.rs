//! TLS of what we ask, whatever it is: whom we trust, and what we show of ourselves. PEM that was read and checked at load.

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::secret::Secret;

/// TLS to a server that is asked: PEM files, read when the configuration is loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamTls")]
pub struct TlsConfig {
    /// The certificates of the authorities that are trusted, in place of those of the platform.
    pub ca: Option<FileRef>,
    /// The certificate that is shown to the server, with those between it and its authority. It needs `key`.
    pub cert: Option<FileRef>,
    /// The private key of `cert`, without a password.
    pub key: Option<FileRef>,
}

impl TlsConfig {
    /// The files, for the loader to read.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        [&mut self.ca, &mut self.cert, &mut self.key].into_iter().flatten()
    }
}

/// The same, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TlsPlan {
    /// PEM of the authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Secret>,
    /// PEM of our certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Secret>,
}

impl TlsPlan {
    /// Checks what is written.
    pub fn compile(written: &Spanned<TlsConfig>, diagnostics: &mut Diagnostics) -> Self {
        let ca = written.ca.as_ref().and_then(|ca| authorities(ca, diagnostics));
        Self { ca, identity: identity(written, diagnostics) }
    }

    /// A client that trusts and shows this.
    ///
    /// # Errors
    /// The TLS stack's reason if it does not take what was checked.
    pub fn put(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let plain = |e: reqwest::Error| e.to_string();
        if let Some(ca) = &self.ca {
            builder =
                builder.tls_certs_only(Certificate::from_pem_bundle(ca.expose().as_bytes()).map_err(plain)?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(Identity::from_pem(identity.expose().as_bytes()).map_err(plain)?);
        }
        Ok(builder)
    }
}

/// What is wrong with a file; one that could not be read was told of by the loader.
fn bad(file: &FileRef, what: &str, diagnostics: &mut Diagnostics) {
    if !(file.content.is_empty() && diagnostics.has_errors()) {
        let message = format!("`{}` {what}", file.path.value);
        let help = "PEM is text between lines such as `-----BEGIN CERTIFICATE-----`";
        diagnostics.push(Diagnostic::error("bad-pem", message).at(file.path.span, "").help(help));
    }
}

fn certificates(file: &FileRef, diagnostics: &mut Diagnostics) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.content).collect();
    let found = found.ok().filter(|all| !all.is_empty());
    let known = |c: &CertificateDer<'_>| RootCertStore::empty().add(c.clone()).is_ok();
    if found.as_ref().is_none_or(|all| !all.iter().all(known)) {
        bad(file, "holds no certificates in PEM", diagnostics);
        return None;
    }
    found
}

fn authorities(file: &FileRef, diagnostics: &mut Diagnostics) -> Option<Secret> {
    certificates(file, diagnostics)?;
    file.text().map(|pem| Secret::new(pem.to_owned()))
}

/// Our certificate with its key, one after the other.
fn identity(tls: &Spanned<TlsConfig>, diagnostics: &mut Diagnostics) -> Option<Secret> {
    let (cert, key) = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return None,
        _ => {
            let problem =
                Diagnostic::error("bad-tls", "a certificate needs its key, and a key its certificate");
            diagnostics.push(problem.absence().at(tls.span, "give both `cert` and `key`"));
            return None;
        }
    };
    let chain = certificates(cert, diagnostics);
    let loaded = PrivateKeyDer::from_pem_slice(&key.content)
        .ok()
        .and_then(|der| aws_lc_rs::default_provider().key_provider.load_private_key(der).ok());
    if loaded.is_none() {
        bad(key, "holds no private key in PEM that can be used; one with a password cannot", diagnostics);
    }
    let pair = CertifiedKey::new(chain?, loaded?);
    if pair.keys_match().is_err() {
        let problem = Diagnostic::error("bad-tls", "this key does not belong to the certificate");
        diagnostics.push(problem.at(key.path.span, "").at(cert.path.span, "the certificate"));
        return None;
    }
    Some(Secret::new(format!("{}\n{}", key.text()?, cert.text()?)))
}
