//! What a connection and those who wait for it call each other by, and how much of it one turn may read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// How many bytes may be read before other tasks, and the time limit of the call, have their turn: an API may send without end.
const TURN: usize = 256 << 10;

/// As long as they are at work a call is only noted: they look again before they rest.
#[derive(Default)]
pub(super) struct Bell {
    at_work: AtomicBool,
    rung: AtomicBool,
    /// How many bytes may yet be read in this turn.
    left: AtomicUsize,
    task: AtomicWaker,
}

impl Bell {
    /// A turn begins, and `task` is whom to wake from its end on.
    pub(super) fn turn(&self, task: &Waker) {
        self.task.register(task);
        self.left.store(TURN, Ordering::Relaxed);
    }

    /// Work begins, which sees all that was there before.
    pub(super) fn hush(&self) {
        self.rung.store(false, Ordering::SeqCst);
        self.at_work.store(true, Ordering::SeqCst);
    }

    /// Work ends, unless there was a call meanwhile.
    pub(super) fn rang(&self) -> bool {
        // Whoever calls from here on wakes the task itself.
        self.at_work.store(false, Ordering::SeqCst);
        self.rung()
    }

    /// Whether there was a call since work began.
    pub(super) fn rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Whether this turn may read no more.
    pub(super) fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// So many bytes were read.
    pub(super) fn spend(&self, bytes: usize) {
        // One task at a time reads.
        self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        if !self.at_work.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_during_work_is_noted_and_one_after_it_wakes() {
        #[derive(Default)]
        struct Woken(AtomicUsize);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (bell, woken) = (Arc::<Bell>::default(), Arc::<Woken>::default());
        let ring = Waker::from(bell.clone());
        bell.turn(&Waker::from(woken.clone()));
        bell.hush();
        ring.wake_by_ref();
        assert!(bell.rang(), "it was not noted");
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        bell.hush();
        assert!(!bell.rang());
        ring.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_turn_ends_with_its_bytes_and_the_next_one_has_as_many() {
        let bell = Bell::default();
        assert!(bell.is_spent());
        for _ in 0..2 {
            bell.turn(Waker::noop());
            bell.spend(TURN - 1);
            assert!(!bell.is_spent());
            bell.spend(TURN);
            assert!(bell.is_spent());
        }
    }
}
