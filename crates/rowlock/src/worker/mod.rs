//! The worker: claims items, runs the user's handlers on them, renews their leases and writes their outcomes.

mod ad_hoc;
mod batch;
mod completer;
mod completion;
mod demand;
mod disruptions;
mod execution;
mod handler;
mod heartbeat;
mod hooks;
mod idle;
mod leases;
mod listener;
mod outage_detector;
mod producer;
mod refusals;
mod report;
mod stage_pool;
mod supervisor;
mod sweeper;
mod thread;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use ad_hoc::DryRun;
#[cfg(feature = "testing")]
pub use ad_hoc::one_item::TestRun;
pub use handler::Context;
pub use hooks::{FailedBy, FailedItem, HandledItem, HandlerObserver};
pub use outage_detector::{HeldBy, HeldStage};
pub use report::{Remaining, StageItems, Waiting, WorkerReport};

use crate::decoding::Record;
use crate::limits::{
    BATCH_ITEMS_MAX, CONCURRENCY_MAX, HOLD_PAUSE_MAX, HOLD_PAUSE_MIN, POLL_MIN, SHUTDOWN_GRACE, WAIT_MAX,
};
use crate::pipeline::{IntoStage, Pipeline, StageId};
use crate::{Claim, Error, Failure, IntoHandled, Repository, Result, Store};
use handler::Handler;
use hooks::{FailedHook, Observed, OnFailed, OnHold, OnWait};
use outage_detector::Pauses;
use stage_pool::{Shared, StagePool};
use supervisor::{Settings, Supervisor};

/// Works on the items of a pipeline with a handler for each stage.
///
/// Handlers run on the runtime that calls [`Worker::run`]. Claims, heartbeats, timeouts and the writing of outcomes run
/// on a separate thread with separate connections, so that busy handlers cannot starve them. A handler runs at least
/// once for each item; what it writes in the transaction that it hands to [`Claim::complete_in`] is committed exactly
/// once.
///
/// ```no_run
/// use rowlock::store::sqlite::SqliteStore;
/// use rowlock::{Failure, Pipeline, Repository, Worker};
///
/// #[derive(sqlx::FromRow)]
/// struct Video {
///     path: String,
/// }
///
/// # async fn example() -> rowlock::Result<()> {
/// let pipeline = Pipeline::builder("videos").table("videos").key("id").stage("EXTRACTION").build()?;
/// let repository: Repository<_, Video> = Repository::new(SqliteStore::open("videos.sqlite", pipeline).await?);
/// repository.prepare().await?;
/// let report = Worker::new(repository)
///     .handle("EXTRACTION", |_context, claim| async move {
///         let bytes = std::fs::read(&claim.path)?; // an error by `?` is tried again later
///         if bytes.is_empty() { Err(Failure::permanent("the file is empty")) } else { Ok(()) }
///     })
///     .run_until_idle()
///     .await?;
/// println!("{} completed, left: {}", report.completed, report.remaining);
/// # Ok(())
/// # }
/// ```
#[must_use = "a worker does nothing until it is run"]
pub struct Worker<S: Store, R, T = ()> {
    repository: Repository<S, R>,
    state: Arc<T>,
    assigned: Assigned<S, R>,
    settings: Settings,
    tokens: Vec<CancellationToken>,
    on_failed: Option<OnFailed>,
    on_wait: Option<OnWait>,
    on_hold: Option<OnHold>,
    observer: Option<Arc<dyn HandlerObserver>>,
}

/// The handlers of the stages, and how many of each run at once.
struct Assigned<S: Store, R> {
    handlers: Vec<(StageId, Handler<S, R>)>,
    concurrency: HashMap<StageId, usize>,
    /// The first stage that was named but does not exist. The call that runs the worker returns this error.
    wrong_stage: Option<Error>,
}

impl<S: Store, R, T> fmt::Debug for Worker<S, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipeline = self.repository.pipeline();
        let stages: Vec<&str> = self.assigned.handlers.iter().map(|(stage, _)| pipeline.stage(*stage).name()).collect();
        f.debug_struct("Worker").field("stages", &stages).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl<S: Store, R: Record<S>> Worker<S, R> {
    /// A worker without handlers. It claims under the name of the repository's holder.
    pub fn new(repository: Repository<S, R>) -> Worker<S, R> {
        Worker {
            repository,
            state: Arc::new(()),
            assigned: Assigned { handlers: Vec::new(), concurrency: HashMap::new(), wrong_stage: None },
            settings: Settings {
                grace: SHUTDOWN_GRACE,
                poll_min: POLL_MIN,
                poll_max: None,
                until_idle: false,
                until_nothing_is_due: false,
                signals: false,
                hold_pauses: Pauses { min: HOLD_PAUSE_MIN, max: HOLD_PAUSE_MAX },
            },
            tokens: Vec::new(),
            on_failed: None,
            on_wait: None,
            on_hold: None,
            observer: None,
        }
    }
}

impl<S: Store, R: Record<S>, T: Send + Sync + 'static> Worker<S, R, T> {
    /// Gives state to the handlers that are added after this call: a client, a model, a pool. They read it with
    /// [`Context::state`], so that a handler can be a plain function. It is shared, never cloned.
    ///
    /// ```no_run
    /// use rowlock::{Claim, Failure, SqliteContext, SqliteRepository, Worker};
    ///
    /// #[derive(sqlx::FromRow)]
    /// struct Page {
    ///     url: String,
    /// }
    ///
    /// struct Limits {
    ///     bytes_max: usize,
    /// }
    ///
    /// async fn fetch(context: SqliteContext<Page, Limits>, page: Claim<Page>) -> Result<(), Failure> {
    ///     if page.url.len() > context.state().bytes_max {
    ///         return Err(Failure::permanent("the URL is too long"));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # async fn example(pages: SqliteRepository<Page>) -> rowlock::Result<()> {
    /// let worker = Worker::new(pages).with_state(Limits { bytes_max: 2_000 }).handle("FETCH", fetch);
    /// worker.run_until_idle().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_state<U: Send + Sync + 'static>(self, state: U) -> Worker<S, R, U> {
        Worker {
            repository: self.repository,
            state: Arc::new(state),
            assigned: self.assigned,
            settings: self.settings,
            tokens: self.tokens,
            on_failed: self.on_failed,
            on_wait: self.on_wait,
            on_hold: self.on_hold,
            observer: self.observer,
        }
    }

    /// The handler of a stage, for one item at a time. The stage goes by its name or its id; with one that the pipeline
    /// does not have, the worker does not start, and [`Worker::run`] returns an error.
    ///
    /// Its result is written: `Ok(())` completes the stage, an [`Outcome`](crate::Outcome) is written as it is, a
    /// [`Settled`](crate::Settled) says that the handler has finished the item itself, and an error is a [`Failure`]:
    /// `?` makes a retryable one. A panic is a retryable failure too.
    pub fn handle<F, Fut, O>(mut self, stage: impl IntoStage, handler: F) -> Self
    where
        F: Fn(Context<S, R, T>, Claim<R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
        O: IntoHandled,
    {
        if let Some(stage) = self.stage_id(stage) {
            self.assigned.handlers.push((stage, Handler::one(Arc::clone(&self.state), handler)));
        }
        self
    }

    /// The handler of a stage, for up to `size` items at a time. It returns one result for each, in order.
    ///
    /// It gets the items that there are, and never waits for a batch to fill. If it returns another number of results,
    /// each of its items is retried, as after a panic. Its context is cancelled when the leases of all its items are
    /// lost.
    pub fn handle_batch<F, Fut, O>(mut self, stage: impl IntoStage, size: usize, handler: F) -> Self
    where
        F: Fn(Context<S, R, T>, Vec<Claim<R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<Result<O, Failure>>> + Send + 'static,
        O: IntoHandled,
    {
        if let Some(stage) = self.stage_id(stage) {
            self.assigned.handlers.push((stage, Handler::batch(size, Arc::clone(&self.state), handler)));
        }
        self
    }

    /// How many handlers of a stage, or batches, run at once. By default one for each processor, at least 2.
    pub fn concurrency(mut self, stage: impl IntoStage, handlers: usize) -> Self {
        if let Some(stage) = self.stage_id(stage) {
            self.assigned.concurrency.insert(stage, handlers);
        }
        self
    }

    /// The id of a stage that the user names. The builder cannot fail, so it keeps the error.
    fn stage_id(&mut self, stage: impl IntoStage) -> Option<StageId> {
        match stage.into_stage(self.repository.pipeline()) {
            Ok(stage) => Some(stage),
            Err(error) => {
                self.assigned.wrong_stage.get_or_insert(error);
                None
            }
        }
    }

    /// Called for each item that this worker made `FAILED`, on the caller's runtime, one after the other.
    ///
    /// A hint for people: a worker that is killed at that moment does not call it.
    pub fn on_failed<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(FailedItem) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_failed = Some(Arc::new(move |failed| Box::pin(hook(failed))));
        self
    }

    /// Called on the worker's thread when what [`Worker::run_until_idle`] waits for has changed. It must return
    /// quickly.
    pub fn on_wait(mut self, callback: impl Fn(&Waiting) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Arc::new(callback));
        self
    }

    /// Called on the worker's thread when a stage is held and when it resumes. It must return quickly. A stage is held
    /// while what its handlers need is unavailable; see [`Failure::outage`]. [`WorkerReport::held_stages`] names the
    /// stages that are held when the worker ends.
    pub fn on_hold(mut self, callback: impl Fn(&HeldStage) + Send + Sync + 'static) -> Self {
        self.on_hold = Some(Arc::new(callback));
        self
    }

    /// Informs this observer of every handler that starts and ends.
    pub fn observe(mut self, observer: impl HandlerObserver) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Shortest and longest pause between two items that a held stage tries. The pause doubles each time, with jitter.
    /// By default 1 s and 60 s.
    pub fn hold_between(mut self, min: Duration, max: Duration) -> Self {
        self.settings.hold_pauses = Pauses { min, max };
        self
    }

    /// How long handlers may go on after the worker was asked to stop; 30 s by default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Stops the worker gracefully when this token is cancelled.
    pub fn shutdown_on(mut self, token: CancellationToken) -> Self {
        self.tokens.push(token);
        self
    }

    /// Catches SIGTERM and SIGINT: the first one stops the worker gracefully, the second one at once. Both stay caught
    /// for the life of the process.
    pub fn shutdown_on_signals(mut self) -> Self {
        self.settings.signals = true;
        self
    }

    /// Shortest and longest wait between two polls of an empty queue. By default from 50 ms up to 10 s where
    /// notifications work, up to 1 s where they do not.
    pub fn poll_between(mut self, min: Duration, max: Duration) -> Self {
        self.settings.poll_min = min;
        self.settings.poll_max = Some(max);
        self
    }

    /// Works until it is asked to stop. Errors of the database do not end it, however long they last.
    ///
    /// Dropping the future stops the worker at once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that does not exist or an invalid number; [`Error::Worker`] if the worker
    /// cannot go on: every slot of a stage is held by a handler that does not stop.
    pub async fn run(self) -> Result<WorkerReport> {
        self.start().await
    }

    /// Works until every item is terminal, or until waiting would change nothing: [`WorkerReport::remaining`] names
    /// paused stages, stages without a handler, unknown words and items that are never due.
    ///
    /// Waits for items that are delayed and for those that others hold, and reports this through [`Worker::on_wait`].
    ///
    /// # Errors
    /// As [`Worker::run`]; and the database's error once it has lasted for 30 s, or for 10 minutes if it is transient.
    pub async fn run_until_idle(mut self) -> Result<WorkerReport> {
        self.settings.until_idle = true;
        self.start().await
    }

    /// As [`Worker::run_until_idle`], but also ends if items are left that become due later, for tables with schedules
    /// far in the future: [`WorkerReport::remaining`] says how many, and when the next one is due. It works on all due
    /// items, and waits for items that others hold, which may be due again soon; it does not wait for a retry that is
    /// still to come.
    ///
    /// # Errors
    /// As [`Worker::run_until_idle`].
    pub async fn run_until_nothing_is_due(mut self) -> Result<WorkerReport> {
        self.settings.until_nothing_is_due = true;
        self.run_until_idle().await
    }

    /// Runs the handlers on up to `limit` items that a claim would take now, one after the other, and writes nothing.
    ///
    /// The handlers' context uses connections on which the database allows only reads: it refuses a handler that tries
    /// to write through them. What a handler does elsewhere (another pool that it holds, files, other services) is
    /// beyond that. The record is the row as it is, not as a claim would leave it.
    ///
    /// # Errors
    /// As [`Repository::preview`](crate::Repository::preview), and those of connecting.
    pub async fn dry_run(self, limit: usize) -> Result<Vec<DryRun>> {
        let handlers = self.assigned.resolve(self.repository.pipeline())?;
        let handlers: Vec<_> = handlers.into_iter().map(|(stage, handler, _)| (stage, handler)).collect();
        ad_hoc::dry_run(&self.repository, &handlers, limit).await
    }

    /// Claims this item, runs the stage's handler on it under the stage's timeout, and writes the outcome, as the
    /// worker would. A batch handler gets a batch of one. No heartbeats are sent, and an outage holds no stage.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stage that does not exist or has no handler; [`Error::Worker`], with the
    /// reason, if the item cannot be claimed for that stage now; and those of the database.
    #[cfg(feature = "testing")]
    pub async fn run_one(self, stage: impl IntoStage, key: impl Into<crate::Key>) -> Result<TestRun> {
        let (key, repository) = (key.into(), Arc::new(self.repository));
        let pipeline = Arc::clone(repository.pipeline());
        let stage = stage.into_stage(&pipeline)?;
        let handlers = self.assigned.resolve(&pipeline)?;
        let handler = handlers.into_iter().find(|(handled, _, _)| *handled == stage);
        let Some((_, handler, _)) = handler else {
            return refuse("stage", pipeline.stage(stage).name(), "this worker has no handler for it");
        };
        ad_hoc::one_item::run_one(&repository, stage, &handler, key).await
    }

    async fn start(mut self) -> Result<WorkerReport> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| Error::Worker { problem: format!("it must be run inside a tokio runtime: {error}") })?;
        self.settings.check()?;
        self.repository.holder().check()?;
        let pipeline = Arc::clone(self.repository.pipeline());
        let handlers = self.assigned.resolve(&pipeline)?;
        let shared = Arc::new(Shared {
            repository: Arc::new(self.repository),
            leases: Arc::default(),
            completions: Arc::default(),
            wake: tokio::sync::Notify::new(),
        });
        let pauses = self.settings.hold_pauses;
        let pool = |(stage, handler, concurrency): Post<S, R>| {
            let stage_name = Arc::from(pipeline.stage(stage).name());
            let observed = self.observer.clone().map(|observer| Observed { observer, stage_name });
            let timeout = pipeline.stage(stage).timeout();
            Arc::new(StagePool::new(stage, timeout, handler, concurrency, pauses).observed_by(observed))
        };
        let pools = handlers.into_iter().map(pool).collect();
        let (failed, hook_task) = FailedHook::start(self.on_failed, &runtime);
        let grace = self.settings.grace;
        let supervisor = Supervisor::new(shared, pools, self.settings, failed, self.on_wait, self.on_hold);
        let report = thread::run(supervisor, self.tokens, runtime).await;
        if let Some(task) = hook_task {
            // After the grace period the worker does not wait for the hook.
            let _late = tokio::time::timeout(grace, task).await;
        }
        report
    }
}

/// A stage, its handler and its concurrency.
type Post<S, R> = (StageId, Handler<S, R>, usize);

impl<S: Store, R: Record<S>> Assigned<S, R> {
    /// The handlers in the order of their stages, each with its concurrency.
    fn resolve(self, pipeline: &Pipeline) -> Result<Vec<Post<S, R>>> {
        let Assigned { handlers, concurrency, wrong_stage } = self;
        if let Some(error) = wrong_stage {
            return Err(error);
        }
        if handlers.is_empty() {
            return refuse("handlers", "none", "a worker needs a handler for at least one stage");
        }
        let name = |stage: StageId| pipeline.stage(stage).name();
        for (stage, slots) in &concurrency {
            if *slots == 0 || *slots > CONCURRENCY_MAX {
                return refuse("concurrency", slots.to_string(), format!("it must be from 1 to {CONCURRENCY_MAX}"));
            }
            if !handlers.iter().any(|(handled, _)| handled == stage) {
                return refuse("concurrency", format!("given for {:?}", name(*stage)), "that stage has no handler");
            }
        }
        let mut resolved: Vec<Post<S, R>> = Vec::with_capacity(handlers.len());
        for (stage, handler) in handlers {
            if resolved.iter().any(|(other, _, _)| *other == stage) {
                return refuse("stage", format!("{:?}", name(stage)), "it has two handlers");
            }
            if handler.size() == 0 || handler.size() > BATCH_ITEMS_MAX {
                let rule = format!("a batch has from 1 to {BATCH_ITEMS_MAX} items");
                return refuse("size", handler.size().to_string(), rule);
            }
            let slots = concurrency.get(&stage).copied().unwrap_or_else(default_concurrency);
            resolved.push((stage, handler, slots));
        }
        resolved.sort_by_key(|(stage, _, _)| *stage);
        Ok(resolved)
    }
}

fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, CONCURRENCY_MAX)
}

impl Settings {
    /// Refuses settings that make no sense, and shortens waits that are too long.
    fn check(&mut self) -> Result<()> {
        let pauses = &mut self.hold_pauses;
        for (argument, min, max) in [
            ("poll_between", self.poll_min, self.poll_max.unwrap_or(Duration::MAX)),
            ("hold_between", pauses.min, pauses.max),
        ] {
            if min.is_zero() || min > max {
                let rule = "the shortest wait must be longer than zero and not longer than the longest";
                return refuse(argument, format!("{min:?} to {max:?}"), rule);
            }
        }
        let waits = [&mut self.poll_min, &mut pauses.min, &mut pauses.max, &mut self.grace];
        for wait in waits.into_iter().chain(&mut self.poll_max) {
            *wait = (*wait).min(WAIT_MAX);
        }
        Ok(())
    }
}

fn refuse<T>(argument: &'static str, value: impl Into<String>, rule: impl Into<String>) -> Result<T> {
    Err(Error::InvalidArgument { argument, value: value.into(), rule: rule.into() })
}
