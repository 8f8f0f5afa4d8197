//! MCP in both eras: 2026-07-28 (stateless, an envelope in every request) and the `initialize` handshake of 2024-11-05 to
//! 2025-11-25. Bytes in, bytes out; transports add nothing but their headers.

mod access;
mod asking;
mod batch;
mod completion;
mod content;
mod error;
mod frozen;
mod headers;
mod jsonrpc;
mod legacy;
mod listen;
mod method;
mod modern;
mod news;
mod pieces;
mod prompts;
mod resources;
mod session;
mod states;
mod status;
mod talking;
mod tools;
mod traced;

pub use access::{admit, refused};
pub use error::RpcError;
pub use headers::{Headers, Malformed};
pub use jsonrpc::{Message, Meta, Params, is_batch, parse};
pub use listen::Listen;
pub use news::{Hearer, Listener};
pub use pieces::Pieces;
pub use session::{Begin, Session, SessionStream};
pub use states::random_text;
pub use talking::{Outlet, may_talk};

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use tokio::sync::watch;

use crate::call::{Call, Caller, RequestId, Talk, Way};
use crate::live::Live;
use crate::talk::{News, Place};
use crate::telemetry::one_line;
use crate::telemetry::span::Trace;
use states::States;

/// The one modern revision.
pub const MODERN: &str = "2026-07-28";
/// Legacy revisions, newest first.
pub const LEGACY: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// Which protocol a message speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2026-07-28.
    Modern,
    /// `initialize` and what follows it.
    Legacy,
}

/// What goes back for one message.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A JSON-RPC response and its HTTP status (stdio ignores the status).
    Reply {
        /// HTTP status.
        status: u16,
        /// One JSON object without line breaks.
        body: Pieces,
        /// After how many seconds another try can pass.
        retry_after: Option<u64>,
    },
    /// A notification was taken; nothing goes back (HTTP 202).
    Accepted,
}

/// What outlives single messages and belongs to no client: the news, and the keys of states.
#[derive(Debug)]
pub struct Peers {
    /// Where changes are told and heard.
    pub news: News,
    states: States,
    closing: watch::Sender<bool>,
}

impl Default for Peers {
    fn default() -> Self {
        Self { news: News::default(), states: States::new(), closing: watch::Sender::new(false) }
    }
}

impl Peers {
    /// With news that others tell too.
    #[must_use]
    pub fn with(news: News) -> Self {
        Self { news, ..Self::default() }
    }

    /// This server stops: streams that only listen end.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Becomes true when this server stops.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

/// What a transport knows of the message it hands in.
pub struct Context<'a> {
    /// The configuration that this message is answered from, to its end.
    pub live: Arc<Live>,
    /// Who calls.
    pub caller: Caller,
    /// From where; nowhere over stdio.
    pub ip: Option<IpAddr>,
    /// Whether it comes from this machine itself: over stdio, or from loopback to a loopback name and not by way of a proxy. Over HTTP it
    /// is looked at only where the status is a resource, which alone asks for it.
    pub local: bool,
    /// The HTTP headers; `None` over stdio, where the header rules do not apply.
    pub headers: Option<&'a dyn Headers>,
    /// Where notifications of this request go before its answer; without one they are not sent.
    pub outlet: Option<&'a Outlet>,
    /// The legacy client's session, where the transport keeps one.
    pub session: Option<&'a Session>,
    /// Its place among the running calls, where the transport limits them.
    pub place: Option<Arc<Place>>,
    /// The trace that it is part of; begun by the message itself.
    pub trace: Trace,
    /// What all messages share.
    pub peers: &'a Peers,
}

impl<'a> Context<'a> {
    /// A message from this machine itself, by which nothing else is known and beside whose answer nothing can be said.
    #[must_use]
    pub fn local(live: Arc<Live>, caller: Caller, peers: &'a Peers) -> Self {
        Self {
            live,
            caller,
            ip: None,
            local: true,
            headers: None,
            outlet: None,
            session: None,
            place: None,
            trace: Trace::default(),
            peers,
        }
    }

    /// A call of this message.
    fn call(&'a self, id: RequestId, era: Era, talk: Talk) -> Call<'a> {
        let transport = if self.headers.is_some() { "http" } else { "local" };
        let era = match era {
            Era::Modern => "modern",
            Era::Legacy => "legacy",
        };
        let (way, trace) = (Way { transport, era }, self.trace.clone());
        Call { caller: &self.caller, ip: self.ip, id, talk, way, trace }
    }
}

/// Answers what came in one piece: a message, or a batch where the client may send one. `version` is what it negotiated, or says
/// in its header.
pub async fn answer_bytes(bytes: &[u8], version: Option<&str>, cx: &Context<'_>) -> Answer {
    match batch::batch(bytes, version) {
        // Apart, so that messages alone carry none of it.
        Some(Ok(batch)) => Box::pin(batch.answer(cx)).await,
        Some(Err(refusal)) => refusal,
        None => match parse(bytes) {
            Ok(message) => answer(&message, cx).await,
            Err(refusal) => refusal,
        },
    }
}

/// Whether a message asks to listen: the answer is then begun by [`listen`], with a stream for its news.
#[must_use]
pub fn listens(message: &Message<'_>, headers: Option<&dyn Headers>) -> bool {
    message.method.as_deref() == Some("subscriptions/listen")
        && message.id.is_some()
        && era(message, headers) == Era::Modern
}

/// Begins to answer a message that asks to listen.
///
/// # Errors
/// The answer to send instead.
pub fn listen(message: &Message<'_>, cx: &Context<'_>) -> Result<Listen, Answer> {
    modern::listen(message, cx).map_err(|error| error.answer(message.id.as_deref(), Era::Modern))
}

/// Answers one message. Whatever goes wrong inside, there is an answer and the process lives.
pub async fn answer(message: &Message<'_>, cx: &Context<'_>) -> Answer {
    let method = message.method.as_deref().unwrap_or_default();
    contained(method, message.id.as_deref(), era(message, cx.headers), handle(message, cx)).await
}

/// What a message is answered, also where that panics: then with an error, and nobody else notices.
/// No `async fn`: that would hold the work twice, where it is given to and where it runs.
fn contained(
    method: &str,
    id: Option<&str>,
    era: Era,
    work: impl Future<Output = Answer>,
) -> impl Future<Output = Answer> {
    // Nothing of a message outlives it but counters and pools, which a panic leaves whole.
    AssertUnwindSafe(work).catch_unwind().map(move |done| {
        done.unwrap_or_else(|_| {
            tracing::error!(method = %one_line(method), "a request ended in a panic");
            RpcError::internal("this server failed on its side").answer(id, era)
        })
    })
}

/// Answers one parsed message.
async fn handle(message: &Message<'_>, cx: &Context<'_>) -> Answer {
    let era = era(message, cx.headers);
    let Some(id) = &message.id else { return notified(message, era, cx) };
    let Some(method) = message.method.as_deref() else {
        return match era {
            // What is answered is this message, not the request that had this id.
            Era::Modern => RpcError::invalid_request("responses are not sent to a server").answer(None, era),
            Era::Legacy => {
                if let Some(session) = cx.session {
                    session.deliver(message);
                }
                Answer::Accepted
            }
        };
    };
    let own;
    let (cx, span) = match traced::begin(method, message, era, cx) {
        Some((traced, span)) => {
            own = traced;
            (&own, span)
        }
        None => (cx, None),
    };
    let result = match era {
        Era::Modern => modern::handle(method, message, cx).await,
        Era::Legacy => legacy::handle(method, message, cx).await,
    };
    if let Some(span) = span {
        traced::end(span, result.as_ref().err());
    }
    match result {
        Ok(result) => Answer::Reply { status: 200, body: jsonrpc::response(id, result), retry_after: None },
        Err(error) => error.answer(Some(id), era),
    }
}

/// Takes what wants no answer. Over HTTP it passes the checks of its era first, as the status is heard.
fn notified(message: &Message<'_>, era: Era, cx: &Context<'_>) -> Answer {
    let refused = match (era, message.method.as_deref(), cx.headers) {
        (Era::Modern, None, _) => Err(RpcError::invalid_request("responses are not sent to a server")),
        (Era::Modern, Some(method), Some(headers)) => modern::check_notification(method, message, headers),
        _ => Ok(()),
    };
    if let Err(error) = refused {
        return error.answer(None, era);
    }
    if let (Some("notifications/cancelled"), Some(session), Some(target)) =
        (message.method.as_deref(), cx.session, message.params.request_id)
    {
        session.cancel(target.get());
    }
    Answer::Accepted
}

/// How a client opens decides its era; nothing is remembered between messages.
#[must_use]
pub fn era(message: &Message<'_>, headers: Option<&dyn Headers>) -> Era {
    let method = message.method.as_deref();
    if method == Some("initialize") && message.params.has_protocol_version() {
        return Era::Legacy;
    }
    if message.params.has_envelope() || method == Some("server/discover") {
        return Era::Modern;
    }
    match headers.map(|h| h.one("mcp-protocol-version")) {
        None | Some(Ok(None)) => Era::Legacy,
        Some(Ok(Some(version))) if LEGACY.contains(&version) => Era::Legacy,
        // Not a version of that era, or several: refused there, never guessed.
        Some(Ok(Some(_)) | Err(Malformed)) => Era::Modern,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_message_whose_work_panics_is_answered_with_an_error_and_those_beside_it_as_ever() {
        let slow = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Answer::Reply { status: 200, body: b"{}".to_vec().into(), retry_after: None }
        };
        let failing = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "wanted here");
            Answer::Accepted
        };
        let (good, bad) = tokio::join!(
            contained("tools/call", Some("1"), Era::Modern, slow),
            contained("tools/call", Some("\"two\""), Era::Modern, failing)
        );
        assert!(matches!(good, Answer::Reply { status: 200, .. }), "{good:?}");
        let Answer::Reply { body, .. } = bad else { panic!("{bad:?}") };
        let body: serde_json::Value = serde_json::from_slice(&body.into_vec()).unwrap();
        assert_eq!((&body["id"], &body["error"]["code"]), (&"two".into(), &(-32603).into()), "{body}");
        assert!(!body.to_string().contains("wanted here"), "{body}");
    }
}
