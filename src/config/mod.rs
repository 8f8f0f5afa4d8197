//! The configuration as the user writes it: root types, the loader (the only place that reads files and environment), and its
//! JSON Schema. Doc comments here are the schema's descriptions.

mod files;
mod hide;
mod include;
mod listed;
mod load;
mod schema;
mod server;
mod stand_in;
mod tls;
mod watched;

pub(crate) use files::beneath;
pub use files::{Disk, Elsewhere, Files, MAX_FILE};
pub(crate) use include::is_like;
pub use listed::{AudienceConfig, IconConfig, ResourceAnnotationsConfig, ThemeConfig};
pub use load::{Environment, Loaded, Origin, load, load_from, load_text, place};
pub use schema::{SCHEMA, schema};
pub use server::{
    AdminConfig, AuditArgumentsConfig, AuditConfig, HttpConfig, ListsConfig, LogConfig, LogFormatConfig,
    LogLevelConfig, OtlpConfig, ServerCacheConfig, ServerConfig, SessionsConfig, TelemetryConfig,
};
pub use tls::{ClientsConfig, ServerTlsConfig};
pub use watched::Watched;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::AuthConfig;
use crate::diag::{FileId, Spanned};
use crate::file::FileRef;
use crate::output::OutputConfig;
use crate::params::{ParamConfig, PromptParamConfig};
use crate::policy::PolicyConfig;
use crate::source::fixed::{ContentConfig, FixedConfig};
use crate::source::rest::RestOpConfig;
use crate::source::sql::SqlOpConfig;
use crate::source::vector::VectorOpConfig;
use crate::source::{OpConfigs, SourceConfig};
use crate::units::Size;
use crate::yaml::{Entries, JsonNode, Losses, Outside, TextOr};

/// A Sidegate configuration: sources, and the tools, resources and prompts served from them.
///
/// `${NAME}`, `${NAME:-default}` and `${file:path}` work in every scalar value; `$${` is a literal `${`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sidegate")]
pub struct Config {
    /// The server itself.
    pub server: ServerConfig,
    /// Who may call over HTTP. `none` says that everybody who reaches the port may.
    pub auth: Option<Spanned<TextOr<AuthConfig>>>,
    /// Connections to APIs, databases and collections, by name.
    pub sources: Entries<SourceConfig>,
    /// What every route starts from.
    pub defaults: DefaultsConfig,
    /// Files with more sources, tools, resources and prompts, such as `routes/*.yaml`: what they hold counts as if it stood here. `*`
    /// and `?` stand for parts of a name; files come in the order of their names. A path in an included file starts from that file's
    /// folder. `server`, `auth`, `defaults` and `include` stand in this file only.
    pub include: Vec<Spanned<String>>,
    /// Tools by name.
    pub tools: Entries<ToolConfig>,
    /// Resources by URI; a URI with `{name}` is a template.
    pub resources: Entries<ResourceConfig>,
    /// Prompts by name.
    pub prompts: Entries<PromptConfig>,
    /// The folder that relative paths start from.
    #[serde(skip)]
    pub base: PathBuf,
    /// The same of files that were included.
    #[serde(skip)]
    pub bases: Vec<(FileId, PathBuf)>,
    /// What of the text is not in here because of a mistake that has been told.
    #[serde(skip)]
    pub losses: Losses,
    /// What of the values in here `${…}` gave.
    #[serde(skip)]
    pub outside: Outside,
}

/// A policy and an output block that every route starts from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Defaults")]
pub struct DefaultsConfig {
    /// Time limits, retries and places.
    pub policy: PolicyConfig,
    /// Selecting, formatting and cutting.
    pub output: OutputConfig,
}

/// A tool: what the model sees, and one operation behind it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Tool")]
pub struct ToolConfig {
    /// A name for people to read.
    pub title: Option<String>,
    /// What the tool does, for the model.
    pub description: Option<String>,
    /// Its parameters by name.
    pub params: Entries<ParamConfig>,
    /// A verbatim JSON Schema instead of `params`.
    pub input_schema: Option<Spanned<JsonNode>>,
    /// A request to a REST source.
    pub rest: Option<RestOpConfig>,
    /// A statement on an SQL source.
    pub sql: Option<SqlOpConfig>,
    /// A search in a vector source.
    pub vector: Option<VectorOpConfig>,
    /// Content that stands in this file or beside it.
    #[serde(rename = "static")]
    pub fixed: Option<FixedConfig>,
    /// What of the reply reaches the model.
    pub output: OutputConfig,
    /// Time limits, retries and places.
    pub policy: PolicyConfig,
    /// A question that the person answers with yes or no before the tool runs, such as `Cancel order {id}?`. Clients that cannot
    /// ask are refused.
    pub confirm: Option<Spanned<String>>,
    /// Hints about the tool's behaviour; what is not written follows from the operation.
    pub annotations: AnnotationsConfig,
    /// Pictures that clients may show.
    pub icons: Vec<Spanned<IconConfig>>,
    /// `_meta` of its entry in the list, as it stands here.
    pub meta: Entries<JsonNode>,
}

/// Hints for clients (MCP 2026-07-28, server/tools). Not a security measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Annotations")]
pub struct AnnotationsConfig {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy or overwrite.
    pub destructive: Option<bool>,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// It reaches beyond this server.
    pub open_world: Option<bool>,
}

/// A resource or, when its URI has variables, a resource template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Resource")]
pub struct ResourceConfig {
    /// Its name. Default: the URI.
    pub name: Option<String>,
    /// A name for people to read.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Media type of its content.
    pub mime_type: Option<String>,
    /// How large its content is. What is static and not JSON is measured if this is not written.
    pub size: Option<Spanned<Size>>,
    /// What the variables of the URI may be. A variable that is not named here is a text.
    pub params: Entries<ParamConfig>,
    /// A request to a REST source.
    pub rest: Option<RestOpConfig>,
    /// A statement on an SQL source.
    pub sql: Option<SqlOpConfig>,
    /// A search in a vector source.
    pub vector: Option<VectorOpConfig>,
    /// Content that stands in this file or beside it.
    #[serde(rename = "static")]
    pub fixed: Option<FixedConfig>,
    /// What of the reply reaches the client.
    pub output: OutputConfig,
    /// Suggestions for the variables of the URI, by variable.
    pub complete: Entries<CompleteConfig>,
    /// Time limits, retries and places.
    pub policy: PolicyConfig,
    /// Hints about how it is used.
    pub annotations: ResourceAnnotationsConfig,
    /// Pictures that clients may show.
    pub icons: Vec<Spanned<IconConfig>>,
    /// `_meta` of its entry in the list, as it stands here.
    pub meta: Entries<JsonNode>,
}

/// Suggestions for an argument: exactly one kind. An argument with an `enum` has suggestions without this.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Complete")]
pub struct CompleteConfig {
    /// Fixed values; those that begin with what was typed are suggested.
    pub values: Option<Spanned<Vec<String>>>,
    /// A request. `{value}` is what was typed so far; the other arguments can be used too and may be absent.
    pub rest: Option<RestOpConfig>,
    /// A statement; `:value` is what was typed so far. The first column is suggested.
    pub sql: Option<SqlOpConfig>,
    /// A search; `{value}` is what was typed so far.
    pub vector: Option<VectorOpConfig>,
    /// What of the reply is suggested: a list of texts, or of objects whose first member is taken.
    pub output: OutputConfig,
}

/// A prompt: messages with arguments, and data fetched before they are rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Prompt")]
pub struct PromptConfig {
    /// A name for people to read.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its arguments by name; all are texts.
    pub params: Entries<PromptParamConfig>,
    /// Values fetched before rendering, by name.
    pub data: Entries<DataConfig>,
    /// The messages in order.
    pub messages: Vec<Spanned<MessageConfig>>,
    /// Suggestions for the arguments, by argument.
    pub complete: Entries<CompleteConfig>,
    /// Time limits, retries and places.
    pub policy: PolicyConfig,
    /// Pictures that clients may show.
    pub icons: Vec<Spanned<IconConfig>>,
    /// `_meta` of its entry in the list, as it stands here.
    pub meta: Entries<JsonNode>,
}

/// A value that a prompt fetches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Data")]
pub struct DataConfig {
    /// A request to a REST source.
    pub rest: Option<RestOpConfig>,
    /// A statement on an SQL source.
    pub sql: Option<SqlOpConfig>,
    /// A search in a vector source.
    pub vector: Option<VectorOpConfig>,
    /// Content that stands in this file or beside it.
    #[serde(rename = "static")]
    pub fixed: Option<FixedConfig>,
    /// What of the reply the templates see.
    pub output: OutputConfig,
}

/// One message: exactly one of the two roles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Message")]
pub struct MessageConfig {
    /// What the user says: a Jinja template, or a piece of content whose texts are templates.
    pub user: Option<TextOr<ContentConfig>>,
    /// What the assistant says, likewise.
    pub assistant: Option<TextOr<ContentConfig>>,
}

macro_rules! ops {
    ($($type:ty),*) => {$(
        impl $type {
            /// The operation, whichever kind it is.
            #[must_use]
            pub fn ops(&self) -> OpConfigs<'_> {
                OpConfigs {
                    rest: self.rest.as_ref(),
                    sql: self.sql.as_ref(),
                    vector: self.vector.as_ref(),
                    fixed: self.fixed.as_ref(),
                }
            }
        }
    )*};
}
ops!(ToolConfig, ResourceConfig, DataConfig);

impl Config {
    /// The folder that relative paths of a file start from.
    #[must_use]
    pub fn base_of(&self, file: FileId) -> &Path {
        self.bases.iter().find(|(known, _)| *known == file).map_or(&self.base, |(_, base)| base)
    }

    /// Every file that the configuration names, for the loader to read.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        let sources = self.sources.0.iter_mut().flat_map(|(_, source)| {
            let sql = source.sql.as_mut().and_then(|s| s.init.as_mut());
            let vector = source.vector.as_mut().and_then(|v| v.sqlite.as_mut()?.init.as_mut());
            let tls = source.rest.as_mut().and_then(|r| r.tls.as_mut());
            let tls = tls.into_iter().flat_map(|tls| tls.value.files());
            sql.into_iter().chain(vector).chain(tls)
        });
        let tools = self.tools.0.iter_mut().map(|(_, t)| (&mut t.fixed, &mut t.icons));
        let resources = self.resources.0.iter_mut().map(|(_, r)| (&mut r.fixed, &mut r.icons));
        let routes = tools.chain(resources).flat_map(|(fixed, icons)| {
            fixed.as_mut().into_iter().flat_map(FixedConfig::files).chain(icon_files(icons))
        });
        let prompts = self.prompts.0.iter_mut().flat_map(|(_, prompt)| {
            let data = prompt.data.0.iter_mut().filter_map(|(_, d)| d.fixed.as_mut());
            let said =
                prompt.messages.iter_mut().flat_map(|m| [m.value.user.as_mut(), m.value.assistant.as_mut()]);
            let content = said.flatten().filter_map(|said| match said {
                TextOr::Block(content) => Some(content),
                TextOr::Text(_) => None,
            });
            let fixed = data.flat_map(FixedConfig::files).chain(content.flat_map(ContentConfig::files));
            fixed.chain(icon_files(&mut prompt.icons))
        });
        let keys = self.auth.as_mut().into_iter().flat_map(|auth| match &mut auth.value {
            TextOr::Block(auth) => auth.files().collect(),
            TextOr::Text(_) => Vec::new(),
        });
        let tls = self.server.http.tls.as_mut().into_iter().flat_map(|tls| tls.value.files());
        sources.chain(tls).chain(icon_files(&mut self.server.icons)).chain(routes).chain(prompts).chain(keys)
    }
}

fn icon_files(icons: &mut [Spanned<IconConfig>]) -> impl Iterator<Item = &mut FileRef> {
    icons.iter_mut().filter_map(|icon| icon.value.file.as_mut())
}
