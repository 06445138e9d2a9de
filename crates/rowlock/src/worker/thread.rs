//! The worker's own thread: claims, finishes, timeouts and heartbeats run there, whatever the handlers do.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dispatcher::Dispatcher;
use super::engine::{Engine, Phase};
use super::errors::Errors;
use super::report::{Remaining, WorkerReport};
use super::wakeup::Hearing;
use super::{finishing, heartbeat, shutdown, sweeping, wakeup};
use crate::decoding::{Record, panic_words};
use crate::dispatch::Dispatch;
use crate::limits::{LASTING_ERROR_PATIENCE, OUTAGE_PATIENCE, STOP_WAIT, VERB_BACKOFF_MAX};
use crate::{Error, Result, Store};

/// Runs a worker on a separate thread. Dropping the future stops the worker at once.
pub(crate) async fn run<S: Store, R: Record<S>>(
    engine: Arc<Engine<S, R>>,
    tokens: Vec<CancellationToken>,
    runtime: tokio::runtime::Handle,
) -> Result<WorkerReport> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let span = tracing::info_span!(
        "worker",
        pipeline = engine.pipeline().name(),
        holder = engine.floor.repository.holder().as_str()
    );
    let subscriber = tracing::dispatcher::get_default(Clone::clone);
    let own = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| problem(format!("no runtime can be made: {error}")))?;
    let _stop = StopOnDrop(Arc::clone(&engine));
    let on_thread = Arc::clone(&engine);
    std::thread::Builder::new()
        .name("rowlock".to_owned())
        .spawn(move || {
            let _subscriber = tracing::dispatcher::set_default(&subscriber);
            let _closed = CloseOnDrop(Arc::clone(&on_thread));
            let result = own.block_on(work(on_thread, tokens, runtime).instrument(span));
            // Abandoned statements must not hold up the thread.
            own.shutdown_timeout(Duration::from_millis(100));
            let _unheard = sender.send(result);
        })
        .map_err(|error| problem(format!("no thread can be started: {error}")))?;
    receiver.await.unwrap_or_else(|_| Err(problem("its own thread panicked".to_owned())))
}

fn problem(problem: String) -> Error {
    Error::Worker { problem }
}

struct StopOnDrop<S: Store, R: Send + 'static>(Arc<Engine<S, R>>);

impl<S: Store, R: Send + 'static> Drop for StopOnDrop<S, R> {
    fn drop(&mut self) {
        self.0.enter(Phase::Stopping);
    }
}

/// Lets the slots end with the thread, however that ended.
struct CloseOnDrop<S: Store, R: Send + 'static>(Arc<Engine<S, R>>);

impl<S: Store, R: Send + 'static> Drop for CloseOnDrop<S, R> {
    fn drop(&mut self) {
        for crew in &self.0.crews {
            crew.close();
            drop(crew.take_back(0));
        }
        self.0.stop_runs();
    }
}

async fn work<S: Store, R: Record<S>>(
    engine: Arc<Engine<S, R>>,
    tokens: Vec<CancellationToken>,
    runtime: tokio::runtime::Handle,
) -> Result<WorkerReport> {
    let started_at = Instant::now();
    let mut tasks = Tasks::default();
    tracing::info!(stages = engine.crews.len(), "worker started");
    {
        let engine = Arc::clone(&engine);
        let signals = engine.settings.signals;
        tasks.spawn(async move {
            if signals {
                shutdown::obey_signals(&engine).await;
            }
        });
    }
    for token in tokens {
        let engine = Arc::clone(&engine);
        tasks.spawn(async move { shutdown::obey_token(&engine, token).await });
    }
    let mut stores = Vec::new();
    let end = dispatch(&engine, &mut tasks, &mut stores, &runtime).await;
    for crew in &engine.crews {
        crew.close();
    }
    drop(tasks);
    for store in stores {
        let _left = tokio::time::timeout(STOP_WAIT, store.store().close()).await;
    }
    let mut report = engine.tally.report();
    report.duration = started_at.elapsed();
    report.held_stages = engine.held_stages(Instant::now());
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

async fn dispatch<S: Store, R: Record<S>>(
    engine: &Arc<Engine<S, R>>,
    tasks: &mut Tasks,
    stores: &mut Vec<Dispatch<S>>,
    runtime: &tokio::runtime::Handle,
) -> Result<Remaining> {
    let own = engine.floor.repository.dispatch();
    let Some(verbs) = persist(engine, "connect", || own.fork()).await? else { return Ok(Remaining::default()) };
    stores.push(verbs.clone());
    let Some(beats) = persist(engine, "connect", || own.fork()).await? else { return Ok(Remaining::default()) };
    stores.push(beats.clone());
    // The first call that gets through ends an outage, so that the sweep after it waits until living workers have
    // renewed their leases; the claims do not wait for that.
    if persist(engine, "now", || verbs.now_once()).await?.is_none()
        || persist(engine, "sweep", || sweeping::sweep_first(engine, &verbs)).await?.is_none()
    {
        return Ok(Remaining::default());
    }
    let hearing = Hearing::default();
    {
        let (engine, verbs) = (Arc::clone(engine), verbs.clone());
        tasks.spawn(async move { finishing::finish_ended(&engine, &verbs).await });
    }
    {
        let (engine, verbs) = (Arc::clone(engine), verbs.clone());
        tasks.spawn(async move { finishing::finish_apart(&engine, &verbs).await });
    }
    {
        let engine = Arc::clone(engine);
        tasks.spawn(async move { heartbeat::beat(&engine, &beats).await });
    }
    {
        let (engine, verbs) = (Arc::clone(engine), verbs.clone());
        tasks.spawn(async move { sweeping::sweep_at_intervals(&engine, &verbs).await });
    }
    {
        let (engine, verbs, hearing) = (Arc::clone(engine), verbs.clone(), hearing.clone());
        tasks.spawn(async move { wakeup::listen(&engine, &verbs, &hearing).await });
    }
    for crew in &engine.crews {
        crew.start(&engine.floor, runtime);
    }
    let mut dispatcher = Dispatcher::new(Arc::clone(engine), verbs, hearing);
    let mut work = std::pin::pin!(dispatcher.run());
    loop {
        tokio::select! {
            end = &mut work => return end,
            // Without that task leases would expire, or outcomes would never be written.
            error = tasks.panicked() => engine.fail(error),
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
    engine: &Engine<S, R>,
    what: &str,
    call: impl Fn() -> F,
) -> Result<Option<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut errors = Errors::default();
    let mut phase = engine.watch_phase();
    loop {
        let answer = tokio::select! {
            answer = call() => answer,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return Ok(None),
        };
        match answer {
            Ok(value) => {
                engine.pulse.answered(Instant::now());
                errors.passed(what);
                return Ok(Some(value));
            }
            Err(error) => {
                engine.met(&mut errors, what, &error);
                if is_for_good(&error) {
                    return Err(error);
                }
                let patience = if error.is_transient() { OUTAGE_PATIENCE } else { LASTING_ERROR_PATIENCE };
                if engine.settings.until_idle && errors.lasted() > patience {
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
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(task.in_current_span());
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
