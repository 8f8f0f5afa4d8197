//! Lines on their way to the disk: whoever has one puts it down and goes on, and a thread writes what has gathered. It is woken once for
//! many lines, not for each, and writes them in one go.

use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::error;

use super::super::rotated::RotatedFile;

/// Lines that wait for the disk. Beyond, calls go on and their lines are lost.
const WAITING: u64 = 8192;
/// How long lines gather before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// Room that is kept for the next lines once it was needed.
const KEPT: usize = 1 << 20;

/// Where lines are written to.
pub(super) enum Out {
    File(RotatedFile),
    Stderr,
}

/// Lines that wait, between those who put them down and the one who writes.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    /// There is something to do for the one who writes.
    wake: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines, each with its end.
    bytes: Vec<u8>,
    /// How many were put down since the beginning, and how many of them the writer is done with.
    noted: u64,
    done: u64,
    /// How many came after those in `bytes` and found no room.
    lost: u64,
    /// The writer sleeps until there is a line.
    idle: bool,
    /// Somebody waits for the disk.
    hurry: bool,
    /// Nobody puts anything down any more.
    closed: bool,
}

impl Waiting {
    /// Whether the writer takes what there is now rather than in a moment.
    const fn is_due(&self) -> bool {
        self.hurry || self.closed || self.noted - self.done >= WAITING / 2
    }
}

impl Lines {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Lines are put down whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts down a line, with its end; false if there is no room for it. Waits for no disk.
    pub fn put(&self, line: &[u8]) -> bool {
        let mut waiting = self.waiting();
        if waiting.noted - waiting.done >= WAITING {
            waiting.lost += 1;
            return false;
        }
        waiting.bytes.extend_from_slice(line);
        waiting.noted += 1;
        let wake = mem::take(&mut waiting.idle) || waiting.noted - waiting.done == WAITING / 2;
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Waits until what was put down is written, so long at most. Blocks the thread.
    pub fn flush(&self, patience: Duration) {
        let mut waiting = self.waiting();
        let wanted = waiting.noted;
        waiting.hurry = true;
        self.wake.notify_one();
        let done = self.written.wait_timeout_while(waiting, patience, |waiting| waiting.done < wanted);
        drop(done);
    }

    /// Says that no more lines come.
    pub fn close(&self) {
        self.waiting().closed = true;
        self.wake.notify_one();
    }

    /// Waits for lines and takes them into `batch`; gives how many came after them and are lost, or nothing at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<(u64, u64)> {
        let mut waiting = self.waiting();
        waiting.idle = true;
        let nothing = |waiting: &mut Waiting| waiting.noted == waiting.done && waiting.lost == 0;
        let woken = self.wake.wait_while(waiting, |waiting| nothing(waiting) && !waiting.closed);
        waiting = woken.unwrap_or_else(PoisonError::into_inner);
        waiting.idle = false;
        let gathered = self.wake.wait_timeout_while(waiting, GATHER, |waiting| !waiting.is_due());
        waiting = gathered.unwrap_or_else(PoisonError::into_inner).0;
        if nothing(&mut waiting) {
            return None;
        }
        waiting.hurry = false;
        batch.clear();
        batch.shrink_to(KEPT);
        mem::swap(batch, &mut waiting.bytes);
        Some((waiting.noted, mem::take(&mut waiting.lost)))
    }

    /// Writes until nobody puts anything down any more.
    pub fn write(&self, out: &mut Out) {
        let (mut batch, mut missing, mut failing) = (Vec::new(), 0, false);
        while let Some((noted, lost)) = self.take(&mut batch) {
            let mut result = out.put_missing(&mut missing);
            if result.is_ok() {
                result = out.put(&batch, &mut missing);
            } else {
                missing += ends(&batch);
            }
            // In their place.
            missing += lost;
            result = result.and_then(|()| out.put_missing(&mut missing));
            self.waiting().done = noted;
            self.written.notify_all();
            if let (Err(reason), false) = (&result, failing) {
                error!(%reason, "the audit cannot be written: calls go on and are not recorded");
            }
            failing = result.is_err();
        }
    }
}

/// How many lines end in these bytes.
fn ends(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

impl Out {
    /// Says how many lines are missing, if any are.
    fn put_missing(&mut self, missing: &mut u64) -> io::Result<()> {
        if *missing > 0 {
            self.put(format!("{{\"lost\":{missing}}}\n").as_bytes(), &mut 0)?;
            *missing = 0;
        }
        Ok(())
    }

    /// Writes whole lines, and counts those that could not be written.
    fn put(&mut self, lines: &[u8], missing: &mut u64) -> io::Result<()> {
        let (written, result) = match self {
            Self::File(file) => file.write_lines(lines),
            Self::Stderr => super::super::rotated::write_as_far(&mut io::stderr().lock(), lines),
        };
        *missing += lines.get(written..).map_or(0, ends);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file(path: &Path) -> Out {
        Out::File(RotatedFile::open(path, 1 << 20, 1).unwrap())
    }

    #[test]
    fn what_is_not_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let lines = Lines::default();
        lines.put(b"{}\n");
        lines.waiting().lost = 3;
        lines.close();
        lines.write(&mut file(&path));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{}\n{\"lost\":3}\n");
    }

    #[test]
    fn of_more_lines_than_may_wait_the_last_ones_are_lost_and_counted_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let lines = Lines::default();
        let taken = (0..WAITING + 5).filter(|n| lines.put(format!("{n}\n").as_bytes())).count() as u64;
        lines.close();
        lines.write(&mut file(&path));
        let text = std::fs::read_to_string(path).unwrap();
        let mut wanted: Vec<String> = (0..WAITING).map(|n| n.to_string()).collect();
        wanted.push("{\"lost\":5}".to_owned());
        assert_eq!(
            (taken, text.lines().collect::<Vec<_>>()),
            (WAITING, wanted.iter().map(String::as_str).collect())
        );
    }

    #[test]
    fn lines_that_the_disk_refuses_are_counted_and_what_comes_later_is_written() {
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
        let mut missing = 0;
        let mut out = Out::File(RotatedFile::of(full, 1 << 20));
        assert!(out.put(b"a\nb\n", &mut missing).is_err());
        assert!(out.put_missing(&mut missing).is_err());
        assert_eq!(missing, 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let mut out = file(&path);
        out.put_missing(&mut missing).unwrap();
        out.put(b"c\n", &mut missing).unwrap();
        assert_eq!((std::fs::read_to_string(path).unwrap().as_str(), missing), ("{\"lost\":2}\nc\n", 0));
    }

    #[test]
    fn a_flush_waits_for_all_that_was_put_down_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calls.jsonl");
        let lines = std::sync::Arc::new(Lines::default());
        let writer = lines.clone();
        let mut out = file(&path);
        let thread = std::thread::spawn(move || writer.write(&mut out));
        for round in 1..=20 {
            for _ in 0..round {
                assert!(lines.put(b"x\n"));
            }
            lines.flush(Duration::from_secs(5));
            let written = std::fs::read_to_string(&path).unwrap().lines().count();
            assert_eq!(written, round * (round + 1) / 2);
        }
        lines.close();
        thread.join().unwrap();
    }
}
