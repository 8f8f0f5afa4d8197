//! Links that an API gives: only those that stay under the base URL are followed, and what a client hands back of one is known by
//! its signature to be ours.

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{HeaderMap, LINK};
use serde_json::Value;
use url::{Position, Url};

use crate::source::SourceError;
use crate::source::http::Answer;

/// Bytes of a signature that are kept.
const TAG: usize = 16;

/// What links have to stay under, and what must not come along in them.
pub(super) struct LinkScope<'a> {
    pub base: &'a str,
    /// The name of the query parameter that holds a credential.
    pub key: Option<&'a str>,
}

impl LinkScope<'_> {
    /// A link as it may be followed: on the same origin, under the path of the base URL, without the credential.
    pub fn take_in(&self, link: &str, from: &Url) -> Option<Url> {
        let base = Url::parse(self.base).ok()?;
        let mut url = from.join(link).ok()?;
        url.set_fragment(None);
        let below = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        let fits = url.origin() == base.origin()
            && url.username().is_empty()
            && url.password().is_none()
            && below.starts_with('/')
            && !url.path().to_ascii_lowercase().contains("%2e")
            && !climbs(below);
        let url = fits.then_some(url)?;
        Some(match self.key {
            Some(key) => without(url, key),
            None => url,
        })
    }
}

/// Whether a path leaves where it begins for a server that decodes it before it looks for dots. An encoded slash alone is none of
/// that: some APIs have it in their names.
fn climbs(path: &str) -> bool {
    let mut path = path.to_owned();
    loop {
        let mut segments = path.split(['/', '\\']);
        if segments.any(|s| matches!(s.split_once(';').map_or(s, |(name, _)| name), "." | "..")) {
            return true;
        }
        let decoded = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if decoded.len() == path.len() {
            return false;
        }
        path = decoded;
    }
}

/// The same without a query parameter.
fn without(mut url: Url, name: &str) -> Url {
    if let Some(query) = url.query().map(str::to_owned) {
        let is_other = |pair: &&str| {
            let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
            decoded.is_none_or(|(found, _)| found != name)
        };
        let kept: Vec<&str> = query.split('&').filter(is_other).collect();
        url.set_query((!kept.is_empty()).then(|| kept.join("&")).as_deref());
    }
    url
}

/// Signs links, for as long as the source lives.
pub(super) struct Links(Option<hmac::Key>);

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

impl Links {
    pub fn new() -> Self {
        let mut secret = [0; 32];
        Self(rand::fill(&mut secret).ok().map(|()| hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// A link as a value that a client may hold: its path and query, as where the API is is nothing for clients. It is good for calls
    /// whose own request is `own`, so for these arguments.
    pub fn close(
        &self,
        link: &str,
        from: &Url,
        own: &Url,
        scope: &LinkScope<'_>,
    ) -> Result<Value, SourceError> {
        let elsewhere = || SourceError::BadReply {
            reason: "a link to a next page elsewhere",
            detail: "it is not under the base URL".to_owned(),
        };
        let url = scope.take_in(link, from).ok_or_else(elsewhere)?;
        let key = self.0.as_ref().ok_or_else(|| SourceError::Internal("no randomness".to_owned()))?;
        let tag = sign(key, &url, own);
        let tag = tag.as_ref().get(..TAG).unwrap_or_default();
        Ok(Value::from(format!("{}{}", URL_SAFE_NO_PAD.encode(tag), &url[Position::BeforePath..])))
    }

    /// The link in such a value; nothing if it is not of our making, or for another call.
    pub fn open(&self, value: &str, own: &Url) -> Option<Url> {
        let (tag, path) = value.split_at_checked(TAG.div_ceil(3) * 4 - 2)?;
        // On the origin of the call's own request, which is that of every link.
        let origin = own.origin().ascii_serialization();
        let url = Url::parse(&format!("{origin}{}", path.starts_with('/').then_some(path)?)).ok()?;
        let given = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let right = sign(self.0.as_ref()?, &url, own);
        let right = right.as_ref().get(..TAG)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&given, right).ok()?;
        Some(url)
    }
}

fn sign(key: &hmac::Key, url: &Url, own: &Url) -> hmac::Tag {
    hmac::sign(key, format!("{own}\n{url}").as_bytes())
}

pub(super) fn headers(answer: &Answer) -> Vec<String> {
    texts(&answer.headers)
}

fn texts(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
}

/// The target of the first link with the relation `next` (RFC 8288 section 3).
pub(super) fn next(headers: &[String]) -> Option<String> {
    headers.iter().find_map(|header| next_in(header))
}

fn next_in(header: &str) -> Option<String> {
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while let Some(inner) = rest.strip_prefix('<') {
        let (target, mut after) = inner.split_once('>')?;
        let mut relation = None;
        loop {
            after = after.trim_start();
            let Some(parameter) = after.strip_prefix(';') else { break };
            let parameter = parameter.trim_start();
            let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
            let (name, tail) = parameter.split_at(end);
            let (value, tail) = match tail.strip_prefix('=') {
                Some(tail) => value(tail.trim_start())?,
                None => (String::new(), tail),
            };
            // Only the first `rel` counts (section 3.3).
            if name.trim().eq_ignore_ascii_case("rel") && relation.is_none() {
                relation = Some(value);
            }
            after = tail;
        }
        if relation.is_some_and(|r| r.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next")))
        {
            return Some(target.trim().to_owned());
        }
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    None
}

/// A token or a quoted text, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',']).unwrap_or(text.len());
        let (value, tail) = text.split_at(end);
        return Some((value.trim().to_owned(), tail));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.extend(letters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_as_rfc_8288_writes_it() {
        for (header, target) in [
            (
                "<https://a/x?page=2>; rel=\"next\", <https://a/x?page=9>; rel=\"last\"",
                Some("https://a/x?page=2"),
            ),
            ("</x?a=1,2;3>; rel=prev, </x?b>; title=\"a, <b>; rel=next \\\" \"; REL=Next", Some("/x?b")),
            ("<a>; rel=\"last next\"", Some("a")),
            ("<a>; rel=last; rel=next", None),
            ("<a>; rel=\"nexts\"", None),
            ("<a>", None),
            ("", None),
            ("<a; rel=next", None),
            ("<a>; rel=\"next", None),
        ] {
            assert_eq!(next(&[header.to_owned()]).as_deref(), target, "{header}");
        }
    }

    #[test]
    fn a_link_stays_under_the_base_or_is_not_taken() {
        let scope = LinkScope { base: "https://api.example/v1", key: Some("api key") };
        let from = Url::parse("https://api.example/v1/orders?x=1").unwrap();
        for (link, taken) in [
            ("?page=2", Some("https://api.example/v1/orders?page=2")),
            ("/v1/orders?page=2#x", Some("https://api.example/v1/orders?page=2")),
            (
                "https://api.example:443/v1/o?a=1&api%20key=s&api+key=s&b",
                Some("https://api.example/v1/o?a=1&b"),
            ),
            ("?api%20key=s", Some("https://api.example/v1/orders")),
            ("https://api.example/v2/orders", None),
            ("https://api.example/v1", None),
            ("https://api.example/v10/orders", None),
            ("/v1/../admin", None),
            ("/v1/%2e%2e/admin", None),
            ("/v1/a%2E%2e/b", None),
            ("/v1/x%2f..%2f..%2fadmin", None),
            ("/v1/x%2F..%2F..%2Fadmin?a", None),
            ("/v1/x%5c..%5C..%5cadmin", None),
            ("/v1/x%252f..%252f..%252fadmin", None),
            ("/v1/x%25252f%25252e%25252e%25252fadmin", None),
            ("/v1/..;a=b/admin", None),
            ("/v1/..%2fadmin", None),
            (
                "/v1/projects/group%2Fname/a..b?page=2",
                Some("https://api.example/v1/projects/group%2Fname/a..b?page=2"),
            ),
            ("/v1/50%25/x", Some("https://api.example/v1/50%25/x")),
            ("//evil.example/v1/orders", None),
            ("http://api.example/v1/orders", None),
            ("https://api.example:444/v1/orders", None),
            ("https://u:p@api.example/v1/orders", None),
            ("https://api.example@evil.example/v1/orders", None),
            ("file:///etc/passwd", None),
            ("https://", None),
        ] {
            assert_eq!(scope.take_in(link, &from).as_ref().map(Url::as_str), taken, "{link}");
        }
    }

    #[test]
    fn a_signed_link_is_good_for_the_call_it_was_made_for() {
        let scope = LinkScope { base: "https://api.example", key: None };
        let own = Url::parse("https://api.example/orders?of=7").unwrap();
        let other = Url::parse("https://api.example/orders?of=8").unwrap();
        let links = Links::new();
        let value = links.close("?page=2", &own, &own, &scope).unwrap();
        let value = value.as_str().unwrap();
        assert_eq!(links.open(value, &own).unwrap().as_str(), "https://api.example/orders?page=2");
        assert!(value.ends_with("/orders?page=2") && !value.contains("api.example"), "{value}");
        let slashes = links.close("https://api.example//evil.example/x", &own, &own, &scope).unwrap();
        let slashes = links.open(slashes.as_str().unwrap(), &own).unwrap();
        assert_eq!(slashes.as_str(), "https://api.example//evil.example/x");
        assert_eq!(links.open(value, &other), None);
        assert_eq!(links.open(&value.replace("page=2", "page=3"), &own), None);
        assert_eq!(Links::new().open(value, &own), None);
        assert_eq!(links.open("short", &own), None);
        assert_eq!(links.open("é".repeat(30).as_str(), &own), None);
    }
}
