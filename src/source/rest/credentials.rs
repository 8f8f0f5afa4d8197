//! What a REST source shows to its API: as written, and checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address;
use super::plan::{Header, header};
use super::sign::{AwsSigv4Config, SigningPlan};
use super::tokens::{Grant, TokensPlan};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;

/// Credentials: exactly one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Credentials")]
pub struct CredentialsConfig {
    /// `Authorization: Bearer …`
    pub bearer: Option<Spanned<Secret>>,
    /// `Authorization: Basic …`
    pub basic: Option<BasicConfig>,
    /// A key in a header or a query parameter.
    pub api_key: Option<ApiKeyConfig>,
    /// A token that this server gets for itself (OAuth 2.0 client credentials, RFC 6749 section 4.4).
    pub client_credentials: Option<ClientCredentialsConfig>,
    /// A token for each caller, got for the one that the caller came with (OAuth 2.0 Token Exchange, RFC 8693).
    pub token_exchange: Option<TokenExchangeConfig>,
    /// A signature over each request, as services of AWS want it.
    pub aws_sigv4: Option<AwsSigv4Config>,
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BasicCredentials")]
pub struct BasicConfig {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Spanned<Secret>,
}

/// A key and where it goes: one of `header` and `query`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApiKeyCredentials")]
pub struct ApiKeyConfig {
    /// The header's name.
    pub header: Option<Spanned<String>>,
    /// The query parameter's name.
    pub query: Option<Spanned<String>>,
    /// The key.
    pub value: Spanned<Secret>,
}

/// A token for this server, got from a token endpoint and sent as `Authorization: Bearer …`. It is kept for its life and renewed
/// before its end; a request that is answered 401 is made once more with a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientCredentials")]
pub struct ClientCredentialsConfig {
    /// The token endpoint: `https://login.example/oauth/token`.
    pub token_url: Spanned<String>,
    /// Who this server is to the token endpoint.
    pub client_id: Spanned<String>,
    /// What proves it.
    pub client_secret: Spanned<Secret>,
    /// What the token is to allow.
    #[serde(default)]
    pub scopes: Vec<Spanned<String>>,
    /// The API that the token is for, where the token endpoint wants to know it.
    pub audience: Option<String>,
    /// How the token endpoint is shown `client_id` and `client_secret`. Default `basic`.
    #[serde(default)]
    pub client_auth: ClientAuthConfig,
}

/// A token in the name of who calls, got from a token endpoint for the token that they came with (`auth.jwt`), and sent as
/// `Authorization: Bearer …`. The caller's own token is shown to the token endpoint and to nobody else. A caller without one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenExchange")]
pub struct TokenExchangeConfig {
    /// The token endpoint: `https://login.example/oauth/token`.
    pub token_url: Spanned<String>,
    /// Who this server is to the token endpoint.
    pub client_id: Spanned<String>,
    /// What proves it.
    pub client_secret: Spanned<Secret>,
    /// How the token endpoint is shown `client_id` and `client_secret`. Default `basic`.
    #[serde(default)]
    pub client_auth: ClientAuthConfig,
    /// The API that the tokens are for, by the name that the token endpoint knows.
    pub audience: Option<String>,
    /// The API that the tokens are for, by its address.
    pub resource: Option<String>,
    /// What the tokens are to allow.
    #[serde(default)]
    pub scopes: Vec<Spanned<String>>,
}

/// How a token endpoint is shown who asks (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ClientAuth")]
pub enum ClientAuthConfig {
    /// In the header `Authorization: Basic …`.
    #[default]
    Basic,
    /// In the body, as `client_id` and `client_secret`.
    Body,
}

/// What every request of a source carries.
#[derive(Default)]
pub(super) struct Carried {
    pub header: Option<Header>,
    /// A key that goes into every query: its name, and the value.
    pub query_key: Option<(String, Secret)>,
    pub tokens: Option<TokensPlan>,
    pub signing: Option<SigningPlan>,
}

/// The kinds, in the order in which they are told.
const KINDS: &str = "`bearer`, `basic`, `api_key`, `client_credentials`, `token_exchange`, `aws_sigv4`";

impl CredentialsConfig {
    /// How many kinds are written.
    fn written(&self) -> usize {
        let Self { bearer, basic, api_key, client_credentials, token_exchange, aws_sigv4 } = self;
        let written = [
            bearer.is_some(),
            basic.is_some(),
            api_key.is_some(),
            client_credentials.is_some(),
            token_exchange.is_some(),
            aws_sigv4.is_some(),
        ];
        written.into_iter().filter(|written| *written).count()
    }

    /// Where the token endpoint is written.
    pub(super) fn token_url(&self) -> Option<&Spanned<String>> {
        let own = self.client_credentials.as_ref().map(|c| &c.token_url);
        own.or(self.token_exchange.as_ref().map(|c| &c.token_url))
    }
}

pub(super) fn compile(written: &Spanned<CredentialsConfig>, diagnostics: &mut Diagnostics) -> Carried {
    let mut carried = Carried::default();
    if written.written() != 1 {
        let message = format!("credentials are exactly one of {KINDS}");
        diagnostics.push(Diagnostic::error("one-of", message).absence().at(written.span, ""));
        return carried;
    }
    let keys = [written.bearer.as_ref(), written.api_key.as_ref().map(|key| &key.value)];
    for empty in keys.into_iter().flatten().filter(|key| key.expose().trim().is_empty()) {
        let help = "a variable or a file that gives it is empty; without `credentials`, requests carry none";
        let problem = Diagnostic::error("empty-text", "a key or a token is not empty");
        diagnostics.push(problem.at(empty.span, "").help(help));
    }
    let authorization = Spanned::new("authorization".to_owned(), written.span);
    if let Some(token) = &written.bearer {
        let value = format!("Bearer {}", token.expose());
        carried.header = header(&authorization, &value, token.span, diagnostics);
    }
    if let Some(basic) = &written.basic {
        let pair = format!("{}:{}", basic.username, basic.password.expose());
        let value = format!("Basic {}", STANDARD.encode(pair));
        carried.header = header(&authorization, &value, basic.password.span, diagnostics);
    }
    if let Some(key) = &written.api_key {
        match (&key.header, &key.query) {
            (Some(name), None) => {
                carried.header = header(name, key.value.expose(), key.value.span, diagnostics);
            }
            (None, Some(name)) => carried.query_key = Some((name.value.clone(), key.value.value.clone())),
            _ => {
                let message = "an API key goes into exactly one of `header` and `query`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(key.value.span, ""));
            }
        }
    }
    if let Some(client) = &written.client_credentials {
        carried.tokens = client_credentials(client, diagnostics);
    }
    if let Some(client) = &written.token_exchange {
        carried.tokens = token_exchange(client, diagnostics);
    }
    if let Some(aws) = &written.aws_sigv4 {
        carried.signing = SigningPlan::compile(aws, diagnostics);
    }
    carried
}

fn client_credentials(
    written: &ClientCredentialsConfig,
    diagnostics: &mut Diagnostics,
) -> Option<TokensPlan> {
    let url = address::fixed(&written.token_url, "the address of a token endpoint", diagnostics);
    let scopes = scopes(&written.scopes, diagnostics);
    let client = client(&written.client_id, &written.client_secret, diagnostics);
    client?;
    Some(TokensPlan {
        grant: Grant::ClientCredentials,
        url: url?.into(),
        client_id: written.client_id.value.clone(),
        client_secret: written.client_secret.value.clone(),
        client_auth: written.client_auth,
        scopes: scopes?,
        audience: written.audience.clone(),
        resource: None,
    })
}

fn token_exchange(written: &TokenExchangeConfig, diagnostics: &mut Diagnostics) -> Option<TokensPlan> {
    let url = address::fixed(&written.token_url, "the address of a token endpoint", diagnostics);
    let scopes = scopes(&written.scopes, diagnostics);
    client(&written.client_id, &written.client_secret, diagnostics)?;
    Some(TokensPlan {
        grant: Grant::TokenExchange,
        url: url?.into(),
        client_id: written.client_id.value.clone(),
        client_secret: written.client_secret.value.clone(),
        client_auth: written.client_auth,
        scopes: scopes?,
        audience: written.audience.clone(),
        resource: written.resource.clone(),
    })
}

/// Neither half of who we are is empty: that would ask as nobody.
fn client(id: &Spanned<String>, secret: &Spanned<Secret>, diagnostics: &mut Diagnostics) -> Option<()> {
    let empty = [(id.value.is_empty(), id.span), (secret.expose().is_empty(), secret.span)];
    let mut fine = Some(());
    for (_, at) in empty.into_iter().filter(|(empty, _)| *empty) {
        let message = "a token endpoint is shown a `client_id` and a `client_secret` that are not empty";
        diagnostics.push(Diagnostic::error("empty-text", message).at(at, ""));
        fine = None;
    }
    fine
}

/// Scopes in one text (RFC 6749 section 3.3).
fn scopes(written: &[Spanned<String>], diagnostics: &mut Diagnostics) -> Option<String> {
    let fits = |scope: &str| {
        !scope.is_empty() && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let before = diagnostics.errors();
    for scope in written.iter().filter(|s| !fits(s)) {
        let message = format!("`{}` is not one scope", scope.value);
        let help = "a scope has no spaces, quotes or backslashes; write several as a list: `[read, write]`";
        diagnostics.push(Diagnostic::error("bad-scope", message).at(scope.span, "").help(help));
    }
    let all: Vec<&str> = written.iter().map(|s| s.value.as_str()).collect();
    (diagnostics.errors() == before).then(|| all.join(" "))
}
