//! What the lists say of the server and of an entry beside names and descriptions, as written: icons, and annotations of
//! resources.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diag::Spanned;
use crate::file::FileRef;

/// A picture that clients may show: exactly one of `src` and `file`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Icon")]
pub struct IconConfig {
    /// Where it is: an `https:` or `data:` URI.
    pub src: Option<Spanned<String>>,
    /// A file; clients get its content as a `data:` URI.
    pub file: Option<FileRef>,
    /// Media type; of a file, known from its ending.
    pub mime_type: Option<Spanned<String>>,
    /// Sizes that it is good for, such as `48x48`, or `any`.
    pub sizes: Vec<Spanned<String>>,
    /// The background that it is made for.
    pub theme: Option<ThemeConfig>,
}

/// The background that an icon is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Theme")]
pub enum ThemeConfig {
    /// A light one.
    Light,
    /// A dark one.
    Dark,
}

/// Hints about how a resource is used (MCP 2026-07-28, server/resources).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ResourceAnnotations")]
pub struct ResourceAnnotationsConfig {
    /// Whom it is for.
    pub audience: Vec<AudienceConfig>,
    /// How much it matters, from 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub priority: Option<Spanned<f64>>,
    /// When it last changed: a date (its first second, UTC), or a date and time with offset, such as
    /// `2026-11-20T09:30:00Z`.
    pub last_modified: Option<Spanned<String>>,
}

/// Whom a resource is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Audience")]
pub enum AudienceConfig {
    /// People.
    User,
    /// The model.
    Assistant,
}
