//! The cache of a route: how long an answer may be given again, and to whom. One store for the process, weighed in bytes; a key is
//! compared whole, never by a hash alone, so that no answer can reach another caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::flight::{Flights, Turn};
use super::store::Store;
use crate::caller::{Caller, CallerField};
use crate::diag::{Diagnostic, Diagnostics, Spanned};
use crate::output::{Content, Outcome};
use crate::params::Arguments;
use crate::units::{Period, milliseconds};

/// Answers that are fetched anew in the background at the same time.
const REFRESHES: usize = 32;
/// After a refresh that failed, the next one waits.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// What an entry takes beside its key and its answer.
const OVERHEAD: usize = 256;

/// How long answers may be given again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cache")]
pub struct CacheConfig {
    /// How long an answer is fresh.
    pub ttl: Spanned<Period>,
    /// How long after that it is still given, while a new one is fetched in the background.
    pub stale_while_revalidate: Option<Spanned<Period>>,
    /// How long after `ttl` it is still given where the source fails.
    pub stale_if_error: Option<Spanned<Period>>,
    /// How long it is remembered that nothing was found. Without it, that is asked anew each time.
    pub negative_ttl: Option<Spanned<Period>>,
    /// Who shares answers. Default: `caller` where they can depend on who calls, else `none`.
    pub vary: Option<Spanned<Vary>>,
}

/// Who shares answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Vary")]
pub enum Vary {
    /// Each caller has its own.
    Caller,
    /// Callers with the same scopes share them.
    Scopes,
    /// All share them. Refused where an answer can depend on who calls.
    None,
}

/// What of a caller an operation uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identifies {
    /// Parts of its identity.
    pub fields: Vec<CallerField>,
    /// Whether its own credentials reach the source.
    pub whole: bool,
}

/// A cache after compile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CachePlan {
    /// How long an answer is fresh.
    pub ttl: Period,
    /// How long after that it is given while it is fetched anew.
    pub stale_while_revalidate: Period,
    /// How long after `ttl` it is given where the source fails.
    pub stale_if_error: Period,
    /// How long it is remembered that nothing was found.
    pub negative_ttl: Period,
    /// Who shares answers.
    pub vary: Vary,
    /// What of the caller the answer is made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<CallerField>,
}

impl CacheConfig {
    /// Compiles for a route that uses `identifies` of its caller.
    pub fn compile(&self, identifies: &Identifies, diagnostics: &mut Diagnostics) -> CachePlan {
        if self.ttl.value.0.is_zero() {
            let message = "answers that are never fresh are no cache: `ttl` is zero";
            diagnostics.push(Diagnostic::error("too-small", message).at(self.ttl.span, ""));
        }
        let depends = identifies.whole || !identifies.fields.is_empty();
        let by_scopes = !identifies.whole && identifies.fields.iter().all(|f| *f == CallerField::Scopes);
        let vary = self.vary.as_ref().map_or(if depends { Vary::Caller } else { Vary::None }, |v| v.value);
        let leaks = match vary {
            Vary::Caller => false,
            Vary::Scopes => !by_scopes,
            Vary::None => depends,
        };
        if let (true, Some(written)) = (leaks, &self.vary) {
            let what = match identifies.fields.first() {
                Some(field) => format!("`{field}` is used"),
                None => "the source is asked in the caller's name".to_owned(),
            };
            let message = format!("one caller would read what was meant for another: {what}");
            let help = "`vary: caller`, which is the default here";
            diagnostics.push(Diagnostic::error("cache-leak", message).at(written.span, "").help(help));
        }
        let or_zero = |period: &Option<Spanned<Period>>| period.map_or(Period::seconds(0), |p| p.value);
        CachePlan {
            ttl: self.ttl.value,
            stale_while_revalidate: or_zero(&self.stale_while_revalidate),
            stale_if_error: or_zero(&self.stale_if_error),
            negative_ttl: or_zero(&self.negative_ttl),
            vary,
            fields: identifies.fields.clone(),
        }
    }
}

/// What can be kept.
pub trait Kept: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize;
    /// Whether it says that nothing was found.
    fn is_missing(&self) -> bool;
}

/// An answer as it is kept.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What the caller gets.
    Found(Arc<Outcome>),
    /// The sentence that says that nothing was found.
    Missing(String),
}

impl Kept for Answer {
    fn bytes(&self) -> usize {
        match self {
            Self::Found(outcome) => {
                let structured = outcome.structured.as_ref().map_or(0, String::len);
                structured + outcome.content.iter().map(Content::bytes).sum::<usize>()
            }
            Self::Missing(sentence) => sentence.len(),
        }
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// Why an answer could not be fetched, for those who waited for it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The code of the failure.
    pub code: &'static str,
    /// The sentence for the caller.
    pub message: String,
    /// For the log.
    pub detail: String,
    /// When another try can pass.
    pub retry_after: Option<Duration>,
    /// Whether the source itself is ill.
    pub ill: bool,
    /// Whether its own time was over, which says nothing to those who have more.
    pub late: bool,
}

/// A route and the arguments of a call on it, with what of the caller the answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Arc<[u8]>);

/// A route's part in the cache. A route that changes gets a new one, and its old answers are never found again.
#[derive(Debug)]
pub struct Shelf {
    id: u64,
    /// Counts up when the answers become wrong.
    edition: AtomicU64,
}

impl Default for Shelf {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), edition: AtomicU64::new(0) }
    }
}

impl Shelf {
    /// Forgets every answer, also those that are being fetched.
    pub fn clear(&self) {
        self.edition.fetch_add(1, Ordering::AcqRel);
    }

    /// The key of a call.
    #[must_use]
    pub fn key(&self, plan: &CachePlan, arguments: &Arguments, caller: &Caller) -> Key {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&self.id.to_le_bytes());
        bytes.extend_from_slice(&self.edition.load(Ordering::Acquire).to_le_bytes());
        match plan.vary {
            Vary::None => bytes.push(0),
            Vary::Scopes => {
                bytes.push(1);
                let mut scopes = caller.scopes().to_vec();
                scopes.sort_unstable();
                scopes.dedup();
                push_text(&mut bytes, &serde_json::to_string(&scopes).unwrap_or_default());
            }
            Vary::Caller => {
                bytes.push(2);
                push_text(&mut bytes, caller.key());
                // The same person may come with other claims next time.
                for field in &plan.fields {
                    push_text(&mut bytes, &field.of(caller).map(|v| v.to_string()).unwrap_or_default());
                }
            }
        }
        arguments.canonical(&mut bytes);
        Key(bytes.into())
    }
}

/// With its length, so that no two texts can be read as others.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// An answer that is kept.
#[derive(Debug)]
struct Entry<T> {
    value: T,
    stored: Instant,
    /// How long it is kept at most.
    lives: Duration,
    refreshing: AtomicBool,
    /// When the last refresh failed, in milliseconds after `stored`; 0 if none did.
    failed: AtomicU64,
}

/// Answers of routes, and those that are being fetched.
#[derive(Debug)]
pub struct Cache<T: Kept> {
    entries: Store<Entry<T>>,
    flights: Flights<Key, Result<T, Failed>>,
    refreshes: Arc<Semaphore>,
}

/// What the cache has for a key.
#[derive(Debug)]
pub enum Found<T> {
    /// Fresh, with its age.
    Hit(T, Duration),
    /// Still good to give while it is fetched anew.
    Stale(T, Duration),
    /// Good only where the source fails.
    Spare(T, Duration),
    /// Nothing.
    Miss,
}

/// The right to fetch an answer anew in the background. Dropped without a new answer, the next try waits a moment.
#[derive(Debug)]
pub struct Refresh<T> {
    entry: Arc<Entry<T>>,
    _place: OwnedSemaphorePermit,
}

impl<T> Drop for Refresh<T> {
    fn drop(&mut self) {
        let after = milliseconds(self.entry.stored.elapsed());
        self.entry.failed.store(after.max(1), Ordering::Relaxed);
        self.entry.refreshing.store(false, Ordering::Release);
    }
}

impl<T: Kept> Cache<T> {
    /// A cache of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let weigh = |key: &[u8], entry: &Entry<T>| key.len() + entry.value.bytes() + OVERHEAD;
        let entries = Store::new(max as u64, weigh, Some(|entry| entry.lives));
        Self { entries, flights: Flights::default(), refreshes: Arc::new(Semaphore::new(REFRESHES)) }
    }

    /// What there is for a key.
    #[must_use]
    pub fn find(&self, key: &Key, plan: &CachePlan) -> Found<T> {
        let Some(entry) = self.entries.get(&key.0) else { return Found::Miss };
        let (value, age) = (entry.value.clone(), entry.stored.elapsed());
        let fresh = if value.is_missing() { plan.negative_ttl.0 } else { plan.ttl.0 };
        match age.checked_sub(fresh) {
            None => Found::Hit(value, age),
            // That nothing was found is not worth giving again once it is old.
            Some(_) if value.is_missing() => Found::Miss,
            Some(over) if over < plan.stale_while_revalidate.0 => Found::Stale(value, age),
            Some(over) if over < plan.stale_if_error.0 => Found::Spare(value, age),
            Some(_) => Found::Miss,
        }
    }

    /// Keeps an answer. One that is not to be kept takes the place of what was: that is no longer so.
    pub fn keep(&self, key: Key, value: T, plan: &CachePlan) {
        let longest = plan.stale_while_revalidate.0.max(plan.stale_if_error.0);
        let lives = if value.is_missing() { plan.negative_ttl.0 } else { plan.ttl.0 + longest };
        if lives.is_zero() {
            self.entries.remove(&key.0);
            return;
        }
        let entry = Entry {
            value,
            stored: Instant::now(),
            lives,
            refreshing: AtomicBool::new(false),
            failed: AtomicU64::new(0),
        };
        self.entries.insert(key.0, Arc::new(entry));
    }

    /// The right to fetch an answer anew; nobody else has it then. None if somebody does already, if that failed just now, or if
    /// too many are being fetched.
    #[must_use]
    pub fn refresh(&self, key: &Key) -> Option<Refresh<T>> {
        let entry = self.entries.get(&key.0)?;
        let failed = entry.failed.load(Ordering::Relaxed);
        let waits = Duration::from_millis(failed) + AFTER_FAILURE;
        if failed > 0 && entry.stored.elapsed() < waits {
            return None;
        }
        let place = self.refreshes.clone().try_acquire_owned().ok()?;
        let mine = !entry.refreshing.swap(true, Ordering::AcqRel);
        mine.then(|| Refresh { entry, _place: place })
    }

    /// Takes part in fetching an answer: those who follow get what the leader tells.
    pub fn join(&self, key: &Key) -> Turn<'_, Key, Result<T, Failed>> {
        self.flights.join(key)
    }

    /// How many answers are kept, and about how many bytes they take.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        self.entries.size()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::diag::Span;

    #[derive(Clone, Debug, PartialEq)]
    struct Text(&'static str);

    impl Kept for Text {
        fn bytes(&self) -> usize {
            self.0.len()
        }
        fn is_missing(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn plan(ttl: u64, stale: u64, spare: u64, negative: u64) -> CachePlan {
        let ms = |n| Period(Duration::from_millis(n));
        CachePlan {
            ttl: ms(ttl),
            stale_while_revalidate: ms(stale),
            stale_if_error: ms(spare),
            negative_ttl: ms(negative),
            vary: Vary::None,
            fields: Vec::new(),
        }
    }

    fn arguments(values: &[Value]) -> Arguments {
        Arguments::from_values(values.iter().map(|v| Some(v.clone())).collect())
    }

    #[test]
    fn values_that_differ_never_have_the_same_key() {
        let shelf = Shelf::default();
        let plan = plan(1000, 0, 0, 0);
        let absent = Arguments::from_values(vec![None, Some(json!("x"))]);
        let mut all = vec![absent, Arguments::from_values(vec![Some(json!("x")), None])];
        for value in [
            json!(1),
            json!(1.0),
            json!("1"),
            json!(true),
            json!("true"),
            json!(null),
            json!("null"),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!(["a", "b"]),
            json!(["a,b"]),
            json!(["ab"]),
            json!([["a"], "b"]),
            json!({ "a": { "b": 1 } }),
            json!({ "a": {}, "b": 1 }),
            json!("x\u{0}"),
            json!(18_446_744_073_709_551_615_u64),
            json!(18_446_744_073_709_551_614_u64),
        ] {
            all.push(arguments(&[value.clone(), json!("x")]));
            all.push(arguments(&[json!("x"), value]));
        }
        let keys: std::collections::HashSet<_> =
            all.iter().map(|a| shelf.key(&plan, a, &Caller::Anonymous)).collect();
        assert_eq!(keys.len(), all.len());
        let one = arguments(&[json!({ "a": 1, "b": { "c": 2, "d": 3 } })]);
        let same = arguments(&[json!({ "b": { "d": 3, "c": 2 }, "a": 1 })]);
        let key = |a| shelf.key(&plan, a, &Caller::Anonymous);
        assert_eq!(key(&one), key(&same), "the order of members says nothing");
        assert_ne!(key(&one), Shelf::default().key(&plan, &one, &Caller::Anonymous), "another route");
        let before = key(&one);
        shelf.clear();
        assert_ne!(before, key(&one), "cleared");
    }

    #[test]
    fn callers_share_what_they_may() {
        let none = arguments(&[]);
        let shelf = Shelf::default();
        let (a, b) =
            (Caller::with_key("a", &["x", "y"], &json!({})), Caller::with_key("b", &["y", "x"], &json!({})));
        let c = Caller::with_key("a", &["x", "y"], &json!({ "dept": "sales" }));
        let same =
            |plan: &CachePlan, one, other| shelf.key(plan, &none, one) == shelf.key(plan, &none, other);
        let mut plan = plan(1000, 0, 0, 0);
        assert!(same(&plan, &a, &b));
        plan.vary = Vary::Scopes;
        assert!(same(&plan, &a, &b));
        assert!(!same(&plan, &a, &Caller::Anonymous));
        plan.vary = Vary::Caller;
        assert!(!same(&plan, &a, &b));
        assert!(same(&plan, &a, &c));
        plan.fields = vec![CallerField::Claim("dept".to_owned())];
        assert!(!same(&plan, &a, &c), "the same person with another claim");
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_spare_then_gone() {
        let shelf = Shelf::default();
        let cache = Cache::new(10_000);
        let plan = plan(200, 400, 800, 200);
        let key = shelf.key(&plan, &arguments(&[]), &Caller::Local);
        let missing = shelf.key(&plan, &arguments(&[json!(1)]), &Caller::Local);
        assert!(matches!(cache.find(&key, &plan), Found::Miss));
        cache.keep(key.clone(), Text("x"), &plan);
        cache.keep(missing.clone(), Text(""), &plan);
        let started = Instant::now();
        let mut seen = Vec::new();
        while started.elapsed() < Duration::from_millis(1300) {
            let state = match cache.find(&key, &plan) {
                Found::Hit(..) => "hit",
                Found::Stale(..) => "stale",
                Found::Spare(..) => "spare",
                Found::Miss => "miss",
            };
            if seen.last() != Some(&state) {
                seen.push(state);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(seen, ["hit", "stale", "spare", "miss"]);
        assert!(matches!(cache.find(&missing, &plan), Found::Miss));
    }

    #[test]
    fn one_at_a_time_fetches_anew_and_not_right_after_a_failure() {
        let cache = Cache::new(10_000);
        let plan = plan(1, 60_000, 0, 0);
        let key = Shelf::default().key(&plan, &arguments(&[]), &Caller::Local);
        assert!(cache.refresh(&key).is_none(), "there is nothing to fetch anew");
        cache.keep(key.clone(), Text("x"), &plan);
        let refresh = cache.refresh(&key).unwrap();
        assert!(cache.refresh(&key).is_none(), "somebody does already");
        drop(refresh);
        assert!(cache.refresh(&key).is_none(), "it failed just now");
        std::thread::sleep(AFTER_FAILURE + Duration::from_millis(20));
        assert!(cache.refresh(&key).is_some());
    }

    #[test]
    fn the_bytes_of_many_answers_stay_within_the_cap() {
        let cache = Cache::new(1 << 20);
        let plan = plan(60_000, 0, 0, 0);
        let shelf = Shelf::default();
        for n in 0..200_000 {
            cache.keep(shelf.key(&plan, &arguments(&[json!(n)]), &Caller::Local), Text("answer"), &plan);
        }
        let (entries, bytes) = cache.size();
        assert!(bytes <= 1 << 20 && entries > 1000, "{entries} entries, {bytes} bytes");
    }

    #[test]
    fn sharing_is_refused_where_an_answer_depends_on_who_calls() {
        let at = Span::default();
        let sub = Identifies { fields: vec![CallerField::Sub], whole: false };
        let scopes = Identifies { fields: vec![CallerField::Scopes], whole: false };
        let whole = Identifies { fields: Vec::new(), whole: true };
        let compiled = |vary: Option<Vary>, identifies: &Identifies| {
            let config = CacheConfig {
                ttl: Spanned::new(Period::seconds(1), at),
                stale_while_revalidate: None,
                stale_if_error: None,
                negative_ttl: None,
                vary: vary.map(|v| Spanned::new(v, at)),
            };
            let mut diagnostics = Diagnostics::default();
            let plan = config.compile(identifies, &mut diagnostics);
            (plan.vary, diagnostics.has_errors())
        };
        assert_eq!(compiled(None, &Identifies::default()), (Vary::None, false));
        assert_eq!(compiled(None, &sub), (Vary::Caller, false));
        assert_eq!(compiled(None, &whole), (Vary::Caller, false));
        assert_eq!(compiled(Some(Vary::Scopes), &scopes), (Vary::Scopes, false));
        assert!(compiled(Some(Vary::Scopes), &sub).1);
        assert!(compiled(Some(Vary::Scopes), &whole).1);
        for identifies in [&sub, &scopes, &whole] {
            assert!(compiled(Some(Vary::None), identifies).1);
        }
    }
}
