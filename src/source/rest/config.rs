//! REST sources and requests as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::BodyConfig;
use super::multipart::FileConfig;
use super::page::RestPageConfig;
use super::pairs::ListConfig;
use super::poll::PollConfig;
use crate::diag::Spanned;
use crate::secret::Secret;
use crate::units::{Period, Size};
use crate::yaml::{Entries, JsonNode, ValueOr};

/// An HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RestSource")]
pub struct RestConfig {
    /// Where the API is: `https://host/base`. Requests go nowhere else.
    pub base_url: Spanned<String>,
    /// Headers sent with every request.
    #[serde(default)]
    pub headers: Entries<Spanned<Secret>>,
    /// What we show to the API. The caller's own token is never forwarded.
    pub credentials: Option<Spanned<CredentialsConfig>>,
    /// The most time one attempt may take. Default `10s`; the route's `policy.timeout` bounds the whole call.
    pub timeout: Option<Spanned<Period>>,
    /// The largest body that is read, counted as it is once decompressed. Default `8MiB`.
    pub max_response: Option<Spanned<Size>>,
}

/// Credentials: one of the three.
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

/// A request on a REST source: one method with its path, and at most one kind of body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RestRequest")]
pub struct RestOpConfig {
    /// Name of a REST source.
    pub source: Spanned<String>,
    /// GET this path under the base URL; `{name}` fills one segment, percent-encoded. `{name*}` fills as many as its `/` separate.
    pub get: Option<Spanned<String>>,
    /// POST to this path.
    pub post: Option<Spanned<String>>,
    /// PUT to this path.
    pub put: Option<Spanned<String>>,
    /// PATCH this path.
    pub patch: Option<Spanned<String>>,
    /// DELETE this path.
    pub delete: Option<Spanned<String>>,
    /// HEAD of this path.
    pub head: Option<Spanned<String>>,
    /// Query parameters. An absent or null argument and an empty list leave their entry out; a list repeats it,
    /// unless a `style` is given: `tag: { value: "{tags}", style: comma }`.
    #[serde(default)]
    pub query: Entries<ValueOr<ListConfig>>,
    /// Headers of this request; they win over those of the source. An absent or null argument leaves its header out.
    #[serde(default)]
    pub headers: Entries<Spanned<String>>,
    /// Cookies of this request. They replace a `Cookie` header of the source. An absent or null argument leaves its cookie out.
    #[serde(default)]
    pub cookies: Entries<Spanned<String>>,
    /// A JSON body. A value that is one placeholder keeps its JSON type; an absent argument leaves its entry out.
    /// The key `...` puts in the members of an object: `{ "...": "{filter}", tenant: a }`; a written member is never replaced.
    pub json: Option<Spanned<JsonNode>>,
    /// A form body (`application/x-www-form-urlencoded`). Entries are as in `query`.
    pub form: Option<Entries<ValueOr<ListConfig>>>,
    /// A body of fields and files (`multipart/form-data`). A field is as in `form`, without styles.
    pub multipart: Option<Entries<ValueOr<FileConfig>>>,
    /// A plain text body: `text/plain`, unless a header `Content-Type` says otherwise.
    pub text: Option<Spanned<String>>,
    /// An XML body (`application/xml`, unless a header `Content-Type` says otherwise). Placeholders stand in text and in quoted
    /// attribute values, where an argument stays text whatever is in it.
    pub xml: Option<Spanned<String>>,
    /// A JSON body that needs logic: `{ jq: "{items: (.ids | map({id: .}))}" }`.
    pub body: Option<BodyConfig>,
    /// Pages of a long list: some are fetched and joined in one call, and the result says how to go on.
    pub page: Option<Spanned<RestPageConfig>>,
    /// A job that goes on after the reply (a 200, 201 or 202): it is waited for.
    pub poll: Option<PollConfig>,
    /// The statuses that are successes. Default: 200 to 299.
    pub expect: Option<Spanned<Vec<Spanned<u16>>>>,
    /// A sentence for the model by status; `4xx` and `5xx` stand for those that are not named. Placeholders are those of the parameters.
    #[serde(default)]
    pub errors: Entries<Spanned<String>>,
}
