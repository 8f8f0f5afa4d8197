//! Who may use what a message names, said before anything is done about it: over HTTP the refusal is a status and a challenge
//! (MCP 2026-07-28, basic/authorization). The call itself is refused again in `call/run.rs`, whatever way it came.

use super::completion::Reference;
use super::{Context, Era, Message, frozen, jsonrpc, status};
use crate::call::{CallError, Record, RequestId, Talk};
use crate::caller::Caller;
use crate::live::Live;
use crate::policy::{Denied, RouteAuthPlan};
use crate::telemetry::metrics::RouteMeter;

/// Whether this caller may send this message, as far as identity and scopes say it.
///
/// # Errors
/// [`Denied::Unknown`] or [`Denied::Scopes`].
pub fn admit(message: &Message<'_>, caller: &Caller, live: &Live) -> Result<(), Denied> {
    named(message, live).map_or(Ok(()), |named| named.rule.admit(caller))
}

/// Counts a call that [`admit`] refused, and writes it to the audit: it ends there.
pub fn refused(message: &Message<'_>, era: Era, denied: &Denied, cx: &Context<'_>) {
    if let Some(meter) = named(message, &cx.live).and_then(|named| named.meter) {
        let call = cx.call(RequestId::fresh(), era, Talk::silent());
        Record::begin(meter, &cx.live.audit, &call).finish(Err(&CallError::denied(denied)));
    }
}

/// What a message names.
struct Named<'a> {
    rule: &'a RouteAuthPlan,
    /// What it is counted by, if the message is a call of it.
    meter: Option<&'a RouteMeter>,
}

fn named<'a>(message: &Message<'_>, live: &'a Live) -> Option<Named<'a>> {
    let params = &message.params;
    match message.method.as_deref()? {
        "tools/call" => {
            let tool = live.tool(&frozen::meant(params, live)?)?;
            Some(Named { rule: &tool.route.plan.policy.auth, meter: Some(&tool.route.meter) })
        }
        "prompts/get" => {
            let prompt = live.prompt(&jsonrpc::string(params.name, "name").ok()??)?;
            Some(Named { rule: &prompt.plan.policy.auth, meter: Some(&prompt.meter) })
        }
        method @ ("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
            let uri = jsonrpc::string(params.uri, "uri").ok()??;
            if let Some(rule) = status::rule(&uri, live) {
                let meter = live.status_meter.as_deref().filter(|_| method == "resources/read");
                return Some(Named { rule, meter });
            }
            let (resource, _) = live.resource(&uri)?;
            let meter: &RouteMeter = &resource.route.meter;
            let rule = &resource.route.plan.policy.auth;
            Some(Named { rule, meter: (method == "resources/read").then_some(meter) })
        }
        "completion/complete" => {
            Reference::read(params)?.rule(live).map(|(rule, _)| Named { rule, meter: None })
        }
        _ => None,
    }
}
