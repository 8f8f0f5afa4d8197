//! `output:` as written and as compiled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Jq, JsonPath, OutputSchema};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::units::Size;
use crate::yaml::JsonNode;

/// Bytes of JSON that count as one token.
const BYTES_PER_TOKEN: usize = 3;
/// The least that a limit lets through, so that a note fits.
const LEAST_BYTES: usize = 256;
const LEAST_TOKENS: u32 = 100;

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
    /// Plain text: a value as it is, a list one item a line, an object as `name: value` lines.
    Text,
}

/// What of a reply reaches the caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Output")]
pub struct OutputConfig {
    /// A jq program over the reply: for REST the JSON body, for rows the list of them, for any other text that text. Several results
    /// become a list.
    pub select: Option<Spanned<String>>,
    /// The text the model reads. Default `json`.
    pub format: Option<FormatConfig>,
    /// The most rows or matches that are read, and the most items that are shown of a result that is a list. Default 200.
    pub max_rows: Option<Spanned<u32>>,
    /// The most bytes of JSON or text that are returned, at least `256B`; more is cut and said so. Default `64KiB`.
    pub max_bytes: Option<Spanned<Size>>,
    /// The most tokens of JSON or text that are returned, at least 100, by an estimate: three bytes are one token. The smaller one of
    /// this and `max_bytes` counts.
    pub max_tokens: Option<Spanned<u32>>,
    /// What is kept back, by jq paths into the result after `select` (rows are a list): `[".customer.email", ".[].card"]`. Texts
    /// become `[redacted]`, other values null. Those of `defaults` count too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<Vec<Spanned<String>>>,
    /// A JSON Schema of the result as it is after `select` and `redact`. It becomes the tool's `outputSchema`, and a result that
    /// does not fit it is an error.
    pub schema: Option<Spanned<JsonNode>>,
}

/// `output:` with every default in place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputPlan {
    /// The compiled program.
    pub select: Option<Jq>,
    /// The text form.
    pub format: FormatConfig,
    /// Rows that are read at the most.
    pub max_rows: usize,
    /// Items of a result that is a list, at the most.
    #[serde(skip)]
    pub max_items: usize,
    /// Bytes at the most.
    pub max_bytes: usize,
    /// What is kept back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<JsonPath>,
    /// What a result has to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<OutputSchema>,
}

impl OutputPlan {
    /// Whether a JSON document that is small enough is the result, byte for byte.
    #[must_use]
    pub(super) const fn passes(&self) -> bool {
        self.leaves() && self.select.is_none()
    }

    /// Whether what was selected is the result, if it is small enough.
    pub(super) const fn leaves(&self) -> bool {
        matches!(self.format, FormatConfig::Json) && self.redact.is_empty() && self.schema.is_none()
    }
}

impl OutputConfig {
    /// Compiles, taking what is not written from `defaults`.
    pub fn compile(&self, defaults: &Self, diagnostics: &mut Diagnostics) -> OutputPlan {
        let select = self.select.as_ref().or(defaults.select.as_ref());
        let rows = self.max_rows.or(defaults.max_rows);
        let bytes = self.max_bytes.or(defaults.max_bytes);
        let tokens = self.max_tokens.or(defaults.max_tokens);
        for (span, least, key) in [
            (rows.filter(|r| r.value == 0).map(|r| r.span), "1", "max_rows"),
            (bytes.filter(|b| b.value.0 < LEAST_BYTES).map(|b| b.span), "256B", "max_bytes"),
            (tokens.filter(|t| t.value < LEAST_TOKENS).map(|t| t.span), "100", "max_tokens"),
        ] {
            if let Some(span) = span {
                let message = format!("`{key}` is at least {least}");
                diagnostics.push(Diagnostic::error("too-small", message).at(span, ""));
            }
        }
        let tokens = tokens.map_or(usize::MAX, |t| (t.value as usize).saturating_mul(BYTES_PER_TOKEN));
        let schema = self.schema.as_ref().or(defaults.schema.as_ref());
        let max_rows = rows.map_or(200, |r| r.value as usize);
        OutputPlan {
            select: select.and_then(|s| Jq::compile(s, diagnostics)),
            format: self.format.or(defaults.format).unwrap_or_default(),
            max_rows,
            max_items: max_rows,
            max_bytes: bytes.map_or(64 << 10, |b| b.value.0).min(tokens),
            redact: self.paths(defaults, diagnostics),
            schema: schema.and_then(|s| OutputSchema::compile(s, diagnostics)),
        }
    }

    fn paths(&self, defaults: &Self, diagnostics: &mut Diagnostics) -> Vec<JsonPath> {
        let written = defaults.redact.iter().chain(&self.redact).flatten();
        let all = written.filter_map(|text| {
            if text.value.trim() == "." {
                let message = "`.` names the whole result: nothing would be left of it";
                diagnostics.push(Diagnostic::error("bad-json-path", message).at(text.span, ""));
                return None;
            }
            JsonPath::compile(text, diagnostics)
        });
        all.collect()
    }
}
