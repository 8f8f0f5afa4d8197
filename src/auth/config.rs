//! `auth:` as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;
use crate::outgoing::tls::TlsConfig;
use crate::secret::Secret;
use crate::yaml::{Entries, JsonNode, OneOrMany};

/// Who may call over HTTP: whoever has one of the keys, a token of one of the issuers, or one of the certificates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Auth")]
pub struct AuthConfig {
    /// This server's own URI as clients know it, such as `https://mcp.shop.example/mcp`: scheme and host in small letters, no slash
    /// at the end. Tokens are asked for by it, and have to be meant for it. Without it the `Host` of a request says it.
    pub resource: Option<Spanned<String>>,
    /// Keys that clients send as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    pub api_keys: Vec<Spanned<ApiKeyConfig>>,
    /// Who issues the tokens (JWT) that clients send as `Authorization: Bearer TOKEN`: one block, or a list of them.
    pub jwt: OneOrMany<Spanned<JwtConfig>>,
    /// Who the certificates are that clients show in TLS. It needs `server.http.tls.client_ca`, which says whose certificates count.
    pub client_certificates: Vec<Spanned<ClientCertificateConfig>>,
}

/// One key: exactly one of `key`, `sha256` and `argon2`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKey")]
pub struct ApiKeyConfig {
    /// Who holds it: `caller.sub` and `caller.name` of its calls.
    pub name: Spanned<String>,
    /// The key itself.
    pub key: Option<Spanned<Secret>>,
    /// Its SHA-256 in hexadecimal, so that the key is not in this file: `printf %s KEY | sha256sum`. For long random keys only.
    pub sha256: Option<Spanned<Secret>>,
    /// Its Argon2id hash (`$argon2id$v=19$…`), for keys that a person chose: `argon2 SALT -id -e`. The first call with a key takes some
    /// ten milliseconds longer.
    pub argon2: Option<Spanned<Secret>>,
    /// What its holder may do: `caller.scopes`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What else is known of its holder: `caller.claims`.
    #[serde(default)]
    pub claims: Entries<JsonNode>,
}

/// One certificate, or all with one name in them: exactly one of `san`, `subject` and `sha256`. A certificate that fits several
/// entries is the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientCertificate")]
pub struct ClientCertificateConfig {
    /// Who holds it: `caller.sub` and `caller.name` of its calls.
    pub name: Spanned<String>,
    /// One of its subject alternative names: a URI (`spiffe://shop/billing`), a DNS name or an e-mail address.
    pub san: Option<Spanned<String>>,
    /// The common name (CN) of its subject, letter for letter.
    pub subject: Option<Spanned<String>>,
    /// The SHA-256 of the certificate itself in hexadecimal, with or without colons: `openssl x509 -in client.crt -noout -fingerprint -sha256`.
    /// It is another one whenever the certificate is renewed.
    pub sha256: Option<Spanned<String>>,
    /// What its holder may do: `caller.scopes`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What else is known of its holder: `caller.claims`.
    #[serde(default)]
    pub claims: Entries<JsonNode>,
}

/// An issuer of tokens. Its keys come from its discovery document, or from `jwks_url` or `jwks_file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Jwt")]
pub struct JwtConfig {
    /// The `iss` of its tokens, letter for letter. Where no keys are given below, also where its discovery document is.
    pub issuer: Spanned<String>,
    /// What its tokens have to be meant for (`aud`): one text, or a list of which one is enough. Default `auth.resource`.
    #[serde(default)]
    pub audience: OneOrMany<Spanned<String>>,
    /// Where its keys are, instead of what its discovery document says: `https`, or `http` on this machine.
    #[serde(default)]
    pub jwks_url: Option<Spanned<String>>,
    /// A file with its keys (a JSON Web Key Set). It is read when the configuration is loaded.
    #[serde(default)]
    pub jwks_file: Option<FileRef>,
    /// TLS to where its keys are fetched: whom to trust, such as a company's own authority, and what to show.
    #[serde(default)]
    pub tls: Option<Spanned<TlsConfig>>,
    /// Signatures that count. Default: all below.
    #[serde(default)]
    pub algorithms: Option<Spanned<Vec<Spanned<String>>>>,
    /// The claim with the scopes: a list of texts, or one text with spaces between them. Dots lead into claims:
    /// `realm_access.roles`. Default: `scope` and `scp`, both if both are there.
    #[serde(default)]
    pub scopes_claim: Option<Spanned<String>>,
    /// The claim with a name for people: `caller.name`. Default `name`.
    #[serde(default)]
    pub name_claim: Option<Spanned<String>>,
}

impl AuthConfig {
    /// The files that it names.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        self.jwt.0.iter_mut().flat_map(|jwt| {
            let JwtConfig { jwks_file, tls, .. } = &mut jwt.value;
            jwks_file.as_mut().into_iter().chain(tls.iter_mut().flat_map(|tls| tls.value.files()))
        })
    }
}
