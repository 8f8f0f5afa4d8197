//! What passes between a call and its client while it runs: notifications, in the form of its client and only what it asked for,
//! and questions on the stream of a legacy one.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Context, Era, Message, Params, Session, jsonrpc};
use crate::call::{Said, Talk};
use crate::talk::{Asking, Item, Level, Way};

/// Where serialised notifications of a request go: one JSON object each, without line breaks.
pub type Outlet = mpsc::Sender<Vec<u8>>;

/// What a client wants to hear while its request runs.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// The token to report progress under, as JSON.
    token: Option<&'a str>,
    /// The least important log line.
    level: Option<Level>,
}

impl<'a> Wanted<'a> {
    pub(super) fn of(params: &'a Params<'_>, era: Era, talks: bool, cx: &Context<'_>) -> Self {
        let meta = params.meta.as_ref();
        let token = meta.and_then(|m| m.progress_token).map(RawValue::get);
        // A legacy client that set no level leaves the choice to the server (MCP 2025-11-25, server/utilities/logging).
        let level = match era {
            Era::Modern => meta.and_then(|m| m.log_level).and_then(jsonrpc::level),
            Era::Legacy => talks.then(|| cx.session.and_then(Session::level).unwrap_or(Level::Info)),
        };
        Self { token, level }
    }

    pub(super) const fn anything(&self) -> bool {
        self.token.is_some() || self.level.is_some()
    }

    /// The notification for what was said, if it was asked for.
    fn notification(&self, said: &Said) -> Option<Vec<u8>> {
        match said {
            Said::Progress { progress, total, message } => {
                let token = self.token?;
                let mut params = serde_json::Map::new();
                params.insert("progress".to_owned(), number(*progress));
                if let Some(total) = total {
                    params.insert("total".to_owned(), number(*total));
                }
                if let Some(message) = message {
                    params.insert("message".to_owned(), json!(message));
                }
                let rest = Value::Object(params).to_string();
                let rest = rest.strip_prefix('{').unwrap_or_default();
                Some(
                    format!(
                        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},{rest}}}"
                    )
                    .into_bytes(),
                )
            }
            Said::Log { level, logger, data } => {
                if *level < self.level? {
                    return None;
                }
                let mut params = serde_json::Map::new();
                params.insert("level".to_owned(), json!(level.as_str()));
                if let Some(logger) = logger {
                    params.insert("logger".to_owned(), json!(logger));
                }
                params.insert("data".to_owned(), data.clone());
                let message =
                    json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params });
                Some(message.to_string().into_bytes())
            }
        }
    }
}

/// Whole numbers without a point.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        return json!(value as i64);
    }
    json!(value)
}

/// Whether a modern client asked for messages before the answer.
#[must_use]
pub fn may_talk(message: &Message<'_>) -> bool {
    let meta = message.params.meta.as_ref();
    message.id.is_some()
        && message.method.as_deref() == Some("tools/call")
        && meta.is_some_and(|m| m.progress_token.is_some() || m.log_level.is_some())
}

/// Runs a call while passing on what it says and asks; `tells` if it may have news for everybody.
pub(super) async fn run<T>(
    wanted: &Wanted<'_>,
    asking: Option<Asking>,
    tells: bool,
    cx: &Context<'_>,
    call: impl AsyncFnOnce(Talk) -> T,
) -> T {
    let streams = asking.as_ref().is_some_and(|a| matches!(a.way, Way::Stream(_)));
    match cx.outlet.filter(|_| wanted.anything() || streams) {
        // Apart, so that calls that say nothing carry none of it.
        Some(outlet) => Box::pin(aloud(outlet, wanted, asking, cx, call)).await,
        None => {
            let silent = Talk::silent().asking(asking);
            call(if tells { silent.telling(cx.peers.news.clone()) } else { silent }).await
        }
    }
}

async fn aloud<T>(
    outlet: &Outlet,
    wanted: &Wanted<'_>,
    asking: Option<Asking>,
    cx: &Context<'_>,
    call: impl AsyncFnOnce(Talk) -> T,
) -> T {
    let (talk, mut items) = Talk::pair();
    let mut running = std::pin::pin!(call(talk.asking(asking).telling(cx.peers.news.clone())));
    let mut open = OpenQuestions { session: cx.session, outlet, ids: Vec::new() };
    let mut next = None;
    // The call goes on, and its deadline with it, also while the client does not read.
    let result = loop {
        tokio::select! {
            biased;
            Ok(place) = outlet.reserve(), if next.is_some() => {
                if let Some(message) = next.take() {
                    place.send(message);
                }
            }
            Some(item) = items.recv(), if next.is_none() => next = open.message(wanted, item),
            () = outlet.closed(), if !open.ids.is_empty() => open.give_up(),
            result = &mut running => break result,
        }
    };
    // What was said last still comes before the answer.
    let rest = async {
        if let Some(message) = next {
            let _ = outlet.send(message).await;
        }
        while let Ok(item) = items.try_recv() {
            if let Some(message) = open.message(wanted, item) {
                let _ = outlet.send(message).await;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, rest).await;
    result
}

/// How long a call that has ended waits for a client that does not read what it said.
const PATIENCE: Duration = Duration::from_secs(5);

/// The questions of one call on their way; those without an answer are taken back at its end.
struct OpenQuestions<'a> {
    session: Option<&'a Session>,
    outlet: &'a Outlet,
    ids: Vec<String>,
}

impl OpenQuestions<'_> {
    /// The message for what the call says or asks.
    fn message(&mut self, wanted: &Wanted<'_>, item: Item) -> Option<Vec<u8>> {
        match item {
            Item::Said(said) => wanted.notification(&said),
            Item::Asked { ask, answer } => {
                let (id, request) = self.session?.put(&ask, answer)?;
                self.ids.push(id);
                Some(request)
            }
        }
    }

    /// The stream is gone: nobody will answer.
    fn give_up(&mut self) {
        for id in self.ids.drain(..) {
            let _ = self.session.and_then(|s| s.take_back(&id));
        }
    }
}

impl Drop for OpenQuestions<'_> {
    fn drop(&mut self) {
        let Some(session) = self.session else { return };
        for notification in self.ids.iter().filter_map(|id| session.take_back(id)) {
            // Where there is no room for it, nobody reads.
            let _ = self.outlet.try_send(notification);
        }
    }
}
