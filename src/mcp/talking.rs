//! Notifications that belong to one request: what the call says, in the form of its client, and only what the client asked for.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Era, Message, Params};
use crate::call::{Said, Talk};
use crate::talk::Level;

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
    pub(super) fn of(params: &'a Params<'_>, era: Era, talks: bool) -> Self {
        let meta = params.meta.as_ref();
        let token = meta.and_then(|m| m.progress_token).map(RawValue::get);
        // A legacy client that set no level leaves the choice to the server (MCP 2025-11-25, server/utilities/logging).
        let level = match era {
            Era::Modern => meta.and_then(|m| m.log_level).and_then(|l| serde_json::from_str(l.get()).ok()),
            Era::Legacy => talks.then_some(Level::Info),
        };
        Self { token: token.filter(|t| !t.starts_with(['{', '[']) && *t != "null"), level }
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

/// Whether a modern client asked for notifications before the answer.
#[must_use]
pub fn may_talk(message: &Message<'_>) -> bool {
    let meta = message.params.meta.as_ref();
    message.id.is_some()
        && message.method.as_deref() == Some("tools/call")
        && meta.is_some_and(|m| m.progress_token.is_some() || m.log_level.is_some())
}

/// Runs a call while passing on what it says.
pub(super) async fn run<T>(
    wanted: &Wanted<'_>,
    outlet: Option<&Outlet>,
    call: impl AsyncFnOnce(Talk) -> T,
) -> T {
    let Some(outlet) = outlet.filter(|_| wanted.anything()) else {
        return call(Talk::silent()).await;
    };
    let (talk, mut said) = Talk::pair();
    let mut running = std::pin::pin!(call(talk));
    let result = loop {
        tokio::select! {
            biased;
            Some(said) = said.recv() => pass_on(wanted, outlet, &said).await,
            result = &mut running => break result,
        }
    };
    while let Ok(said) = said.try_recv() {
        pass_on(wanted, outlet, &said).await;
    }
    result
}

async fn pass_on(wanted: &Wanted<'_>, outlet: &Outlet, said: &Said) {
    if let Some(notification) = wanted.notification(said) {
        let _ = outlet.send(notification).await;
    }
}
