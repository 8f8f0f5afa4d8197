//! What stands in for a variable that is not set where a configuration is only looked at, as in a pipeline without its secrets: a text
//! that fits its place and says whose place it holds. The same name always gives the same text, so that two files compare.

use aws_lc_rs::digest;

use crate::units::to_hex;
use crate::yaml::Slot;

/// Keys with URLs that do not end with `url`.
const URLS: [&str; 4] = ["resource", "issuer", "otlp", "website"];

/// The text for `${NAME}` or `${file:path}`.
pub(super) fn stand_in(whole: &str, slot: Slot<'_>) -> String {
    let bare = whole.trim_start_matches("${").trim_end_matches('}');
    let bare = bare.strip_prefix("file:").unwrap_or(bare);
    let name: String =
        bare.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-');
    let [key, above] = slot.keys;
    if key == "sha256" {
        return to_hex(digest::digest(&digest::SHA256, bare.as_bytes()).as_ref());
    }
    if slot.before.ends_with(':') && !slot.before.starts_with("sqlite") {
        // A port.
        return "1".to_owned();
    }
    if !slot.whole {
        return format!("unset-{name}");
    }
    match (key, above) {
        ("listen", _) => "127.0.0.1:1".to_owned(),
        ("url", "sql" | "pgvector") => format!("postgres://unset@unset.invalid/{name}"),
        ("url", "sqlite") => format!("sqlite:unset-{name}"),
        ("proxy", _) => "http://unset.invalid:1".to_owned(),
        _ if key.ends_with("url") || URLS.contains(&key) => format!("https://unset.invalid/{name}"),
        _ => format!("unset-{name}"),
    }
}
