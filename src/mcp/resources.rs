//! `resources/read`.

use std::time::Duration;

use super::method::{origin, push_string, required};
use super::{Context, Era, Params, RpcError, status};
use crate::call::{self, Caller, Code, Content, Input, Outcome, RequestId, Talk};
use crate::live::{Live, Resource};
use crate::output::{CacheState, Cached};
use crate::source::OpPlan;

/// Whether this caller may read a resource; `None` if there is none.
pub(super) fn readable(uri: &str, caller: &Caller, local: bool, live: &Live) -> Option<bool> {
    if status::rule(uri, live).is_some() {
        return Some(status::admit(caller, local, live).is_ok());
    }
    let (resource, _) = live.resource(uri)?;
    let plan = &resource.route.plan;
    Some(plan.policy.auth.before(caller, &plan.name).is_ok())
}

/// How long a client may keep what it read, and for whom. What stands in the configuration is as lasting as the lists; what was
/// fetched is so for what is left of the time that it is kept here, and is something else a second later if it is not.
fn keeping(resource: &Resource, outcome: &Outcome, live: &Live) -> String {
    let route = &resource.route.plan;
    if matches!(route.op, OpPlan::Fixed(_)) {
        return live.keeping().to_owned();
    }
    let left = match (&route.policy.cache, outcome.cached) {
        // Not kept here either.
        _ if outcome.partial || outcome.is_error => Duration::ZERO,
        (Some(cache), Some(Cached { state: CacheState::Hit | CacheState::Miss, age })) => {
            cache.ttl.0.saturating_sub(age)
        }
        _ => Duration::ZERO,
    };
    format!("\"ttlMs\":{},\"cacheScope\":\"{}\"", left.as_millis(), live.plan.catalog.scope)
}

pub(super) async fn read(params: &Params<'_>, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let uri = required(params.uri, "uri")?;
    if let Some(answer) = status::read(&uri, era, cx) {
        return answer;
    }
    let Some((resource, values)) = cx.live.resource(&uri) else {
        return Err(RpcError::resource_not_found(&uri, era));
    };
    let id = RequestId::fresh();
    let this = cx.call(id, era, Talk::silent());
    let texts = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let outcome = call::run(&resource.route, Input::Texts(texts), &this).await.map_err(|e| match e.code {
        // A URI whose variables nothing answers to is a resource that is not there; why is said to those who may read such ones.
        Code::NotFound | Code::InvalidArguments => RpcError::resource_refused(&uri, era, &e),
        _ => RpcError::from_call(&e, id),
    })?;
    let mut out = b"{\"contents\":[".to_vec();
    for (index, content) in outcome.content.iter().enumerate() {
        let fallback = if outcome.structured.is_some() { "application/json" } else { "text/plain" };
        let (mime, member, text) = match content {
            Content::Text(text) => (fallback, "text", text),
            Content::Blob { data, mime } => (mime.as_str(), "blob", data),
            // Compile gives these to tools only.
            Content::Resource { .. } | Content::Link(_) => continue,
        };
        out.extend_from_slice(if index > 0 { b",{\"uri\":" } else { b"{\"uri\":" });
        push_string(&mut out, &uri);
        out.extend_from_slice(b",\"mimeType\":");
        push_string(&mut out, resource.plan.mime_type.as_deref().unwrap_or(mime));
        out.extend_from_slice(format!(",\"{member}\":").as_bytes());
        push_string(&mut out, text);
        out.push(b'}');
    }
    out.push(b']');
    if era == Era::Modern {
        out.push(b',');
        out.extend_from_slice(keeping(resource, &outcome, &cx.live).as_bytes());
    }
    era.close_with(&mut out, outcome.cached.map(origin).as_deref(), &cx.live);
    Ok(out)
}
