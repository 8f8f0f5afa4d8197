//! What stands in for a variable where a configuration is only looked at, as in a pipeline without its secrets: a text that fits its
//! place and says whose place it holds. The same name always gives the same text, so that two files compare. It stands there also where
//! the variable is set, so that nothing of it can be shown; only what is never a secret is taken as it is.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::units::to_hex;
use crate::yaml::Slot;

/// Keys with URLs that do not end with `url`.
const URLS: [&str; 5] = ["resource", "issuer", "otlp", "endpoint", "website"];
/// Keys with addresses and names of files, which are needed to look, and are no secrets.
const PLACES: [&str; 8] = ["listen", "file", "init", "ca", "cert", "client_ca", "jwks_file", "include"];
/// Keys with one of a few words.
const WORDS: [&str; 10] =
    ["level", "levels", "format", "arguments", "clients", "row", "vary", "per", "distance", "mode"];

/// Whether a value can be shown: an address to listen on, the name of a file, one of a few words, or the whole of a number, which no text
/// can stand in for.
pub(super) fn is_shown(value: &str, slot: Slot<'_>) -> bool {
    let [key, above] = slot.keys;
    let place = PLACES.contains(&key) || matches!((key, above), ("path", "http") | ("key", "tls"));
    let word = |keys: &[&str]| keys.contains(&key) || above == "levels";
    place || slot.whole && (word(&WORDS) || is_number(value))
}

/// A number, perhaps with a unit, such as `30s` or `1.5MiB`, or `true` or `false`.
fn is_number(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let figures = text.len() - unit.len();
    let number = text.starts_with(|c: char| c.is_ascii_digit())
        && figures <= 10
        && unit.len() <= 3
        && unit.chars().all(|c| c.is_ascii_alphabetic() || c == '/');
    number || matches!(text, "true" | "false")
}

/// A hash of no key that anybody knows, which is the same for the same name.
fn hash(name: &str) -> String {
    let salt = digest::digest(&digest::SHA256, name.as_bytes());
    let made = digest::digest(&digest::SHA256, salt.as_ref());
    let text = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    let salt = text(salt.as_ref().get(..16).unwrap_or_default());
    format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${}", text(made.as_ref()))
}

/// The text for `${NAME}` or `${file:path}`. Of a value that is there, only the kind of database is taken.
pub(super) fn stand_in(whole: &str, slot: Slot<'_>, value: Option<&str>) -> String {
    let bare = whole.trim_start_matches("${").trim_end_matches('}');
    let bare = bare.strip_prefix("file:").unwrap_or(bare);
    let name: String =
        bare.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = name.trim_matches('-');
    let [key, above] = slot.keys;
    let is = |scheme: &str| value.is_some_and(|value| value.starts_with(scheme));
    if key == "sha256" {
        return to_hex(digest::digest(&digest::SHA256, bare.as_bytes()).as_ref());
    }
    if key == "argon2" && slot.whole {
        return hash(bare);
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
        ("url", "sql") if is("sqlite:") => format!("sqlite:unset-{name}"),
        ("url", "sql") if is("mysql:") || is("mariadb:") => format!("mysql://unset@unset.invalid/{name}"),
        ("allowed_origins", _) => format!("https://unset-{name}.invalid"),
        ("trusted_proxies", _) => "192.0.2.0/24".to_owned(),
        ("url", "sql" | "pgvector") => format!("postgres://unset@unset.invalid/{name}"),
        ("url", "sqlite") => format!("sqlite:unset-{name}"),
        ("proxy", _) => "http://unset.invalid:1".to_owned(),
        _ if key.ends_with("url") || URLS.contains(&key) => format!("https://unset.invalid/{name}"),
        _ => format!("unset-{name}"),
    }
}
