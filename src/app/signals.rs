//! What the system asks of this process: to stop (SIGINT, SIGTERM) and to look at its files (SIGHUP). Heard from the very start, so
//! that none of them ends a start or a call in the middle.

use tokio::sync::{mpsc, watch};

/// The wish that this process stops, heard from the moment that this is made.
#[derive(Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Hears SIGINT and SIGTERM from now on: the first ends nothing by itself, a second ends the process at once.
    #[must_use]
    pub fn hear() -> Self {
        let (stopping, stop) = watch::channel(false);
        let mut signals = Signals::hear();
        crate::tasks::spawn(async move {
            signals.next().await;
            stopping.send_replace(true);
            signals.next().await;
            std::process::exit(130);
        });
        Self(stop)
    }

    /// Done once this process was asked to stop.
    pub fn asked(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.0.clone();
        async move {
            if stop.wait_for(|asked| *asked).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Gives something at each SIGHUP, which from now on does not end the process.
#[must_use]
pub fn hangups() -> mpsc::Receiver<()> {
    let (sender, asked) = mpsc::channel(1);
    #[cfg(unix)]
    if let Ok(mut hangup) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        crate::tasks::spawn(async move {
            while hangup.recv().await.is_some() {
                // One that waits already stands for both.
                let _ = sender.try_send(());
            }
        });
    }
    asked
}

/// The signals that ask to stop.
#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    fn hear() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    async fn next(&mut self) {
        std::future::poll_fn(|cx| {
            if self
                .0
                .iter_mut()
                .any(|signal| matches!(signal.poll_recv(cx), std::task::Poll::Ready(Some(()))))
            {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn hear() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
