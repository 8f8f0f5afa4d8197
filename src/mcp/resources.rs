//! `resources/read`.

use super::method::{origin, push_string, required};
use super::{Context, Era, Params, RpcError, status};
use crate::call::{self, Caller, Code, Content, Input, RequestId, Talk};
use crate::live::Live;

/// Whether this caller may read a resource; `None` if there is none.
pub(super) fn readable(uri: &str, caller: &Caller, local: bool, live: &Live) -> Option<bool> {
    if status::rule(uri, live).is_some() {
        return Some(status::admit(caller, local, live).is_ok());
    }
    let (resource, _) = live.resource(uri)?;
    let plan = &resource.route.plan;
    Some(plan.policy.auth.before(caller, &plan.name).is_ok())
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
        // A URI whose variables nothing answers to is a resource that is not there.
        Code::NotFound | Code::InvalidArguments => RpcError::resource_not_found(&uri, era),
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
        out.extend_from_slice(cx.live.keeping().as_bytes());
    }
    era.close_with(&mut out, outcome.cached.map(origin).as_deref(), &cx.live);
    Ok(out)
}
