//! 2026-07-28: every request carries its version and capabilities, and HTTP repeats them in headers.

use std::borrow::Cow;

use serde_json::Value;

use super::listen::{self, Listen};
use super::{Context, Era, Headers, MODERN, Message, Pieces, RpcError, headers, jsonrpc, method, news};

/// Answers a modern request.
pub(super) async fn handle(name: &str, message: &Message<'_>, cx: &Context<'_>) -> Result<Pieces, RpcError> {
    check(name, message, cx)?;
    if name == "server/discover" {
        return Ok(discover(cx).into());
    }
    if name == "subscriptions/listen" && hears(&cx.live.plan.catalog.capabilities) {
        // The transports take it to `listen` where they have a stream.
        return Err(RpcError::invalid_request("there is no stream to listen on"));
    }
    let params = &message.params;
    method::shared(name, params, Era::Modern, cx).await.unwrap_or_else(|| Err(RpcError::unknown_method(name)))
}

/// Begins to answer `subscriptions/listen`.
pub(super) fn listen(message: &Message<'_>, cx: &Context<'_>) -> Result<Listen, RpcError> {
    const NAME: &str = "subscriptions/listen";
    check(NAME, message, cx)?;
    if !hears(&cx.live.plan.catalog.capabilities) {
        return Err(RpcError::unknown_method(NAME));
    }
    listen::begin(message, cx)
}

/// What holds for every request. The order of the checks is the specification's: envelope, headers, version, method.
fn check(name: &str, message: &Message<'_>, cx: &Context<'_>) -> Result<(), RpcError> {
    let params = &message.params;
    let version = envelope(message)?;
    if let Some(headers) = cx.headers {
        let target = match name {
            "tools/call" | "prompts/get" => jsonrpc::string(params.name, "name")?,
            "resources/read" => jsonrpc::string(params.uri, "uri")?,
            _ => None,
        };
        headers::check(headers, &version, name, target.as_deref())?;
    }
    if version != MODERN {
        return Err(RpcError::unsupported_version(&version));
    }
    Ok(())
}

/// What holds for every notification over HTTP: what it says of version and method is spoken here and the same everywhere. It may leave
/// out the envelope and headers.
pub(super) fn check_notification(
    name: &str,
    message: &Message<'_>,
    headers: &dyn Headers,
) -> Result<(), RpcError> {
    let version = match message.params.meta.as_ref().and_then(|m| m.protocol_version) {
        Some(version) => {
            let wrong = || RpcError::envelope("`io.modelcontextprotocol/protocolVersion` is a string");
            Some(jsonrpc::string(Some(version), "").ok().flatten().ok_or_else(wrong)?)
        }
        None => None,
    };
    let said = headers::check_notification(headers, version.as_deref(), name)?;
    match version.as_deref().or(said) {
        Some(version) if version != MODERN => Err(RpcError::unsupported_version(version)),
        _ => Ok(()),
    }
}

/// Whether there is anything to listen for.
fn hears(capabilities: &Value) -> bool {
    !news::lists(capabilities).is_empty() || news::can(capabilities, "resources", "subscribe")
}

/// The required members of `_meta`; gives the version.
fn envelope<'a>(message: &Message<'a>) -> Result<Cow<'a, str>, RpcError> {
    let meta = message.params.meta.as_ref();
    let version = meta
        .and_then(|m| m.protocol_version)
        .and_then(|version| jsonrpc::string(Some(version), "").ok().flatten())
        .ok_or_else(|| {
            RpcError::envelope("`_meta` needs `io.modelcontextprotocol/protocolVersion`, a string")
        })?;
    let capabilities = meta.and_then(|m| m.client_capabilities);
    if !capabilities.is_some_and(|c| c.get().starts_with('{')) {
        let message = "`_meta` needs `io.modelcontextprotocol/clientCapabilities`, an object";
        return Err(RpcError::envelope(message));
    }
    if let Some(level) = meta.and_then(|m| m.log_level)
        && jsonrpc::level(level).is_none()
    {
        return Err(RpcError::envelope("`io.modelcontextprotocol/logLevel` is not a log level"));
    }
    Ok(version)
}

fn discover(cx: &Context<'_>) -> Vec<u8> {
    let plan = &cx.live.plan;
    let mut out = format!(
        "{{\"supportedVersions\":[\"{MODERN}\"],\"capabilities\":{},{}",
        plan.catalog.capabilities,
        cx.live.keeping()
    );
    if let Some(instructions) = &plan.server.instructions {
        out.push_str(&format!(",\"instructions\":{}", Value::from(instructions.trim_end())));
    }
    let mut out = out.into_bytes();
    // With the whole of the server's introduction; other results repeat it without large icons.
    out.push(b',');
    out.extend_from_slice(plan.catalog.introduction.as_bytes());
    out.push(b'}');
    out
}
