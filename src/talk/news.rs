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
    /// The content of the resource with this URI.
    Resource(String),
}

/// News that a slow listener may be behind with.
const BACKLOG: usize = 64;
/// Streams that may listen at the same time.
const MAX_LISTENING: usize = 1024;

/// Where news are told and heard.
#[derive(Clone, Debug)]
pub struct News {
    sender: broadcast::Sender<Change>,
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
        let _ = self.sender.send(change);
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
        Some(Listening { receiver: self.sender.subscribe(), _place: place })
    }
}

/// What a stream hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One change.
    Change(Change),
    /// More than it could follow: anything may have changed.
    Anything,
}

/// One stream's ear.
#[derive(Debug)]
pub struct Listening {
    receiver: broadcast::Receiver<Change>,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    /// What is heard next; `None` when nothing more will come.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(change) => Some(Heard::Change(change)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Heard::Anything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
