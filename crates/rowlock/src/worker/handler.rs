//! The user's handlers, and what a handler can ask of its worker.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use smallvec::smallvec;
use tokio_util::sync::CancellationToken;

use super::execution::{Execution, OfRun, Stop};
use super::leases::Leases;
use crate::claim::Finisher;
use crate::store::{Finish, LeaseState};
use crate::{Claim, Failure, Handled, Holder, IntoHandled, Lease, Repository, Result, Settled, Store};

type One<S, R> = dyn Fn(Stateless<S, R>, Claim<R>) -> BoxFuture<'static, Result<Handled, Failure>> + Send + Sync;
type Batch<S, R> =
    dyn Fn(Stateless<S, R>, Vec<Claim<R>>) -> BoxFuture<'static, Vec<Result<Handled, Failure>>> + Send + Sync;

/// The handler of a stage.
pub(crate) enum Handler<S: Store, R> {
    /// One item at a time: a run has one item.
    One(Box<One<S, R>>),
    /// Up to `size` items at a time, with one result for each, in order.
    Batch { size: usize, handle: Box<Batch<S, R>> },
}

impl<S: Store, R: Send + 'static> Handler<S, R> {
    /// The handler's context gets the state here, so that nothing else in the worker has to know its type.
    pub(crate) fn one<F, Fut, O, T>(state: Arc<T>, handler: F) -> Handler<S, R>
    where
        F: Fn(Context<S, R, T>, Claim<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
        O: IntoHandled,
        T: Send + Sync + 'static,
    {
        Handler::One(Box::new(move |context, claim| {
            let work = handler(context.with_state(Arc::clone(&state)), claim);
            Box::pin(async move { work.await.map(IntoHandled::into_handled) })
        }))
    }

    pub(crate) fn batch<F, Fut, O, T>(size: usize, state: Arc<T>, handler: F) -> Handler<S, R>
    where
        F: Fn(Context<S, R, T>, Vec<Claim<R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Result<O, Failure>>> + Send + 'static,
        O: IntoHandled,
        T: Send + Sync + 'static,
    {
        let handle = move |context: Stateless<S, R>, claims| -> BoxFuture<'static, Vec<Result<Handled, Failure>>> {
            let work = handler(context.with_state(Arc::clone(&state)), claims);
            Box::pin(async move {
                let results = work.await.into_iter();
                results.map(|result| result.map(IntoHandled::into_handled)).collect()
            })
        };
        Handler::Batch { size, handle: Box::new(handle) }
    }

    /// The largest number of items that one run takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Handler::One(_) => 1,
            Handler::Batch { size, .. } => *size,
        }
    }

    /// Runs the handler; returns one result for each item, in order, whatever the handler returns.
    pub(crate) async fn run(
        &self,
        context: Stateless<S, R>,
        mut claims: OfRun<Claim<R>>,
    ) -> OfRun<Result<Handled, Failure>> {
        match self {
            Handler::One(handle) => match claims.pop() {
                Some(claim) => {
                    let result = handle(context, claim).await;
                    smallvec![result]
                }
                None => OfRun::new(),
            },
            Handler::Batch { handle, .. } => {
                let items = claims.len();
                let results = handle(context, claims.into_vec()).await;
                if results.len() == items {
                    return results.into();
                }
                let error = format!("the batch handler returned {} results for {items} items", results.len());
                smallvec![Err(Failure::retryable(error)); items]
            }
        }
    }
}

/// What a handler can ask of its worker: the state that the worker was given, whether to stop, whether this is a dry
/// run, and a transaction. Cheap to clone.
pub struct Context<S: Store, R, T = ()> {
    repository: Arc<Repository<S, R>>,
    of: Of,
    state: Arc<T>,
}

/// What the handler belongs to: a run or a dry run.
#[derive(Clone)]
enum Of {
    Run { run: Arc<Execution> },
    DryRun { stop: CancellationToken },
}

impl<S: Store, R, T> Clone for Context<S, R, T> {
    fn clone(&self) -> Self {
        let (repository, state) = (Arc::clone(&self.repository), Arc::clone(&self.state));
        Context { repository, of: self.of.clone(), state }
    }
}

/// A context before it has the worker's state, whose type only the handler knows.
pub(crate) struct Stateless<S: Store, R> {
    repository: Arc<Repository<S, R>>,
    of: Of,
}

impl<S: Store, R> Stateless<S, R> {
    pub(crate) fn live(repository: Arc<Repository<S, R>>, run: &Arc<Execution>) -> Stateless<S, R> {
        Stateless { repository, of: Of::Run { run: Arc::clone(run) } }
    }

    pub(crate) fn dry(repository: Arc<Repository<S, R>>, stop: CancellationToken) -> Stateless<S, R> {
        Stateless { repository, of: Of::DryRun { stop } }
    }

    pub(super) fn with_state<T>(self, state: Arc<T>) -> Context<S, R, T> {
        Context { repository: self.repository, of: self.of, state }
    }
}

impl<S: Store, R, T> Context<S, R, T> {
    /// The state that was passed to [`Worker::with_state`](crate::Worker::with_state).
    pub fn state(&self) -> &T {
        &self.state
    }

    fn stop(&self) -> &CancellationToken {
        match &self.of {
            Of::Run { run } => run.stop_token(),
            Of::DryRun { stop } => stop,
        }
    }

    /// Returns when the handler should stop: its lease was lost or cancelled (in a batch: the leases of all its items),
    /// its timeout passed, or the worker stops at once.
    ///
    /// The handler is polled once after this, and then its future is dropped. Put whatever must be undone into the
    /// `Drop` of what the handler holds (a child process that is killed on drop, for instance).
    pub async fn cancelled(&self) {
        self.stop().cancelled().await;
    }

    /// The same as a token, for work that runs elsewhere on the handler's behalf.
    pub fn token(&self) -> CancellationToken {
        self.stop().clone()
    }

    /// Whether this is a dry run: the database refuses every write that goes through this context.
    pub fn is_dry_run(&self) -> bool {
        matches!(self.of, Of::DryRun { .. })
    }

    /// The repository that the worker uses; in a dry run, one over read-only connections.
    pub fn repository(&self) -> &Repository<S, R> {
        &self.repository
    }

    /// The name under which the worker claims.
    pub fn holder(&self) -> &Holder {
        self.repository.holder()
    }

    /// A transaction for the handler's writes; in a dry run, a read-only one. Begin it after the computation: after a
    /// third of `stale_after`, PostgreSQL ends it if it is idle; on SQLite, where it keeps all others from writing, the
    /// handler that holds it is stopped and its item is retried.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self) -> Result<S::Transaction> {
        let mut transaction = self.repository.begin().await?;
        if let (Of::Run { run }, Some(expiry)) = (&self.of, S::expiry(&mut transaction)) {
            let run = Arc::clone(run);
            tokio::spawn(async move {
                if expiry.await.is_ok() {
                    let items: Vec<_> = run.items.iter().map(|held| &held.lease.key).collect();
                    tracing::warn!(?items, "a handler keeps its transaction open for too long: all other writes wait");
                    run.stop(Stop::HeldTransaction(Instant::now()));
                }
            });
        }
        Ok(transaction)
    }
}

impl<S: Store, R, T> fmt::Debug for Context<S, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("holder", self.holder())
            .field("dry_run", &self.is_dry_run())
            .field("cancelled", &self.stop().is_cancelled())
            .finish()
    }
}

/// Finishes claims for handlers that call `claim.complete()` and the like, and informs the worker.
pub(crate) struct WorkerFinisher<S: Store, R> {
    pub(crate) repository: Arc<Repository<S, R>>,
    pub(crate) leases: Arc<Leases>,
}

impl<S: Store, R: Send + 'static> WorkerFinisher<S, R> {
    /// Finishes; informs the worker that the handler does so itself, and of the result.
    async fn tell<'a, Fut>(&'a self, finish: Finish, write: impl FnOnce(Finish) -> Fut) -> Result<Settled>
    where
        Fut: Future<Output = Result<Settled>> + 'a,
    {
        let (name, error) = (finish.outcome.name(), finish.outcome.error().map(str::to_owned));
        let guard = self.leases.get(&finish.lease).map(|held| held.settling());
        let answer = write(finish).await;
        match (guard, &answer) {
            (Some(guard), Ok(settled)) => guard.answered_settled(*settled, name, error),
            (Some(guard), Err(error)) => guard.answered_error(error),
            (None, _) => {}
        }
        answer
    }
}

impl<S: Store, R: Send + 'static> Finisher for WorkerFinisher<S, R> {
    fn finish(&self, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(self.tell(finish, |finish| Finisher::finish(&*self.repository, finish)))
    }

    fn finish_in(&self, transaction: Box<dyn Any + Send>, finish: Finish) -> BoxFuture<'_, Result<Settled>> {
        Box::pin(self.tell(finish, |finish| self.repository.finish_in(transaction, finish)))
    }

    fn renew(&self, lease: Lease) -> BoxFuture<'_, Result<LeaseState>> {
        Finisher::renew(&*self.repository, lease)
    }
}
