//! Who may use what a message names, said before anything is done about it: over HTTP the refusal is a status and a challenge
//! (MCP 2026-07-28, basic/authorization). The call itself is refused again in `call/run.rs`, whatever way it came.

use super::completion::Reference;
use super::{Message, frozen, jsonrpc, status};
use crate::caller::Caller;
use crate::live::Live;
use crate::policy::{Denied, RouteAuthPlan};

/// Whether this caller may send this message, as far as identity and scopes say it.
///
/// # Errors
/// [`Denied::Unknown`] or [`Denied::Scopes`].
pub fn admit(message: &Message<'_>, caller: &Caller, live: &Live) -> Result<(), Denied> {
    rule(message, live).map_or(Ok(()), |rule| rule.admit(caller))
}

/// The rule of what a message names.
fn rule<'a>(message: &Message<'_>, live: &'a Live) -> Option<&'a RouteAuthPlan> {
    let params = &message.params;
    match message.method.as_deref()? {
        "tools/call" => {
            let name = frozen::meant(params, live)?;
            live.tool(&name).map(|tool| &tool.route.plan.policy.auth)
        }
        "prompts/get" => {
            let name = jsonrpc::string(params.name, "name").ok()??;
            live.prompt(&name).map(|prompt| &prompt.plan.policy.auth)
        }
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            let uri = jsonrpc::string(params.uri, "uri").ok()??;
            status::rule(&uri, live)
                .or_else(|| live.resource(&uri).map(|(resource, _)| &resource.route.plan.policy.auth))
        }
        "completion/complete" => Reference::read(params)?.rule(live).map(|(rule, _)| rule),
        _ => None,
    }
}
