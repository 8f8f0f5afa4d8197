//! One legacy client over its life: what it negotiated, what it runs, what it was asked, what it watches. A connection over
//! stdio; over HTTP what `Mcp-Session-Id` names. The modern era has none.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::future::{self, AbortRegistration, Abortable};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::news::{self, Hearer, Seen};
use super::{Message, RpcError};
use crate::call::Caller;
use crate::talk::{Ask, Capabilities, Change, Heard, Level};

/// Questions that may wait for answers at the same time.
const MAX_OPEN: usize = 64;
/// Bytes of URIs that one client may watch.
const MAX_WATCHED: usize = 32 << 10;

/// A legacy client.
#[derive(Debug)]
pub struct Session {
    id: String,
    caller: Caller,
    opened: OnceLock<Opened>,
    level: Mutex<Option<Level>>,
    counter: AtomicU64,
    /// Questions on their way, by the JSON text of their id. Held for single operations only, as all locks here.
    open: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    running: Mutex<HashMap<String, Job>>,
    watched: Mutex<HashSet<String>>,
    /// What it knows of the lists, since it first listened.
    seen: Mutex<Option<Seen>>,
    /// Counts the streams that the client opened for notifications; only the latest is used. Zero after the end.
    streams: watch::Sender<u64>,
}

/// What `initialize` settled.
#[derive(Debug)]
struct Opened {
    version: &'static str,
    capabilities: Capabilities,
}

/// A running request.
#[derive(Debug)]
struct Job {
    stop: Stop,
    /// Set when it is cancelled; also tells it from another one with the same id.
    cancelled: Arc<AtomicBool>,
}

/// What ends a running request.
#[derive(Debug)]
enum Stop {
    /// It has a task of its own.
    Task(AbortHandle),
    /// It is one of several in a task.
    Part(future::AbortHandle),
}

/// Equal texts for equal ids: most have no escapes, and are their own.
fn plain(id: &str) -> Cow<'_, str> {
    if !id.contains('\\') {
        return Cow::Borrowed(id);
    }
    let text = serde_json::from_str::<String>(id);
    text.map_or(Cow::Borrowed(id), |text| Cow::Owned(Value::from(text).to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Single insertions and removals leave no half-made state behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// A session that waits for `initialize`.
    #[must_use]
    pub fn new(id: String, caller: Caller) -> Self {
        Self {
            id,
            caller,
            opened: OnceLock::new(),
            level: Mutex::default(),
            counter: AtomicU64::new(1),
            open: Mutex::default(),
            running: Mutex::default(),
            watched: Mutex::default(),
            seen: Mutex::default(),
            streams: watch::Sender::new(1),
        }
    }

    /// Its id in headers.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who it belongs to.
    #[must_use]
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// `initialize` was answered.
    pub(super) fn opened(&self, version: &'static str, capabilities: Capabilities) {
        let _ = self.opened.set(Opened { version, capabilities });
    }

    /// The protocol version, after `initialize`.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        self.opened.get().map(|o| o.version)
    }

    /// What the client can do, after `initialize`.
    pub(super) fn capabilities(&self) -> Option<&Capabilities> {
        self.opened.get().map(|o| &o.capabilities)
    }

    pub(super) fn level(&self) -> Option<Level> {
        *lock(&self.level)
    }

    pub(super) fn set_level(&self, level: Level) {
        *lock(&self.level) = Some(level);
    }

    /// Watches a resource.
    ///
    /// # Errors
    /// -32602 if it watches too much.
    pub(super) fn watch(&self, uri: &str) -> Result<(), RpcError> {
        let mut watched = lock(&self.watched);
        let bytes: usize = watched.iter().map(String::len).sum();
        if bytes + uri.len() > MAX_WATCHED && !watched.contains(uri) {
            return Err(RpcError::invalid_params("too many resources are watched already"));
        }
        watched.insert(uri.to_owned());
        Ok(())
    }

    pub(super) fn unwatch(&self, uri: &str) {
        lock(&self.watched).remove(uri);
    }

    /// Registers a question; gives its id and the request that asks it. It is refused, by dropping `answer`, after the end of the
    /// session and if too many wait already.
    pub(super) fn put(&self, ask: &Ask, answer: oneshot::Sender<Value>) -> Option<(String, Vec<u8>)> {
        let id = format!("\"sidegate-{}\"", self.counter.fetch_add(1, Ordering::Relaxed));
        {
            let mut open = lock(&self.open);
            if open.len() >= MAX_OPEN || *self.streams.borrow() == 0 {
                return None;
            }
            open.insert(id.clone(), answer);
        }
        let (method, params) = (ask.method(), ask.params());
        let request =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}");
        Some((id, request.into_bytes()))
    }

    /// Takes a question back; gives the notification that says so if it was still open.
    pub(super) fn take_back(&self, id: &str) -> Option<Vec<u8>> {
        lock(&self.open).remove(id)?;
        let notification = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id},\"reason\":\"the call has ended\"}}}}"
        );
        Some(notification.into_bytes())
    }

    /// Hands a response of the client to the question it answers. Errors, and answers to nothing, drop the question.
    pub(super) fn deliver(&self, message: &Message<'_>) {
        let Some(id) = message.id.as_deref() else { return };
        let Some(answer) = lock(&self.open).remove(&*plain(id)) else { return };
        if let Some(value) = message.result.map(RawValue::get).and_then(|r| serde_json::from_str(r).ok()) {
            let _ = answer.send(value);
        }
    }

    /// Makes `work` the running request `id`, for a task of its own: it begins once that task is known, gives its result and whether
    /// it was cancelled, and takes itself out again. What has no id cannot be cancelled.
    pub fn running<T, W: Future<Output = T>>(
        self: &Arc<Self>,
        id: Option<String>,
        work: W,
    ) -> (impl Future<Output = (T, bool)> + use<T, W>, Begin) {
        let cancelled = Arc::new(AtomicBool::new(false));
        let (known, task_known) = oneshot::channel::<()>();
        let id = id.map(|id| plain(&id).into_owned());
        let begin = Begin { session: self.clone(), id: id.clone(), cancelled: cancelled.clone(), known };
        let (session, work) = (self.clone(), Box::pin(work));
        let running = async move {
            // Not before it is registered, so that it always takes itself out again.
            let _ = task_known.await;
            let result = work.await;
            // Once it is out of the table a cancellation comes too late.
            (result, id.is_some_and(|id| session.end(&id, &cancelled)))
        };
        (running, begin)
    }

    /// Makes one of several requests that are answered in one task a running one, from now on and not only once its turn comes.
    pub(super) fn part(&self, id: &str) -> Part<'_> {
        let id = plain(id).into_owned();
        let cancelled = Arc::new(AtomicBool::new(false));
        let (stop, registration) = future::AbortHandle::new_pair();
        let job = Job { stop: Stop::Part(stop), cancelled: cancelled.clone() };
        lock(&self.running).insert(id.clone(), job);
        Part { registration, entry: Entry { session: self, id, cancelled } }
    }

    /// Takes a request out again; says whether it was cancelled.
    fn end(&self, id: &str, own: &Arc<AtomicBool>) -> bool {
        let mut running = lock(&self.running);
        if running.get(id).is_some_and(|job| Arc::ptr_eq(&job.cancelled, own)) {
            running.remove(id);
        }
        own.load(Ordering::Relaxed)
    }

    /// `notifications/cancelled`: ends a running request, which then says nothing more.
    pub fn cancel(&self, id: &str) {
        if let Some(job) = lock(&self.running).remove(&*plain(id)) {
            job.cancelled.store(true, Ordering::Relaxed);
            match job.stop {
                Stop::Task(task) => task.abort(),
                Stop::Part(part) => part.abort(),
            }
        }
    }

    /// Opens the stream for notifications; an earlier one ends. `None` after the end of the session.
    #[must_use]
    pub fn stream(&self) -> Option<SessionStream> {
        let mut own = 0;
        let alive = self.streams.send_if_modified(|count| {
            if *count > 0 {
                *count += 1;
                own = *count;
            }
            *count > 0
        });
        alive.then(|| SessionStream { streams: self.streams.subscribe(), own })
    }

    /// Ends it: its streams end, and running requests go on without it.
    pub fn close(&self) {
        self.streams.send_replace(0);
        lock(&self.open).clear();
    }

    /// The client is about to listen: before it hears anything, so that nothing is lost in between.
    pub fn listens(&self, hearer: &Hearer) {
        let first = lock(&self.seen).is_none();
        if first {
            let seen = Seen::new(hearer);
            lock(&self.seen).get_or_insert(seen);
        }
    }

    /// The notifications for lists that are others since it last listened, or was about to.
    #[must_use]
    pub fn missed(&self, hearer: &Hearer) -> Vec<Vec<u8>> {
        let lists = news::lists(&hearer.live.plan.catalog.capabilities);
        self.looking(hearer, |seen| seen.missed(&lists, hearer))
    }

    /// The notifications for what was heard, of what this client may hear.
    #[must_use]
    pub fn notifications(&self, heard: &Heard, hearer: &Hearer) -> Vec<Vec<u8>> {
        let capabilities = &hearer.live.plan.catalog.capabilities;
        let watches = news::can(capabilities, "resources", "subscribe");
        let watched = if watches { lock(&self.watched).clone() } else { HashSet::new() };
        let lists = news::lists(capabilities);
        self.looking(hearer, |seen| news::changes(heard, (&lists, &watched), hearer, seen))
    }

    /// Looks at what the client knows, and tells it. Only its latest stream does.
    fn looking(&self, hearer: &Hearer, look: impl FnOnce(&mut Seen) -> Vec<Change>) -> Vec<Vec<u8>> {
        let known = *lock(&self.seen);
        let mut seen = known.unwrap_or_else(|| Seen::new(hearer));
        let changes = look(&mut seen);
        *lock(&self.seen) = Some(seen);
        changes.iter().map(|change| news::notification(change, None)).collect()
    }
}

/// What a running request waits for before it begins.
#[derive(Debug)]
#[must_use]
pub struct Begin {
    session: Arc<Session>,
    id: Option<String>,
    cancelled: Arc<AtomicBool>,
    known: oneshot::Sender<()>,
}

impl Begin {
    /// The task that does it.
    pub fn with(self, task: AbortHandle) {
        if let Some(id) = self.id {
            let job = Job { stop: Stop::Task(task), cancelled: self.cancelled };
            lock(&self.session.running).insert(id, job);
        }
        let _ = self.known.send(());
    }
}

/// One of several requests that are answered in one task.
#[derive(Debug)]
pub(super) struct Part<'a> {
    registration: AbortRegistration,
    entry: Entry<'a>,
}

impl Part<'_> {
    /// Does it, unless it is cancelled before its end.
    pub(super) async fn run<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let done = Abortable::new(work, self.registration).await;
        // Once it is out of the table a cancellation comes too late.
        let cancelled = self.entry.session.end(&self.entry.id, &self.entry.cancelled);
        done.ok().filter(|_| !cancelled)
    }
}

/// A request in the table, which leaves it also where its task is given up.
#[derive(Debug)]
struct Entry<'a> {
    session: &'a Session,
    id: String,
    cancelled: Arc<AtomicBool>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.session.end(&self.id, &self.cancelled);
    }
}

/// The client's stream for notifications, as long as it is the latest.
#[derive(Debug)]
pub struct SessionStream {
    streams: watch::Receiver<u64>,
    own: u64,
}

impl SessionStream {
    /// Done when a later stream has replaced this one, or the session has ended.
    pub async fn ended(&mut self) {
        let own = self.own;
        let _ = self.streams.wait_for(|latest| *latest != own).await;
    }
}
