//! What the two eras share: the methods that read and call, with the era's shape of results.

use serde_json::value::RawValue;

use super::{Context, Era, Params, Pieces, RpcError, completion, jsonrpc, prompts, resources, status, tools};
use crate::call::{self, RequestId, Talk};
use crate::live::Live;
use crate::output::Cached;
pub(super) use crate::output::push_string;
use crate::plan::{List, Member, Page};

impl Era {
    /// Closes a result object that is open so far: adds what the era wants on every result.
    pub(super) fn close(self, out: &mut Vec<u8>, live: &Live) {
        self.close_with(out, None, live);
    }

    /// The same, with members of `_meta`.
    pub(super) fn close_with(self, out: &mut Vec<u8>, meta: Option<&str>, live: &Live) {
        // It ends with the object of `_meta`.
        let complete = live.plan.catalog.complete.as_bytes();
        if out.len() > 1 && (self == Self::Modern || meta.is_some()) {
            out.push(b',');
        }
        match (self, meta) {
            (Self::Modern, None) => out.extend_from_slice(complete),
            (Self::Modern, Some(meta)) => {
                out.extend_from_slice(complete.strip_suffix(b"}").unwrap_or(complete));
                out.extend_from_slice(format!(",{meta}}}").as_bytes());
            }
            (Self::Legacy, None) => {}
            (Self::Legacy, Some(meta)) => out.extend_from_slice(format!("\"_meta\":{{{meta}}}").as_bytes()),
        }
        out.push(b'}');
    }
}

/// Where an answer of a route with a cache comes from, as members of `_meta`.
pub(super) fn origin(cached: Cached) -> String {
    let Cached { state, age } = cached;
    format!("\"sidegate/cache\":\"{}\",\"sidegate/age\":{}", state.as_str(), age.as_secs())
}

/// Answers a method that both eras have; `None` if this is not one.
pub(super) async fn shared(
    method: &str,
    params: &Params<'_>,
    era: Era,
    cx: &Context<'_>,
) -> Option<Result<Pieces, RpcError>> {
    let catalog = &cx.live.plan.catalog;
    let lists = match era {
        Era::Modern => &catalog.modern,
        Era::Legacy => &catalog.legacy,
    };
    let member = match method {
        "tools/list" => Member::Tools,
        "resources/list" => Member::Resources,
        "resources/templates/list" => Member::Templates,
        "prompts/list" => Member::Prompts,
        "tools/call" if lists.tools.is_some() => {
            return Some(tools::call(params, era, cx).await.map(Pieces::from));
        }
        "resources/read" if lists.resources.is_some() => {
            return Some(Box::pin(resources::read(params, era, cx)).await.map(Pieces::from));
        }
        "prompts/get" if lists.prompts.is_some() => {
            return Some(Box::pin(prompts::get(params, era, cx)).await.map(Pieces::from));
        }
        "completion/complete" if catalog.capabilities.get("completions").is_some() => {
            return Some(Box::pin(completion::complete(params, era, cx)).await.map(Pieces::from));
        }
        _ => return None,
    };
    let whole = lists.whole(member)?;
    Some(admit_list(cx).and_then(|()| {
        let status = status::admit(&cx.caller, cx.local, &cx.live).is_ok();
        let seen = catalog.seen(member, era == Era::Modern, &cx.caller, status);
        let page = page(seen.as_ref().unwrap_or(whole), params)?;
        let brief = era == Era::Modern && cx.live.has_just_changed();
        let pieces = |tail: &str| Pieces::sharing(page.start(), [tail, "}"]);
        Ok(if brief { pieces(&catalog.brief_tail()) } else { pieces(page.tail()) })
    }))
}

/// Counts a request for a list, or for suggestions that are one.
pub(super) fn admit_list(cx: &Context<'_>) -> Result<(), RpcError> {
    let id = RequestId::fresh();
    let call = cx.call(id, Era::Modern, Talk::silent());
    call::admit(cx.live.lists_limit.as_deref(), &call).map_err(|e| {
        cx.live.metrics.lists_limited.inc();
        RpcError::from_call(&e, id)
    })
}

/// The first page of a list, or that of the cursor.
fn page<'a>(list: &'a List, params: &Params<'_>) -> Result<Page<'a>, RpcError> {
    let cursor = jsonrpc::string(params.cursor, "cursor");
    let page = cursor.ok().and_then(|cursor| list.page(cursor.as_deref()));
    page.ok_or_else(|| {
        RpcError::invalid_params(
            "this cursor is not one of this list, or the list has changed since: start again without a cursor",
        )
    })
}

/// A required string member of `params`.
pub(super) fn required<'a>(
    member: Option<&'a RawValue>,
    name: &str,
) -> Result<std::borrow::Cow<'a, str>, RpcError> {
    jsonrpc::string(member, name)?.ok_or_else(|| RpcError::invalid_params(format!("`{name}` is missing")))
}
