//! Legacy sessions over HTTP: a table with a cap and an idle end. Where it is full, a newcomer takes the place of a session that
//! never came back or has been quiet for a minute, or does without. A session belongs to the caller who opened it
//! (MCP 2025-11-25, basic/transports).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use super::auth::Proof;
use crate::call::Caller;
use crate::mcp::Session;

/// The sessions of a server.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    table: Mutex<HashMap<String, Entry>>,
    /// How many there are, for whoever asks.
    number: Gauge,
}

#[derive(Debug)]
struct Entry {
    session: Arc<Session>,
    seen: Instant,
    /// What its latest request proved its caller with.
    proof: Proof,
    /// Whether it came back after `initialize`.
    used: bool,
}

impl Entry {
    /// Whether a request or a stream holds it right now.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.session) > 1
    }
}

/// How long a session that came back keeps its place in a full table.
const QUIET: Duration = Duration::from_secs(60);

impl Sessions {
    /// None yet; `number` follows how many there are.
    pub(super) fn counted(number: Gauge) -> Self {
        Self { table: Mutex::default(), number }
    }

    /// Says how many there are now.
    fn tell(&self, table: &HashMap<String, Entry>) {
        self.number.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // Insertions and removals are single operations.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a new session; whether there was room.
    pub(super) fn insert(&self, session: Arc<Session>, max: usize, idle: Duration) -> bool {
        self.insert_at(Instant::now(), session, max, idle)
    }

    fn insert_at(&self, now: Instant, session: Arc<Session>, max: usize, idle: Duration) -> bool {
        let mut table = self.lock();
        if table.len() >= max {
            table.retain(|_, e| e.in_use() || now.duration_since(e.seen) < idle || end(e));
        }
        if table.len() >= max {
            let free = |e: &Entry| !e.in_use() && (!e.used || now.duration_since(e.seen) >= QUIET);
            let victim = table.iter().filter(|(_, e)| free(e)).min_by_key(|(_, e)| (e.used, e.seen));
            let Some(id) = victim.map(|(id, _)| id.clone()) else { return false };
            table.remove(&id).as_ref().map(end);
        }
        if max > 0 {
            table.insert(
                session.id().to_owned(),
                Entry { session, seen: now, proof: Proof::Nothing, used: false },
            );
        }
        self.tell(&table);
        max > 0
    }

    /// The session of an id, if it is this caller's: the same one, whatever token they come with by now.
    pub(super) fn find(
        &self,
        id: &str,
        (caller, proof): (&Caller, Proof),
        idle: Duration,
    ) -> Option<Arc<Session>> {
        self.find_at(Instant::now(), id, (caller, proof), idle)
    }

    fn find_at(
        &self,
        now: Instant,
        id: &str,
        (caller, proof): (&Caller, Proof),
        idle: Duration,
    ) -> Option<Arc<Session>> {
        let mut table = self.lock();
        let entry = table.get_mut(id).filter(|e| e.session.caller().key() == caller.key())?;
        if now.duration_since(entry.seen) >= idle && !entry.in_use() {
            table.remove(id).as_ref().map(end);
            self.tell(&table);
            return None;
        }
        entry.seen = now;
        entry.proof = proof;
        entry.used = true;
        Some(entry.session.clone())
    }

    /// Ends a session whose caller does not come in any more with this proof, unless they have come with another one since.
    pub(super) fn lapse(&self, id: &str, proof: &Proof) {
        let mut table = self.lock();
        if table.get(id).is_some_and(|entry| entry.proof == *proof) {
            table.remove(id).as_ref().map(end);
            self.tell(&table);
        }
    }

    /// Ends a session.
    pub(super) fn remove(&self, id: &str) {
        let mut table = self.lock();
        table.remove(id).as_ref().map(end);
        self.tell(&table);
    }
}

fn end(entry: &Entry) -> bool {
    entry.session.close();
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const IDLE: Duration = Duration::from_secs(1800);

    fn session(id: &str) -> Arc<Session> {
        Arc::new(Session::new(id.to_owned(), Caller::Anonymous))
    }

    fn find(table: &Sessions, id: &str) -> bool {
        table.find(id, (&Caller::Anonymous, Proof::Nothing), IDLE).is_some()
    }

    #[test]
    fn a_flood_of_openings_pushes_out_its_own_only() {
        let table = Sessions::default();
        for id in ["a", "b"] {
            assert!(table.insert(session(id), 4, IDLE));
            assert!(find(&table, id));
        }
        for n in 0..100 {
            assert!(table.insert(session(&format!("flood-{n}")), 4, IDLE));
        }
        assert!(find(&table, "a") && find(&table, "b"));
        assert_eq!((table.lock().len(), table.number.get()), (4, 4));
        assert!(!find(&table, "flood-0") && find(&table, "flood-99"));
    }

    #[test]
    fn a_session_ends_with_its_proof_unless_its_caller_has_come_with_another() {
        let table = Sessions::default();
        let proof = |key: &str| Proof::Key(Secret::new(key.to_owned()));
        let find = |key| table.find("a", (&Caller::Anonymous, proof(key)), IDLE).is_some();
        assert!(table.insert(session("a"), 4, IDLE));
        assert!(find("old") && find("new"));
        table.lapse("a", &proof("old"));
        assert!(find("new"), "the caller has another key by now");
        table.lapse("a", &proof("new"));
        assert!(!find("new"));
        assert_eq!(table.number.get(), 0);
    }

    #[test]
    fn a_session_in_use_keeps_its_place_and_a_quiet_one_does_not() {
        let table = Sessions::default();
        let start = Instant::now();
        let running = session("a");
        assert!(table.insert_at(start, running.clone(), 1, IDLE));
        assert!(!table.insert_at(start, session("b"), 1, IDLE), "in use");
        drop(running);
        assert!(table.find_at(start, "a", (&Caller::Anonymous, Proof::Nothing), IDLE).is_some());
        assert!(!table.insert_at(start + QUIET / 2, session("b"), 1, IDLE), "came back a moment ago");
        assert!(table.insert_at(start + QUIET, session("b"), 1, IDLE));
        assert!(!find(&table, "a"));
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_one_of_another_caller_is_none() {
        let table = Sessions::default();
        let start = Instant::now();
        let find =
            |after, caller| table.find_at(start + after, "a", (&caller, Proof::Nothing), IDLE).is_some();
        assert!(table.insert_at(start, session("a"), 4, IDLE));
        assert!(!find(Duration::ZERO, Caller::Local));
        assert!(find(IDLE / 2, Caller::Anonymous));
        assert!(find(IDLE, Caller::Anonymous), "used since");
        assert!(!find(IDLE * 2, Caller::Anonymous));
        assert!(!table.insert(session("b"), 0, IDLE), "none are kept");
    }
}
