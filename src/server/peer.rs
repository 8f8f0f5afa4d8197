//! The other end of a connection: its address, and who it is by the certificate that it showed. That is found out once for each
//! connection and each configuration, so that what a reload takes away is gone for connections that are open, too.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use rustls::pki_types::CertificateDer;

use crate::auth::{Authentication, Shown};
use crate::caller::Identity;
use crate::live::{Live, Tls};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub ip: IpAddr,
    certificate: Option<Certificate>,
}

/// The certificate that was shown.
#[derive(Debug)]
struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    shown: Shown,
    /// When it, or one between it and its authority, is no longer good.
    until: SystemTime,
    found: ArcSwapOption<Found>,
}

/// What a configuration says of a certificate.
#[derive(Debug)]
struct Found {
    tls: Arc<Tls>,
    auth: Arc<Authentication>,
    believed: bool,
    identity: Option<Arc<Identity>>,
}

impl Peer {
    /// One that showed these certificates, if any, and proved that the first is its own.
    pub(super) fn new(ip: IpAddr, chain: Option<&[CertificateDer<'_>]>) -> Self {
        let certificate = chain.and_then(|chain| {
            let shown = Shown::read(chain.first()?)?;
            let ends = chain.iter().filter_map(|der| Some(Shown::read(der)?.times().1));
            let until = ends.min().unwrap_or(SystemTime::UNIX_EPOCH);
            let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
            Some(Certificate { chain, shown, until, found: ArcSwapOption::empty() })
        });
        Self { ip, certificate }
    }

    /// Who it is by its certificate.
    pub(super) fn identity(&self, live: &Live) -> Option<Arc<Identity>> {
        self.certificate.as_ref()?.found(live)?.identity.clone()
    }

    /// Whether this connection would be taken now: where certificates are needed, it showed one that still holds.
    pub(super) fn holds(&self, live: &Live) -> bool {
        live.tls.as_ref().is_none_or(|tls| {
            let found = || self.certificate.as_ref()?.found(live);
            !tls.needs_certificates() || found().is_some_and(|found| found.believed)
        })
    }
}

impl Certificate {
    /// Nothing once it has expired.
    fn found(&self, live: &Live) -> Option<Arc<Found>> {
        let now = SystemTime::now();
        let tls = live.tls.as_ref().filter(|_| self.shown.is_good_at(now) && now <= self.until)?;
        let known = self.found.load_full();
        let same = |found: &Arc<Found>| Arc::ptr_eq(&found.tls, tls) && Arc::ptr_eq(&found.auth, &live.auth);
        if let Some(found) = known.filter(same) {
            return Some(found);
        }
        let believed = tls.believes(&self.chain);
        let identity = live.auth.certificate(&self.shown).filter(|_| believed).cloned();
        let found = Arc::new(Found { tls: tls.clone(), auth: live.auth.clone(), believed, identity });
        self.found.store(Some(found.clone()));
        Some(found)
    }
}
