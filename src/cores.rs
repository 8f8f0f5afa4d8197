//! A thread with a runtime of its own for each core that may be used. What begins on one stays there and wakes no other thread on its
//! way; so that all have something to do, what begins is spread.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::tasks;

/// How many more things may run on a core than on the one with the fewest, before new work of it goes there: the way costs, too.
const UNEVEN: usize = 4;
/// How long the threads may take to end what they do.
const ENDING: Duration = Duration::from_secs(1);

thread_local! {
    static HERE: Cell<usize> = const { Cell::new(0) };
}

/// The number of the core on whose thread this is asked; 0 on all other threads.
#[must_use]
pub fn here() -> usize {
    HERE.get()
}

/// A runtime that stays on the thread that runs it.
///
/// # Errors
/// If the system refuses what it needs.
pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// All cores: the runtime that was there, and one for each further thread.
#[derive(Clone, Debug)]
pub struct Cores {
    first: Arc<Core>,
    others: Arc<[Arc<Core>]>,
}

#[derive(Debug)]
struct Core {
    number: usize,
    runtime: Handle,
    /// How much runs here.
    load: AtomicUsize,
    thread: Mutex<Option<Thread>>,
}

/// A thread that runs until it is told to end, and says when it has.
#[derive(Debug)]
struct Thread {
    end: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// A place on a core, taken until it is dropped.
#[derive(Debug)]
pub struct Seat(Arc<Core>);

impl Cores {
    /// The runtime in which this is asked, alone.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn one() -> Self {
        Self { first: Core::of(0, Handle::current(), None), others: Arc::default() }
    }

    /// The runtime in which this is asked, and threads for the other cores that the process may use.
    ///
    /// # Errors
    /// If the system refuses a thread, or what its runtime needs.
    ///
    /// # Panics
    /// As [`Self::one`].
    pub fn all() -> std::io::Result<Self> {
        Self::many(tasks::cores())
    }

    /// The runtime in which this is asked, and threads, so that there are `number` together.
    ///
    /// # Errors
    /// As [`Self::all`].
    ///
    /// # Panics
    /// As [`Self::one`].
    pub fn many(number: usize) -> std::io::Result<Self> {
        let others = (1..number).map(Core::start).collect::<Result<_, _>>()?;
        Ok(Self { others, ..Self::one() })
    }

    /// A place where the least is done.
    #[must_use]
    pub fn seat(&self) -> Seat {
        Seat::on(self.least())
    }

    /// Starts work on the core that asks, or where by far less is done.
    pub fn spread(&self, work: impl Future<Output = ()> + Send + 'static) {
        let least = self.least();
        let own = here().checked_sub(1).map_or(Some(&self.first), |other| self.others.get(other));
        let own = own.filter(|own| own.load() <= least.load() + UNEVEN);
        Seat::on(own.unwrap_or(least)).spawn(work);
    }

    /// Ends all threads but the one that asks and waits for them, a second at the most. What runs on them is dropped.
    pub async fn end(&self) {
        let threads = self.others.iter().filter_map(|core| core.thread().take());
        let ended: Vec<_> = threads.map(|thread| (thread.end.send(()), thread.ended).1).collect();
        let _ = tokio::time::timeout(ENDING, futures_util::future::join_all(ended)).await;
    }

    fn least(&self) -> &Arc<Core> {
        // The first of several: who asks one thing after another is served where the connection came in.
        self.others
            .iter()
            .fold(&self.first, |least, core| if core.load() < least.load() { core } else { least })
    }
}

impl Core {
    fn of(number: usize, runtime: Handle, thread: Option<Thread>) -> Arc<Self> {
        Arc::new(Self { number, runtime, load: AtomicUsize::new(0), thread: Mutex::new(thread) })
    }

    fn start(number: usize) -> std::io::Result<Arc<Self>> {
        let runtime = runtime()?;
        let handle = runtime.handle().clone();
        let ((end, asked), (done, ended)) = (oneshot::channel(), oneshot::channel());
        std::thread::Builder::new().name(format!("core-{number}")).spawn(move || {
            HERE.set(number);
            let _ = runtime.block_on(asked);
            runtime.shutdown_background();
            let _ = done.send(());
        })?;
        Ok(Self::of(number, handle, Some(Thread { end, ended })))
    }

    fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    fn thread(&self) -> MutexGuard<'_, Option<Thread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    fn on(core: &Arc<Core>) -> Self {
        core.load.fetch_add(1, Ordering::Relaxed);
        Self(core.clone())
    }

    /// Whether it is on the core that asks.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.number == here()
    }

    /// Starts work there; the place is kept until it is done.
    pub fn spawn(self, work: impl Future<Output = ()> + Send + 'static) {
        let core = self.0.clone();
        core.runtime.spawn(tasks::work(async move {
            let _seat = self;
            work.await;
        }));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn places_are_given_where_the_fewest_are_taken() {
        let cores = Cores::many(3).unwrap();
        let number = |seat: &Seat| seat.0.number;
        let mut seats: Vec<Seat> = (0..6).map(|_| cores.seat()).collect();
        assert_eq!(seats.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        drop(seats.remove(4));
        drop(seats.remove(2));
        let seats = [cores.seat(), cores.seat(), cores.seat()];
        assert_eq!(seats.each_ref().map(number), [1, 2, 0]);
        cores.end().await;
    }

    /// Where work runs, before and after it has waited.
    async fn ways(cores: &Cores, start: impl Fn(&Cores, tasks::Work<()>)) -> Vec<(usize, usize)> {
        let (say, mut said) = mpsc::unbounded_channel();
        let (go, going) = tokio::sync::watch::channel(false);
        for _ in 0..12 {
            let (say, mut going) = (say.clone(), going.clone());
            start(
                cores,
                tasks::work(async move {
                    let before = here();
                    going.wait_for(|go| *go).await.unwrap();
                    say.send((before, here())).unwrap();
                }),
            );
        }
        go.send(true).unwrap();
        drop(say);
        let mut ways = Vec::new();
        while let Some(way) = said.recv().await {
            ways.push(way);
        }
        ways.sort_unstable();
        ways
    }

    #[tokio::test]
    async fn work_stays_on_the_core_of_its_place() {
        let cores = Cores::many(3).unwrap();
        let ways = ways(&cores, |cores, work| cores.seat().spawn(work)).await;
        assert_eq!(ways, [[(0, 0); 4], [(1, 1); 4], [(2, 2); 4]].concat());
        assert_eq!(cores.first.load(), 0, "a place was kept");
        cores.end().await;
    }

    #[tokio::test]
    async fn what_begins_on_a_core_leaves_it_only_where_others_have_less_by_far() {
        let cores = Cores::many(2).unwrap();
        let ways = ways(&cores, Cores::spread).await;
        let own = ways.iter().filter(|way| way.0 == 0).count();
        assert_eq!((own, ways.len()), (8, 12), "{ways:?}");
        cores.end().await;
    }

    #[tokio::test]
    async fn at_the_end_what_still_runs_on_other_cores_is_dropped_and_nothing_is_waited_for() {
        let cores = Cores::many(2).unwrap();
        let (held, mut gone) = oneshot::channel::<()>();
        let _first = cores.seat();
        cores.seat().spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert!(gone.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        cores.end().await;
        assert_eq!(gone.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        // Nothing is left to end.
        cores.end().await;
    }
}
