//! How a REST source reaches its API: whom it trusts, what it shows of itself in TLS, by which proxy, and where it may go.

use reqwest::{Certificate, Identity, Proxy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::config::RestConfig;
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::pem;
use crate::secret::Secret;
use crate::source::http;
use crate::source::public::{PublicOnly, is_public};

/// TLS to an API: PEM files, read when the configuration is loaded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamTls")]
pub struct TlsConfig {
    /// The certificates of the authorities that are trusted, in place of those of the platform.
    pub ca: Option<FileRef>,
    /// The certificate that is shown to the API, with those between it and its authority. It needs `key`.
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
pub(super) struct ReachPlan {
    /// PEM of the authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Secret>,
    /// PEM of our certificate and its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Secret>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub public_only: bool,
}

impl ReachPlan {
    /// `tokens` is the address of a token endpoint, which is reached in the same way.
    pub(super) fn compile(
        config: &RestConfig,
        base: &Url,
        tokens: Option<&Url>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut plan = Self { public_only: config.public_only, ..Self::default() };
        let written = config.credentials.as_ref().and_then(|c| c.token_url());
        let tokens = tokens.zip(written.map(|url| url.span));
        let places = [Some((base, config.base_url.span)), tokens];
        let places: Vec<_> = places.into_iter().flatten().collect();
        let plain = places.iter().find(|(url, _)| url.scheme() != "https");
        if let Some(tls) = &config.tls {
            if base.scheme() != "https" {
                let problem =
                    Diagnostic::error("bad-tls", "`tls` is for an API whose address begins with `https://`");
                diagnostics.push(problem.at(tls.span, "").at(config.base_url.span, "this one does not"));
            }
            plan.ca = tls.ca.as_ref().and_then(|ca| authorities(ca, diagnostics));
            plan.identity = identity(tls, diagnostics);
        }
        if let Some(proxy) = &config.proxy {
            let mut refuse = |message: &str| {
                diagnostics.push(Diagnostic::error("bad-proxy", message).at(proxy.span, ""));
            };
            if !is_proxy(proxy.expose()) {
                refuse(
                    "a proxy is `http://host:port`, or `http://user:password@host:port` if it asks who we are",
                );
            }
            if plain.is_some() {
                refuse("a proxy is used for `https://` alone: it would read all that is sent over `http://`");
            }
            if config.public_only {
                refuse("`public_only` cannot be held through a proxy, which looks names up by itself");
            }
            plan.proxy = Some(proxy.value.clone());
        }
        let closed = |url: &Url| match url.host() {
            Some(Host::Ipv4(v4)) => !is_public(v4.into()),
            Some(Host::Ipv6(v6)) => !is_public(v6.into()),
            _ => false,
        };
        for (_, at) in places.iter().filter(|(url, _)| config.public_only && closed(url)) {
            let message = "`public_only` is written, and this address is not one of the public internet";
            diagnostics.push(Diagnostic::error("not-public", message).at(*at, ""));
        }
        plan
    }

    /// A client that reaches what this allows.
    pub(super) fn client(&self, https: bool) -> Result<reqwest::Client, String> {
        let plain = |e: reqwest::Error| e.to_string();
        let mut builder = http::builder(https);
        if let Some(ca) = &self.ca {
            builder =
                builder.tls_certs_only(Certificate::from_pem_bundle(ca.expose().as_bytes()).map_err(plain)?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(Identity::from_pem(identity.expose().as_bytes()).map_err(plain)?);
        }
        if let Some(proxy) = &self.proxy {
            let proxy = Proxy::all(proxy.expose()).map_err(|_| "the proxy's address is none".to_owned())?;
            builder = builder.proxy(proxy);
        }
        if self.public_only {
            builder = builder.dns_resolver(PublicOnly);
        }
        http::build(builder)
    }
}

fn is_proxy(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        url.scheme() == "http"
            && url.host_str().is_some_and(|host| !host.contains(['{', '}']))
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    })
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
