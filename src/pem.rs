//! Certificates and private keys in PEM, as they stand in files that the configuration names: what is wrong with them is told at the
//! key that names the file, and a key never leaves it.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::Serializer;

use crate::diag::{Diagnostic, Diagnostics};
use crate::file::FileRef;
use crate::secret::Secret;
use crate::units::to_hex;

/// Characters of a line (RFC 7468, section 2).
const LINE: usize = 64;

/// A certificate with those between it and its authority, and its private key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key in PEM, and nothing else that stood in the file.
    pub key: Secret,
}

impl Pair {
    /// The key and the certificates as one text in PEM.
    #[must_use]
    pub fn text(&self) -> Secret {
        let chain: Vec<String> = self.chain.iter().map(|der| encoded("CERTIFICATE", der)).collect();
        Secret::new(format!("{}{}", self.key.expose(), chain.concat()))
    }
}

/// The SHA-256 of a certificate in DER, in hexadecimal.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    to_hex(digest::digest(&digest::SHA256, der).as_ref())
}

/// Writes certificates as their SHA-256.
///
/// # Errors
/// The serializer's.
pub fn digests<S: Serializer>(all: &[CertificateDer<'_>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(|der| fingerprint(der)))
}

/// DER as PEM: files may hold words beside it, in any encoding, that not every reader takes.
fn encoded(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

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
pub fn pair(cert: &FileRef, key: &FileRef, diagnostics: &mut Diagnostics) -> Option<Pair> {
    let chain = certificates(cert, diagnostics);
    let der = PrivateKeyDer::from_pem_slice(&key.content).ok();
    let loaded = der.as_ref().and_then(|der| {
        let load = |der| default_provider().key_provider.load_private_key(der);
        load(der.clone_key()).ok()
    });
    if loaded.is_none() {
        bad(key, "holds no private key in PEM that can be used; one with a password cannot", diagnostics);
    }
    let (pair, der) = (CertifiedKey::new(chain?, loaded?), der?);
    if pair.keys_match().is_err() {
        let problem = Diagnostic::error("bad-tls", "this key does not belong to the certificate");
        diagnostics.push(problem.at(key.path.span, "").at(cert.path.span, "the certificate"));
        return None;
    }
    let label = match der {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Some(Pair { chain: pair.cert, key: Secret::new(encoded(label, der.secret_der())) })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::diag::{FileId, Span, Spanned};

    fn file(content: Vec<u8>) -> FileRef {
        let span = Span { file: FileId::default(), start: 0, end: 0 };
        FileRef { path: Spanned { value: "x.pem".to_owned(), span }, content: content.into() }
    }

    #[test]
    fn words_beside_the_pem_are_left_out_whatever_their_encoding() {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let noted = |pem: String| file([b"# Autorit\xe9 de test\n".as_slice(), pem.as_bytes()].concat());
        let mut diagnostics = Diagnostics::default();
        let pair = pair(&noted(cert.pem()), &noted(key.serialize_pem()), &mut diagnostics).unwrap();
        assert!(diagnostics.is_empty());
        assert_eq!(pair.chain, [cert.der().clone()]);
        let text = pair.text();
        let again: Vec<_> =
            CertificateDer::pem_slice_iter(text.expose().as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(again, pair.chain);
        let again = PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).unwrap();
        assert_eq!(again.secret_der(), key.serialize_der());
        assert!(text.expose().lines().all(|line| line.len() <= LINE), "{}", pair.chain.len());
        assert_eq!(certificates(&noted(cert.pem()), &mut diagnostics).unwrap().len(), 1);
    }
}
