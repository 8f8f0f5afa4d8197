//! TLS of the listener after compile: its certificate with its key, and whose clients are believed.

use rustls::pki_types::CertificateDer;
use serde::Serialize;

use crate::config::{ClientsConfig, Config, ServerTlsConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::pem;
use crate::secret::Secret;
use crate::yaml::TextOr;

/// `server.http.tls`, its files read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TlsPlan {
    /// The certificate of this server, and those between it and its authority. Written as their SHA-256.
    #[serde(serialize_with = "pem::digests")]
    pub cert: Vec<CertificateDer<'static>>,
    /// Its private key in PEM.
    pub key: Secret,
    /// The authorities whose clients are believed; without any, no client is asked. Written as their SHA-256.
    #[serde(serialize_with = "pem::digests", skip_serializing_if = "Vec::is_empty")]
    pub client_ca: Vec<CertificateDer<'static>>,
    /// Whether a client has to show a certificate.
    pub clients: ClientsConfig,
}

/// Compiles `server.http.tls`, and what `auth` needs of it; `Err` if it is wrong.
pub(super) fn compile(config: &Config, diagnostics: &mut Diagnostics) -> Result<Option<TlsPlan>, ()> {
    let written = config.server.http.tls.as_ref();
    check_clients(config, written, diagnostics);
    let Some(written) = written else { return Ok(None) };
    let ServerTlsConfig { cert, key, client_ca, clients } = &written.value;
    let pair = pem::pair(cert, key, diagnostics);
    let authorities = match client_ca {
        Some(file) => pem::certificates(file, diagnostics),
        None => Some(Vec::new()),
    };
    let pem::Pair { chain, key } = pair.ok_or(())?;
    Ok(Some(TlsPlan {
        cert: chain,
        key,
        client_ca: authorities.ok_or(())?,
        clients: clients.as_ref().map(|clients| clients.value).unwrap_or_default(),
    }))
}

/// Holds what is said of clients' certificates against what is there to verify them.
fn check_clients(config: &Config, tls: Option<&Spanned<ServerTlsConfig>>, diagnostics: &mut Diagnostics) {
    let named = match config.auth.as_ref().map(|auth| &auth.value) {
        Some(TextOr::Block(auth)) => auth.client_certificates.first(),
        _ => None,
    };
    let authorities = tls.and_then(|tls| tls.client_ca.as_ref());
    let clients = tls.and_then(|tls| tls.clients.as_ref());
    let required = clients.filter(|clients| clients.value == ClientsConfig::Required);
    let missing = "no certificate can be verified: `server.http.tls` has no `client_ca`";
    let help = "give the certificates of the clients' authorities: `server: { http: { tls: { …, client_ca: clients.pem } } }`";
    let first = named.map(|first| first.name.span);
    match authorities {
        None if config.losses.touch(&["server", "http", "tls"], &[]) => {}
        None => {
            for span in [first, required.map(|required| required.span)].into_iter().flatten() {
                let problem = Diagnostic::error("no-client-ca", missing).absence();
                diagnostics.push(problem.at(span, "").help(help));
            }
        }
        Some(file) if named.is_none() && required.is_none() => {
            if config.losses.touch(&["auth"], &[]) {
                return;
            }
            let message = "clients are asked for certificates, and nobody is known by one";
            let help =
                "say who they are in `auth.client_certificates`, or that each needs one: `clients: required`";
            let problem = Diagnostic::warning("unused-client-ca", message).absence();
            diagnostics.push(problem.at(file.path.span, "").help(help));
        }
        Some(_) => {}
    }
}
