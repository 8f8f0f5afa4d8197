//! TLS of what we ask, whatever it is: whom we trust, and what we show of ourselves. PEM that was read and checked at load.

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::pki_types::CertificateDer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::pem;
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
    /// The authorities, in place of those of the platform where there are any. Written as their SHA-256.
    #[serde(serialize_with = "pem::digests", skip_serializing_if = "Vec::is_empty")]
    pub ca: Vec<CertificateDer<'static>>,
    /// PEM of our certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Secret>,
}

impl TlsPlan {
    /// Checks what is written.
    pub fn compile(written: &Spanned<TlsConfig>, diagnostics: &mut Diagnostics) -> Self {
        // Without the authorities that are wanted nothing is made of it: there is an error.
        let ca = written.ca.as_ref().and_then(|ca| pem::certificates(ca, diagnostics));
        Self { ca: ca.unwrap_or_default(), identity: identity(written, diagnostics) }
    }

    /// A client that trusts and shows this.
    ///
    /// # Errors
    /// The TLS stack's reason if it does not take what was checked.
    pub fn put(&self, mut builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let plain = |e: reqwest::Error| e.to_string();
        if !self.ca.is_empty() {
            let all = self.ca.iter().map(|der| Certificate::from_der(der));
            builder = builder.tls_certs_only(all.collect::<Result<Vec<_>, _>>().map_err(plain)?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(Identity::from_pem(identity.expose().as_bytes()).map_err(plain)?);
        }
        Ok(builder)
    }
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
    Some(pem::pair(cert, key, diagnostics)?.text())
}
