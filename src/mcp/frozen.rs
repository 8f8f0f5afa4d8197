//! The two tools of frozen lists: `find_tool` gives the others, and `call_tool` is a call of one of them, which from there on is what a
//! direct call is. Direct calls by name go on working, for clients that know one.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::method::admit_list;
use super::{Context, Era, Params, RpcError, content, jsonrpc};
use crate::call::Content;
use crate::live::Live;
use crate::plan::{CALL_TOOL, DEFAULT_FOUND, FIND_TOOL, MAX_FOUND, MAX_QUERY};
use crate::policy::Viewer;

/// What a name means where lists are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frozen {
    /// `find_tool`
    Find,
    /// `call_tool`
    Call,
}

impl Frozen {
    /// Which of the two a name is, if lists are frozen here.
    pub(super) fn of(name: &str, live: &Live) -> Option<Self> {
        match name {
            _ if !live.plan.server.lists_frozen => None,
            FIND_TOOL => Some(Self::Find),
            CALL_TOOL => Some(Self::Call),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Called<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sought<'a> {
    #[serde(borrow)]
    query: Option<Cow<'a, str>>,
    limit: Option<usize>,
}

/// Reads an object; a derived reader alone would also take a list.
fn object<'a, T: Deserialize<'a>>(arguments: Option<&'a RawValue>) -> Option<T> {
    let text = arguments.map_or("{}", RawValue::get);
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

/// The call that a `call_tool` stands for; `None` if its arguments are not of their form.
pub(super) fn called<'a>(params: &Params<'a>) -> Option<Params<'a>> {
    let Called { name, arguments } = object(params.arguments)?;
    jsonrpc::string(Some(name), "name").ok()?;
    Some(Params { name: Some(name), arguments, ..*params })
}

/// The name of the tool that a `tools/call` is about, itself or through `call_tool`.
pub(super) fn meant<'a>(params: &Params<'a>, live: &Live) -> Option<Cow<'a, str>> {
    let name = jsonrpc::string(params.name, "name").ok()??;
    match Frozen::of(&name, live) {
        None => Some(name),
        Some(Frozen::Find) => None,
        Some(Frozen::Call) => jsonrpc::string(called(params)?.name, "name").ok()?,
    }
}

/// The result that says what `call_tool` wants.
pub(super) fn miscalled(era: Era, cx: &Context<'_>) -> Vec<u8> {
    let sentence = format!(
        "`{CALL_TOOL}` takes `name`, the name of a tool as `{FIND_TOOL}` gives it, and `arguments`, an object; nothing else."
    );
    failure(sentence, CALL_TOOL, era, cx)
}

fn failure(sentence: String, name: &str, era: Era, cx: &Context<'_>) -> Vec<u8> {
    let mut out = b"{\"content\":[".to_vec();
    content::push(&mut out, &Content::Text(sentence), name);
    out.extend_from_slice(b"],\"isError\":true");
    era.close(&mut out, &cx.live);
    out
}

/// `find_tool`: costs what a list costs, and gives what this caller may use.
pub(super) fn find(params: &Params<'_>, era: Era, cx: &Context<'_>) -> Result<Vec<u8>, RpcError> {
    admit_list(cx)?;
    let sought = object::<Sought<'_>>(params.arguments).filter(|sought| {
        sought.limit.is_none_or(|limit| (1..=MAX_FOUND).contains(&limit))
            && sought.query.as_ref().is_none_or(|query| query.chars().count() <= MAX_QUERY)
    });
    let Some(Sought { query, limit }) = sought else {
        let sentence = format!(
            "`{FIND_TOOL}` takes `query`, a text of {MAX_QUERY} characters at the most, and `limit`, 1 to {MAX_FOUND}; both may be left out."
        );
        return Ok(failure(sentence, FIND_TOOL, era, cx));
    };
    let viewer = Viewer::of_many(&cx.caller);
    let found = cx.live.plan.catalog.index.find(
        query.as_deref().unwrap_or_default(),
        limit.unwrap_or(DEFAULT_FOUND),
        &viewer,
    );
    let structured = format!("{{\"tools\":[{}],\"more\":{}}}", found.entries.join(","), found.more);
    let mut out = b"{\"content\":[".to_vec();
    content::push(&mut out, &Content::Text(structured.clone()), FIND_TOOL);
    out.extend_from_slice(b"],\"structuredContent\":");
    out.extend_from_slice(structured.as_bytes());
    era.close(&mut out, &cx.live);
    Ok(out)
}
