//! TLS of what we ask, whatever it is: whom we trust, and what we show of ourselves. PEM that was read and checked at load.

use reqwest::{Certificate, ClientBuilder, Identity};
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

fn authorities(file: &FileRef, diagnostics: &mut Diagnostics) -> Option<Secret> {
    pem::certificates(file, diagnostics)?;
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
    pem::pair(cert, key, diagnostics)?;
    Some(Secret::new(format!("{}\n{}", key.text()?, cert.text()?)))
}
