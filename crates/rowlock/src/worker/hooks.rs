//! The user's hooks: callbacks while the worker runs, and the observer of handlers.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::Span;

use super::completion::{HELD_TRANSACTION, timeout_error};
use super::execution::{Execution, RunEnd, Stop, panic_message};
use super::outage_detector::HeldStage;
use super::report::Waiting;
use crate::pipeline::StageId;
use crate::{Key, Lease};

/// An item that this worker made `FAILED`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FailedItem {
    /// The item.
    pub key: Key,
    /// The stage that it was in, if the worker knows it.
    pub stage: Option<StageId>,
    /// What made it fail.
    pub cause: FailedBy,
    /// The error that was written for it, or what led to the failure.
    pub error: String,
}

/// What made an item fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailedBy {
    /// A failure of its handler: a permanent one, or the last one of its budget.
    Handler,
    /// Sweeps took it back from stopped workers once too often.
    Sweep,
    /// It was ready, but at a limit.
    Exhaust,
    /// The database refused the write of its outcome.
    Refused,
}

pub(crate) type OnFailed = Arc<dyn Fn(FailedItem) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;
pub(crate) type OnWait = Arc<dyn Fn(&Waiting) + Send + Sync>;
pub(crate) type OnHold = Arc<dyn Fn(&HeldStage) + Send + Sync>;

/// Runs the on-failed hook on the user's runtime, one item after the other.
pub(crate) struct FailedHook {
    /// `None` without a hook. When this is dropped, the task reports what is left and ends.
    sender: Option<UnboundedSender<PendingCall>>,
    pending: Pending,
}

/// Each call has a clone until it has finished: the clones count the calls.
type Pending = Arc<()>;

type PendingCall = (FailedItem, Pending);

impl FailedHook {
    /// Starts the hook's task, if there is a hook.
    pub(crate) fn start(
        hook: Option<OnFailed>,
        runtime: &tokio::runtime::Handle,
    ) -> (FailedHook, Option<JoinHandle<()>>) {
        let pending = Pending::default();
        let Some(hook) = hook else { return (FailedHook { sender: None, pending }, None) };
        // The producer limits the channel's length: it claims nothing while many calls are pending.
        let (sender, receiver) = unbounded_channel();
        let task = runtime.spawn(call(hook, receiver));
        (FailedHook { sender: Some(sender), pending }, Some(task))
    }

    pub(crate) fn tell(&self, failed: impl FnOnce() -> FailedItem) {
        if let Some(sender) = &self.sender {
            // Fails if the user's runtime has shut down: nothing is left to call.
            let _unheard = sender.send((failed(), Arc::clone(&self.pending)));
        }
    }

    /// Calls that have not finished yet.
    pub(crate) fn pending(&self) -> usize {
        Arc::strong_count(&self.pending) - 1
    }
}

async fn call(hook: OnFailed, mut failed: UnboundedReceiver<PendingCall>) {
    while let Some((item, pending)) = failed.recv().await {
        let key = item.key.clone();
        let work = AssertUnwindSafe(async { hook(item).await }).catch_unwind();
        if let Err(panic) = work.await {
            tracing::error!(%key, error = panic_message(&*panic), "the on-failed hook panicked");
        }
        drop(pending);
    }
}

/// Observes every handler that starts and ends, for your metrics and tracing. All methods run on the task of the
/// handler, and must return quickly. A panic in one of them is logged and has no other effect.
///
/// The methods report what the handler did. What the database then says about the outcome (a lease that was lost
/// meanwhile) is in the [`WorkerReport`](crate::WorkerReport) and in the log.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// use rowlock::{HandledItem, HandlerObserver};
///
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl HandlerObserver for Failures {
///     fn on_failure(&self, item: &HandledItem<'_>, took: Duration, error: &str) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         eprintln!("{} failed in {} after {took:?}: {error}", item.key, item.stage_name);
///     }
/// }
/// ```
pub trait HandlerObserver: Send + Sync + 'static {
    /// The span that the handler runs in; none by default. A batch has one span.
    fn span(&self, items: &[HandledItem<'_>]) -> Span {
        let _ = items;
        Span::none()
    }

    /// A handler starts to work on the item.
    fn on_start(&self, item: &HandledItem<'_>) {
        let _ = item;
    }

    /// The handler returned `Ok`. A batch takes equally long for each of its items.
    fn on_success(&self, item: &HandledItem<'_>, took: Duration) {
        let _ = (item, took);
    }

    /// The handler returned an error, panicked, or was stopped.
    fn on_failure(&self, item: &HandledItem<'_>, took: Duration, error: &str) {
        let _ = (item, took, error);
    }
}

/// An item that a handler works on.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct HandledItem<'a> {
    /// Its key.
    pub key: &'a Key,
    /// The stage.
    pub stage: StageId,
    /// The stage's name.
    pub stage_name: &'a str,
}

/// The observer of a stage pool, if the worker has one.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) observer: Arc<dyn HandlerObserver>,
    pub(crate) stage_name: Arc<str>,
}

impl Observed {
    /// The span for the handler of this run.
    pub(crate) fn start(&self, run: &Execution) -> Span {
        let items: Vec<HandledItem<'_>> = run.items.iter().map(|held| self.item(&held.lease)).collect();
        for item in &items {
            quietly(|| self.observer.on_start(item));
        }
        quietly(|| self.observer.span(&items)).unwrap_or_else(Span::none)
    }

    pub(crate) fn end(&self, run: &Execution, end: &RunEnd, timeout: Option<Duration>) {
        let took = run.since.elapsed();
        for (place, held) in run.items.iter().enumerate() {
            let item = self.item(&held.lease);
            let failed = |error: &str| quietly(|| self.observer.on_failure(&item, took, error));
            let _done = match end {
                RunEnd::Returned(results) => match results.get(place) {
                    Some(Err(failure)) => failed(failure.message()),
                    Some(Ok(_)) | None => quietly(|| self.observer.on_success(&item, took)),
                },
                RunEnd::Panicked(message) => failed(message),
                RunEnd::Stopped => match run.stop_reason() {
                    Some(Stop::TimedOut(_)) => failed(&timeout_error(timeout)),
                    Some(Stop::HeldTransaction(_)) => failed(HELD_TRANSACTION),
                    Some(Stop::Shutdown) | None => failed(&timeout_error(None)),
                },
            };
        }
    }

    fn item<'a>(&'a self, lease: &'a Lease) -> HandledItem<'a> {
        HandledItem { key: &lease.key, stage: lease.stage, stage_name: &self.stage_name }
    }
}

/// The user's code may panic; that must not cost a slot.
fn quietly<T>(call: impl FnOnce() -> T) -> Option<T> {
    match std::panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(answer) => Some(answer),
        Err(panic) => {
            tracing::error!(error = panic_message(&*panic), "the handler observer panicked");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_call_is_pending_until_the_hook_has_returned() {
        let gate = Arc::new(Notify::new());
        let waits = Arc::clone(&gate);
        let hook: OnFailed = Arc::new(move |_| {
            let gate = Arc::clone(&waits);
            Box::pin(async move { gate.notified().await })
        });
        let (failed, task) = FailedHook::start(Some(hook), &tokio::runtime::Handle::current());
        for key in ["a", "b"] {
            failed.tell(|| FailedItem { key: key.into(), stage: None, cause: FailedBy::Sweep, error: String::new() });
        }
        for left in [1, 0] {
            assert_eq!(failed.pending(), left + 1);
            gate.notify_one();
            while failed.pending() > left {
                tokio::task::yield_now().await;
            }
        }
        drop(failed);
        task.expect("there is a hook").await.expect("it ends");
    }
}
