//! A deploy brings a trigger that refuses every row, under a running worker with a backlog: few items pay for it, the
//! worker reports that the stage is held, and resumes by itself when the trigger is fixed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rowlock::{Context, Failure, HeldBy, HeldStage, Record, StageId, Status, Worker};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// At most this many are `FAILED` for one cause.
const FAILED_MAX: usize = rowlock::limits::REFUSED_ALIKE_MAX;

const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// How long the test watches that no more than a few items become `FAILED`: many tries.
const LOOKED_FOR: Duration = Duration::from_millis(600);

/// A worker that runs until it is stopped, and its reports on its stages.
struct Running<D: Database>
where
    Item: Record<D::S>,
{
    repository: Repo<D>,
    /// How many runs have begun.
    begun: Arc<AtomicUsize>,
    /// From now on the handlers do more than the first few items.
    go_on: watch::Sender<bool>,
    holds: mpsc::UnboundedReceiver<HeldStage>,
    stop: CancellationToken,
    worker: JoinHandle<rowlock::Result<WorkerReport>>,
}

/// Items that are done before the deploy.
const BEFORE: usize = 12;

impl<D: Database> Running<D>
where
    Item: Record<D::S>,
{
    fn start(repository: Repo<D>, stages: &[&str], concurrency: usize, takes: Duration) -> Running<D> {
        let (begun, stop) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let (go_on, _) = watch::channel(false);
        let (tell, holds) = mpsc::unbounded_channel();
        let mut worker = Worker::new(repository.clone())
            .hold_between(PAUSE_MIN, PAUSE_MAX)
            .poll_between(PAUSE_MIN, PAUSE_MAX)
            .grace(Duration::from_millis(100))
            .on_hold(move |held| drop(tell.send(held.clone())))
            .shutdown_on(stop.clone());
        for stage in stages {
            let (begun, go_on) = (Arc::clone(&begun), go_on.clone());
            worker = worker.concurrency(*stage, concurrency).handle(*stage, move |context: Context<_, _>, _| {
                let (is_early, mut may_go) = (begun.fetch_add(1, Ordering::SeqCst) < BEFORE, go_on.subscribe());
                async move {
                    if !is_early {
                        may_go.wait_for(|may_go| *may_go).await.map_err(|_| Failure::permanent("the test is over"))?;
                        tokio::select! {
                            () = tokio::time::sleep(takes) => {}
                            () = context.cancelled() => return Err(Failure::retryable("its lease was lost")),
                        }
                    }
                    Ok(())
                }
            });
        }
        let worker = tokio::spawn(worker.run());
        Running { repository, begun, go_on, holds, stop, worker }
    }

    async fn until_begun(&self) {
        soon(async {
            while self.begun.load(Ordering::SeqCst) <= BEFORE {
                tokio::time::sleep(PAUSE_MIN).await;
            }
        })
        .await;
    }

    /// Waits for the report that a stage is held for refusals, or has resumed.
    async fn until_held(&mut self, is_over: bool) -> HeldStage {
        soon(async {
            loop {
                let held = self.holds.recv().await.expect("the worker lives");
                if held.is_over == is_over {
                    assert_eq!(held.cause, HeldBy::Refusals, "{held}");
                    return held;
                }
            }
        })
        .await
    }

    /// Until the stage has done all of its items.
    async fn until_empty(&self, stage: StageId) {
        soon(async {
            loop {
                let counts = self.repository.counts_exact().await.expect("counted");
                if counts.count(Status::Ready(stage)) + counts.count(Status::InProgress(stage)) == 0 {
                    return;
                }
                tokio::time::sleep(PAUSE_MAX).await;
            }
        })
        .await;
    }

    async fn until_count(&self, status: Status, items: i64) {
        soon(async {
            while self.repository.counts_exact().await.expect("counted").count(status) < items {
                tokio::time::sleep(PAUSE_MAX).await;
            }
        })
        .await;
    }

    async fn failed(&self) -> usize {
        let failed = self.repository.counts_exact().await.expect("counted").count(Status::Failed);
        usize::try_from(failed).expect("a count")
    }

    /// Until all items have succeeded except those that are `FAILED`.
    async fn until_done(&self, items: i64) {
        soon(async {
            loop {
                let counts = self.repository.counts_exact().await.expect("counted");
                if counts.count(Status::Succeeded) + counts.count(Status::Failed) == items {
                    return;
                }
                tokio::time::sleep(PAUSE_MAX).await;
            }
        })
        .await;
        assert!(self.failed().await <= FAILED_MAX, "{} are FAILED", self.failed().await);
    }

    async fn end(self) -> WorkerReport {
        self.stop.cancel();
        told(soon(self.worker).await.expect("no panic"))
    }
}

fn word(pipeline: &Pipeline, status: Status) -> String {
    format!("'{}'", pipeline.word(status))
}

/// The whole story, with a trigger that refuses updates of this kind.
async fn few_items_pay<D: Database>(database: &D, items: usize, takes: Duration, when: impl Fn(&Pipeline) -> String)
where
    Item: Record<D::S>,
{
    let times = pipeline(&["ONE"]).stale_after(Duration::from_secs(3)).heartbeat_interval(Duration::from_millis(200));
    let repository = repository(database, times).await;
    let keys = add::<D>(&repository, items).await;
    let when = when(repository.pipeline());
    let mut running = Running::<D>::start(repository, &["ONE"], 4, takes);
    running.until_begun().await;
    database.refuse_updates(&when).await;
    // All earlier items may be claimed already.
    let late: Vec<Key> = (0..items).map(|n| Key::from(format!("late-{n:05}"))).collect();
    running.repository.add_many(&late).await.expect("added");
    running.go_on.send_replace(true);
    let held = running.until_held(false).await;
    assert!(held.name == "ONE" && held.reason.contains("not since the deploy"), "{held}");
    tokio::time::sleep(LOOKED_FOR).await;
    assert!(running.failed().await <= FAILED_MAX, "{} are FAILED", running.failed().await);
    database.allow_updates().await;
    running.until_held(true).await;
    running.until_done(i64::try_from(2 * items).expect("few")).await;
    for key in keys.iter().chain(&late) {
        let facts = running.repository.explain(key.clone()).await.expect("read").expect("there");
        assert_eq!((facts.reset_count, facts.retry_count), (0, 0), "{key}: {facts:?}");
    }
    let report = running.end().await;
    assert!(report.held_stages.is_empty(), "{report:?}");
}

pub(crate) async fn a_trigger_that_refuses_every_claim_fails_few_items<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    few_items_pay(database, 200, Duration::ZERO, |pipeline| {
        format!("new.status = {}", word(pipeline, Status::InProgress(StageId::FIRST)))
    })
    .await;
}

pub(crate) async fn a_trigger_that_refuses_every_success_fails_few_items<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    few_items_pay(database, 200, Duration::ZERO, |pipeline| {
        format!("new.status = {}", word(pipeline, Status::Succeeded))
    })
    .await;
}

pub(crate) async fn a_trigger_that_refuses_every_update_fails_few_items<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    few_items_pay(database, 200, Duration::ZERO, |_| "new.id = old.id".to_owned()).await;
}

pub(crate) async fn a_trigger_that_refuses_every_heartbeat_fails_few_items<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    few_items_pay(database, 30, Duration::from_millis(300), |_| {
        "new.status = old.status and new.heartbeat_at <> old.heartbeat_at".to_owned()
    })
    .await;
}

pub(crate) async fn a_trigger_that_refuses_every_sweep_fails_few_items<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).stale_after(Duration::from_secs(3))).await;
    let stranded = 40;
    add::<D>(&repository, stranded).await;
    assert_eq!(claim_and_stop::<D>(&repository, 1_000).await.len(), stranded);
    database.execute("update items set heartbeat_at = null").await;
    repository.add_many(&[Key::from("fresh")]).await.expect("added");
    let in_progress = word(repository.pipeline(), Status::InProgress(StageId::FIRST));
    let ready = word(repository.pipeline(), Status::Ready(StageId::FIRST));
    database.refuse_updates(&format!("old.status = {in_progress} and new.status = {ready}")).await;
    let mut running = Running::<D>::start(repository, &["ONE"], 4, Duration::ZERO);
    running.go_on.send_replace(true);
    let held = running.until_held(false).await;
    assert!(held.reason.starts_with("sweep: "), "{held}");
    running.until_count(Status::Succeeded, 1).await;
    assert!(running.failed().await <= FAILED_MAX);
    database.allow_updates().await;
    running.until_held(true).await;
    running.until_done(41).await;
    running.end().await;
}

/// Two stages with waiting items; the trigger concerns one of them, and the other goes on.
async fn the_other_goes_on<D: Database>(database: &D, when: impl Fn(&Pipeline) -> String, held_name: &str)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 200).await;
    let two = repository.pipeline().stage_named("TWO").expect("there");
    let ready_in_two = word(repository.pipeline(), Status::Ready(two));
    database.execute(&format!("update items set status = {ready_in_two} where id >= 'item-00100'")).await;
    let when = when(repository.pipeline());
    let mut running = Running::<D>::start(repository, &["ONE", "TWO"], 4, Duration::ZERO);
    running.until_begun().await;
    database.refuse_updates(&when).await;
    running.go_on.send_replace(true);
    let held = running.until_held(false).await;
    assert_eq!(held.name, held_name, "{held}");
    running.until_empty(if held_name == "ONE" { two } else { StageId::FIRST }).await;
    tokio::time::sleep(LOOKED_FOR).await;
    assert!(running.failed().await <= FAILED_MAX, "{} are FAILED", running.failed().await);
    database.allow_updates().await;
    running.until_done(200).await;
    let report = running.end().await;
    assert!(report.held_stages.is_empty(), "{report:?}");
}

pub(crate) async fn while_a_stage_cannot_be_completed_the_next_one_goes_on<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    the_other_goes_on(
        database,
        |pipeline| {
            let in_progress = word(pipeline, Status::InProgress(StageId::FIRST));
            let failed = word(pipeline, Status::Failed);
            format!("old.status = {in_progress} and new.status not in ({in_progress}, {failed})")
        },
        "ONE",
    )
    .await;
}

pub(crate) async fn while_a_stage_cannot_be_claimed_the_one_before_goes_on<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    the_other_goes_on(
        database,
        |pipeline| {
            let two = pipeline.stage_named("TWO").expect("there");
            format!("new.status = {}", word(pipeline, Status::InProgress(two)))
        },
        "TWO",
    )
    .await;
}

pub(crate) async fn a_worker_that_ends_while_finishes_are_refused_gives_them_back_uncounted<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 100).await;
    let succeeded = word(repository.pipeline(), Status::Succeeded);
    let mut running = Running::<D>::start(repository, &["ONE"], 4, Duration::ZERO);
    running.until_begun().await;
    database.refuse_updates(&format!("new.status = {succeeded}")).await;
    running.go_on.send_replace(true);
    running.until_held(false).await;
    let repository = running.repository.clone();
    let report = running.end().await;
    let [held] = &report.held_stages[..] else { panic!("{report:?}") };
    assert!(held.reason.starts_with("complete: "), "{held}");
    for key in &keys {
        let facts = repository.explain(key.clone()).await.expect("read").expect("there");
        assert_eq!((facts.reset_count, facts.retry_count), (0, 0), "{key}: {facts:?}");
    }
    let counts = repository.counts_exact().await.expect("counted");
    assert_eq!(counts.count(Status::InProgress(StageId::FIRST)), 0, "{report:?}");
}

pub(crate) async fn a_queue_of_nothing_but_bad_rows_comes_to_an_end<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 8).await;
    let in_progress = word(repository.pipeline(), Status::InProgress(StageId::FIRST));
    database.refuse_updates(&format!("new.status = {in_progress}")).await;
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .poll_between(PAUSE_MIN, PAUSE_MAX)
        .concurrency("ONE", 16)
        .handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.refused), (0, 8), "{report:?}");
    assert_eq!(count::<D>(&repository, Status::Failed).await, 8);
}
