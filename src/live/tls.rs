//! TLS of the listener in use: made once when a plan is opened, given to every connection from then on.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::ClientsConfig;
use crate::plan::TlsPlan;

/// TLS of the listener.
pub struct Tls {
    plan: TlsPlan,
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl Tls {
    /// Puts a plan to use; an equal one goes on.
    ///
    /// # Errors
    /// The TLS stack's reason if it does not take what the plan holds.
    pub fn open(plan: &TlsPlan, previous: Option<&Arc<Self>>) -> Result<Arc<Self>, String> {
        if let Some(previous) = previous.filter(|previous| previous.plan == *plan) {
            return Ok(previous.clone());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
        let clients = match plan.client_ca.as_slice() {
            [] => None,
            authorities => {
                let mut roots = RootCertStore::empty();
                for authority in authorities {
                    roots.add(authority.clone()).map_err(|e| e.to_string())?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match plan.clients {
                    ClientsConfig::Optional => verifier.allow_unauthenticated(),
                    ClientsConfig::Required => verifier,
                };
                Some(verifier.build().map_err(|e| e.to_string())?)
            }
        };
        let builder = match &clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        // Not the library's words, which might quote of it.
        let key = PrivateKeyDer::from_pem_slice(plan.key.expose().as_bytes());
        let key = key.map_err(|_| "the private key cannot be read".to_owned())?;
        let mut config = builder.with_single_cert(plan.cert.clone(), key).map_err(|e| e.to_string())?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if clients.is_some() {
            // A session that is taken up again would bring a certificate that nobody looks at any more.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Arc::new(Self { plan: plan.clone(), config: Arc::new(config), clients }))
    }

    /// What a handshake goes by.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Whether a certificate, with those between it and its authority, is of an authority that is believed, and good now.
    #[must_use]
    pub fn believes(&self, chain: &[CertificateDer<'_>]) -> bool {
        let (Some(verifier), Some((leaf, between))) = (&self.clients, chain.split_first()) else {
            return false;
        };
        verifier.verify_client_cert(leaf, between, UnixTime::now()).is_ok()
    }

    /// Whether nothing is answered without a certificate.
    #[must_use]
    pub const fn needs_certificates(&self) -> bool {
        matches!(self.plan.clients, ClientsConfig::Required) && self.clients.is_some()
    }
}
