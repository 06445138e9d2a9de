//! The user's callbacks while the worker runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::Waiting;
use super::handler::panic_message;
use super::outage_detector::HeldStage;
use crate::Key;
use crate::pipeline::StageId;

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
    sender: Mutex<Option<UnboundedSender<FailedItem>>>,
    pending: Arc<AtomicUsize>,
}

impl FailedHook {
    /// Starts the hook's task, if there is a hook.
    pub(crate) fn start(
        hook: Option<OnFailed>,
        runtime: &tokio::runtime::Handle,
    ) -> (FailedHook, Option<JoinHandle<()>>) {
        let pending = Arc::new(AtomicUsize::new(0));
        let Some(hook) = hook else { return (FailedHook { sender: Mutex::new(None), pending }, None) };
        // The producer limits the channel's length: it claims nothing while many calls are pending.
        let (sender, receiver) = unbounded_channel();
        let task = runtime.spawn(call(hook, receiver, Arc::clone(&pending)));
        (FailedHook { sender: Mutex::new(Some(sender)), pending }, Some(task))
    }

    pub(crate) fn tell(&self, failed: impl FnOnce() -> FailedItem) {
        if let Some(sender) = &*self.sender_locked() {
            self.pending.fetch_add(1, Ordering::AcqRel);
            if sender.send(failed()).is_err() {
                self.pending.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    /// No more items come: the task ends when it has reported those that there are.
    pub(crate) fn close(&self) {
        self.sender_locked().take();
    }

    fn sender_locked(&self) -> MutexGuard<'_, Option<UnboundedSender<FailedItem>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls that have not finished yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }
}

async fn call(hook: OnFailed, mut failed: UnboundedReceiver<FailedItem>, pending: Arc<AtomicUsize>) {
    while let Some(item) = failed.recv().await {
        let key = item.key.clone();
        let work = std::panic::AssertUnwindSafe(async { hook(item).await }).catch_unwind();
        if let Err(panic) = work.await {
            tracing::error!(%key, error = panic_message(&*panic), "the on-failed hook panicked");
        }
        pending.fetch_sub(1, Ordering::AcqRel);
    }
}
