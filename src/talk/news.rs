//! News for every client that listens: which list has changed, which resource has. Told to all streams at once; one that is
//! slow is told that everything may have changed.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The lists of resources and templates.
    Resources,
    /// The content of the resource with this URI; with a URI template, of all that it stands for.
    Resource(String),
}

/// News, each of one occasion, that a slow listener may be behind with.
const BACKLOG: usize = 64;
/// Streams that may listen at the same time.
const MAX_LISTENING: usize = 1024;

/// Where news are told and heard.
#[derive(Clone, Debug)]
pub struct News {
    sender: broadcast::Sender<Arc<[Heard]>>,
    places: Arc<Semaphore>,
}

impl Default for News {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), places: Arc::new(Semaphore::new(MAX_LISTENING)) }
    }
}

impl News {
    /// Tells everybody; nobody waits.
    pub fn tell(&self, change: Change) {
        self.tell_all(vec![change]);
    }

    /// Tells everybody what has changed at once, in this order. However much it is, a listener is behind with one thing.
    pub fn tell_all(&self, changes: Vec<Change>) {
        self.send(changes.into_iter().map(Heard::Change).collect());
    }

    /// Tells everybody what differs for somebody since the configuration of this generation is in use, in this order.
    pub fn reloaded(&self, generation: u64, changes: Vec<Change>) {
        let heard = changes.into_iter().map(|change| match change {
            Change::Resource(_) => Heard::Change(change),
            list => Heard::Reloaded(list, generation),
        });
        self.send(heard.collect());
    }

    fn send(&self, heard: Arc<[Heard]>) {
        if !heard.is_empty() {
            let _ = self.sender.send(heard);
        }
    }

    /// How many streams listen now.
    #[must_use]
    pub fn listening(&self) -> usize {
        MAX_LISTENING.saturating_sub(self.places.available_permits())
    }

    /// Listens from now on; `None` if too many do.
    #[must_use]
    pub fn listen(&self) -> Option<Listening> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        Some(Listening { receiver: self.sender.subscribe(), latest: Arc::default(), told: 0, _place: place })
    }
}

/// What a stream hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One change.
    Change(Change),
    /// A list that is another one for somebody, since the configuration of this generation.
    Reloaded(Change, u64),
    /// More than it could follow: anything may have changed.
    Anything,
}

/// One stream's ear.
#[derive(Debug)]
pub struct Listening {
    receiver: broadcast::Receiver<Arc<[Heard]>>,
    /// What came last, and how many of it were given.
    latest: Arc<[Heard]>,
    told: usize,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    /// What is heard next; `None` when nothing more will come.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = self.latest.get(self.told) {
                self.told += 1;
                return Some(heard.clone());
            }
            match self.receiver.recv().await {
                Ok(heard) => (self.latest, self.told) = (heard, 0),
                Err(broadcast::error::RecvError::Lagged(_)) => return Some(Heard::Anything),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changed_at_once_is_heard_in_order_and_never_too_much() {
        let news = News::default();
        let mut listening = news.listen().unwrap();
        let all: Vec<Change> = std::iter::once(Change::Resources)
            .chain((0..BACKLOG * 3).map(|n| Change::Resource(n.to_string())))
            .collect();
        news.tell_all(all.clone());
        news.tell_all(Vec::new());
        news.tell(Change::Tools);
        for change in all.into_iter().chain([Change::Tools]) {
            assert_eq!(listening.next().await, Some(Heard::Change(change)));
        }
        let content = Change::Resource("a".to_owned());
        news.reloaded(7, vec![Change::Prompts, content.clone()]);
        assert_eq!(listening.next().await, Some(Heard::Reloaded(Change::Prompts, 7)));
        assert_eq!(listening.next().await, Some(Heard::Change(content)));
        (0..=BACKLOG).for_each(|_| news.tell(Change::Tools));
        assert_eq!(listening.next().await, Some(Heard::Anything));
    }
}
