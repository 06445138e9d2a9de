//! The worker's own thread: claims, finishes, timeouts and heartbeats run there, whatever the handlers do.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::listener::Listening;
use super::producer::Producer;
use super::report::{Errors, Remaining, WorkerReport};
use super::stage_pool::StagePool;
use super::supervisor::{Phase, Supervisor, enter, obey_signals, obey_token};
use super::{completer, heartbeat, listener, sweeper};
use crate::decoding::{Record, panic_words};
use crate::dispatch::Dispatch;
use crate::limits::{STOP_WAIT, VERB_BACKOFF_MAX};
use crate::{Error, Result, Store};

/// Runs a worker on a separate thread. Dropping the future stops the worker at once.
pub(crate) async fn run<S: Store, R: Record<S>>(
    supervisor: Supervisor<S, R>,
    tokens: Vec<CancellationToken>,
    runtime: tokio::runtime::Handle,
) -> Result<WorkerReport> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let span = tracing::info_span!(
        "worker",
        pipeline = supervisor.pipeline().name(),
        holder = supervisor.shared.repository.holder().as_str()
    );
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    let _stop = StopOnDrop(supervisor.phases());
    // Handlers and state are the user's: they are dropped here, on the user's runtime, and not on the worker's thread.
    let pools = supervisor.pools.clone();
    std::thread::Builder::new()
        .name("rowlock".to_owned())
        .spawn(move || {
            let _subscriber = tracing::dispatcher::set_default(&subscriber);
            let result = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(own) => {
                    // Declared after the runtime: if the worker panics, handlers are stopped before the runtime waits
                    // for its blocking tasks.
                    let closed = CloseOnDrop(supervisor.pools.clone());
                    let result = own.block_on(work(Rc::new(supervisor), tokens, runtime).instrument(span));
                    drop(closed);
                    // Abandoned statements must not hold up the thread.
                    own.shutdown_timeout(Duration::from_millis(100));
                    result
                }
                Err(error) => Err(problem(format!("no runtime can be made: {error}"))),
            };
            let _unheard = sender.send(result);
        })
        .map_err(|error| problem(format!("no thread can be started: {error}")))?;
    let report = receiver.await.unwrap_or_else(|_| Err(problem("its own thread panicked".to_owned())));
    drop(pools);
    report
}

fn problem(problem: String) -> Error {
    Error::Worker { problem }
}

struct StopOnDrop(watch::Sender<Phase>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        enter(&self.0, Phase::Stopping);
    }
}

/// Lets the slots end with the thread, however that ended.
struct CloseOnDrop<S: Store, R: Send + 'static>(Vec<Arc<StagePool<S, R>>>);

impl<S: Store, R: Send + 'static> Drop for CloseOnDrop<S, R> {
    fn drop(&mut self) {
        for pool in &self.0 {
            pool.close();
            drop(pool.take_back(0));
            pool.stop_runs();
        }
    }
}

async fn work<S: Store, R: Record<S>>(
    supervisor: Rc<Supervisor<S, R>>,
    tokens: Vec<CancellationToken>,
    runtime: tokio::runtime::Handle,
) -> Result<WorkerReport> {
    let started_at = Instant::now();
    let mut tasks = Tasks::default();
    tracing::info!(stages = supervisor.pools.len(), "worker started");
    {
        let supervisor = Rc::clone(&supervisor);
        let signals = supervisor.settings.signals;
        tasks.spawn(async move {
            if signals {
                obey_signals(&supervisor).await;
            }
        });
    }
    for token in tokens {
        let supervisor = Rc::clone(&supervisor);
        tasks.spawn(async move { obey_token(&supervisor, token).await });
    }
    let mut stores = Vec::new();
    let end = run_tasks(&supervisor, &mut tasks, &mut stores, &runtime).await;
    for pool in &supervisor.pools {
        pool.close();
    }
    drop(tasks);
    for store in stores {
        let _left = tokio::time::timeout(STOP_WAIT, store.store().close()).await;
    }
    let mut report = supervisor.tally.report();
    report.duration = started_at.elapsed();
    report.held_stages = supervisor.held_stages(Instant::now());
    report.remaining = end.inspect_err(|error| tracing::error!(%error, "worker stopped"))?;
    tracing::info!(
        completed = report.completed,
        retried = report.retried,
        failed = report.failed,
        released = report.released,
        lost = report.lost,
        swept = report.swept,
        remaining = %report.remaining,
        duration_ms = report.duration.as_millis(),
        "worker stopped"
    );
    Ok(report)
}

async fn run_tasks<S: Store, R: Record<S>>(
    supervisor: &Rc<Supervisor<S, R>>,
    tasks: &mut Tasks,
    stores: &mut Vec<Dispatch<S>>,
    runtime: &tokio::runtime::Handle,
) -> Result<Remaining> {
    let own = supervisor.shared.repository.dispatch();
    let Some(verbs) = persist(supervisor, "connect", || own.fork()).await? else { return Ok(Remaining::default()) };
    stores.push(verbs.clone());
    let Some(beats) = persist(supervisor, "connect", || own.fork()).await? else { return Ok(Remaining::default()) };
    stores.push(beats.clone());
    // The first call that gets through ends an outage, so that the sweep after it waits until living workers have
    // renewed their leases; the claims do not wait for that.
    if persist(supervisor, "now", || verbs.now_once()).await?.is_none()
        || persist(supervisor, "sweep", || sweeper::sweep_first(supervisor, &verbs)).await?.is_none()
    {
        return Ok(Remaining::default());
    }
    let listening = Listening::default();
    {
        let (supervisor, verbs) = (Rc::clone(supervisor), verbs.clone());
        tasks.spawn(async move { completer::write_completions(&supervisor, &verbs).await });
    }
    {
        let (supervisor, verbs) = (Rc::clone(supervisor), verbs.clone());
        tasks.spawn(async move { completer::retry_apart(&supervisor, &verbs).await });
    }
    {
        let supervisor = Rc::clone(supervisor);
        tasks.spawn(async move { heartbeat::beat(&supervisor, &beats).await });
    }
    {
        let (supervisor, verbs) = (Rc::clone(supervisor), verbs.clone());
        tasks.spawn(async move { sweeper::sweep_at_intervals(&supervisor, &verbs).await });
    }
    {
        let (supervisor, verbs, listening) = (Rc::clone(supervisor), verbs.clone(), listening.clone());
        tasks.spawn(async move { listener::listen(&supervisor, &verbs, &listening).await });
    }
    for pool in &supervisor.pools {
        pool.start(&supervisor.shared, runtime);
    }
    let mut producer = Producer::new(Rc::clone(supervisor), verbs, listening);
    let mut work = std::pin::pin!(producer.run());
    loop {
        tokio::select! {
            end = &mut work => return end,
            // Without that task leases would expire, or outcomes would never be written.
            error = tasks.panicked() => supervisor.fail(error),
        }
    }
}

/// Whether the error is permanent: this program is too old for the database, or an argument is invalid.
fn is_for_good(error: &Error) -> bool {
    matches!(error, Error::SchemaTooNew { .. } | Error::InvalidArgument { .. } | Error::InvalidPipeline { .. })
}

/// Calls until it succeeds. `None` if the worker is to stop; the error if it is permanent, or if `run_until_idle` gives
/// up.
async fn persist<S: Store, R: Send + 'static, T, F>(
    supervisor: &Supervisor<S, R>,
    what: &str,
    call: impl Fn() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut errors = Errors::default();
    let mut phase = supervisor.watch_phase();
    loop {
        let answer = tokio::select! {
            answer = call() => answer,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return Ok(None),
        };
        match answer {
            Ok(value) => {
                supervisor.disruptions.answered(Instant::now());
                errors.passed(what);
                return Ok(Some(value));
            }
            Err(error) => {
                supervisor.met(&mut errors, what, &error);
                if is_for_good(&error) {
                    return Err(error);
                }
                if supervisor.settings.until_idle && errors.lasted() > error.patience() {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(VERB_BACKOFF_MAX / 4).await;
    }
}

/// Tasks on the worker's thread that end with it.
#[derive(Default)]
struct Tasks {
    running: JoinSet<()>,
}

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + 'static) {
        self.running.spawn_local(task.in_current_span());
    }

    /// The error of a task that panicked; never returns if none does.
    async fn panicked(&mut self) -> Error {
        while let Some(ended) = self.running.join_next().await {
            if let Err(ended) = ended
                && let Ok(panic) = ended.try_into_panic()
            {
                return problem(format!("a task of its own thread panicked: {}", panic_words(&*panic)));
            }
        }
        std::future::pending().await
    }
}
