//! The span of a request: where it comes from, and what OpenTelemetry's conventions for MCP say of it. Arguments, results and sentences
//! about them are never part of it, and neither is a session's id, by which a client without a key is known.

use super::{Context, Era, LEGACY, MODERN, Message, RpcError, Session, frozen, jsonrpc};
use crate::telemetry::span::{About, Attribute, OpenSpan, Trace, text};
use crate::telemetry::trace::{Point, Remote};

/// The methods that are told by their names; clients may send any.
const METHODS: [&str; 15] = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "prompts/list",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "server/discover",
    "subscriptions/listen",
    "initialize",
    "logging/setLevel",
    "ping",
];
/// What the conventions call everything else.
const OTHER: &str = "_OTHER";

/// Begins the trace of a request, or goes on with the one that it comes from. `None` if there is neither.
pub(super) fn begin<'a>(
    method: &str,
    message: &Message<'_>,
    era: Era,
    cx: &Context<'a>,
) -> Option<(Context<'a>, Option<OpenSpan>)> {
    let (parent, link) = incoming(message, cx);
    if parent.is_none() && cx.live.exporter.is_none() {
        return None;
    }
    let trace = Trace::begin(parent, cx.live.exporter.as_ref());
    let span = trace.request(link, || about(method, message, era, cx));
    let (live, caller, place) = (cx.live.clone(), cx.caller.clone(), cx.place.clone());
    Some((Context { live, caller, place, trace, ..*cx }, span))
}

/// Ends it. What is wrong with a request is no failure of ours: the conventions say which codes are.
pub(super) fn end(mut span: OpenSpan, error: Option<&RpcError>) {
    let code = error.map(|error| error.code);
    if let Some(code) = code {
        span.note(text("rpc.response.status_code", code.to_string()));
    }
    let ours = code.filter(|code| *code == -32603 || (-32099..=-32000).contains(code));
    span.end(ours.map(|code| code.to_string().into()));
}

/// Where a request comes from: `_meta` is about this message, the headers are about what carried it (OpenTelemetry's conventions for
/// MCP, "Context propagation"); where they differ the second is linked.
fn incoming(message: &Message<'_>, cx: &Context<'_>) -> (Option<Remote>, Option<Point>) {
    let meta = message.params.meta.as_ref().and_then(|meta| {
        let parent = jsonrpc::string(meta.traceparent, "traceparent").ok()??;
        let state = jsonrpc::string(meta.tracestate, "tracestate").ok().flatten();
        Remote::read(&parent, state.as_deref())
    });
    let header = cx.headers.and_then(|headers| {
        let parent = headers.one("traceparent").ok()??;
        Remote::read(parent, headers.list("tracestate").as_deref())
    });
    match (meta, header) {
        (None, header) => (header, None),
        (Some(meta), header) => {
            let link = header.map(|header| header.at).filter(|at| *at != meta.at);
            (Some(meta), link)
        }
    }
}

/// What is known of a request at its beginning. Names are those of the configuration: others are not told.
fn about(method: &str, message: &Message<'_>, era: Era, cx: &Context<'_>) -> About {
    let method = METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER);
    let mut attributes = vec![text("mcp.method.name", method)];
    attributes.extend(version(era, cx).map(|version| text("mcp.protocol.version", version)));
    if let Some(id) = &message.id {
        let plain = id.strip_prefix('"').and_then(|id| id.strip_suffix('"')).unwrap_or(id);
        attributes.push(text("jsonrpc.request.id", plain.to_owned()));
    }
    if cx.headers.is_some() {
        attributes.extend([text("network.transport", "tcp"), text("network.protocol.name", "http")]);
    } else {
        attributes.push(text("network.transport", "pipe"));
    }
    let mut name = method.to_owned();
    if let Some(target) = target(method, message, cx, &mut attributes) {
        name.push(' ');
        name.push_str(&target);
    }
    About { name: name.into(), attributes }
}

/// The name of what is called, if it is one of few; adds what the conventions say of it.
fn target(
    method: &str,
    message: &Message<'_>,
    cx: &Context<'_>,
    attributes: &mut Vec<Attribute>,
) -> Option<String> {
    let params = &message.params;
    let said = |member| jsonrpc::string(member, "").ok().flatten();
    match method {
        "tools/call" => {
            attributes.push(text("gen_ai.operation.name", "execute_tool"));
            let name = cx.live.tool(&frozen::meant(params, &cx.live)?)?.route.plan.name.clone();
            attributes.push(text("gen_ai.tool.name", name.clone()));
            Some(name)
        }
        "prompts/get" => {
            let name = cx.live.prompt(&said(params.name)?)?.plan.name.clone();
            attributes.push(text("gen_ai.prompt.name", name.clone()));
            Some(name)
        }
        "resources/read" => {
            // The variables of a template are arguments.
            let (resource, _) = cx.live.resource(&said(params.uri)?)?;
            attributes.push(text("mcp.resource.uri", resource.plan.uri.clone()));
            None
        }
        _ => None,
    }
}

fn version(era: Era, cx: &Context<'_>) -> Option<&'static str> {
    if era == Era::Modern {
        return Some(MODERN);
    }
    let negotiated = cx.session.and_then(Session::version);
    negotiated.or_else(|| {
        let said = cx.headers?.one("mcp-protocol-version").ok()??;
        LEGACY.into_iter().find(|version| *version == said)
    })
}
