//! Bodies of several parts (RFC 7578): fields and files. What would end a part or a quoted name is refused before anything
//! is sent; contents go out byte for byte behind a boundary that nobody can guess.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::params::{Arguments, Scope};
use crate::source::SourceError;
use crate::template::{JsonTemplate, Template, value_text};
use crate::yaml::{Entries, ValueOr};

/// A file in a multipart body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilePart")]
pub struct FileConfig {
    /// What is in it. An absent or null argument leaves the file out.
    pub content: Spanned<String>,
    /// Whether `content` is base64 (the standard alphabet, padded), and its bytes are sent. Default `false`: the text itself.
    #[serde(default)]
    pub base64: bool,
    /// The name that the API sees. Without it, or when its argument is absent, none is sent.
    pub filename: Option<Spanned<String>>,
    /// Its media type. Default `application/octet-stream` with `base64`, else `text/plain; charset=utf-8`.
    pub mime_type: Option<Spanned<String>>,
}

/// Parts in written order.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Multipart(Vec<(String, Part)>);

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Field(JsonTemplate),
    File { content: Template, base64: bool, filename: Option<Template>, mime_type: Option<Template> },
}

impl Multipart {
    pub(super) fn compile(
        entries: &Entries<ValueOr<FileConfig>>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let parts: Vec<_> = entries
            .iter()
            .map(|(name, part)| {
                let named = sound(std::iter::once(name.value.as_str()), name, diagnostics);
                let part = Part::compile(part, scope, diagnostics)?;
                named.then(|| (name.value.clone(), part))
            })
            .collect();
        parts.into_iter().collect::<Option<_>>().map(Self)
    }

    /// The `Content-Type` and the body.
    pub(super) fn render(&self, arguments: &Arguments) -> Result<(String, Vec<u8>), SourceError> {
        let mut random = [0; 16];
        aws_lc_rs::rand::fill(&mut random).map_err(|e| SourceError::Internal(e.to_string()))?;
        let boundary = format!("{:032x}", u128::from_ne_bytes(random));
        let mut body = Vec::new();
        for (name, part) in &self.0 {
            part.write(name, &boundary, &mut body, arguments)?;
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok((format!("multipart/form-data; boundary={boundary}"), body))
    }
}

impl Part {
    fn compile(
        written: &ValueOr<FileConfig>,
        scope: &mut Scope,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let file = match written {
            ValueOr::Value(value) => {
                return JsonTemplate::compile(value, scope, diagnostics).map(Self::Field);
            }
            ValueOr::Block(file) => file,
        };
        let content = Template::compile(&file.content, scope, diagnostics);
        let mut optional = |text: &Option<Spanned<String>>| match text {
            Some(text) => Template::compile(text, scope, diagnostics).map(Some),
            None => Some(None),
        };
        let (filename, mime_type) = (optional(&file.filename), optional(&file.mime_type));
        let (content, filename, mime_type) = (content?, filename?, mime_type?);
        if let (Some(template), Some(written)) = (&filename, &file.filename)
            && !sound(template.texts(), written, diagnostics)
        {
            return None;
        }
        let literal = mime_type.as_ref().and_then(Template::literal);
        if let (Some(text), Some(written)) = (literal, &file.mime_type)
            && !is_media_type(text)
        {
            let message = "a media type is two words with a slash between them";
            let problem = Diagnostic::error("bad-part", message).at(written.span, "");
            diagnostics.push(problem.help("such as `application/pdf`"));
            return None;
        }
        Some(Self::File { content, base64: file.base64, filename, mime_type })
    }

    fn write(
        &self,
        name: &str,
        boundary: &str,
        body: &mut Vec<u8>,
        arguments: &Arguments,
    ) -> Result<(), SourceError> {
        let mut push = |more: &str, content: &[u8]| {
            let head =
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        };
        let (content, base64, filename, mime_type) = match self {
            Self::Field(template) => {
                let items = match template.render(arguments) {
                    None => return Ok(()),
                    Some(Value::Array(items)) => items,
                    Some(value) => vec![value],
                };
                for item in items.iter().filter(|item| !item.is_null()) {
                    push("", value_text(item).as_bytes());
                }
                return Ok(());
            }
            Self::File { content, base64, filename, mime_type } => (content, *base64, filename, mime_type),
        };
        let Some(content) = content.render(arguments) else { return Ok(()) };
        let content = if base64 { decoded(&content)? } else { content.into_bytes() };
        let mut more = String::new();
        if let Some(filename) = filename.as_ref().and_then(|f| f.render(arguments)) {
            if !is_quotable(&filename) {
                return refused("a file's name", "it holds a quote, a backslash or a control character");
            }
            more = format!("; filename=\"{filename}\"");
        }
        let default = if base64 { "application/octet-stream" } else { "text/plain; charset=utf-8" };
        match mime_type.as_ref().and_then(|m| m.render(arguments)) {
            None => more.push_str(&format!("\r\nContent-Type: {default}")),
            Some(kind) if is_media_type(&kind) => more.push_str(&format!("\r\nContent-Type: {kind}")),
            Some(_) => return refused("a media type", "it is not two words with a slash between them"),
        }
        push(&more, &content);
        Ok(())
    }
}

fn refused<T>(place: &str, why: &str) -> Result<T, SourceError> {
    Err(SourceError::Argument(format!("An argument cannot be used as {place}: {why}.")))
}

fn decoded(text: &str) -> Result<Vec<u8>, SourceError> {
    STANDARD.decode(text).or_else(|_| {
        refused(
            "a file's content",
            "it is not base64 (the standard alphabet with `=` at the end, and no spaces)",
        )
    })
}

/// What can stand between quotes as it is.
fn is_quotable(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'))
}

/// Whether a name's own text can be sent as it is; records it if not.
fn sound<'a>(
    mut texts: impl Iterator<Item = &'a str>,
    written: &Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let sound = texts.all(is_quotable);
    if !sound {
        let message = "the name of a part or a file has no quotes, backslashes or control characters";
        diagnostics.push(Diagnostic::error("bad-part", message).at(written.span, ""));
    }
    sound
}

/// Two tokens with a slash between them; parameters are not for arguments.
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
}
