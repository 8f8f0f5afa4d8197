//! `static:` and pieces of content as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;
use crate::params::ParamConfig;
use crate::talk::Level;
use crate::units::Period;
use crate::yaml::{Entries, JsonNode};

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
    /// A text made from the arguments and the answers of `ask` steps, in Jinja: `{{ guest.content.name }}`. Tools and data of prompts.
    pub template: Option<Spanned<String>>,
    /// What happens before the content is given, in order. Tools and data of prompts.
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
    /// Ask the client, every question of this step at once. The answers have the names of their questions.
    pub ask: Option<Entries<QuestionConfig>>,
    /// Refuse clients that did not declare these capabilities, such as `{ sampling: {} }`.
    pub require: Option<Spanned<JsonNode>>,
    /// Tell every client that listens that something has changed: `tools`, `prompts`, `resources` (their lists), or the URI of
    /// a resource. Nothing really changes.
    pub announce: Option<Spanned<String>>,
}

/// A question to the client: exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Question")]
pub struct QuestionConfig {
    /// Ask the person to fill in a form. The answer has `action` (`accept`, `decline` or `cancel`) and, if accepted, `content`.
    pub form: Option<FormConfig>,
    /// Ask the client's model. The answer has `role`, `content` and `model`.
    pub sample: Option<SampleConfig>,
    /// Ask for the folders the client works in: `roots: {}`. The answer has `roots`.
    pub roots: Option<RootsConfig>,
    /// Leave the question out where the client cannot be asked it. Without this such a client is refused.
    pub optional: bool,
}

/// A form for the person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Form")]
pub struct FormConfig {
    /// What the person reads; `{name}` is an argument of the tool.
    pub message: Option<Spanned<String>>,
    /// The fields by name, written as parameters are. A field is a text, a number, a boolean, or a choice of texts.
    pub fields: Entries<ParamConfig>,
}

/// Messages for the client's model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sample")]
pub struct SampleConfig {
    /// The messages in order; `{name}` in a text is an argument of the tool.
    pub messages: Vec<Spanned<SampleMessageConfig>>,
    /// A system prompt.
    pub system: Option<Spanned<String>>,
    /// The most tokens the answer may have. Default 1000.
    pub max_tokens: Option<Spanned<u32>>,
    /// Between 0 and 1 for most models.
    pub temperature: Option<f64>,
}

/// One message for the client's model: exactly one of the two roles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SampleMessage")]
pub struct SampleMessageConfig {
    /// What the user says.
    pub user: Option<Spanned<String>>,
    /// What the assistant says.
    pub assistant: Option<Spanned<String>>,
}

/// Nothing more to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Roots")]
pub struct RootsConfig {}

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
    /// The names of the questions its steps ask.
    pub fn questions(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.steps.iter().filter_map(|s| s.value.ask.as_ref()).flat_map(Entries::iter).map(|(name, _)| name)
    }

    /// What its steps announce.
    pub fn announced(&self) -> impl Iterator<Item = &Spanned<String>> {
        self.steps.iter().filter_map(|step| step.value.announce.as_ref())
    }

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
