//! `static:` content that stands in the configuration itself: text, JSON, bytes or a file read at load, media, embedded and
//! linked resources, or an error. Tools are rehearsed with it before their backend exists.

mod ask;
mod config;
mod steps;

pub use config::{
    ContentConfig, EmbeddedConfig, FixedConfig, FormConfig, LinkConfig, LogStepConfig, MediaConfig,
    ProgressConfig, QuestionConfig, RootsConfig, SampleConfig, SampleMessageConfig, StepConfig,
};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::file::FileRef;
use crate::output::{Content, Outcome, Reply};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::talk::{Change, Talk};
use crate::template::{self, Jinja, Unfilled};
use steps::Step;

/// Content ready to serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fixed {
    content: Made,
    steps: Vec<Step>,
    /// The names of the arguments in order, for the template.
    names: Vec<String>,
}

/// Where the content comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Made {
    Ready(Reply),
    Template(Jinja),
}

impl Fixed {
    /// Compiles content; wrong base64 and missing or several kinds are recorded.
    pub fn compile(
        config: &FixedConfig,
        at: Span,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let FixedConfig {
            text,
            blob,
            file,
            json,
            image,
            audio,
            resource,
            link,
            content,
            error,
            template,
            steps,
            mime_type,
        } = config;
        let one = ContentConfig {
            image: image.clone(),
            audio: audio.clone(),
            resource: resource.clone(),
            link: link.clone(),
            ..ContentConfig::default()
        };
        let media = usize::from(image.is_some())
            + usize::from(audio.is_some())
            + usize::from(resource.is_some())
            + usize::from(link.is_some());
        let mime = mime_type.clone();
        check_questions(config, scope, diagnostics);
        let compiled: Vec<_> =
            steps.iter().map(|s| Step::compile(&s.value, s.span, scope, diagnostics)).collect();
        let names: Vec<String> = scope.names().map(str::to_owned).collect();
        let content = match (text, blob, file, json, content, error, template, media) {
            (Some(text), None, None, None, None, None, None, 0) => {
                Made::Ready(Reply::Text { text: text.value.clone(), mime })
            }
            (None, Some(blob), None, None, None, None, None, 0) => {
                Made::Ready(bytes(decode(blob, diagnostics)?.into(), mime))
            }
            (None, None, Some(file), None, None, None, None, 0) => Made::Ready(match file.text() {
                Some(text) => Reply::Text { text: text.to_owned(), mime },
                None => bytes(Bytes::copy_from_slice(&file.content), mime),
            }),
            (None, None, None, Some(json), None, None, None, 0) => Made::Ready(Reply::Value(json.to_value())),
            (None, None, None, None, Some(list), None, None, 0) => {
                let parts: Vec<_> =
                    list.iter().map(|c| compile_content(&c.value, c.span, diagnostics)).collect();
                Made::Ready(Reply::Outcome(Outcome::new(parts.into_iter().collect::<Option<_>>()?)))
            }
            (None, None, None, None, None, Some(error), None, 0) => {
                Made::Ready(Reply::Outcome(Outcome { is_error: true, ..Outcome::text(&error.value) }))
            }
            (None, None, None, None, None, None, Some(template), 0) => {
                let questions = config.questions().map(|name| name.value.as_str());
                let known: Vec<&str> = names.iter().map(String::as_str).chain(questions).collect();
                Made::Template(Jinja::compile(template, scope.outside(), &known, &scope.owner, diagnostics)?)
            }
            (None, None, None, None, None, None, None, 1) => {
                Made::Ready(Reply::Outcome(Outcome::new(vec![compile_content(&one, at, diagnostics)?])))
            }
            _ => {
                let message = "static content is exactly one of `text`, `blob`, `file`, `json`, `image`, `audio`, \
                               `resource`, `link`, `content`, `error`, `template`";
                diagnostics.push(Diagnostic::error("one-of", message).absence().at(at, ""));
                return None;
            }
        };
        Some(Self { content, steps: compiled.into_iter().collect::<Option<_>>()?, names })
    }

    /// Takes the steps, then gives the content. In a later round of the same request, steps that were taken are not taken again.
    ///
    /// # Errors
    /// [`SourceError::Unanswered`] if a question has no answer, [`SourceError::Timeout`] if its template was not filled by `deadline`.
    pub async fn run(
        &self,
        arguments: &Arguments,
        talk: &Talk,
        deadline: Instant,
    ) -> Result<Reply, SourceError> {
        let mut answers = Map::new();
        let first = steps::first(&self.steps, talk);
        for (index, step) in self.steps.iter().enumerate() {
            if index >= first || step.repeats() {
                step.run(arguments, &mut answers, talk).await?;
            }
        }
        match &self.content {
            Made::Ready(reply) => Ok(reply.clone()),
            Made::Template(template) => {
                for (index, name) in self.names.iter().enumerate() {
                    if let Some(value) = arguments.get(index) {
                        answers.insert(name.clone(), value.clone());
                    }
                }
                let (begun, template) = (Instant::now(), template.clone());
                let text = template::filled(answers, deadline, move |values| template.render(values)).await;
                let text = text.map_err(|unfilled| match unfilled {
                    Unfilled::Late => SourceError::Timeout(deadline.saturating_duration_since(begun)),
                    Unfilled::Failed(why) => SourceError::Internal(why),
                })?;
                Ok(Reply::Text { text, mime: None })
            }
        }
    }

    /// Whether it asks the client something.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.steps.iter().any(Step::repeats)
    }

    /// What a client has to be capable of, as it is written.
    pub fn requires(&self) -> impl Iterator<Item = &Value> {
        self.steps.iter().filter_map(|s| if let Step::Require(needs) = s { Some(needs) } else { None })
    }

    /// Whether it writes log lines to the client.
    #[must_use]
    pub fn logs(&self) -> bool {
        self.steps.iter().any(|s| matches!(s, Step::Log { .. }))
    }

    /// What it tells every client that listens.
    pub fn announces(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().filter_map(|s| if let Step::Announce(change) = s { Some(change) } else { None })
    }

    /// The names of the questions it asks.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(Step::questions).map(|q| q.key.as_str())
    }

    /// Whether it says something before it answers.
    #[must_use]
    pub const fn talks(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether it is data, which can be selected from, redacted and checked; all else is sent as it stands.
    #[must_use]
    pub const fn is_data(&self) -> bool {
        matches!(self.content, Made::Ready(Reply::Value(_)))
    }

    /// Whether it can be the content of a resource: one text, JSON, or bytes.
    #[must_use]
    pub const fn fits_resource(&self) -> bool {
        matches!(&self.content, Made::Ready(reply) if !matches!(reply, Reply::Outcome(_)))
            && self.steps.is_empty()
    }

    /// Whether it can be a value that a prompt fetches: text or JSON, with whatever steps before it.
    #[must_use]
    pub const fn fits_prompt(&self) -> bool {
        !matches!(&self.content, Made::Ready(Reply::Outcome(_)))
    }
}

/// The answers of one call are told apart by their names, and from its arguments.
fn check_questions(config: &FixedConfig, scope: &Scope, diagnostics: &mut Diagnostics) {
    let mut seen: Vec<&Spanned<String>> = Vec::new();
    for name in config.questions() {
        if let Some(first) = seen.iter().find(|n| n.value == name.value) {
            let message = format!("two questions are called `{}`", name.value);
            let problem = Diagnostic::error("name-twice", message);
            diagnostics.push(problem.at(name.span, "").at(first.span, "the other one"));
        } else if scope.names().any(|n| n == name.value) {
            let message = format!("`{}` is both a parameter and a question", name.value);
            diagnostics.push(Diagnostic::error("name-twice", message).at(name.span, ""));
        }
        seen.push(name);
    }
}

fn bytes(data: Bytes, mime: Option<String>) -> Reply {
    Reply::Bytes { data, mime: mime.unwrap_or_else(|| "application/octet-stream".to_owned()) }
}

fn decode(blob: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
    let compact: String = blob.value.split_whitespace().collect();
    match STANDARD.decode(compact) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            let help = "the standard alphabet with padding, as `base64 FILE` writes it";
            let problem = Diagnostic::error("bad-base64", "this is not base64").help(help);
            diagnostics.push(problem.at(blob.span, ""));
            None
        }
    }
}

/// Compiles one piece of content.
pub fn compile_content(config: &ContentConfig, at: Span, diagnostics: &mut Diagnostics) -> Option<Content> {
    let ContentConfig { text, image, audio, resource, link } = config;
    match (text, image, audio, resource, link) {
        (Some(text), None, None, None, None) => Some(Content::Text(text.value.clone())),
        (None, Some(media), None, None, None) => compile_media(media, "image", at, diagnostics),
        (None, None, Some(media), None, None) => compile_media(media, "audio", at, diagnostics),
        (None, None, None, Some(resource), None) => compile_embedded(resource, diagnostics),
        (None, None, None, None, Some(link)) => Some(Content::Link(link_json(link))),
        _ => {
            let message = "a piece of content is exactly one of `text`, `image`, `audio`, `resource`, `link`";
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(at, ""));
            None
        }
    }
}

fn compile_media(
    media: &MediaConfig,
    kind: &str,
    at: Span,
    diagnostics: &mut Diagnostics,
) -> Option<Content> {
    let data = match (&media.data, &media.file) {
        (Some(data), None) => STANDARD.encode(decode(data, diagnostics)?),
        (None, Some(file)) => STANDARD.encode(&file.content),
        _ => {
            let message = format!("`{kind}` has exactly one of `data`, `file`");
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(at, ""));
            return None;
        }
    };
    let guessed = media.file.as_ref().and_then(|f| media_type(f, kind));
    let Some(mime) = media.mime_type.clone().or(guessed) else {
        let message = format!("the media type of this {kind} is not known");
        let help = format!("say `mime_type: {kind}/…`");
        diagnostics.push(Diagnostic::error("no-media-type", message).at(at, "").help(help));
        return None;
    };
    if !mime.starts_with(&format!("{kind}/")) {
        let message = format!("`{mime}` is not the media type of an {kind}");
        diagnostics.push(Diagnostic::error("bad-media-type", message).at(at, ""));
        return None;
    }
    Some(Content::Blob { data, mime })
}

/// The media type that a file's ending tells.
fn media_type(file: &FileRef, kind: &str) -> Option<String> {
    let ending = file.path.rsplit('.').next()?.to_ascii_lowercase();
    let name = match ending.as_str() {
        "png" | "gif" | "webp" | "avif" | "wav" | "ogg" | "flac" | "aac" => ending.as_str(),
        "jpg" | "jpeg" => "jpeg",
        "svg" => "svg+xml",
        "mp3" => "mpeg",
        _ => return None,
    };
    Some(format!("{kind}/{name}"))
}

fn compile_embedded(config: &EmbeddedConfig, diagnostics: &mut Diagnostics) -> Option<Content> {
    let (text, blob) = match (&config.text, &config.blob, &config.file) {
        (Some(text), None, None) => (Some(text.value.clone()), None),
        (None, Some(blob), None) => (None, Some(STANDARD.encode(decode(blob, diagnostics)?))),
        (None, None, Some(file)) => match file.text() {
            Some(text) => (Some(text.to_owned()), None),
            None => (None, Some(STANDARD.encode(&file.content))),
        },
        _ => {
            let message = "an embedded resource has exactly one of `text`, `blob`, `file`";
            diagnostics.push(Diagnostic::error("one-of", message).at(config.uri.span, ""));
            return None;
        }
    };
    Some(Content::Resource { uri: config.uri.value.clone(), mime: config.mime_type.clone(), text, blob })
}

fn link_json(link: &LinkConfig) -> Value {
    let mut map = Map::new();
    map.insert("type".to_owned(), "resource_link".into());
    map.insert("uri".to_owned(), link.uri.as_str().into());
    map.insert("name".to_owned(), link.name.clone().unwrap_or_else(|| link.uri.clone()).into());
    for (key, value) in
        [("title", &link.title), ("description", &link.description), ("mimeType", &link.mime_type)]
    {
        if let Some(value) = value {
            map.insert(key.to_owned(), value.as_str().into());
        }
    }
    Value::Object(map)
}
