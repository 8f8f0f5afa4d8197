//! Hears that a file may have changed: from the operating system's events where it has them, and by looking every few seconds, which is
//! what finds changes on network file systems. Whether anything is different is found out by reading.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::trace::Trace;

/// How long nothing may happen before files are read. A script that appends line by line opens and closes the file for each, and is not
/// done while one line follows the other; where it pauses for longer, nothing tells its file from one that is finished.
const QUIET: Duration = Duration::from_millis(200);
/// How long that is waited for: what never rests is read all the same.
const RESTLESS: Duration = Duration::from_secs(10);
/// How long a file that somebody writes to is waited for to be closed.
const WRITING: Duration = Duration::from_secs(30);
/// How often the files are looked at without an event.
const POLL: Duration = Duration::from_secs(3);
/// Events that may wait; beyond, those that wait are enough.
const BACKLOG: usize = 256;

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    /// Somebody writes to this file.
    Written(PathBuf),
    /// A writer has closed it, or it has gone.
    Closed(PathBuf),
    /// Something else happened to one that matters.
    Touched,
    /// A watched folder was moved or removed, or events were lost: watches may be gone.
    Lost,
}

/// What can be seen of a file without reading it.
type Stamp = Option<(u64, Option<SystemTime>, [i128; 3])>;

/// The ear.
pub(super) struct Watch {
    /// Nothing where the system gives no events.
    events: Option<RecommendedWatcher>,
    heard: mpsc::Receiver<Heard>,
    /// So that there is always somebody who could say something.
    _sender: mpsc::Sender<Heard>,
    trace: Arc<ArcSwap<Trace>>,
    folders: BTreeSet<PathBuf>,
    files: Arc<Vec<PathBuf>>,
    stamps: Vec<Stamp>,
    writing: HashSet<PathBuf>,
}

impl Watch {
    /// Hears nothing yet. `events` is false to look only.
    pub(super) fn new(events: bool) -> Self {
        let (sender, heard) = mpsc::channel(BACKLOG);
        let trace = Arc::new(ArcSwap::from_pointee(Trace::default()));
        let (known, own) = (trace.clone(), sender.clone());
        let hear = move |event: notify::Result<Event>| {
            for heard in meaning(event, &known.load()) {
                let _ = sender.try_send(heard);
            }
        };
        let events = events.then(|| notify::recommended_watcher(hear)).and_then(|made| {
            made.inspect_err(|error| warn!(%error, "files are looked at every {POLL:?}: there are no events"))
                .ok()
        });
        Self {
            events,
            heard,
            _sender: own,
            trace,
            folders: BTreeSet::new(),
            files: Arc::default(),
            stamps: Vec::new(),
            writing: HashSet::new(),
        }
    }

    /// Watches these files from now on, and these folders for names that are like a pattern.
    pub(super) async fn follow(&mut self, mut files: Vec<PathBuf>, folders: Vec<(PathBuf, String)>) {
        let named = files.len();
        // A folder looks different when something comes or goes.
        files.extend(folders.iter().map(|(folder, _)| folder.clone()));
        let files = Arc::new(files);
        let own = files.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let mut trace = Trace::of(own.iter().take(named).map(PathBuf::as_path));
            for (folder, pattern) in folders {
                trace.watch_in(&folder, pattern);
            }
            (trace, stamps(&own))
        });
        let Ok((trace, stamps)) = looked.await else { return };
        let folders = trace.folders.clone();
        self.trace.store(Arc::new(trace));
        (self.files, self.stamps) = (files, stamps);
        let Some(events) = &mut self.events else { return };
        for gone in self.folders.difference(&folders) {
            let _ = events.unwatch(gone);
        }
        self.folders.retain(|folder| folders.contains(folder));
        for folder in folders {
            if self.folders.contains(&folder) {
                continue;
            }
            match events.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder);
                }
                Err(error) => {
                    debug!(%error, folder = %folder.display(), "looked at every {POLL:?}: no events");
                }
            }
        }
    }

    /// Waits until something may have changed.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => return self.note(heard),
                () = tokio::time::sleep(POLL) => if self.moved().await { return },
            }
        }
    }

    /// Waits until nothing happens any more and nobody is in the middle of writing.
    pub(super) async fn quiet(&mut self) {
        let start = Instant::now();
        loop {
            let writing = !self.writing.is_empty();
            let last = start + if writing { WRITING } else { RESTLESS };
            let wait = if writing { last } else { last.min(Instant::now() + QUIET) };
            match tokio::time::timeout_at(wait, self.heard.recv()).await {
                Ok(Some(heard)) => self.note(heard),
                // Where there are no events, what is being written to is seen to grow.
                _ if Instant::now() < last && self.moved().await => {}
                _ => break,
            }
        }
        self.writing.clear();
    }

    fn note(&mut self, heard: Heard) {
        match heard {
            Heard::Written(path) => {
                self.writing.insert(path);
            }
            Heard::Closed(path) => {
                self.writing.remove(&path);
            }
            Heard::Touched => {}
            Heard::Lost => {
                for folder in std::mem::take(&mut self.folders) {
                    let _ = self.events.as_mut().map(|events| events.unwatch(&folder));
                }
            }
        }
    }

    /// Whether any file looks different than before.
    async fn moved(&mut self) -> bool {
        let files = self.files.clone();
        let Ok(stamps) = tokio::task::spawn_blocking(move || stamps(&files)).await else { return false };
        let moved = stamps != self.stamps;
        self.stamps = stamps;
        moved
    }
}

/// What an event means for the files that matter. Reading them makes events too, which mean nothing.
fn meaning(event: notify::Result<Event>, trace: &Trace) -> Vec<Heard> {
    let Ok(event) = event else { return vec![Heard::Lost] };
    if event.need_rescan() {
        return vec![Heard::Lost];
    }
    let heard = |path: &PathBuf| match &event.kind {
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) if trace.folders.contains(path) => {
            Some(Heard::Lost)
        }
        _ if !trace.matters(path) => None,
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Remove(_) => {
            Some(Heard::Closed(path.clone()))
        }
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_)) if cfg!(target_os = "linux") => {
            Some(Heard::Written(path.clone()))
        }
        EventKind::Modify(ModifyKind::Name(_)) => Some(Heard::Closed(path.clone())),
        _ => Some(Heard::Touched),
    };
    event.paths.iter().filter_map(heard).collect()
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let more = {
        use std::os::unix::fs::MetadataExt as _;
        [i128::from(meta.ino()), i128::from(meta.ctime()), i128::from(meta.ctime_nsec())]
    };
    #[cfg(not(unix))]
    let more = [0; 3];
    Some((meta.len(), meta.modified().ok(), more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    async fn watch(events: bool, file: &Path) -> Watch {
        let mut watch = Watch::new(events);
        watch.follow(vec![file.to_owned()], Vec::new()).await;
        watch
    }

    async fn hears(watch: &mut Watch, within: Duration) -> bool {
        tokio::time::timeout(within, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn events_come_for_the_file_whatever_happens_to_it_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (file, other) = (root.join("gateway.yaml"), root.join("gateway.log"));
        let mut watch = watch(true, &file).await;
        let steps: [(&str, &dyn Fn()); 5] = [
            ("it appears", &|| std::fs::write(&file, "a").unwrap()),
            ("a plain write", &|| std::fs::write(&file, "b").unwrap()),
            ("another is put in its place", &|| {
                std::fs::write(root.join(".new"), "c").unwrap();
                std::fs::rename(root.join(".new"), &file).unwrap();
            }),
            ("the one in its place is written to", &|| std::fs::write(&file, "d").unwrap()),
            ("it goes", &|| std::fs::remove_file(&file).unwrap()),
        ];
        for (what, step) in steps {
            step();
            assert!(hears(&mut watch, POLL / 2).await, "{what}");
            watch.quiet().await;
            watch.follow(vec![file.clone()], Vec::new()).await;
        }
        std::fs::write(&other, "a line").unwrap();
        std::fs::write(&file, "e").unwrap();
        watch.quiet().await;
        let _ = std::fs::read(&file).unwrap();
        std::fs::write(&other, "another line").unwrap();
        assert!(!hears(&mut watch, POLL / 2).await, "other files, and reading");
    }

    #[tokio::test]
    async fn a_folder_that_comes_later_or_again_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let file = root.join("a/b/gateway.yaml");
        let mut watch = watch(true, &file).await;
        for round in 0..2 {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            assert!(hears(&mut watch, POLL / 2).await, "the folder, round {round}");
            watch.quiet().await;
            watch.follow(vec![file.clone()], Vec::new()).await;
            std::fs::write(&file, "x").unwrap();
            assert!(hears(&mut watch, POLL / 2).await, "the file, round {round}");
            watch.quiet().await;
            std::fs::remove_dir_all(root.join("a")).unwrap();
            assert!(hears(&mut watch, POLL / 2).await, "gone, round {round}");
            watch.quiet().await;
            watch.follow(vec![file.clone()], Vec::new()).await;
        }
    }

    #[tokio::test]
    async fn without_events_a_look_finds_the_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("gateway.yaml");
        std::fs::write(&file, "a").unwrap();
        let mut watch = watch(false, &file).await;
        assert!(!hears(&mut watch, POLL + POLL / 4).await);
        std::fs::write(&file, "b").unwrap();
        assert!(hears(&mut watch, POLL * 2).await);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_is_being_written_to_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("gateway.yaml");
        let mut watch = watch(true, &file).await;
        let mut writer = std::fs::File::create(&file).unwrap();
        writer.write_all(b"half").unwrap();
        assert!(hears(&mut watch, POLL / 2).await);
        assert!(tokio::time::timeout(QUIET * 4, watch.quiet()).await.is_err(), "it is half written");
        writer.write_all(b"whole").unwrap();
        drop(writer);
        tokio::time::timeout(POLL, watch.quiet()).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"halfwhole");
    }

    #[tokio::test]
    async fn a_file_that_grows_line_by_line_is_waited_for_though_each_line_is_a_write_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("gateway.yaml");
        let mut watch = watch(true, &file).await;
        for _ in 0..20 {
            let own = file.clone();
            let script = tokio::task::spawn_blocking(move || {
                let (start, mut longest) = (Instant::now(), Duration::ZERO);
                while start.elapsed() < Duration::from_millis(2500) {
                    let line = Instant::now();
                    let mut open = std::fs::File::options().append(true).create(true).open(&own).unwrap();
                    open.write_all(b"line\n").unwrap();
                    drop(open);
                    std::thread::sleep(Duration::from_millis(10));
                    longest = longest.max(line.elapsed());
                }
                longest
            });
            watch.changed().await;
            watch.quiet().await;
            let done = script.is_finished();
            // On a machine that is too busy for the script itself this says nothing.
            if script.await.unwrap() < QUIET / 2 {
                assert!(done, "it was read in between");
                return;
            }
        }
        panic!("no script was fast enough");
    }
}
