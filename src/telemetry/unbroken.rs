//! Work that goes on for as long as the program does: a panic ends one round of it and is told, and another round begins.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tracing::error;

/// Between a panic and the next round.
const PAUSE: Duration = Duration::from_secs(1);

/// One round of the work.
pub type Round<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Works until a round comes to its end, and gives what that gives. A round that panics is told in the log by what it was for, and a
/// second later another one goes on with what it has left in `state`.
pub async fn unbroken<S: Send, T>(
    purpose: &'static str,
    state: &mut S,
    work: impl for<'a> Fn(&'a mut S) -> Round<'a, T> + Send,
) -> T {
    loop {
        if let Ok(ended) = AssertUnwindSafe(work(state)).catch_unwind().await {
            return ended;
        }
        error!("{purpose} ended in a panic, and begins anew");
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_that_panics_is_followed_by_another_with_what_it_left() {
        let mut rounds = 0;
        let ended = unbroken("counting", &mut rounds, |rounds: &mut u32| {
            Box::pin(async move {
                *rounds += 1;
                sleep(Duration::from_millis(10)).await;
                assert!(*rounds > 1, "wanted here");
                "done"
            })
        });
        assert_eq!(ended.await, "done");
        assert_eq!(rounds, 2);
    }
}
