//! What all our HTTP clients have in common, whatever they ask: no redirects, no system proxy, and errors in one line.

pub mod tls;

use std::error::Error;

use reqwest::redirect::Policy;

/// A client that names us, goes where it is sent and nowhere else.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("sidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
}

/// The error and its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// [`chain`] without the URL, which may hold a key in its query.
#[must_use]
pub fn reason(error: reqwest::Error) -> String {
    chain(&error.without_url())
}
