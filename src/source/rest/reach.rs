//! How a REST source reaches its API: whom it trusts, what it shows of itself in TLS, by which proxy, and where it may go.

use reqwest::Proxy;
use serde::Serialize;
use url::{Host, Url};

use super::config::RestConfig;
use crate::diag::{Diagnostic, Diagnostics};
use crate::outgoing::tls::TlsPlan;
use crate::secret::Secret;
use crate::source::http;
use crate::source::public::{PublicOnly, is_public};

/// How it is reached, checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct ReachPlan {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
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
            plan.tls = Some(TlsPlan::compile(tls, diagnostics));
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
        let mut builder = http::builder(https);
        if let Some(tls) = &self.tls {
            builder = tls.put(builder)?;
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
