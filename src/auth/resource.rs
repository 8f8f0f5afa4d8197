//! The URI of this server as the audience of tokens (RFC 8707), and where its metadata stands (RFC 9728, section 3.1).

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use url::Url;

/// Where the metadata of a resource without a path stands, and what comes before the path of another.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A canonical resource URI: scheme and host in small letters, no fragment, no query, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    text: String,
    /// Where its path begins.
    path: usize,
}

impl Resource {
    /// Reads one that is written in its canonical form.
    ///
    /// # Errors
    /// The canonical form, where there is one.
    pub fn parse(text: &str) -> Result<Self, Option<String>> {
        let url = Url::parse(text).ok();
        let url = url.filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        let Some(mut url) = url.filter(|u| u.username().is_empty() && u.password().is_none()) else {
            return Err(None);
        };
        url.set_fragment(None);
        url.set_query(None);
        let origin = url.origin().ascii_serialization();
        let canonical = format!("{origin}{}", url.path().trim_end_matches('/'));
        if canonical == text {
            Ok(Self { text: canonical, path: origin.len() })
        } else {
            Err(Some(canonical))
        }
    }

    /// The one that a request came for; `host` has been checked.
    #[must_use]
    pub fn of_request(scheme: &str, host: &str, path: &str) -> Self {
        let origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        let text = format!("{origin}{}", path.trim_end_matches('/'));
        Self { path: origin.len(), text }
    }

    /// The URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its path; empty for none.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    /// The URL of its metadata.
    #[must_use]
    pub fn metadata(&self) -> String {
        let origin = self.text.get(..self.path).unwrap_or_default();
        format!("{origin}{WELL_KNOWN}{}", self.path())
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// An audience as it is compared: scheme and host in small letters, and no slash where there is no path.
pub(super) fn comparable(audience: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = audience.split_once("://") else { return Cow::Borrowed(audience) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = if path == "/" { "" } else { path };
    let capital = |text: &str| text.bytes().any(|b| b.is_ascii_uppercase());
    if !capital(scheme) && !capital(host) && end + path.len() == rest.len() {
        return Cow::Borrowed(audience);
    }
    Cow::Owned(format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_written_in_its_canonical_form() {
        for (text, path, metadata) in [
            (
                "https://mcp.shop.example/mcp",
                "/mcp",
                "https://mcp.shop.example/.well-known/oauth-protected-resource/mcp",
            ),
            ("https://mcp.shop.example", "", "https://mcp.shop.example/.well-known/oauth-protected-resource"),
            ("http://[::1]:8080/a/b", "/a/b", "http://[::1]:8080/.well-known/oauth-protected-resource/a/b"),
        ] {
            let resource = Resource::parse(text).unwrap();
            assert_eq!(
                (resource.as_str(), resource.path(), resource.metadata().as_str()),
                (text, path, metadata)
            );
        }
        for (text, canonical) in [
            ("HTTPS://MCP.shop.example/mcp", Some("https://mcp.shop.example/mcp")),
            ("https://mcp.shop.example/", Some("https://mcp.shop.example")),
            ("https://mcp.shop.example/mcp/", Some("https://mcp.shop.example/mcp")),
            ("https://mcp.shop.example/mcp#a", Some("https://mcp.shop.example/mcp")),
            ("https://mcp.shop.example/mcp?a=1", Some("https://mcp.shop.example/mcp")),
            ("https://mcp.shop.example:443/mcp", Some("https://mcp.shop.example/mcp")),
            ("https://mcp.shop.example/a/../mcp", Some("https://mcp.shop.example/mcp")),
            ("https://u:p@mcp.shop.example/mcp", None),
            ("urn:shop:mcp", None),
            ("mcp.shop.example/mcp", None),
            ("", None),
        ] {
            assert_eq!(Resource::parse(text), Err(canonical.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn an_audience_is_compared_without_regard_to_the_case_of_its_host() {
        for (one, other, same) in [
            ("https://a.example/mcp", "HTTPS://A.Example/mcp", true),
            ("https://a.example", "https://a.example/", true),
            ("https://a.example/mcp", "https://a.example/MCP", false),
            ("https://a.example/mcp", "https://a.example/mcp/", false),
            ("https://a.example/mcp", "https://a.example", false),
            ("https://a.example", "https://a.example.evil", false),
            ("api", "API", false),
            ("api", "api", true),
        ] {
            assert_eq!(comparable(one) == comparable(other), same, "{one} {other}");
        }
    }
}
