//! `tools/call`.

use super::asking::Round;
use super::error::{retry_after, sentence};
use super::frozen::{self, Frozen};
use super::method::{origin, required};
use super::talking::{self, Wanted};
use super::{Context, Era, Params, RpcError, content, headers};
use crate::call::{self, CallError, Code, Content, Input, Outcome, RequestId};
use crate::live::Tool;
use crate::policy::Viewer;

/// The member of `_meta` that says in how many seconds a failed call is worth trying again.
const RETRY_AFTER: &str = "sidegate/retryAfter";

pub(super) async fn call(params: &Params<'_>, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let name = required(params.name, "name")?;
    match Frozen::of(&name, &cx.live) {
        None => direct(params, true, era, cx).await,
        Some(Frozen::Find) => frozen::find(params, era, cx),
        Some(Frozen::Call) => match frozen::called(params) {
            Some(called) => Box::pin(direct(&called, false, era, cx)).await,
            None => Ok(frozen::miscalled(era, cx)),
        },
    }
}

/// Calls a tool by its own name; `repeats` says whether the headers are those of this call.
async fn direct(params: &Params<'_>, repeats: bool, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    let name = required(params.name, "name")?;
    let Some(tool) = cx.live.tool(&name) else {
        let shown: String = name.chars().take(80).filter(|c| !c.is_control()).collect();
        let seen = cx.live.plan.tools.iter().map(|t| &t.route);
        let viewer = Viewer::of_many(&cx.caller);
        let seen = seen.filter(|r| r.policy.auth.before_viewer(&viewer, &r.name).is_ok());
        let near = crate::name::nearest(&name, seen.map(|route| route.name.as_str()));
        let help = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        return Err(RpcError::invalid_params(format!("there is no tool `{shown}`{help}")));
    };
    // Whoever may not use it learns nothing else of it; that is what the call itself finds out first.
    if let Err(unfit) = fits(params, repeats, era, cx, tool)
        && tool.route.plan.policy.auth.before(&cx.caller, &name).is_ok()
    {
        return Err(unfit);
    }
    let id = RequestId::fresh();
    let talks = tool.route.plan.op.talks();
    let wanted = Wanted::of(params, era, talks, cx);
    let mut round = Round::of(&[&tool.route], "tools/call", &name, params, era, cx)?;
    let asking = round.as_mut().and_then(|r| r.asking.take());
    let result = talking::run(&wanted, asking, talks, cx, async |talk| {
        let this = cx.call(id, era, talk);
        call::run(&tool.route, Input::Json(params.arguments), &this).await
    })
    .await;
    match (result, round, era) {
        (Err(CallError { unanswered: Some(why), .. }), Some(round), Era::Modern) => round.unanswered(*why),
        (Err(error), ..) if error.code == Code::RateLimited => Err(RpcError::rate_limited(&error)),
        (result, ..) => Ok(write(&name, result, id, era, cx)),
    }
}

/// Whether a call is of the form that its tool and its headers want.
fn fits(params: &Params<'_>, repeats: bool, era: Era, cx: &Context<'_>, tool: &Tool) -> Result<(), RpcError> {
    if params.arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
        return Err(RpcError::invalid_params("`arguments` is an object"));
    }
    match (era, cx.headers) {
        (Era::Modern, Some(sent)) if repeats => {
            headers::check_params(sent, &tool.plan.header_params, params.arguments)
        }
        _ => Ok(()),
    }
}

fn write(
    name: &str,
    result: Result<Outcome, CallError>,
    id: RequestId,
    era: Era,
    cx: &Context<'_>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(room(&result) + cx.live.plan.catalog.complete.len());
    out.extend_from_slice(b"{\"content\":[");
    let meta;
    match result {
        Ok(outcome) => {
            for (index, content) in outcome.content.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                content::push(&mut out, content, name);
            }
            out.push(b']');
            meta = outcome.cached.map(origin);
            if outcome.is_error {
                cx.trace.tool_failed();
                out.extend_from_slice(b",\"isError\":true");
            }
            if let Some(structured) = &outcome.structured {
                out.extend_from_slice(b",\"structuredContent\":");
                push_structured(&mut out, structured, era);
            }
        }
        Err(error) => {
            cx.trace.tool_failed();
            content::push(&mut out, &Content::Text(sentence(&error, id)), name);
            out.extend_from_slice(b"],\"isError\":true");
            meta = retry_after(&error).map(|seconds| format!("\"{RETRY_AFTER}\":{seconds}"));
        }
    }
    era.close_with(&mut out, meta.as_deref(), &cx.live);
    out
}

/// About how many bytes a result takes.
fn room(result: &Result<Outcome, CallError>) -> usize {
    let Ok(Outcome { content, structured, .. }) = result else { return 512 };
    let text = content.iter().map(|content| match content {
        // JSON as text has many quotes.
        Content::Text(text) => text.len() + text.len() / 4,
        other => other.bytes(),
    });
    256 + text.sum::<usize>() + structured.as_ref().map_or(0, String::len)
}

/// Clients of the legacy era take objects only; anything else is wrapped as `{"result": …}` for them.
fn push_structured(out: &mut Vec<u8>, structured: &str, era: Era) {
    let wrap = era == Era::Legacy && !structured.trim_start().starts_with('{');
    if wrap {
        out.extend_from_slice(b"{\"result\":");
    }
    // A reply passed through as it came may hold line breaks between its members; stdio frames by lines.
    let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if has_breaks(structured.as_bytes()) {
        structured.as_bytes().split(breaks).for_each(|line| out.extend_from_slice(line));
    } else {
        out.extend_from_slice(structured.as_bytes());
    }
    if wrap {
        out.push(b'}');
    }
}

/// Whether there is a line break, found out without a jump for each byte.
fn has_breaks(bytes: &[u8]) -> bool {
    let odd = |any: u8, byte: &u8| any | u8::from(*byte == b'\n') | u8::from(*byte == b'\r');
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().any(|block| block.iter().fold(0, odd) != 0) || rest.iter().fold(0, odd) != 0
}
