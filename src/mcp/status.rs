//! `sidegate://status`: what `/status` says, as a resource, where it is switched on and for whoever may read that.

use super::method::push_string;
use super::{Context, Era, RpcError};
use crate::call::{self, CallError, Caller, Record, RequestId, Talk};
use crate::live::Live;
use crate::plan::STATUS_URI;
use crate::policy::{Denied, RouteAuthPlan};

/// Who may read it, if it is what the URI names.
pub(super) fn rule<'a>(uri: &str, live: &'a Live) -> Option<&'a RouteAuthPlan> {
    let status = &live.plan.server.status;
    (status.resource && uri == STATUS_URI).then_some(&status.auth)
}

/// Whether this caller may read it.
///
/// # Errors
/// [`Denied`].
pub(super) fn admit(caller: &Caller, local: bool, live: &Live) -> Result<(), Denied> {
    live.plan.server.status.auth.admit(caller)?;
    match caller {
        // Where callers prove nothing it is for this machine itself.
        Caller::Anonymous if !local => Err(Denied::Condition),
        _ => Ok(()),
    }
}

/// The answer to who reads it; `None` if the URI names something else.
pub(super) fn read(uri: &str, era: Era, cx: &Context<'_>) -> Option<Result<Vec<u8>, RpcError>> {
    rule(uri, &cx.live)?;
    let meter = cx.live.status_meter.as_ref()?;
    let id = RequestId::fresh();
    let this = cx.call(id, era, Talk::silent());
    let record = Record::begin(meter, &cx.live.audit, &this);
    let admitted = admit(&cx.caller, cx.local, &cx.live).map_err(|denied| CallError::denied(&denied));
    // It costs what a list costs.
    if let Err(error) = admitted.and_then(|()| call::admit(cx.live.lists_limit.as_deref(), &this)) {
        record.finish(Err(&error));
        return Some(Err(RpcError::from_call(&error, id)));
    }
    let status = cx.live.status(cx.live.sight(&cx.caller), cx.peers.news.listening());
    let text = serde_json::to_string(&status).unwrap_or_default();
    record.succeed();
    let mut out = b"{\"contents\":[{\"uri\":".to_vec();
    push_string(&mut out, STATUS_URI);
    out.extend_from_slice(b",\"mimeType\":\"application/json\",\"text\":");
    push_string(&mut out, &text);
    out.extend_from_slice(b"}]");
    if era == Era::Modern {
        // It is something else a second later, and not everybody's.
        out.extend_from_slice(b",\"ttlMs\":0,\"cacheScope\":\"private\"");
    }
    era.close(&mut out, &cx.live);
    Some(Ok(out))
}
