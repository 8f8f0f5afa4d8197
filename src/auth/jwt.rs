//! An issuer of tokens after compile: whose tokens count, what they have to be meant for, and where the keys come from.

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde::Serialize;
use url::{Host, Url};

use super::config::JwtConfig;
use super::jwks::KeySet;
use super::resource::{Resource, comparable};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::outgoing::tls::{TlsConfig, TlsPlan};

/// The signatures that count unless something is said: asymmetric ones, since nothing secret is shared with an issuer.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithm of a name; none but those above have one here.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// An issuer of tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JwtPlan {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What they have to be meant for, one of these, as they are compared.
    pub audience: Vec<String>,
    /// Where its keys come from.
    pub keys: KeysPlan,
    /// TLS to where they are fetched, where something is written about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Signatures that count.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the scopes; `scope` and `scp` if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_claim: Option<String>,
    /// The claim with a name for people.
    pub name_claim: String,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysPlan {
    /// Its discovery document says where they are.
    Discovery,
    /// An address.
    Url(String),
    /// A file, which has been read.
    File(Arc<KeySet>),
}

/// Compiles all issuers.
pub(super) fn compile(
    written: &[Spanned<JwtConfig>],
    resource: Option<&Resource>,
    diagnostics: &mut Diagnostics,
) -> Vec<JwtPlan> {
    let mut issuers = Vec::new();
    for (index, jwt) in written.iter().enumerate() {
        let same = |other: &&Spanned<JwtConfig>| other.issuer.value == jwt.issuer.value;
        if let Some(first) = written.iter().take(index).find(same) {
            let problem = Diagnostic::error("issuer-twice", "two blocks are about the same issuer");
            diagnostics.push(problem.at(jwt.issuer.span, "").at(first.issuer.span, "the other one"));
        }
        issuers.extend(one(jwt, resource, diagnostics));
    }
    issuers
}

fn one(
    written: &Spanned<JwtConfig>,
    resource: Option<&Resource>,
    diagnostics: &mut Diagnostics,
) -> Option<JwtPlan> {
    let jwt = &written.value;
    let issuer = &jwt.issuer;
    let discovers = jwt.jwks_url.is_none() && jwt.jwks_file.is_none();
    // Only where something is fetched from it does it have to be an address.
    if issuer.trim().is_empty() || discovers && !is_safe(issuer) {
        let message = format!("`{}` is no issuer whose keys can be fetched safely", issuer.value);
        let help = "an `https` URL (on this machine also `http`), or say where the keys are: `jwks_url`, `jwks_file`";
        diagnostics.push(Diagnostic::error("bad-issuer", message).at(issuer.span, "").help(help));
    }
    let audience = audience(written, resource, diagnostics);
    let keys = keys(written, diagnostics);
    let tls = jwt.tls.as_ref().map(|tls| {
        fetched_over_tls(jwt, tls, diagnostics);
        TlsPlan::compile(tls, diagnostics)
    });
    let algorithms = algorithms(jwt, diagnostics);
    for claim in [&jwt.scopes_claim, &jwt.name_claim].into_iter().flatten().filter(|c| c.trim().is_empty()) {
        let message = "this names no claim";
        diagnostics.push(Diagnostic::error("bad-claim", message).at(claim.span, ""));
    }
    Some(JwtPlan {
        issuer: issuer.value.clone(),
        audience: audience?,
        keys: keys?,
        tls,
        algorithms: algorithms?,
        scopes_claim: jwt.scopes_claim.as_ref().map(|claim| claim.value.clone()),
        name_claim: jwt.name_claim.as_ref().map_or("name", |claim| &claim.value).to_owned(),
    })
}

fn audience(
    written: &Spanned<JwtConfig>,
    resource: Option<&Resource>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<String>> {
    let given = &written.value.audience.0;
    if let Some(empty) = given.iter().find(|audience| audience.trim().is_empty()) {
        diagnostics.push(Diagnostic::error("bad-audience", "an audience is not empty").at(empty.span, ""));
        return None;
    }
    let all: Vec<&str> = match (given.as_slice(), resource) {
        ([], Some(resource)) => vec![resource.as_str()],
        (given, _) => given.iter().map(|audience| audience.as_str()).collect(),
    };
    if all.is_empty() {
        let message = "nothing says what the tokens have to be meant for";
        let help = "give `auth.resource`, this server's own URI, or `audience`";
        let problem = Diagnostic::error("no-audience", message).absence();
        diagnostics.push(problem.at(written.value.issuer.span, "").help(help));
        return None;
    }
    Some(all.into_iter().map(|audience| comparable(audience).into_owned()).collect())
}

fn keys(written: &Spanned<JwtConfig>, diagnostics: &mut Diagnostics) -> Option<KeysPlan> {
    let JwtConfig { jwks_url, jwks_file, issuer, .. } = &written.value;
    match (jwks_url, jwks_file) {
        (None, None) => Some(KeysPlan::Discovery),
        (Some(url), None) if is_safe(url) => Some(KeysPlan::Url(url.value.clone())),
        (Some(url), None) => {
            let message = "keys cannot be fetched safely from here";
            let help = "an `https` URL; `http` only on this machine";
            diagnostics.push(Diagnostic::error("bad-jwks-url", message).at(url.span, "").help(help));
            None
        }
        // What could not be read has been told.
        (None, Some(file)) if file.content.is_empty() => None,
        (None, Some(file)) => match KeySet::parse(&file.content) {
            Ok(keys) => Some(KeysPlan::File(Arc::new(keys))),
            Err(why) => {
                let message = format!("`{}` cannot be used: {why}", file.path.value);
                let help = "a JSON Web Key Set: `{ \"keys\": [ … ] }`";
                diagnostics.push(Diagnostic::error("bad-jwks", message).at(file.path.span, "").help(help));
                None
            }
        },
        (Some(url), Some(file)) => {
            let message = format!("the keys of `{}` come from one place", issuer.value);
            let problem = Diagnostic::error("one-of", message).at(url.span, "from here");
            diagnostics.push(problem.at(file.path.span, "or from here"));
            None
        }
    }
}

/// Says that nothing is fetched over TLS, so that `tls` would promise something that is not so.
fn fetched_over_tls(jwt: &JwtConfig, tls: &Spanned<TlsConfig>, diagnostics: &mut Diagnostics) {
    let (from, at) = match (&jwt.jwks_url, &jwt.jwks_file) {
        (None, Some(file)) => (file.path.as_str(), file.path.span),
        (Some(url), _) => (url.as_str(), url.span),
        (None, None) => (jwt.issuer.as_str(), jwt.issuer.span),
    };
    if Url::parse(from).is_ok_and(|url| url.scheme() != "https") || jwt.jwks_file.is_some() {
        let message = "`tls` is for keys that are fetched from an address that begins with `https://`";
        let problem = Diagnostic::error("bad-tls", message).at(tls.span, "");
        diagnostics.push(problem.at(at, "these are not"));
    }
}

fn algorithms(jwt: &JwtConfig, diagnostics: &mut Diagnostics) -> Option<Vec<Algorithm>> {
    let Some(written) = &jwt.algorithms else { return Some(ALGORITHMS.map(|(_, a)| a).to_vec()) };
    let mut found = Vec::new();
    for name in &written.value {
        match algorithm(name) {
            Some(algorithm) => found.push(algorithm),
            None if name.to_ascii_uppercase().starts_with("HS") => {
                let message = format!("`{}` needs a secret that is shared with the issuer", name.value);
                let help = "tokens are checked with public keys here: `RS256`, `ES256`, `EdDSA`, …";
                diagnostics.push(Diagnostic::error("bad-algorithm", message).at(name.span, "").help(help));
            }
            None => {
                let message = format!("`{}` is not a signature algorithm that counts", name.value);
                let help = crate::name::did_you_mean(name, ALGORITHMS.map(|(name, _)| name), "algorithms");
                diagnostics.push(Diagnostic::error("bad-algorithm", message).at(name.span, "").help(help));
            }
        }
    }
    if written.value.is_empty() {
        let message = "without an algorithm no token would count";
        diagnostics.push(Diagnostic::error("bad-algorithm", message).absence().at(written.span, ""));
    }
    (found.len() == written.value.len() && !found.is_empty()).then_some(found)
}

/// Whether keys may be fetched from there: over TLS, or from this machine.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let whole = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match url.scheme() {
        "https" => whole && url.has_host(),
        "http" => whole && is_loopback(&url),
        _ => false,
    }
}

/// Whether it is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
