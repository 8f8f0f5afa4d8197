//! What the lists say beside names and descriptions, after compile: icons, `_meta`, and annotations of resources.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::config::{IconConfig, ResourceAnnotationsConfig, ResourceConfig, ThemeConfig};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::file::FileRef;
use crate::output::OutputPlan;
use crate::source::fixed::FixedConfig;
use crate::template::UriTemplate;
use crate::units::Size;
use crate::yaml::{Entries, JsonNode};

/// Icons and `_meta` of an entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ListedPlan {
    /// Pictures that clients may show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub icons: Vec<IconPlan>,
    /// Sent as it is.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

/// A picture, in the names of the protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IconPlan {
    /// An `https:` or `data:` URI.
    pub src: String,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// `48x48`, or `any`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<String>,
    /// The background that it is made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theme: Option<ThemeConfig>,
}

impl IconPlan {
    /// Whether the picture itself is in it.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        starts_with_scheme(&self.src, "data:")
    }
}

pub(super) fn compile(
    icons: &[Spanned<IconConfig>],
    meta: &Entries<JsonNode>,
    diagnostics: &mut Diagnostics,
) -> ListedPlan {
    ListedPlan { icons: compile_icons(icons, diagnostics), meta: compile_meta(meta, diagnostics) }
}

pub(super) fn compile_icons(icons: &[Spanned<IconConfig>], diagnostics: &mut Diagnostics) -> Vec<IconPlan> {
    icons.iter().filter_map(|icon| compile_icon(icon, diagnostics)).collect()
}

fn compile_icon(icon: &Spanned<IconConfig>, diagnostics: &mut Diagnostics) -> Option<IconPlan> {
    let IconConfig { src, file, mime_type, sizes, theme } = &icon.value;
    let written = mime_type.as_ref();
    if let Some(mime) = written.filter(|m| !m.starts_with("image/")) {
        let message = format!("`{}` is not the media type of an image", mime.value);
        diagnostics.push(Diagnostic::error("bad-media-type", message).at(mime.span, ""));
    }
    for size in sizes.iter().filter(|s| !is_size(s)) {
        let message = format!("`{}` is not a size of an icon", size.value);
        let help = "width and height in pixels, such as `48x48`, or `any`";
        diagnostics.push(Diagnostic::error("bad-icon", message).at(size.span, "").help(help));
    }
    let guessed = file.as_ref().and_then(media_type).map(str::to_owned);
    let mime = written.map(|m| m.value.clone()).or(guessed);
    let src = match (src, file) {
        (Some(src), None) => checked_src(src, diagnostics)?,
        (None, Some(file)) => data_uri(file, mime.as_deref(), diagnostics)?,
        _ => {
            let message = "an icon has exactly one of `src`, `file`";
            diagnostics.push(Diagnostic::error("one-of", message).absence().at(icon.span, ""));
            return None;
        }
    };
    let sizes = sizes.iter().map(|s| s.value.clone()).collect();
    Some(IconPlan { src, mime_type: mime, sizes, theme: *theme })
}

/// Clients load nothing else: a program or a file of their own machine is not a picture of ours.
fn checked_src(src: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    let remote = Url::parse(src).is_ok_and(|u| u.scheme() == "https" && u.has_host());
    let inline = starts_with_scheme(src, "data:image/") && src.contains(',');
    if !remote && !inline {
        let message = "the `src` of an icon is an `https:` URL or a `data:image/…` URI";
        let help = "a picture that lies beside the configuration goes under `file`";
        diagnostics.push(Diagnostic::error("bad-icon", message).at(src.span, "").help(help));
        return None;
    }
    Some(src.value.clone())
}

fn starts_with_scheme(uri: &str, start: &str) -> bool {
    uri.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start))
}

fn data_uri(file: &FileRef, mime: Option<&str>, diagnostics: &mut Diagnostics) -> Option<String> {
    let Some(mime) = mime else {
        let message = "the media type of this icon is not known";
        let help = "say `mime_type: image/…`";
        diagnostics.push(Diagnostic::error("no-media-type", message).at(file.path.span, "").help(help));
        return None;
    };
    Some(format!("data:{mime};base64,{}", STANDARD.encode(&file.content)))
}

/// The media type that a picture's ending tells.
fn media_type(file: &FileRef) -> Option<&'static str> {
    match file.path.rsplit('.').next()?.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "svg" => Some("image/svg+xml"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "avif" => Some("image/avif"),
        "ico" => Some("image/x-icon"),
        _ => None,
    }
}

fn is_size(text: &str) -> bool {
    let number = |n: &str| !n.starts_with('0') && !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    text == "any" || text.split_once('x').is_some_and(|(width, height)| number(width) && number(height))
}

fn compile_meta(meta: &Entries<JsonNode>, diagnostics: &mut Diagnostics) -> Map<String, Value> {
    let mut map = Map::new();
    for (key, value) in meta.iter() {
        if let Err(help) = check_meta_key(key) {
            let message = format!("`{}` cannot be a key of `meta`", key.value);
            diagnostics.push(Diagnostic::error("bad-meta-key", message).at(key.span, "").help(help));
        }
        map.insert(key.value.clone(), value.to_value());
    }
    map
}

/// An optional prefix (labels with dots between them, then `/`) and a name (MCP 2026-07-28, basic/index, `_meta`).
fn check_meta_key(key: &str) -> Result<(), &'static str> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = alphanumeric(name.chars().next()) && alphanumeric(name.chars().next_back());
    let name_fits = ends && name.chars().all(inner) || name.is_empty() && prefix.is_some();
    let label_fits = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_alphabetic())
            && alphanumeric(label.chars().next_back())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !name_fits || !prefix.is_none_or(|p| p.split('.').all(label_fits)) {
        return Err(
            "letters, digits, `-`, `_` and `.`, if you like after a domain of yours: `com.example/owner`",
        );
    }
    match prefix.and_then(|p| p.split('.').nth(1)) {
        Some("modelcontextprotocol" | "mcp") => {
            Err("this prefix is reserved for the protocol; take a domain of yours: `com.example/owner`")
        }
        _ => Ok(()),
    }
}

/// Annotations of a resource in the names of the protocol; empty if nothing is written.
pub(super) fn annotations(
    written: &ResourceAnnotationsConfig,
    diagnostics: &mut Diagnostics,
) -> Map<String, Value> {
    let ResourceAnnotationsConfig { audience, priority, last_modified } = written;
    let mut map = Map::new();
    if !audience.is_empty() {
        map.insert("audience".to_owned(), json!(audience));
    }
    if let Some(priority) = priority {
        if !(0.0..=1.0).contains(&priority.value) {
            let message = "`priority` is a number from 0 to 1";
            diagnostics.push(Diagnostic::error("bad-annotation", message).at(priority.span, ""));
        }
        map.insert("priority".to_owned(), json!(priority.value));
    }
    if let Some(written) = last_modified {
        map.insert("lastModified".to_owned(), json!(moment(written, diagnostics)));
    }
    map
}

/// A date becomes its first second: some clients refuse the whole list for a date without a time.
fn moment(written: &Spanned<String>, diagnostics: &mut Diagnostics) -> String {
    let has = |format: &str| {
        let validator =
            jsonschema::options().should_validate_formats(true).build(&json!({ "format": format }));
        validator.is_ok_and(|v| v.is_valid(&Value::from(written.as_str())))
    };
    if has("date") {
        return format!("{}T00:00:00Z", written.value);
    }
    // Small letters are allowed in RFC 3339, and not in ISO 8601.
    if !has("date-time") || written.bytes().any(|b| b.is_ascii_lowercase() || b == b' ') {
        let message = format!("`{}` is not a date or a moment", written.value);
        let help = "as in ISO 8601: `2026-11-20`, or `2026-11-20T09:30:00Z`";
        diagnostics.push(Diagnostic::error("bad-annotation", message).at(written.span, "").help(help));
    }
    written.value.clone()
}

/// The size as written, else that of static content that is sent whole and as it stands.
pub(super) fn size(
    resource: &ResourceConfig,
    template: &UriTemplate,
    output: &OutputPlan,
    diagnostics: &mut Diagnostics,
) -> Option<Size> {
    if template.variables().next().is_some() {
        if let Some(written) = resource.size {
            let message = "a template has no `size`: it stands for many resources";
            diagnostics.push(Diagnostic::error("size-of-template", message).at(written.span, ""));
        }
        return None;
    }
    let measured = || fixed_size(resource.fixed.as_ref()?).filter(|size| *size <= output.max_bytes);
    resource.size.map(|s| s.value).or_else(|| measured().map(Size))
}

/// How many bytes static content has that is sent as it stands; a JSON value is written anew.
fn fixed_size(content: &FixedConfig) -> Option<usize> {
    let base64 = |text: &str| {
        let sign = |b: &u8| !b.is_ascii_whitespace() && *b != b'=';
        text.bytes().filter(sign).count() * 3 / 4
    };
    let text = content.text.as_ref().map(|t| t.len());
    let blob = content.blob.as_ref().map(|b| base64(b));
    text.or(blob).or_else(|| content.file.as_ref().map(|f| f.content.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Span;

    #[test]
    fn a_meta_key_is_a_name_after_an_optional_prefix_that_is_not_reserved() {
        for key in ["a", "ui", "a.b-c_d", "com.example/owner", "com.example/", "x/1", "mcp/a", "com.my-mcp/a"]
        {
            assert_eq!(check_meta_key(key), Ok(()), "{key}");
        }
        for key in [
            "",
            "/",
            "/a",
            "-a",
            "a-",
            "a b",
            "ä",
            "1.example/a",
            "com./a",
            "com-/a",
            "com.example/a/b",
            "com_x/a",
        ] {
            assert!(check_meta_key(key).is_err_and(|why| !why.contains("reserved")), "{key}");
        }
        for key in ["io.modelcontextprotocol/serverInfo", "dev.mcp/a", "com.mcp.tools/a", "com.mcp/"] {
            assert!(check_meta_key(key).is_err_and(|why| why.contains("reserved")), "{key}");
        }
    }

    #[test]
    fn a_size_is_two_numbers_or_any() {
        for (text, fits) in [
            ("48x48", true),
            ("1x512", true),
            ("any", true),
            ("48", false),
            ("48x", false),
            ("0x48", false),
            ("48X48", false),
            ("48x48x48", false),
            ("+4x48", false),
            ("", false),
        ] {
            assert_eq!(is_size(text), fits, "{text}");
        }
    }

    #[test]
    fn a_moment_is_sent_with_its_time_and_offset() {
        for (text, sent) in [
            ("2026-11-20", Some("2026-11-20T00:00:00Z")),
            ("2026-11-20T09:30:00Z", Some("2026-11-20T09:30:00Z")),
            ("2026-11-20T09:30:00.25+01:00", Some("2026-11-20T09:30:00.25+01:00")),
            ("2026-11-20T09:30:00", None),
            ("2026-11-20t09:30:00z", None),
            ("2026-11-20 09:30:00Z", None),
            ("2026-02-30", None),
            ("2026", None),
            ("", None),
        ] {
            let mut diagnostics = Diagnostics::default();
            let moment = moment(&Spanned::new(text.to_owned(), Span::default()), &mut diagnostics);
            let moment = Some(moment).filter(|_| !diagnostics.has_errors());
            assert_eq!(moment.as_deref(), sent, "{text}");
        }
    }
}
