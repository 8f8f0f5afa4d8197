//! News as one client hears them: what can be heard here, which of the changes are meant for it, and the notifications that tell.
//! Who hears them is asked again each time: a stream outlives the request that opened it.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{resources, status};
use crate::call::Caller;
use crate::live::{Live, View};
use crate::talk::{Change, Heard};

/// Who listens to a stream that outlives its request.
pub trait Listener: Send {
    /// Who it is by the configuration in use now; `None` once it would not be let in any more.
    fn now(&mut self) -> impl Future<Output = Option<Hearer>> + Send;

    /// Done once it would not be let in any more. Giving up in between loses nothing.
    fn lapsed(&mut self) -> impl Future<Output = ()> + Send;
}

/// Who hears of a change, and by which configuration.
#[derive(Debug)]
pub struct Hearer {
    /// The configuration in use.
    pub live: Arc<Live>,
    /// Who it is.
    pub caller: Caller,
    /// Whether it comes from this machine itself, as in [`Context`](super::Context).
    pub local: bool,
}

impl Hearer {
    /// Whether it may be told of a change: of a resource, if it may read that now.
    fn may_hear(&self, change: &Change) -> bool {
        match change {
            Change::Resource(uri) => {
                resources::readable(uri, &self.caller, self.local, &self.live) == Some(true)
            }
            Change::Tools | Change::Prompts | Change::Resources => true,
        }
    }

    /// What it sees of the lists now.
    fn view(&self) -> View {
        self.live.view(&self.caller, status::admit(&self.caller, self.local, &self.live).is_ok())
    }
}

/// What a listener knows of the lists: of each, what it was when it was last told of it or looked at for it, and in which generation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    tools: (u64, View),
    prompts: (u64, View),
    resources: (u64, View),
}

impl Seen {
    /// What somebody sees who begins to listen.
    pub(super) fn new(hearer: &Hearer) -> Self {
        let now = (hearer.live.generation, hearer.view());
        Self { tools: now, prompts: now, resources: now }
    }

    const fn of(&mut self, list: &Change) -> Option<&mut (u64, View)> {
        match list {
            Change::Tools => Some(&mut self.tools),
            Change::Prompts => Some(&mut self.prompts),
            Change::Resources => Some(&mut self.resources),
            Change::Resource(_) => None,
        }
    }

    /// Those of `lists` that this one sees as others than before: what it missed before it heard anything.
    pub(super) fn missed(&mut self, lists: &[Change], hearer: &Hearer) -> Vec<Change> {
        if lists.is_empty() {
            return Vec::new();
        }
        let now = (hearer.live.generation, hearer.view());
        let mut differs = |list: &Change| {
            self.of(list).is_some_and(|seen| std::mem::replace(seen, now).1.differs(&now.1, list))
        };
        lists.iter().filter(|list| differs(list)).cloned().collect()
    }

    /// Whether this one sees a list as another one since this generation.
    fn is_another(&mut self, list: &Change, generation: u64, hearer: &Hearer) -> bool {
        let Some(seen) = self.of(list).filter(|seen| seen.0 < generation) else { return false };
        let now = (hearer.live.generation, hearer.view());
        let before = std::mem::replace(seen, now);
        // What a generation showed that is over nobody can say any more, and the client may have read it.
        hearer.live.generation > generation || now.1.differs(&before.1, list)
    }
}

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

/// What has changed, of these lists and resources, and of what this one may hear and sees as another thing.
pub(super) fn changes(
    heard: &Heard,
    (lists, resources): (&[Change], &HashSet<String>),
    hearer: &Hearer,
    seen: &mut Seen,
) -> Vec<Change> {
    let mut changes = match heard {
        // All that a template stands for.
        Heard::Change(Change::Resource(template)) if template.contains('{') => {
            let of = |uri: &&String| {
                hearer.live.resource(uri).is_some_and(|(found, _)| found.plan.uri == *template)
            };
            resources.iter().filter(of).cloned().map(Change::Resource).collect()
        }
        Heard::Change(change) => {
            let wanted = match change {
                Change::Resource(uri) => resources.contains(uri),
                list => lists.contains(list),
            };
            if wanted { vec![change.clone()] } else { Vec::new() }
        }
        Heard::Reloaded(list, generation) => {
            let tells = lists.contains(list) && seen.is_another(list, *generation, hearer);
            if tells { vec![list.clone()] } else { Vec::new() }
        }
        Heard::Anything => {
            *seen = Seen::new(hearer);
            let resources = resources.iter().cloned().map(Change::Resource);
            lists.iter().cloned().chain(resources).collect()
        }
    };
    changes.retain(|change| hearer.may_hear(change));
    changes
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
