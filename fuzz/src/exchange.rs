//! The laws of a whole exchange: a message, perhaps with headers, and what comes back from a small gateway.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use hyper::HeaderMap;
use sidegate::call::Caller;
use sidegate::config::{Environment, load_text};
use sidegate::live::Live;
use sidegate::mcp::{self, Answer, Context, Era, Message, Peers};
use tokio::runtime::{Builder, Runtime};

use super::json::{self, Json, Node};
use super::{ladder, laws};

/// More notifications than any one call here sends.
const OUTLET: usize = 64;

fn live() -> Arc<Live> {
    static LIVE: OnceLock<Arc<Live>> = OnceLock::new();
    let open = || {
        let text = include_str!("gateway.yaml");
        let mut loaded = load_text("gateway.yaml", text, Path::new("."), &Environment::default());
        let config = loaded.config.take();
        let plan = config.and_then(|c| sidegate::plan::compile(&c, &mut loaded.diagnostics));
        let plan = plan.unwrap_or_else(|| panic!("the gateway is not valid: {:?}", loaded.diagnostics));
        Arc::new(Live::open(plan, None).expect("nothing is to be opened"))
    };
    LIVE.get_or_init(open).clone()
}

/// Of a server that stops, so that who listens is let go at once.
fn peers() -> &'static Peers {
    static PEERS: OnceLock<Peers> = OnceLock::new();
    PEERS.get_or_init(|| {
        let peers = Peers::default();
        peers.close();
        peers
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime")
}

thread_local! {
    static RUNTIME: Runtime = runtime();
}

/// Sends one message and holds the answer to all laws.
pub fn hold(headers: Option<&HeaderMap>, body: &[u8]) {
    laws::decoding(body);
    let Ok(message) = mcp::parse(body) else { return };
    let tree = json::read(body).expect("a message is JSON");
    let (outlet, mut notifications) = tokio::sync::mpsc::channel(OUTLET);
    let cx = Context {
        headers: headers.map(|h| -> &dyn mcp::Headers { h }),
        outlet: Some(&outlet),
        ..Context::local(live(), Caller::Anonymous, peers())
    };
    let era = mcp::era(&message, cx.headers);
    let answer = RUNTIME.with(|runtime| runtime.block_on(mcp::answer(&message, &cx)));
    let mut said = Vec::new();
    while let Ok(line) = notifications.try_recv() {
        said.push(line);
    }
    told(&said, era, &tree);
    match answer {
        Answer::Accepted => assert!(is_silent(&message, era), "a request without an answer"),
        Answer::Reply { status, body, .. } => {
            let body = body.into_vec();
            // What answers a response answers no request.
            laws::reply(&body, message.id.as_deref().filter(|_| message.method.is_some()));
            replied(status, &body, era, &tree, headers);
        }
    }
}

/// Notifications, and what only looks like a message of this era, get no answer.
fn is_silent(message: &Message<'_>, era: Era) -> bool {
    match era {
        Era::Modern => message.id.is_none() && message.method.is_some(),
        Era::Legacy => message.id.is_none() || message.method.is_none(),
    }
}

fn replied(status: u16, body: &[u8], era: Era, request: &Node<'_>, headers: Option<&HeaderMap>) {
    let text = String::from_utf8_lossy(body);
    let reply = json::read(body).expect("checked");
    let code = laws::error_code(body);
    let statuses: &[u16] = if era == Era::Modern { &[200, 400, 404] } else { &[200] };
    assert!(statuses.contains(&status), "{status}: {text}");
    assert_ne!(code, Some(-32603), "nothing here can fail on its own: {text}");
    assert!(!text.contains("failed on its side"), "nothing here can fail on its own: {text}");
    if let (Era::Modern, Some(headers)) = (era, headers) {
        let agrees = ladder::agrees(headers, request);
        let arguments = request.last("params").and_then(|p| p.last("arguments"));
        let readable = arguments.is_none_or(|a| !a.is_extreme());
        assert!(agrees || code.is_some(), "answered although a header differs: {text}");
        assert!(!agrees || !readable || code != Some(-32020), "refused although the headers agree: {text}");
    } else {
        assert_ne!(code, Some(-32020), "no headers have to be repeated here: {text}");
    }
    if let Some(result) = reply.last("result") {
        answered(result, era, request);
    }
}

/// What a result says, and that what ran is what the only name in the request says.
fn answered(result: &Node<'_>, era: Era, request: &Node<'_>) {
    let modern = result.last("resultType").is_some();
    assert_eq!(modern, era == Era::Modern, "{}", result.raw);
    let params = request.last("params");
    let once = |node: Option<&Node<'_>>, name: &str| {
        let all = node.map(|n| n.all(name)).unwrap_or_default();
        assert_eq!(all.len(), 1, "`{name}` in {}", request.raw);
        all.first().and_then(|n| n.text().map(str::to_owned)).unwrap_or_default()
    };
    match once(Some(request), "method").as_str() {
        "tools/call" => {
            let name = once(params, "name");
            let failed = matches!(result.last("isError").map(|e| &e.value), Some(Json::Bool(true)));
            let mut ran = Vec::new();
            marks(result, &mut ran);
            let asks = result.last("resultType").and_then(Node::text) == Some("input_required");
            assert_eq!(ran.is_empty(), failed && name != "failing" || asks, "{}", result.raw);
            assert!(!ran.iter().any(|r| r == "sure"), "nobody said yes to {}", request.raw);
            if !failed && !asks {
                assert!(ran.iter().all(|r| *r == name), "`{name}` was called, {ran:?} ran");
                let arguments = params.and_then(|p| p.last("arguments"));
                assert!(arguments.is_none_or(|a| a.is_null() || a.is_object()), "{}", request.raw);
                assert!(arguments.is_none_or(|a| !has_twin(a)), "an argument twice: {}", request.raw);
            }
        }
        "resources/read" => {
            let uri = once(params, "uri");
            let Some(Json::List(contents)) = result.last("contents").map(|c| &c.value) else {
                panic!("{}", result.raw)
            };
            assert!(contents.iter().all(|c| c.last("uri").and_then(Node::text) == Some(&uri)));
        }
        "initialize" => {
            let version = result.last("protocolVersion").and_then(Node::text);
            assert!(version.is_some_and(|v| mcp::LEGACY.contains(&v)), "{}", result.raw);
        }
        _ => {}
    }
}

/// Two members of one name in this very object.
fn has_twin(node: &Node<'_>) -> bool {
    let Json::Object(members) = &node.value else { return false };
    members.iter().any(|(name, _)| name.as_deref().is_some_and(|n| node.all(n).len() > 1))
}

/// The names after `ran:` in all texts of a result.
fn marks(node: &Node<'_>, found: &mut Vec<String>) {
    match &node.value {
        Json::Text(Some(text)) => found.extend(text.strip_prefix("ran:").map(str::to_owned)),
        Json::List(items) => items.iter().for_each(|i| marks(i, found)),
        Json::Object(members) => members.iter().for_each(|(_, v)| marks(v, found)),
        _ => {}
    }
}

/// Notifications: sound, only what was asked for, under the token as it was sent, and progress that grows.
fn told(lines: &[Vec<u8>], era: Era, request: &Node<'_>) {
    let meta = request.last("params").and_then(|p| p.last("_meta"));
    let token = meta.and_then(|m| m.last("progressToken")).filter(|t| !t.is_null()).map(|t| t.raw);
    let level = meta.and_then(|m| m.last("io.modelcontextprotocol/logLevel")).filter(|l| !l.is_null());
    let mut reached = f64::NEG_INFINITY;
    for line in lines {
        let text = String::from_utf8_lossy(line);
        let tree = laws::sound(line);
        assert!(tree.last("id").is_none() && tree.last("result").is_none(), "{text}");
        let params = tree.last("params").unwrap_or_else(|| panic!("without params: {text}"));
        match tree.last("method").and_then(Node::text) {
            Some("notifications/progress") => {
                assert_eq!(params.last("progressToken").map(|t| t.raw), token, "{text}");
                let progress = params.last("progress").and_then(|p| p.raw.parse::<f64>().ok());
                let progress = progress.unwrap_or_else(|| panic!("no number: {text}"));
                assert!(progress > reached, "progress does not grow: {text}");
                reached = progress;
            }
            Some("notifications/message") => {
                assert!(era == Era::Legacy || level.is_some(), "a log line nobody asked for: {text}");
            }
            Some("notifications/subscriptions/acknowledged") => {
                let id = params.last("_meta").and_then(|m| m.last("io.modelcontextprotocol/subscriptionId"));
                assert_eq!(id.map(|i| i.raw), request.last("id").map(|i| i.raw), "{text}");
                assert_eq!(
                    request.last("method").and_then(Node::text),
                    Some("subscriptions/listen"),
                    "{text}"
                );
            }
            other => panic!("nobody knows {other:?}: {text}"),
        }
    }
}
