//! Work beside what asked for it. The runtime's code for a task is made anew for each type of work, and for each of its two kinds, so all
//! work has one type here.

use std::pin::Pin;

use tokio::task::JoinHandle;

/// Work of any kind.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Gives work the one type.
pub fn work<T>(work: impl Future<Output = T> + Send + 'static) -> Work<T> {
    Box::pin(work)
}

/// Starts work in a task of its own.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(self::work(work))
}
