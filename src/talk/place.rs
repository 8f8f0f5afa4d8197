//! A call's place among those that run at the same time. It is given up while a person is asked, so that people who think hold up
//! nobody, and there is one more cap on how many may be asked.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions that may wait for people at the same time, in calls that wait with them.
const MAX_ASKING: usize = 1024;

/// The places of a server.
#[derive(Clone, Debug)]
pub struct Places {
    calls: Arc<Semaphore>,
    asking: Arc<Semaphore>,
}

impl Places {
    /// Room for this many calls.
    #[must_use]
    pub fn new(calls: usize) -> Self {
        Self { calls: Arc::new(Semaphore::new(calls)), asking: Arc::new(Semaphore::new(MAX_ASKING)) }
    }

    /// A place, if there is one now.
    #[must_use]
    pub fn take(&self) -> Option<Place> {
        let permit = self.calls.clone().try_acquire_owned().ok()?;
        Some(Place { places: self.clone(), permit: Mutex::new(Some(permit)) })
    }
}

/// One call's place.
#[derive(Debug)]
pub struct Place {
    places: Places,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Place {
    fn put(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    /// Waits for people without the place, then waits for a place again. `None` if too many are asked already.
    pub(super) async fn without<T>(&self, asking: impl Future<Output = T>) -> Option<T> {
        let _asking = self.places.asking.clone().try_acquire_owned().ok()?;
        self.put(None);
        let answer = asking.await;
        // Nobody closes the semaphore.
        self.put(self.places.calls.clone().acquire_owned().await.ok());
        Some(answer)
    }
}
