//! Certificates and private keys in PEM, as they stand in files that the configuration names: what is wrong with them is told at the
//! key that names the file, and a key never leaves it.

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::diag::{Diagnostic, Diagnostics};
use crate::file::FileRef;

/// What is wrong with a file; one that could not be read was told of by the loader.
fn bad(file: &FileRef, what: &str, diagnostics: &mut Diagnostics) {
    if !(file.content.is_empty() && diagnostics.has_errors()) {
        let message = format!("`{}` {what}", file.path.value);
        let help = "PEM is text between lines such as `-----BEGIN CERTIFICATE-----`";
        diagnostics.push(Diagnostic::error("bad-pem", message).at(file.path.span, "").help(help));
    }
}

/// All certificates of a file, at least one; nothing if it holds none, or one that cannot be read.
pub fn certificates(file: &FileRef, diagnostics: &mut Diagnostics) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.content).collect();
    let found = found.ok().filter(|all| !all.is_empty());
    let known = |c: &CertificateDer<'_>| RootCertStore::empty().add(c.clone()).is_ok();
    if found.as_ref().is_none_or(|all| !all.iter().all(known)) {
        bad(file, "holds no certificates in PEM", diagnostics);
        return None;
    }
    found
}

/// The certificates of one file, the first of which belongs to the private key of the other.
pub fn pair(
    cert: &FileRef,
    key: &FileRef,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<CertificateDer<'static>>> {
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
    Some(pair.cert)
}
