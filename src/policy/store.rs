//! A store of values, bounded by their weight, each for as long as it is good. Of those who want one that is missing, one fetches it.
//! What is kept stands in it as something of any type, so that the program has the code of one store and not of five.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flight::{Flights, Turn};

type Anything = Arc<dyn Any + Send + Sync>;

/// A store of `T`. Keys are compared whole.
pub struct Store<T> {
    entries: moka::sync::Cache<Arc<[u8]>, Held>,
    flights: Flights<Arc<[u8]>, Result<Anything, Anything>>,
    weigh: fn(&[u8], &T) -> usize,
    lives: Option<fn(&T) -> Duration>,
}

#[derive(Clone)]
struct Held {
    value: Anything,
    weight: u32,
    lives: Option<Duration>,
}

struct Lives;

impl moka::Expiry<Arc<[u8]>, Held> for Lives {
    fn expire_after_create(&self, _: &Arc<[u8]>, held: &Held, _: Instant) -> Option<Duration> {
        held.lives
    }

    fn expire_after_update(
        &self,
        _: &Arc<[u8]>,
        held: &Held,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        held.lives
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn entries(max: u64, age: bool) -> moka::sync::Cache<Arc<[u8]>, Held> {
    let entries = moka::sync::Cache::builder().max_capacity(max).weigher(|_, held: &Held| held.weight);
    if age { entries.expire_after(Lives).build() } else { entries.build() }
}

impl<T: Send + Sync + 'static> Store<T> {
    /// A store of things that weigh at most `max` together, by `weigh`; each is kept as long as `lives` says, or for ever.
    #[must_use]
    pub fn new(max: u64, weigh: fn(&[u8], &T) -> usize, lives: Option<fn(&T) -> Duration>) -> Self {
        Self { entries: entries(max, lives.is_some()), flights: Flights::default(), weigh, lives }
    }

    /// What is kept by this key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Arc<T>> {
        self.entries.get(key)?.value.downcast().ok()
    }

    /// Keeps something, in place of what was there.
    pub fn insert(&self, key: Arc<[u8]>, value: Arc<T>) {
        let weight = u32::try_from((self.weigh)(&key, &value)).unwrap_or(u32::MAX);
        let lives = self.lives.map(|lives| lives(&value));
        self.entries.insert(key, Held { value, weight, lives });
    }

    /// Keeps it no longer.
    pub fn remove(&self, key: &[u8]) {
        self.entries.invalidate(key);
    }

    /// What is kept by this key if it is `good`, else what `fetch` gets, which is kept then. While somebody fetches, the others wait
    /// for it; who fetches and leaves is followed by one of those.
    ///
    /// # Errors
    /// What `fetch` failed with. It is told to all who waited, and not kept.
    pub async fn get_or_fetch<E: Send + Sync + 'static>(
        &self,
        key: &[u8],
        good: fn(&T) -> bool,
        fetch: impl Future<Output = Result<Arc<T>, E>>,
    ) -> Result<Arc<T>, Arc<E>> {
        let mut whole = None;
        loop {
            if let Some(value) = self.get(key).filter(|value| good(value)) {
                return Ok(value);
            }
            let whole: &Arc<[u8]> = whole.get_or_insert_with(|| key.into());
            match self.flights.join(whole) {
                Turn::Lead(lead) => {
                    // Somebody else was done between the look into the store and now.
                    if let Some(value) = self.get(key).filter(|value| good(value)) {
                        lead.tell(Ok(value.clone()));
                        return Ok(value);
                    }
                    let result = fetch.await.map_err(Arc::new);
                    if let Ok(value) = &result {
                        self.insert(whole.clone(), value.clone());
                    }
                    lead.tell(match &result {
                        Ok(value) => Ok(value.clone()),
                        Err(error) => Err(error.clone()),
                    });
                    return result;
                }
                Turn::Follow(follow) => match follow.wait().await {
                    Some(Ok(value)) => {
                        if let Ok(value) = value.downcast() {
                            return Ok(value);
                        }
                    }
                    Some(Err(error)) => {
                        if let Ok(error) = error.downcast() {
                            return Err(error);
                        }
                    }
                    // Whoever fetched it has gone away.
                    None => {}
                },
            }
        }
    }

    /// How many things are kept, and what they weigh.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    fn store(max: u64) -> Store<String> {
        Store::new(max, |_, text| text.len(), None)
    }

    fn text(text: &str) -> Arc<String> {
        Arc::new(text.to_owned())
    }

    #[test]
    fn what_is_kept_weighs_no_more_than_the_bound() {
        let store = store(100);
        for n in 0..1000_u32 {
            store.insert(n.to_le_bytes().into(), text("ten bytes."));
        }
        let (count, weight) = store.size();
        assert!((1..=10).contains(&count) && weight == count * 10, "{count}: {weight}");
        store.insert([0; 4].into(), text(&"x".repeat(101)));
        assert!(store.size().1 <= 100, "what is larger than the whole is not kept");
    }

    #[test]
    fn each_is_kept_as_long_as_it_is_good() {
        let store: Store<u64> = Store::new(100, |_, _| 1, Some(|lives| Duration::from_millis(*lives)));
        for lives in [1_u64, 60_000] {
            store.insert(lives.to_le_bytes().into(), Arc::new(lives));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(store.get(&1_u64.to_le_bytes()), None);
        assert_eq!(store.get(&60_000_u64.to_le_bytes()).as_deref(), Some(&60_000));
        store.remove(&60_000_u64.to_le_bytes());
        assert_eq!(store.get(&60_000_u64.to_le_bytes()), None);
    }

    #[tokio::test]
    async fn one_fetches_for_all_and_a_failure_is_told_and_not_kept() {
        let (store, asked) = (store(100), AtomicUsize::new(0));
        let fetch = async |result: Result<Arc<String>, &'static str>| {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            result
        };
        let all = (0..100).map(|_| store.get_or_fetch(b"k", |_| true, fetch(Err("no"))));
        assert!(join_all(all).await.into_iter().all(|told| told.is_err_and(|e| *e == "no")));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let all = (0..100).map(|_| store.get_or_fetch(b"k", |_| true, fetch(Ok(text("yes")))));
        assert!(join_all(all).await.into_iter().all(|told| told.is_ok_and(|v| *v == "yes")));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let kept = store.get_or_fetch(b"k", |_| true, fetch(Err("never asked"))).await;
        assert_eq!(*kept.unwrap(), "yes");
        let other = store.get_or_fetch(b"k", |value| value != "yes", fetch(Ok(text("another")))).await;
        assert_eq!((other.unwrap(), store.get(b"k")), (text("another"), Some(text("another"))));
    }

    #[tokio::test]
    async fn who_fetches_and_leaves_is_followed_by_one_who_waits() {
        let store = store(100);
        let first = store.get_or_fetch(b"k", |_| true, std::future::pending::<Result<Arc<String>, ()>>());
        let first = tokio::time::timeout(Duration::from_millis(50), first);
        let second = store.get_or_fetch(b"k", |_| true, async { Ok::<_, ()>(text("second")) });
        let (first, second) = tokio::join!(first, second);
        assert!(first.is_err(), "the first one left");
        assert_eq!(*second.unwrap(), "second");
    }
}
