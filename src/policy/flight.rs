//! Single flight: of those who want the same thing at the same time one fetches it and the others wait for what it gets.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What is being fetched now, by key.
#[derive(Debug)]
pub struct Flights<K, T> {
    running: Mutex<HashMap<K, watch::Receiver<Option<T>>>>,
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn<'a, K: Eq + Hash, T> {
    /// Fetch it, and tell.
    Lead(Lead<'a, K, T>),
    /// Somebody else does.
    Follow(Follow<T>),
}

/// The one who fetches. Dropped without [`Lead::tell`], one of the others takes its place.
#[derive(Debug)]
pub struct Lead<'a, K: Eq + Hash, T> {
    flights: &'a Flights<K, T>,
    key: K,
    told: watch::Sender<Option<T>>,
}

/// One who waits.
#[derive(Debug)]
pub struct Follow<T>(watch::Receiver<Option<T>>);

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, T> Flights<K, T> {
    /// Takes part in fetching what this key stands for.
    pub fn join(&self, key: &K) -> Turn<'_, K, T> {
        let mut running = self.running();
        if let Some(flight) = running.get(key) {
            return Turn::Follow(Follow(flight.clone()));
        }
        let (told, flight) = watch::channel(None);
        running.insert(key.clone(), flight);
        Turn::Lead(Lead { flights: self, key: key.clone(), told })
    }
}

impl<K, T> Flights<K, T> {
    // A map is whole after a panic too.
    fn running(&self) -> MutexGuard<'_, HashMap<K, watch::Receiver<Option<T>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, T> Lead<'_, K, T> {
    /// Gives everybody who waits what was fetched.
    pub fn tell(self, value: T) {
        self.told.send_replace(Some(value));
    }
}

impl<K: Eq + Hash, T> Drop for Lead<'_, K, T> {
    fn drop(&mut self) {
        self.flights.running().remove(&self.key);
    }
}

impl<T: Clone> Follow<T> {
    /// What was fetched; nothing if the one who fetched gave up.
    pub async fn wait(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_fetches_and_the_others_get_the_same() {
        let flights = Flights::default();
        let Turn::Lead(lead) = flights.join(&1) else { panic!("the first one leads") };
        let Turn::Follow(second) = flights.join(&1) else { panic!("the second one waits") };
        assert!(matches!(flights.join(&2), Turn::Lead(_)), "another key is another flight");
        lead.tell("x");
        assert_eq!(second.wait().await, Some("x"));
        assert!(matches!(flights.join(&1), Turn::Lead(_)), "what is over is not joined");
    }

    #[tokio::test]
    async fn whoever_gives_up_lets_the_others_know() {
        let flights: Flights<u8, u8> = Flights::default();
        let Turn::Lead(lead) = flights.join(&1) else { panic!("the first one leads") };
        let Turn::Follow(second) = flights.join(&1) else { panic!("the second one waits") };
        drop(lead);
        assert_eq!(second.wait().await, None);
        assert!(matches!(flights.join(&1), Turn::Lead(_)));
    }
}
