//! Statements whose databases could not be asked what they give: once such a database is seen to answer, by a probe or by a call, they are
//! described in the background, and the lists that say more are put to use as by a reload.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use super::watch::Watch;
use super::{Reload, build, told};
use crate::live::{Live, OpenSource};
use crate::online::{self, Told};
use crate::plan::{Changes, Named};

/// How often it is looked whether a source answers again.
const GLANCE: Duration = Duration::from_millis(500);
/// How long the databases are waited for: nobody waits, and a change of a file cuts it short.
const DESCRIBE: Duration = Duration::from_secs(5);
/// How long they are left alone after a try that brought nothing: at first, and at the most.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The tools that are left, and when they are worth another try.
#[derive(Debug)]
pub(super) struct Undescribed {
    left: HashSet<String>,
    next: Instant,
    pause: Duration,
}

impl Default for Undescribed {
    fn default() -> Self {
        Self::new(HashSet::new())
    }
}

impl Undescribed {
    /// These tools.
    pub(super) fn new(left: HashSet<String>) -> Self {
        Self { left, next: Instant::now(), pause: PAUSE }
    }

    /// Those of them whose sources answered when they were last asked anything, once there are some and they are worth a try.
    async fn askable(&self, live: &Live) -> HashSet<String> {
        if self.left.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep_until(self.next.max(Instant::now() + GLANCE)).await;
            let up = |source: &OpenSource| source.guard.seen().is_some_and(|(well, _)| well);
            let sources = live.sources.iter().filter(|(_, source)| up(source));
            let sources: HashSet<&str> = sources.map(|(name, _)| name.as_str()).collect();
            if sources.is_empty() {
                continue;
            }
            let source = |tool: &str| live.tool(tool)?.route.plan.op.source();
            let askable = |tool: &&String| source(tool).is_some_and(|source| sources.contains(source));
            let askable: HashSet<String> = self.left.iter().filter(askable).cloned().collect();
            if !askable.is_empty() {
                return askable;
            }
        }
    }

    /// Notes what came of a try with some of them.
    fn tried(&mut self, asked: &HashSet<String>, still: &HashSet<String>) {
        let before = self.left.len();
        self.left.retain(|tool| !asked.contains(tool) || still.contains(tool));
        self.pause = if self.left.len() < before { PAUSE } else { (self.pause * 2).min(LONGEST) };
        self.next = Instant::now() + self.pause;
    }
}

impl Reload {
    /// Waits until there may be something to read, and has described meanwhile what was left; whether somebody asked for the look.
    pub(super) async fn idle(&mut self, watch: &mut Watch, asked: &mut mpsc::Receiver<()>) -> bool {
        loop {
            let live = self.live.load();
            let describing = async {
                let tools = self.undescribed.askable(&live).await;
                let told = online::describe(&live, DESCRIBE, |tool| tools.contains(tool)).await;
                (tools, told)
            };
            let (tools, told) = tokio::select! {
                biased;
                () = watch.changed() => return false,
                Some(()) = asked.recv() => return true,
                done = Box::pin(describing) => done,
            };
            self.undescribed.tried(&tools, &told.left);
            self.learn(told).await;
        }
    }

    /// Puts to use what was said of some tools. Nothing else differs: sources, limits and kept answers are those that were there.
    async fn learn(&self, told: Told) {
        let Some(plan) = told.plan else { return };
        let old = self.live.load();
        let changes =
            Changes { tools: Named { changed: told.told, ..Named::default() }, ..Changes::default() };
        match build(plan, old.clone()).await {
            Ok(live) => {
                let generation = live.generation;
                live.history.described(changes.clone());
                self.swap(&old, live);
                info!(
                    "a database answers again: generation {generation} says what it gives: {}",
                    told::changes(&changes)
                );
            }
            Err(error) => warn!(%error, "what a database says of its statements cannot be used"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_brings_nothing_is_tried_less_and_less_and_what_brings_something_at_once() {
        let mut undescribed = Undescribed::new(names(&["a", "b", "c"]));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            undescribed.tried(&names(&["a", "b"]), &names(&["a", "b"]));
            pauses.push(undescribed.pause.as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        undescribed.tried(&names(&["a", "b"]), &names(&["b"]));
        assert_eq!((undescribed.pause, &undescribed.left), (PAUSE, &names(&["b", "c"])));
        undescribed.tried(&names(&["b", "c"]), &names(&[]));
        assert!(undescribed.left.is_empty());
    }
}
