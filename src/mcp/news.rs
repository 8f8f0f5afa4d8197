//! News as one client hears them: what can be heard here, which of the changes are meant for it, and the notifications that tell.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::talk::{Change, Heard};

/// Whether this server has said that it can do something with a list.
pub(super) fn can(capabilities: &Value, list: &str, what: &str) -> bool {
    capabilities.get(list).is_some_and(|c| c.get(what).is_some())
}

/// The lists that may change here.
pub(super) fn lists(capabilities: &Value) -> Vec<Change> {
    [("tools", Change::Tools), ("prompts", Change::Prompts), ("resources", Change::Resources)]
        .into_iter()
        .filter(|(list, _)| can(capabilities, list, "listChanged"))
        .map(|(_, change)| change)
        .collect()
}

/// What has changed, of these lists and resources.
pub(super) fn changes(heard: &Heard, lists: &[Change], resources: &HashSet<String>) -> Vec<Change> {
    match heard {
        Heard::Change(change) => {
            let wanted = match change {
                Change::Resource(uri) => resources.contains(uri),
                list => lists.contains(list),
            };
            if wanted { vec![change.clone()] } else { Vec::new() }
        }
        Heard::Anything => {
            let resources = resources.iter().cloned().map(Change::Resource);
            lists.iter().cloned().chain(resources).collect()
        }
    }
}

/// The notification that tells of a change; `subscription` is the JSON text of the id of the request that listens.
pub(super) fn notification(change: &Change, subscription: Option<&str>) -> Vec<u8> {
    let (method, uri) = match change {
        Change::Tools => ("tools/list_changed", None),
        Change::Prompts => ("prompts/list_changed", None),
        Change::Resources => ("resources/list_changed", None),
        Change::Resource(uri) => ("resources/updated", Some(uri)),
    };
    let uri = uri.map(|u| format!("\"uri\":{}", json!(u)));
    let meta =
        subscription.map(|id| format!("\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}"));
    let params: Vec<String> = uri.into_iter().chain(meta).collect();
    let params = params.join(",");
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{method}\",\"params\":{{{params}}}}}")
        .into_bytes()
}
