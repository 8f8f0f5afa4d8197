//! Who listens to a stream, for as long as it goes on: what they proved themselves with is looked at again from time to time and after
//! every reload, and once it does not prove the same caller any more, the stream is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::auth::{Proof, Unproven};
use super::peer::Peer;
use crate::auth::Refusal;
use crate::caller::Caller;
use crate::live::{Live, LiveHandle};
use crate::mcp::{Hearer, Listener};

/// How often it is asked whether another configuration is in use.
const GLANCE: Duration = Duration::from_secs(1);
/// How long one look may take; after that nobody can say.
const LOOK: Duration = Duration::from_secs(10);

/// A caller who was let in.
#[derive(Debug)]
pub(super) struct Standing {
    proof: Proof,
    peer: Arc<Peer>,
    /// Who it is, by the latest look.
    caller: Caller,
    local: bool,
    live: LiveHandle,
    /// How long a look counts.
    keep: Duration,
    next: Instant,
    /// Of the configuration at the latest look.
    generation: u64,
}

impl Standing {
    /// A caller whom the configuration of this generation let in just now; looked at again every `keep`.
    pub(super) fn new(
        (proof, peer): (Proof, Arc<Peer>),
        (caller, local): (Caller, bool),
        (live, generation): (LiveHandle, u64),
        keep: Duration,
    ) -> Self {
        Self { proof, peer, caller, local, live, keep, next: Instant::now() + keep, generation }
    }

    /// What it proved itself with.
    pub(super) const fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whether the latest look does not count any more.
    fn is_due(&self, live: &Live) -> bool {
        live.generation != self.generation || Instant::now() >= self.next
    }

    /// Looks again; whether it is still the same one. Where nobody can say right now, it is.
    async fn look(&mut self, live: &Live) -> bool {
        if !self.peer.holds(live) {
            return false;
        }
        let held = match tokio::time::timeout(LOOK, self.proof.holder(&self.peer, live)).await {
            Ok(Ok(caller)) if caller.key() == self.caller.key() => {
                self.caller = caller;
                self.generation = live.generation;
                true
            }
            Ok(Ok(_) | Err(Unproven::Missing | Unproven::Malformed | Unproven::Refused(Refusal::Bad(_)))) => {
                false
            }
            Err(_) | Ok(Err(Unproven::Refused(Refusal::Unavailable))) => true,
        };
        self.next = Instant::now() + self.keep;
        held
    }
}

impl Listener for Standing {
    async fn now(&mut self) -> Option<Hearer> {
        let live = self.live.load();
        if self.is_due(&live) && !self.look(&live).await {
            return None;
        }
        Some(Hearer { live, caller: self.caller.clone(), local: self.local })
    }

    async fn lapsed(&mut self) {
        loop {
            tokio::time::sleep_until(self.next.min(Instant::now() + GLANCE)).await;
            let live = self.live.load();
            if self.is_due(&live) && !self.look(&live).await {
                return;
            }
        }
    }
}
