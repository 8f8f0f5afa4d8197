//! What the two eras share: the methods that read and call, with the era's shape of results.

use serde_json::value::RawValue;

use super::{Context, Era, Params, RpcError, completion, jsonrpc, prompts, resources, status, tools};
use crate::call::{self, RequestId, Talk};
use crate::live::Live;
use crate::output::Cached;
use crate::plan::{List, Member, Page};
use crate::units::push_hex;

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
) -> Option<Result<Vec<u8>, RpcError>> {
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
        "tools/call" if lists.tools.is_some() => return Some(tools::call(params, era, cx).await),
        "resources/read" if lists.resources.is_some() => {
            return Some(Box::pin(resources::read(params, era, cx)).await);
        }
        "prompts/get" if lists.prompts.is_some() => {
            return Some(Box::pin(prompts::get(params, era, cx)).await);
        }
        "completion/complete" if catalog.capabilities.get("completions").is_some() => {
            return Some(Box::pin(completion::complete(params, era, cx)).await);
        }
        _ => return None,
    };
    let whole = lists.whole(member)?;
    Some(admit_list(cx).and_then(|()| {
        let status = status::admit(&cx.caller, cx.local, &cx.live).is_ok();
        let seen = catalog.seen(member, era == Era::Modern, &cx.caller, status);
        let page = page(seen.as_ref().unwrap_or(whole), params)?;
        let brief = era == Era::Modern && cx.live.has_just_changed();
        Ok(if brief { catalog.briefly(page) } else { page.to_vec() })
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

/// Appends a JSON string.
pub(super) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, marked, after)) = next_marked(rest) {
        out.extend_from_slice(plain);
        match marked {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', marked]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            other => {
                out.extend_from_slice(b"\\u00");
                push_hex(&[other], out);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// What stands before the next byte that a JSON string does not take as it is, that byte, and what comes after it.
fn next_marked(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    // Many at once: most texts have few.
    const BLOCK: usize = 32;
    let is_marked = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let clean = |block: &&[u8]| !block.iter().fold(false, |any, byte| any | is_marked(*byte));
    let skipped = bytes.chunks_exact(BLOCK).take_while(clean).count() * BLOCK;
    let at = skipped + bytes.get(skipped..)?.iter().position(|byte| is_marked(*byte))?;
    let (plain, rest) = bytes.split_at_checked(at)?;
    let (marked, after) = rest.split_first()?;
    Some((plain, *marked, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_serde_writes_them() {
        let every: String = (0..0x300_u32).filter_map(char::from_u32).collect();
        let mut texts = vec![String::new(), every, "\u{1f600}".repeat(20)];
        // A mark at each place of a block, and after it.
        for at in 0..70 {
            for mark in ["\"", "\\", "\n", "\u{1}", "\u{7f}", "\u{e9}"] {
                texts.push(format!("{}{mark}{}{mark}", "x".repeat(at), "y".repeat(at % 37)));
            }
        }
        for text in texts {
            let mut out = b"[".to_vec();
            push_string(&mut out, &text);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("[{}", serde_json::to_string(&text).unwrap())
            );
        }
    }
}
