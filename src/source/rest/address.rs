//! Addresses that the configuration fixes: of the API, of its token endpoint.

use url::Url;

use crate::diag::{Diagnostic, Diagnostics, Spanned};

/// An address without user, query and fragment, and without a slash at its end unless it was written; `what` begins a sentence.
pub(super) fn fixed(written: &Spanned<String>, what: &str, diagnostics: &mut Diagnostics) -> Option<Url> {
    let mut refuse = |message: String, help: Option<&str>| {
        let problem = Diagnostic::error("bad-url", message).at(written.span, "");
        diagnostics.push(problem.maybe_help(help.map(str::to_owned)));
        None
    };
    if written.value.contains(['{', '}']) {
        let help =
            "the destination is fixed; placeholders belong into a request's path, query, headers or body";
        return refuse(format!("{what} has no placeholders"), Some(help));
    }
    let url = match Url::parse(&written.value) {
        Ok(url) => url,
        Err(error) => {
            return refuse(format!("this is not a URL: {error}"), Some("such as `https://api.example/v1`"));
        }
    };
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return refuse(format!("{what} starts with `https://` or `http://`"), None);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(format!("{what} holds no user or password"), Some("write them under `credentials:`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse(
            format!("{what} has no query and no fragment"),
            Some("write query parameters under the route's `query:`"),
        );
    }
    Some(url)
}
