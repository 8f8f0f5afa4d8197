//! What is read from an issuer: small JSON documents, over TLS or from this machine, from where they are said to be and nowhere
//! else (no redirects, no proxy), within a size and a time.

use std::time::Duration;

use reqwest::header;
use url::Url;

use crate::outgoing::tls::TlsPlan;
use crate::outgoing::{self, reason};

/// The largest document.
const MAX_BODY: usize = 256 << 10;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(5);

/// A client for an issuer.
///
/// # Errors
/// The TLS stack's reason if it does not start.
pub(super) fn client(tls: Option<&TlsPlan>) -> Result<reqwest::Client, String> {
    // Installed by somebody else is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = outgoing::client().connect_timeout(LIMIT).pool_idle_timeout(Duration::from_secs(30));
    let builder = match tls {
        Some(tls) => tls.put(builder)?,
        None => builder,
    };
    builder.build().map_err(reason)
}

/// Reads a document.
///
/// # Errors
/// What went wrong, for the log.
pub(super) async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    if !super::jwt::is_safe(url) {
        return Err("it is neither https nor on this machine".to_owned());
    }
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    match tokio::time::timeout(LIMIT, read(client, url)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no whole answer within {LIMIT:?}")),
    }
}

async fn read(client: &reqwest::Client, url: Url) -> Result<Vec<u8>, String> {
    const TOO_LARGE: &str = "the answer is larger than 256 KiB";
    let request = client.get(url).header(header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(reason)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("it answers with status {}", response.status().as_u16()));
    }
    if response.content_length().is_some_and(|length| length > MAX_BODY as u64) {
        return Err(TOO_LARGE.to_owned());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reason)? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(TOO_LARGE.to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
