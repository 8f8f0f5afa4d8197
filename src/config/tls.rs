//! `server.http.tls` as written, and whether its certificate is good on the day that it is read.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::Shown;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;

/// TLS of the HTTP side, 1.2 and 1.3: PEM files. When one of them changes, connections from then on see what it says; those that are
/// open go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ServerTls")]
pub struct ServerTlsConfig {
    /// The certificate of this server, with those between it and its authority.
    pub cert: FileRef,
    /// The private key of `cert`, without a password.
    pub key: FileRef,
    /// The certificates of the authorities whose clients are believed. Clients are asked for a certificate, and one that is not of
    /// them ends the connection. Who a certificate is says `auth.client_certificates`.
    #[serde(default)]
    pub client_ca: Option<FileRef>,
    /// Whether a client has to show a certificate. Default `optional`.
    #[serde(default)]
    pub clients: Option<Spanned<ClientsConfig>>,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Clients")]
pub enum ClientsConfig {
    /// One without comes in, and is known by its key or token, if at all.
    #[default]
    Optional,
    /// Nothing is answered without one, health checks included.
    Required,
}

impl ServerTlsConfig {
    /// The files, for the loader to read.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        [&mut self.cert, &mut self.key].into_iter().chain(&mut self.client_ca)
    }

    /// Says that clients will not take the certificate any more, or not yet.
    pub(super) fn check_times(&self, now: SystemTime, diagnostics: &mut Diagnostics) {
        // What is no certificate is told of where the plan is made.
        let leaf = CertificateDer::from_pem_slice(&self.cert.content).ok();
        let Some((from, until)) = leaf.and_then(|leaf| Shown::read(&leaf)).map(|shown| shown.times()) else {
            return;
        };
        let message = if until < now {
            format!("this certificate has expired: it was good until {}", httpdate::fmt_http_date(until))
        } else if now < from {
            format!("this certificate is not good yet: it will be from {}", httpdate::fmt_http_date(from))
        } else {
            return;
        };
        let help = "clients refuse it; while the server runs, a new one is taken up as soon as it stands in the file";
        let problem = Diagnostic::warning("certificate-times", message);
        diagnostics.push(problem.at(self.cert.path.span, "").help(help));
    }
}
