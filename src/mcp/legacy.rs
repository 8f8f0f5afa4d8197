//! 2024-11-05 to 2025-11-25: a handshake, then the same methods with plainer results. No session is kept: nothing that
//! is served needs one.

use serde_json::{Map, Value, json};

use super::{Context, Era, LEGACY, Message, RpcError, jsonrpc, method};

/// Answers a legacy request.
pub(super) async fn handle(name: &str, message: &Message<'_>, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let has_resources = cx.live.plan.catalog.legacy.resources.is_some();
    match name {
        "initialize" => initialize(message, cx),
        // The level is taken although nothing is logged to clients yet: those of this era set it unasked and give up
        // on an error.
        "ping" | "logging/setLevel" => Ok(b"{}".to_vec()),
        "resources/subscribe" | "resources/unsubscribe" if has_resources => Ok(b"{}".to_vec()),
        _ => method::shared(name, &message.params, Era::Legacy, cx)
            .await
            .unwrap_or_else(|| Err(RpcError::unknown_method(name))),
    }
}

/// The version asked for if we speak it, else our newest of this era.
fn initialize(message: &Message<'_>, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let asked = jsonrpc::string(message.params.protocol_version, "protocolVersion")?.unwrap_or_default();
    let version = LEGACY.iter().find(|v| **v == asked).or(LEGACY.first()).copied().unwrap_or_default();
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
