//! The room that a request's work takes. It is too large to be moved about and for the allocator's quick lists, so a connection keeps the
//! room of its last request for the next one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

type Slot<F> = Pin<Box<Option<F>>>;

/// Where a connection keeps the room that is free.
#[derive(Debug)]
pub(super) struct Room<F>(Arc<Mutex<Option<Slot<F>>>>);

impl<F> Default for Room<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F> Room<F> {
    /// The work in the room that is kept, or in one of its own where that is in use.
    pub(super) fn hold(&self, work: F) -> Held<F> {
        let kept = self.kept();
        let mut slot = kept.unwrap_or_else(|| Box::pin(None));
        slot.as_mut().set(Some(work));
        Held { slot: Some(slot), home: self.0.clone() }
    }

    /// Keeps none any more, until the next request.
    pub(super) fn clear(&self) {
        drop(self.kept());
    }

    fn kept(&self) -> Option<Slot<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Work that gives its room back when it is dropped.
pub(super) struct Held<F> {
    slot: Option<Slot<F>>,
    home: Arc<Mutex<Option<Slot<F>>>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let work = self.slot.as_mut().and_then(|slot| slot.as_mut().as_pin_mut());
        // There is work as long as it is not dropped.
        work.map_or(Poll::Pending, |work| work.poll(cx))
    }
}

impl<F> Drop for Held<F> {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.as_mut().set(None);
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;
    use futures_util::future::Either;

    use super::*;

    /// Where the room is that is kept.
    fn place<F>(room: &Room<F>) -> Option<*const Option<F>> {
        room.0.lock().unwrap().as_ref().map(|slot| &raw const **slot)
    }

    #[test]
    fn the_room_of_work_that_ended_is_that_of_the_next_and_work_at_the_same_time_has_its_own() {
        let held = Arc::new(());
        let work = |ends: bool| {
            let held = held.clone();
            let ended = if ends { Either::Left(ready(())) } else { Either::Right(pending()) };
            ended.map(move |()| drop(held))
        };
        let room = Room::default();
        assert_eq!(room.hold(work(true)).now_or_never(), Some(()));
        let first = place(&room).expect("the room is kept");
        let running = room.hold(work(false));
        assert_eq!(place(&room), None, "it is in use");
        assert_eq!(room.hold(work(true)).now_or_never(), Some(()));
        let other = place(&room).expect("the room of the second is kept");
        assert_ne!(first, other);
        assert_eq!(Arc::strong_count(&held), 2, "what runs holds it");
        drop(running);
        assert_eq!((place(&room), Arc::strong_count(&held)), (Some(first), 1), "what was dropped is gone");
        room.clear();
        assert_eq!(place(&room), None);
    }
}
