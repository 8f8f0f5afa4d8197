//! `static:` content that stands in the configuration itself: text, bytes, or a file read at load.

use base64::Engine as _;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::{Diagnostic, Diagnostics, Span, Spanned};
use crate::file::FileRef;
use crate::output::Reply;

/// Content as written: one of the three.
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
    /// Media type of the content. Default: `text/plain` for text, `application/octet-stream` for bytes.
    pub mime_type: Option<String>,
}

/// Content ready to serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fixed {
    text: Option<String>,
    #[serde(skip)]
    bytes: Bytes,
    mime: Option<String>,
}

impl Fixed {
    /// Compiles content; wrong base64 and missing or several kinds are recorded.
    pub fn compile(config: &FixedConfig, at: Span, diagnostics: &mut Diagnostics) -> Option<Self> {
        let mime = config.mime_type.clone();
        match (&config.text, &config.blob, &config.file) {
            (Some(text), None, None) => {
                Some(Self { text: Some(text.value.clone()), bytes: Bytes::new(), mime })
            }
            (None, Some(blob), None) => {
                let compact: String = blob.value.split_whitespace().collect();
                match base64::engine::general_purpose::STANDARD.decode(compact) {
                    Ok(bytes) => Some(Self { text: None, bytes: bytes.into(), mime }),
                    Err(_) => {
                        let help = "the standard alphabet with padding, as `base64 FILE` writes it";
                        let problem = Diagnostic::error("bad-base64", "this is not base64").help(help);
                        diagnostics.push(problem.at(blob.span, ""));
                        None
                    }
                }
            }
            (None, None, Some(file)) => Some(Self {
                text: file.text().map(str::to_owned),
                bytes: Bytes::copy_from_slice(&file.content),
                mime,
            }),
            _ => {
                let message = "static content is exactly one of `text`, `blob`, `file`";
                let file = config.file.as_ref().map(|f| f.path.span);
                let places =
                    [config.text.as_ref().map(|t| t.span), config.blob.as_ref().map(|b| b.span), file];
                let problem = Diagnostic::error("one-of", message).absence();
                diagnostics.push(match places.into_iter().flatten().collect::<Vec<_>>().as_slice() {
                    [first, second, ..] => problem.at(*second, "the second one").at(*first, "the first one"),
                    _ => problem.at(at, ""),
                });
                None
            }
        }
    }

    /// The content as a reply.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match &self.text {
            Some(text) => Reply::Text { text: text.clone(), mime: self.mime.clone() },
            None => Reply::Bytes {
                data: self.bytes.clone(),
                mime: self.mime.clone().unwrap_or_else(|| "application/octet-stream".to_owned()),
            },
        }
    }
}
