//! 2024-11-05 to 2025-11-25: a handshake, then the same methods with plainer results. A client may go without a session; it then
//! hears no news and cannot be asked.

use serde_json::{Map, Value, json};

use super::{Context, Era, LEGACY, Message, Pieces, RpcError, jsonrpc, method, resources};
use crate::talk::Capabilities;

/// Answers a legacy request.
pub(super) async fn handle(name: &str, message: &Message<'_>, cx: &Context<'_>) -> Result<Pieces, RpcError> {
    let has_resources = cx.live.plan.catalog.legacy.resources.is_some();
    match name {
        "initialize" => initialize(message, cx).map(Pieces::from),
        "ping" => Ok(b"{}".to_vec().into()),
        // Taken whether anything is logged or not: clients of this era set it unasked and give up on an error.
        "logging/setLevel" => {
            let level = message.params.level.and_then(jsonrpc::level);
            let level = level.ok_or_else(|| RpcError::invalid_params("`level` is not a log level"))?;
            if let Some(session) = cx.session {
                session.set_level(level);
            }
            Ok(b"{}".to_vec().into())
        }
        "resources/subscribe" if has_resources => {
            let uri = method::required(message.params.uri, "uri")?;
            match cx.session {
                Some(_) if !readable(&uri, cx) => {
                    return Err(RpcError::resource_not_found(&uri, Era::Legacy));
                }
                Some(session) => session.watch(&uri)?,
                None => {}
            }
            Ok(b"{}".to_vec().into())
        }
        // A resource may have gone since it was watched, and all of them with it.
        "resources/unsubscribe" if has_resources || cx.session.is_some() => {
            let uri = method::required(message.params.uri, "uri")?;
            if let Some(session) = cx.session {
                session.unwatch(&uri);
            }
            Ok(b"{}".to_vec().into())
        }
        _ => method::shared(name, &message.params, Era::Legacy, cx)
            .await
            .unwrap_or_else(|| Err(RpcError::unknown_method(name))),
    }
}

/// Whether there is such a resource, and this caller may read it.
fn readable(uri: &str, cx: &Context<'_>) -> bool {
    resources::readable(uri, &cx.caller, cx.local, &cx.live) == Some(true)
}

/// The version asked for if we speak it, else our newest of this era.
fn initialize(message: &Message<'_>, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let asked = jsonrpc::string(message.params.protocol_version, "protocolVersion")?.unwrap_or_default();
    let version = LEGACY.iter().find(|v| **v == asked).or(LEGACY.first()).copied().unwrap_or_default();
    if let Some(session) = cx.session {
        let capabilities = message.params.capabilities.map_or("{}", |c| c.get());
        session.opened(version, Capabilities::new(capabilities));
    }
    let plan = &cx.live.plan;
    let mut result = Map::new();
    result.insert("protocolVersion".to_owned(), json!(version));
    result.insert("capabilities".to_owned(), plan.catalog.capabilities.clone());
    result.insert("serverInfo".to_owned(), plan.catalog.server_info.clone());
    if let Some(instructions) = &plan.server.instructions {
        result.insert("instructions".to_owned(), json!(instructions.trim_end()));
    }
    Ok(Value::Object(result).to_string().into_bytes())
}
