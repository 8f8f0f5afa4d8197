//! `subscriptions/listen`: one request that lives as long as its client wants to hear news (MCP 2026-07-28, patterns/subscriptions).

use std::collections::{HashSet, VecDeque};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::news::{self, Hearer, Listener, Seen};
use super::{Answer, Context, Era, Message, Outlet, RpcError, jsonrpc, resources};
use crate::talk::{Change, Listening};

/// Resources that one request may name.
const MAX_RESOURCES: usize = 1000;

/// What a client wants to hear, as it says it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    tools_list_changed: bool,
    prompts_list_changed: bool,
    resources_list_changed: bool,
    resource_subscriptions: Option<Vec<String>>,
}

/// What it will hear.
#[derive(Debug)]
struct Filter {
    lists: Vec<Change>,
    resources: HashSet<String>,
    subscribes: bool,
}

impl Filter {
    /// What is wanted of what can happen here.
    fn new(wanted: Wanted, capabilities: &Value) -> Self {
        let mut lists = news::lists(capabilities);
        lists.retain(|list| match list {
            Change::Tools => wanted.tools_list_changed,
            Change::Prompts => wanted.prompts_list_changed,
            Change::Resources => wanted.resources_list_changed,
            Change::Resource(_) => false,
        });
        let subscribes =
            wanted.resource_subscriptions.is_some() && news::can(capabilities, "resources", "subscribe");
        let resources = wanted.resource_subscriptions.filter(|_| subscribes).unwrap_or_default();
        Self { lists, resources: resources.into_iter().collect(), subscribes }
    }

    /// The accepted part, in the client's words.
    fn accepted(&self) -> Value {
        let mut accepted = serde_json::Map::new();
        for (change, name) in [
            (Change::Tools, "toolsListChanged"),
            (Change::Prompts, "promptsListChanged"),
            (Change::Resources, "resourcesListChanged"),
        ] {
            if self.lists.contains(&change) {
                accepted.insert(name.to_owned(), json!(true));
            }
        }
        if self.subscribes {
            let mut uris: Vec<&String> = self.resources.iter().collect();
            uris.sort();
            accepted.insert("resourceSubscriptions".to_owned(), json!(uris));
        }
        Value::Object(accepted)
    }
}

/// A stream of news that was granted. It holds nothing of the configuration that granted it, so that a reload can let go of that.
#[derive(Debug)]
pub struct Listen {
    id: String,
    acknowledged: String,
    result: String,
    filter: Filter,
    seen: Seen,
    listening: Listening,
    closing: watch::Receiver<bool>,
}

/// Grants what can be heard here of what is wanted.
pub(super) fn begin(message: &Message<'_>, cx: &Context<'_>) -> Result<Listen, RpcError> {
    let wrong = || RpcError::invalid_params("`notifications` says what to listen for, by its four members");
    let wanted = message.params.notifications.ok_or_else(wrong)?;
    let wanted: Wanted = Some(wanted.get())
        .filter(|w| w.starts_with('{'))
        .and_then(|w| serde_json::from_str(w).ok())
        .ok_or_else(wrong)?;
    if wanted.resource_subscriptions.as_ref().is_some_and(|r| r.len() > MAX_RESOURCES) {
        return Err(RpcError::invalid_params(format!(
            "at most {MAX_RESOURCES} resources are watched at once"
        )));
    }
    let Some(id) = message.id.as_deref() else {
        return Err(RpcError::internal("there is no stream to listen on"));
    };
    // What it may not read it does not hear of. What is not there yet may come.
    let hidden = |uri: &String| resources::readable(uri, &cx.caller, cx.local, &cx.live) == Some(false);
    let wanted = Wanted {
        resource_subscriptions: wanted
            .resource_subscriptions
            .map(|uris| uris.into_iter().filter(|uri| !hidden(uri)).collect()),
        ..wanted
    };
    // Before it hears anything: what changes in between is found when it begins.
    let seen = Seen::new(&Hearer { live: cx.live.clone(), caller: cx.caller.clone(), local: cx.local });
    let Some(listening) = cx.peers.news.listen() else {
        return Err(RpcError::internal("too many clients listen already; try again later"));
    };
    let filter = Filter::new(wanted, &cx.live.plan.catalog.capabilities);
    let acknowledged = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"notifications\":{},\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}",
        filter.accepted()
    );
    let info = &cx.live.plan.catalog.server_info;
    let result = format!(
        "{{\"resultType\":\"complete\",\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id},\"io.modelcontextprotocol/serverInfo\":{info}}}}}"
    );
    let closing = cx.peers.closing();
    Ok(Listen { id: id.to_owned(), acknowledged, result, filter, seen, listening, closing })
}

impl Listen {
    /// Acknowledges, then passes on what was asked for until this server stops or `who` is not let in any more; the answer is the end
    /// of the stream. A client that goes away or cancels drops this future.
    pub async fn run(self, outlet: &Outlet, who: impl Listener) -> Answer {
        let id = self.id.clone();
        super::contained("subscriptions/listen", Some(&id), Era::Modern, self.stream(outlet, who)).await
    }

    async fn stream(self, outlet: &Outlet, mut who: impl Listener) -> Answer {
        let Self { id, acknowledged, result, filter, mut seen, mut listening, mut closing } = self;
        let mut open = outlet.send(acknowledged.into_bytes()).await.is_ok();
        let mut ready = VecDeque::new();
        match who.now().await {
            Some(hearer) => ready.extend(seen.missed(&filter.lists, &hearer)),
            None => open = false,
        }
        while open {
            let heard = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => break,
                () = who.lapsed() => break,
                place = outlet.reserve(), if !ready.is_empty() => {
                    match (place, ready.pop_front()) {
                        (Ok(place), Some(change)) => place.send(news::notification(&change, Some(&id))),
                        _ => open = false,
                    }
                    continue;
                }
                heard = listening.next(), if ready.is_empty() => heard,
            };
            let Some(heard) = heard else { break };
            let Some(hearer) = who.now().await else { break };
            let wanted = (&*filter.lists, &filter.resources);
            ready.extend(news::changes(&heard, wanted, &hearer, &mut seen));
        }
        Answer::Reply { status: 200, body: jsonrpc::response(&id, result.into()), retry_after: None }
    }
}
