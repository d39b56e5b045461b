//! Ending in order: first nothing new is taken, then what was begun is finished.

use std::{future::Future, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long what was begun may take once the end is asked for.
pub const GRACE: Duration = Duration::from_secs(4);

/// What a process's tasks share to end in order.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Nothing runs yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs a task that [`finish`](Self::finish) waits for. It should watch [`ending`](Self::ending);
    /// it is dropped where it stands when the grace is over.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let hard = self.hard.clone();
        // On the heap: what wraps a task holds it several times over otherwise, and each connection is one for as long as it lasts.
        let task = Box::pin(task);
        self.tasks
            .spawn(async move { hard.run_until_cancelled_owned(task).await });
    }

    /// Asks everybody to end.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Resolves when the end is asked for.
    pub async fn ending(&self) {
        self.soft.cancelled().await;
    }

    /// Whether the end is asked for.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Asks everybody to end and waits for it, at most for `grace`; then drops what is left.
    /// Returns whether everything ended by itself.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.begin();
        self.tasks.close();
        let in_time = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        self.hard.cancel();
        self.tasks.wait().await;
        in_time
    }
}

/// SIGINT and SIGTERM, which do not end the process by themselves as long as this is there.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches both from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves when one of them comes.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Shutdown;

    #[tokio::test]
    async fn what_was_begun_is_finished_and_what_hangs_is_dropped() {
        let shutdown = Shutdown::new();
        let (done, finished) = tokio::sync::oneshot::channel();
        let ending = shutdown.clone();
        shutdown.spawn(async move {
            ending.ending().await;
            done.send(()).unwrap();
        });
        assert!(shutdown.finish(Duration::from_secs(5)).await);
        finished.await.unwrap();

        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending());
        assert!(!shutdown.finish(Duration::from_millis(1)).await);
    }
}
