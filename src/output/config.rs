//! `output:` as written and as compiled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Jq;
use crate::diag::{Diagnostics, Spanned};
use crate::units::Size;

/// How rows are shown to the model; structured output stays JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Format")]
pub enum FormatConfig {
    /// JSON text.
    #[default]
    Json,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// A table.
    Markdown,
}

/// What of a reply reaches the caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Output")]
pub struct OutputConfig {
    /// A jq program over the reply: for REST the JSON body, for rows the list of them. Several results become a list.
    pub select: Option<Spanned<String>>,
    /// The text the model reads. Default `json`.
    pub format: Option<FormatConfig>,
    /// The most rows or matches that are read. Default 200.
    pub max_rows: Option<Spanned<u32>>,
    /// The most bytes of JSON or text that are returned; more is cut and said so. Default `64KiB`.
    pub max_bytes: Option<Spanned<Size>>,
}

/// `output:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputPlan {
    /// The compiled program.
    pub select: Option<Jq>,
    /// The text form.
    pub format: FormatConfig,
    /// Rows at the most.
    pub max_rows: usize,
    /// Bytes at the most.
    pub max_bytes: usize,
}

impl OutputConfig {
    /// Compiles, taking what is not written from `defaults`.
    pub fn compile(&self, defaults: &Self, diagnostics: &mut Diagnostics) -> OutputPlan {
        let select = self.select.as_ref().or(defaults.select.as_ref());
        let rows = self.max_rows.or(defaults.max_rows);
        let bytes = self.max_bytes.or(defaults.max_bytes);
        for (span, zero, key) in [
            (rows.map(|r| r.span), rows.is_some_and(|r| r.value == 0), "max_rows"),
            (bytes.map(|b| b.span), bytes.is_some_and(|b| b.value.0 < 256), "max_bytes"),
        ] {
            if let (Some(span), true) = (span, zero) {
                let least = if key == "max_rows" { "1" } else { "256B" };
                let message = format!("`{key}` is at least {least}");
                diagnostics.push(crate::diag::Diagnostic::error("too-small", message).at(span, ""));
            }
        }
        OutputPlan {
            select: select.and_then(|s| Jq::compile(s, diagnostics)),
            format: self.format.or(defaults.format).unwrap_or_default(),
            max_rows: rows.map_or(200, |r| r.value as usize),
            max_bytes: bytes.map_or(64 << 10, |b| b.value.0),
        }
    }
}
