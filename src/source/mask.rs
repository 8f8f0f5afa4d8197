//! Takes what is secret out of texts for the log: credentials that an upstream repeats, whole or cut in half.

use super::SourceError;
use crate::secret::Secret;

/// How much of a body the log shows, in bytes.
const EXCERPT: usize = 400;
/// Shorter values, such as `en`, are no secrets and would tear every text apart.
const SHORTEST: usize = 6;

/// Secrets that no text may show, the longest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(Vec<Secret>);

impl Mask {
    pub(super) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self::default().and(secrets)
    }

    /// The same and more. A secret is also known as JSON writes it.
    pub(super) fn and(&self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut all = self.0.clone();
        for secret in secrets.into_iter().filter(|s| s.expose().len() >= SHORTEST) {
            let escaped = serde_json::Value::from(secret.expose()).to_string();
            let escaped = escaped.get(1..escaped.len() - 1).unwrap_or_default().to_owned();
            let forms = [escaped.replace('/', "\\/"), escaped, secret.expose().to_owned()];
            for form in forms.into_iter().map(Secret::new) {
                if !all.contains(&form) {
                    all.push(form);
                }
            }
        }
        all.sort_by_key(|s| std::cmp::Reverse(s.expose().len()));
        Self(all)
    }

    pub(super) fn hide(&self, text: String) -> String {
        self.0.iter().fold(text, |t, s| if t.contains(s.expose()) { t.replace(s.expose(), "***") } else { t })
    }

    /// The start of a body for the log: printable, short, and with no secret that the cut has left half of.
    pub(super) fn excerpt(&self, body: &[u8]) -> String {
        let start = body.get(..body.len().min(EXCERPT)).unwrap_or_default();
        let mut text = String::from_utf8_lossy(start).into_owned();
        if body.len() > EXCERPT {
            text.truncate(text.trim_end_matches('\u{fffd}').len());
            text.truncate(text.len() - self.half(&text));
        }
        self.hide(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The length of the longest end of a text that a secret begins with but does not end with.
    fn half(&self, text: &str) -> usize {
        let longest = |secret: &str| {
            let cuts = secret.char_indices().map(|(at, _)| at).chain([secret.len()]);
            cuts.filter(|n| secret.get(..*n).is_some_and(|start| text.ends_with(start))).max().unwrap_or(0)
        };
        let all = self.0.iter().map(|s| (longest(s.expose()), s.expose().len()));
        all.max_by_key(|(n, _)| *n).filter(|(n, whole)| n < whole).map_or(0, |(n, _)| n)
    }

    /// The same failure without secrets in what it has for the log.
    pub(super) fn error(&self, error: SourceError) -> SourceError {
        match error {
            SourceError::Answered { status, said, body } => {
                SourceError::Answered { status, said, body: self.hide(body) }
            }
            SourceError::Status { status, body } => SourceError::Status { status, body: self.hide(body) },
            SourceError::BadReply { reason, detail } => {
                SourceError::BadReply { reason, detail: self.hide(detail) }
            }
            SourceError::Unfit { reason, detail } => SourceError::Unfit { reason, detail: self.hide(detail) },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-t0ken/of+a \"kind\"";

    fn mask() -> Mask {
        Mask::new(
            [SECRET, "Bearer s3cr3t-t0ken/of+a \"kind\"", "en", "pässword"]
                .map(|s| Secret::new(s.to_owned())),
        )
    }

    #[test]
    fn a_secret_is_hidden_wherever_the_cut_falls() {
        for secret in [SECRET, "Bearer s3cr3t-t0ken/of+a \"kind\"", "pässword"] {
            for before in 370..=EXCERPT {
                let body = format!("{}{secret}{}", ".".repeat(before), "-".repeat(500));
                let shown = mask().excerpt(body.as_bytes());
                let rest = shown.trim_start_matches('.').trim_end_matches('-');
                assert!(matches!(rest, "" | "***"), "{before}: {rest}");
            }
        }
    }

    #[test]
    fn a_secret_that_ends_as_it_begins_is_hidden_whole() {
        let mask = Mask::new([Secret::new("abcxyzab".to_owned())]);
        let body = format!("{}abcxyzab{}", ".".repeat(EXCERPT - 8), "-".repeat(9));
        assert_eq!(mask.excerpt(body.as_bytes()).trim_start_matches('.'), "***");
    }

    #[test]
    fn a_secret_is_hidden_as_json_writes_it_and_short_words_stay() {
        let json = serde_json::json!({ "said": SECRET, "en": "en" }).to_string();
        assert_eq!(mask().excerpt(json.as_bytes()), r#"{"said":"***","en":"en"}"#);
        assert_eq!(mask().hide(json.replace('/', "\\/")), r#"{"said":"***","en":"en"}"#);
    }

    #[test]
    fn a_short_body_is_shown_whole_and_printable() {
        assert_eq!(mask().excerpt(b"line\r\nBearer s3"), "line  Bearer s3");
    }
}
