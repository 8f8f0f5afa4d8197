//! `static:` and pieces of content as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;
use crate::talk::Level;
use crate::units::Period;
use crate::yaml::JsonNode;

/// Content that stands in the configuration: exactly one kind (and `mime_type` beside text, bytes or a file).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Static")]
pub struct FixedConfig {
    /// Text.
    pub text: Option<Spanned<String>>,
    /// Bytes in base64 (standard alphabet, padded).
    pub blob: Option<Spanned<String>>,
    /// A file: text if it is UTF-8, else bytes.
    pub file: Option<FileRef>,
    /// A JSON value: structured output, and its text.
    pub json: Option<Spanned<JsonNode>>,
    /// An image. Tools only.
    pub image: Option<MediaConfig>,
    /// Sound. Tools only.
    pub audio: Option<MediaConfig>,
    /// An embedded resource. Tools only.
    pub resource: Option<EmbeddedConfig>,
    /// A link to a resource. Tools only.
    pub link: Option<LinkConfig>,
    /// Several pieces in order. Tools only.
    pub content: Option<Vec<Spanned<ContentConfig>>>,
    /// A failure, told to the model in this sentence. Tools only.
    pub error: Option<Spanned<String>>,
    /// What happens before the content is given, in order. Tools only.
    pub steps: Vec<Spanned<StepConfig>>,
    /// Media type of `text`, `blob` or `file`. Default: `text/plain` for text, `application/octet-stream` for bytes.
    pub mime_type: Option<String>,
}

/// A step of a rehearsal: exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Step")]
pub struct StepConfig {
    /// Report progress to a client that asked for it.
    pub progress: Option<ProgressConfig>,
    /// Send a log line to a client that asked for it.
    pub log: Option<LogStepConfig>,
    /// Wait.
    pub sleep: Option<Period>,
}

/// A progress report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Progress")]
pub struct ProgressConfig {
    /// Grows from step to step.
    pub progress: f64,
    /// What it will be at the end.
    pub total: Option<f64>,
    /// A few words.
    pub message: Option<String>,
}

/// A log line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LogStep")]
pub struct LogStepConfig {
    /// Default `info`.
    #[serde(default)]
    pub level: Level,
    /// Who logs.
    pub logger: Option<String>,
    /// What: a text or any value.
    pub data: Spanned<JsonNode>,
}

/// A piece of content: exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Content")]
pub struct ContentConfig {
    /// Text.
    pub text: Option<Spanned<String>>,
    /// An image.
    pub image: Option<MediaConfig>,
    /// Sound.
    pub audio: Option<MediaConfig>,
    /// An embedded resource.
    pub resource: Option<EmbeddedConfig>,
    /// A link to a resource.
    pub link: Option<LinkConfig>,
}

/// An image or sound: one of `data` and `file`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Media")]
pub struct MediaConfig {
    /// The bytes in base64.
    pub data: Option<Spanned<String>>,
    /// A file.
    pub file: Option<FileRef>,
    /// Media type; known from the ending of common files.
    pub mime_type: Option<String>,
}

/// A resource whose content comes along: one of `text`, `blob` and `file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EmbeddedResource")]
pub struct EmbeddedConfig {
    /// Its URI.
    pub uri: Spanned<String>,
    /// Media type.
    pub mime_type: Option<String>,
    /// Text.
    pub text: Option<Spanned<String>>,
    /// Bytes in base64.
    pub blob: Option<Spanned<String>>,
    /// A file.
    pub file: Option<FileRef>,
}

/// A resource that is only named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ResourceLink")]
pub struct LinkConfig {
    /// Its URI.
    pub uri: String,
    /// Its name. Default: the URI.
    pub name: Option<String>,
    /// A name for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Media type.
    pub mime_type: Option<String>,
}

impl ContentConfig {
    /// The files it names, for the loader.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        let media = [self.image.as_mut(), self.audio.as_mut()].into_iter().flatten();
        let media = media.filter_map(|m| m.file.as_mut());
        media.chain(self.resource.as_mut().and_then(|r| r.file.as_mut()))
    }
}

impl FixedConfig {
    /// The files it names, for the loader.
    pub(crate) fn files(&mut self) -> impl Iterator<Item = &mut FileRef> {
        let media = [self.image.as_mut(), self.audio.as_mut()].into_iter().flatten();
        let media = media.filter_map(|m| m.file.as_mut());
        let own = self.file.as_mut().into_iter().chain(media);
        let embedded = self.resource.as_mut().and_then(|r| r.file.as_mut());
        let listed = self.content.as_mut().into_iter().flatten().flat_map(|c| c.value.files());
        own.chain(embedded).chain(listed)
    }
}
