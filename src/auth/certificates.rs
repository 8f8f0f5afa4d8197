//! Callers who are known by the certificate that they show in TLS: what is written of them, and what a certificate says. Whether it is
//! good was looked at before by the TLS stack.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use serde::Serialize;
use serde_json::Map;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::config::ClientCertificateConfig;
use crate::caller::{Identity, Known};
use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::pem::fingerprint;
use crate::units::{from_hex, to_hex};

/// A certificate that is known, and who holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertificatePlan {
    /// What it is known by.
    pub by: Mark,
    /// Who holds it.
    pub identity: Arc<Identity>,
}

/// What a certificate can be known by, in a form in which two are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// An alternative name that is a URI, letter for letter.
    Uri(String),
    /// An alternative name that is a DNS name, in small letters.
    Dns(String),
    /// An alternative name that is an e-mail address, its domain in small letters.
    Email(String),
    /// The common name of the subject, letter for letter.
    Subject(String),
    /// The SHA-256 of the certificate, in hexadecimal.
    Sha256(String),
}

impl Mark {
    fn email(text: &str) -> Self {
        Self::Email(match text.rsplit_once('@') {
            Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
            None => text.to_owned(),
        })
    }

    /// An alternative name as written: what it is shows in it.
    fn san(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("an alternative name is printable ASCII without spaces");
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err("an address is nobody's name; use a URI, a DNS name or an e-mail address");
        }
        Ok(if text.contains(':') {
            Self::Uri(text.to_owned())
        } else if text.contains('@') {
            Self::email(text)
        } else {
            Self::Dns(text.to_ascii_lowercase())
        })
    }
}

/// What a certificate says of its holder, read once when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    marks: Vec<Mark>,
    /// Since 1970.
    from: Duration,
    until: Duration,
}

impl Shown {
    /// Reads a certificate in DER; nothing if it is not one.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut marks = vec![Mark::Sha256(fingerprint(der))];
        // Of two common names nobody can say which is meant.
        let mut names = certificate.subject().iter_common_name();
        if let (Some(name), None) = (names.next(), names.next()) {
            marks.extend(name.as_str().ok().map(|name| Mark::Subject(name.to_owned())));
        }
        let names = certificate.subject_alternative_name().ok()?;
        marks.extend(names.iter().flat_map(|names| &names.value.general_names).filter_map(
            |name| match name {
                GeneralName::URI(uri) => Some(Mark::Uri((*uri).to_owned())),
                GeneralName::DNSName(name) => Some(Mark::Dns(name.to_ascii_lowercase())),
                GeneralName::RFC822Name(address) => Some(Mark::email(address)),
                _ => None,
            },
        ));
        let since = |time: i64| Duration::from_secs(u64::try_from(time).unwrap_or_default());
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Self { marks, from: since(from), until: since(until) })
    }

    /// Whether it says this.
    #[must_use]
    pub fn bears(&self, mark: &Mark) -> bool {
        self.marks.contains(mark)
    }

    /// From when it is good, and until when.
    #[must_use]
    pub fn times(&self) -> (SystemTime, SystemTime) {
        (UNIX_EPOCH + self.from, UNIX_EPOCH + self.until)
    }

    /// Whether it is good at this time.
    #[must_use]
    pub fn is_good_at(&self, time: SystemTime) -> bool {
        let (from, until) = self.times();
        (from..=until).contains(&time)
    }
}

/// Compiles all certificates.
pub(super) fn compile(
    written: &[Spanned<ClientCertificateConfig>],
    diagnostics: &mut Diagnostics,
) -> Vec<CertificatePlan> {
    let mut all: Vec<(Span, CertificatePlan)> = Vec::new();
    for written in written {
        let Some(plan) = certificate(written, diagnostics) else { continue };
        for (first, other) in &all {
            let same = match () {
                () if other.identity.sub == plan.identity.sub => "two certificates have the same name",
                () if other.by == plan.by => "these two are the same certificate",
                () => continue,
            };
            let problem = Diagnostic::error("certificate-twice", same);
            diagnostics.push(problem.at(written.name.span, "").at(*first, "the other one"));
        }
        all.push((written.name.span, plan));
    }
    all.into_iter().map(|(_, plan)| plan).collect()
}

fn certificate(
    written: &Spanned<ClientCertificateConfig>,
    diagnostics: &mut Diagnostics,
) -> Option<CertificatePlan> {
    let ClientCertificateConfig { name, san, subject, sha256, scopes, claims } = &written.value;
    let mut refuse = |code, message: &str, at| {
        diagnostics.push(Diagnostic::error(code, message).absence().at(at, ""));
        None
    };
    if name.trim().is_empty() {
        let message = "a certificate has a name, which its calls are known by";
        return refuse("bad-certificate", message, name.span);
    }
    let by = match (san, subject, sha256) {
        (Some(san), None, None) => match Mark::san(san) {
            Ok(mark) => mark,
            Err(why) => return refuse("bad-certificate", why, san.span),
        },
        (None, Some(subject), None) if subject.trim().is_empty() => {
            return refuse("bad-certificate", "an empty subject names nobody", subject.span);
        }
        (None, Some(subject), None) => Mark::Subject(subject.value.clone()),
        (None, None, Some(text)) => {
            let digest = from_hex(&text.replace(':', ""));
            match digest.filter(|digest| digest.len() == digest::SHA256_OUTPUT_LEN) {
                Some(digest) => Mark::Sha256(to_hex(&digest)),
                None => {
                    let message = "a SHA-256 is 64 hexadecimal digits: `openssl x509 -in client.crt -noout -fingerprint -sha256`";
                    return refuse("bad-certificate", message, text.span);
                }
            }
        }
        _ => {
            return refuse("one-of", "a certificate is exactly one of `san`, `subject`, `sha256`", name.span);
        }
    };
    let claims: Map<_, _> =
        claims.iter().map(|(name, value)| (name.value.clone(), value.to_value())).collect();
    let identity = Identity::new(Known {
        key: format!("certificate:{}", name.value),
        sub: name.value.clone(),
        name: Some(name.value.clone()),
        scopes: scopes.clone(),
        claims,
    });
    Some(CertificatePlan { by, identity: Arc::new(identity) })
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn shown(edit: impl FnOnce(&mut CertificateParams)) -> Option<Shown> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        edit(&mut params);
        Shown::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn an_alternative_name_shows_what_it_is() {
        for (text, wanted) in [
            ("spiffe://shop/Billing", Ok(Mark::Uri("spiffe://shop/Billing".to_owned()))),
            ("urn:shop:billing", Ok(Mark::Uri("urn:shop:billing".to_owned()))),
            ("Billing.Shop.example", Ok(Mark::Dns("billing.shop.example".to_owned()))),
            ("Ada@Shop.example", Ok(Mark::Email("Ada@shop.example".to_owned()))),
            ("10.0.0.1", Err(())),
            ("::1", Err(())),
            ("", Err(())),
            ("a b", Err(())),
            ("ä.example", Err(())),
        ] {
            assert_eq!(Mark::san(text).map_err(|_| ()), wanted, "{text}");
        }
    }

    #[test]
    fn a_certificate_bears_its_names_and_only_those() {
        let shown = shown(|params| {
            let text = |text: &str| Ia5String::try_from(text).unwrap();
            params.distinguished_name.push(DnType::CommonName, "Ops");
            params.distinguished_name.push(DnType::OrganizationName, "Shop");
            params.subject_alt_names = vec![
                SanType::URI(text("spiffe://shop/billing")),
                SanType::DnsName(text("Billing.shop.example")),
                SanType::Rfc822Name(text("ada@SHOP.example")),
                SanType::IpAddress("10.0.0.1".parse().unwrap()),
            ];
        })
        .unwrap();
        for san in ["spiffe://shop/billing", "billing.SHOP.example", "ada@shop.example"] {
            assert!(shown.bears(&Mark::san(san).unwrap()), "{san}");
        }
        for san in
            ["spiffe://shop/Billing", "spiffe://shop", "shop.example", "Ada@shop.example", "Ops", "Shop"]
        {
            assert!(!shown.bears(&Mark::san(san).unwrap()), "{san}");
        }
        assert!(shown.bears(&Mark::Subject("Ops".to_owned())));
        for subject in ["ops", "Shop", "billing.shop.example"] {
            assert!(!shown.bears(&Mark::Subject(subject.to_owned())), "{subject}");
        }
        assert_eq!(shown.marks.len(), 5);
    }

    #[test]
    fn a_certificate_without_names_is_known_by_its_digest_alone_and_holds_for_its_time() {
        let (from, until) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 1, 2));
        let shown = shown(|params| (params.not_before, params.not_after) = (from, until)).unwrap();
        assert!(matches!(&shown.marks[..], [Mark::Sha256(digest)] if digest.len() == 64));
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs((18262 + days) * 86400);
        assert_eq!(shown.times(), (day(0), day(1)));
        assert!(shown.is_good_at(day(0)) && shown.is_good_at(day(1)));
        assert!(!shown.is_good_at(day(0) - Duration::from_secs(1)) && !shown.is_good_at(day(2)));
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        let der = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = der.der().to_vec();
        assert!(Shown::read(&der).is_some());
        for length in 0..der.len() {
            assert_eq!(Shown::read(&der[..length]), None, "{length} bytes");
        }
        assert_eq!(Shown::read(&[&der[..], b"x"].concat()), None);
    }
}
