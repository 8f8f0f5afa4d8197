//! A Qdrant collection after compile: where it is and what its points hold.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::secret::Secret;
use crate::source::vector::collection::Columns;
use crate::source::vector::config::QdrantCollectionConfig;
use crate::source::vector::embed::service_url;
use crate::source::{SourceCx, time_limit};
use crate::units::Period;

/// A compiled collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::source::vector) struct QdrantPlan {
    /// Of the collection.
    pub(super) url: String,
    pub(super) collection: String,
    pub(super) api_key: Option<Secret>,
    pub(super) vector_name: Option<String>,
    /// Only text and metadata are keys of the payload.
    pub(in crate::source::vector) columns: Columns,
    pub(super) timeout: Period,
}

/// A key of the payload.
pub(in crate::source::vector) fn key(
    written: &Spanned<String>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    if written.is_empty() || written.contains('"') {
        let message = format!("`{}` cannot be the name of a payload key", written.value);
        let help = "anything but nothing and quotes; `a.b` is `b` inside `a`";
        diagnostics.push(Diagnostic::error("bad-identifier", message).at(written.span, "").help(help));
        return None;
    }
    Some(written.value.clone())
}

/// A key as Qdrant reads it: quoted where it is no plain path.
pub(super) fn path(key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']'));
    if plain { key.to_owned() } else { format!("\"{key}\"") }
}

impl QdrantPlan {
    pub(in crate::source::vector) fn compile(
        written: &QdrantCollectionConfig,
        cx: &mut SourceCx<'_>,
    ) -> Option<Self> {
        let fits = service_url(&written.url, "the URL of Qdrant", cx.diagnostics);
        let name = &written.collection;
        // The rules of Qdrant for names.
        let named = !name.is_empty()
            && name.len() <= 255
            && !name.contains(['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u{1f}']);
        if !named {
            let message = format!("`{}` cannot be the name of a collection", name.value);
            cx.diagnostics.push(Diagnostic::error("bad-identifier", message).at(name.span, ""));
        }
        let text = match &written.text {
            Some(text) => key(text, cx.diagnostics),
            None => Some("content".to_owned()),
        };
        let metadata = match &written.metadata {
            Some(keys) => {
                let keys: Vec<_> = keys.iter().map(|written| key(written, cx.diagnostics)).collect();
                Some(keys.into_iter().collect::<Option<Vec<_>>>()?)
            }
            None => None,
        };
        let timeout = time_limit(written.timeout, 10, "timeout", cx.diagnostics);
        if !fits || !named {
            return None;
        }
        let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
        Some(Self {
            url: format!("{}/collections/{encoded}", written.url.trim_end_matches('/')),
            collection: name.value.clone(),
            api_key: written.api_key.as_ref().map(|k| k.value.clone()),
            vector_name: written.vector_name.as_ref().map(|n| n.value.clone()),
            columns: Columns { id: String::new(), text: text?, embedding: String::new(), metadata },
            timeout,
        })
    }
}
