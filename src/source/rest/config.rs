//! REST sources and requests as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::BodyConfig;
use super::credentials::CredentialsConfig;
use super::multipart::FileConfig;
use super::page::RestPageConfig;
use super::pairs::ListConfig;
use super::poll::PollConfig;
use crate::diag::Spanned;
use crate::outgoing::tls::TlsConfig;
use crate::policy::BreakerConfig;
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
    /// TLS: whom to trust, and what to show.
    pub tls: Option<Spanned<TlsConfig>>,
    /// An HTTP proxy that connects to the API (`CONNECT`): `http://user:${PASSWORD}@proxy.example:3128`. Only for `https://`, so that
    /// it reads nothing.
    pub proxy: Option<Spanned<Secret>>,
    /// Connect to addresses of the public internet only, whatever the names lead to: nothing of this machine or its networks.
    #[serde(default)]
    pub public_only: bool,
    /// How many redirects are followed, within the same scheme, host and port. Default `0`.
    pub follow_redirects: Option<Spanned<u8>>,
    /// The most time one attempt may take. Default `10s`; the route's `policy.timeout` bounds the whole call.
    pub timeout: Option<Spanned<Period>>,
    /// The largest body that is read, counted as it is once decompressed. Default `8MiB`.
    pub max_response: Option<Spanned<Size>>,
    /// How many requests it gets at the same time; four times as many (at least 16) wait for a place, for `timeout` at most.
    /// Default: as many as come.
    pub concurrency: Option<Spanned<u32>>,
    /// Leaves the source alone while it fails. Without it every call tries.
    pub circuit_breaker: Option<BreakerConfig>,
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
    /// A plain text body: `text/plain`, unless a header `Content-Type` says otherwise. As JSON, XML or a form it has no placeholders but
    /// those of numbers and truth values: `json`, `xml` and `form` are for these.
    pub text: Option<Spanned<String>>,
    /// An XML body (`application/xml`, unless a header `Content-Type` says otherwise). Placeholders stand in text and in quoted
    /// attribute values, where an argument stays text whatever is in it.
    pub xml: Option<Spanned<String>>,
    /// A JSON body that needs logic: `{ jq: "{items: (.ids | map({id: .}))}" }`.
    pub body: Option<BodyConfig>,
    /// The header in which a POST or PATCH carries a fresh random key, such as `Idempotency-Key`. All tries of one call carry the same, so
    /// an API that knows it does the work once, and `retry` can be used.
    pub idempotency_key: Option<Spanned<String>>,
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
