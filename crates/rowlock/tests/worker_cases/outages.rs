//! Lost answers, and databases that do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rowlock::{Record, StageId, Status, Worker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::faulty::{Fate, Faulty, Plan, first_calls};
use super::*;

pub(crate) async fn faulty<D: Database>(
    database: &D,
    pipeline: PipelineBuilder,
    plan: Plan,
) -> Repository<Faulty<D::S>, Item>
where
    Item: Record<D::S>,
{
    let inner = database.store(pipeline.build().expect("a valid pipeline")).await;
    Repository::new(Faulty::new(inner, plan))
}

/// Runs 30 items through a worker over such a store; every item must be handled once and completed.
async fn all_complete_in_spite_of<D: Database>(database: &D, plan: Plan) -> WorkerReport
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), plan).await;
    let keys: Vec<Key> = (0..30).map(|n| Key::from(format!("item-{n}"))).collect();
    repository.add_many(&keys).await.expect("added");
    let handled = Arc::new(AtomicUsize::new(0));
    let in_handler = Arc::clone(&handled);
    let worker = Worker::new(repository.clone()).handle("ONE", move |_, _| {
        in_handler.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!(handled.load(Ordering::Relaxed), 30);
    assert_eq!((report.completed, report.lost, report.unknown), (30, 0, 0), "{report:?}");
    assert_eq!(repository.counts_exact().await.expect("counted").count(Status::Succeeded), 30);
    report
}

pub(crate) async fn a_claim_whose_answer_was_lost_is_adopted<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    all_complete_in_spite_of(database, first_calls("claim", &[Fate::AnswerLost; 3])).await;
}

pub(crate) async fn a_claim_that_is_found_later_is_given_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    // The claim takes effect; the first searches for its items fail as well.
    let claims = AtomicUsize::new(0);
    let looks = AtomicUsize::new(0);
    let plan: Plan = Arc::new(move |verb| match verb {
        "claim" if claims.fetch_add(1, Ordering::Relaxed) == 0 => Fate::AnswerLost,
        "find_claimed" if looks.fetch_add(1, Ordering::Relaxed) < 2 => Fate::NeverArrived,
        _ => Fate::Answered,
    });
    let report = all_complete_in_spite_of(database, plan).await;
    assert!(report.released > 0 && report.errors > 0, "{report:?}");
}

pub(crate) async fn a_finish_whose_answer_was_lost_counts_once<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    all_complete_in_spite_of(database, first_calls("finish", &[Fate::AnswerLost, Fate::NeverArrived])).await;
}

pub(crate) async fn errors_of_the_claim_are_not_taken_for_an_empty_queue<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let report = all_complete_in_spite_of(database, first_calls("claim", &[Fate::Broken; 4])).await;
    assert_eq!(report.errors, 4, "{report:?}");
}

pub(crate) async fn a_worker_starts_although_the_database_is_away<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let report = all_complete_in_spite_of(database, first_calls("now", &[Fate::NeverArrived; 2])).await;
    assert_eq!(report.errors, 2, "{report:?}");
}

pub(crate) async fn an_item_completed_in_a_transaction_whose_answer_was_lost_is_told<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), first_calls("finish_in", &[Fate::AnswerLost])).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let worker = Worker::new(repository.clone()).handle("ONE", |ctx, claim| async move {
        let transaction = ctx.begin().await?;
        Ok(claim.complete_in(transaction).await?)
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.unknown), (1, 0, 0), "{report:?}");
}

pub(crate) async fn a_worker_without_renewals_stops_its_handlers_by_itself<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let plan: Plan =
        Arc::new(move |_| if is_away.load(Ordering::Acquire) { Fate::NeverArrived } else { Fate::Answered });
    let times = pipeline(&["ONE"]).stale_after(Duration::from_secs(6));
    let repository = faulty(database, times, plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let (started, mut starts) = mpsc::unbounded_channel();
    let (stopped, mut stops) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |ctx, _| {
            let (started, stopped) = (started.clone(), stopped.clone());
            async move {
                started.send(()).expect("the test listens");
                ctx.cancelled().await;
                stopped.send(()).expect("the test listens");
                std::future::pending::<()>().await;
                Ok(())
            }
        })
        .grace(Duration::from_millis(100))
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    soon(starts.recv()).await.expect("started");
    away.store(true, Ordering::Release);
    soon(stops.recv()).await.expect("the handler is told");
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.lost, report.completed, report.released), (1, 0, 0), "{report:?}");
    // Nothing was written: the sweep takes the item back and counts it.
    let counts = repository.store().inner.counts(&rowlock::store::CountParams::default()).await.expect("counted");
    assert_eq!(counts.count(Status::InProgress(StageId::FIRST)), 1);
}

pub(crate) async fn after_an_outage_the_living_renew_before_a_sweep<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    sweeps_an_interval_after(database, |_| Fate::NeverArrived).await;
}

/// As during a fail-over: reads are answered all the time, but no worker's renewals get through.
pub(crate) async fn while_the_database_may_only_be_read_nothing_is_swept_and_then_the_living_renew<D: Database>(
    database: &D,
) where
    Item: Record<D::S>,
{
    let reads = ["now", "read_leases", "counts", "get", "list", "preview", "explain", "failures", "held"];
    sweeps_an_interval_after(database, move |verb| if reads.contains(&verb) { Fate::Answered } else { Fate::ReadOnly })
        .await;
}

/// The first sweep comes one heartbeat interval after the first answered call that changes something.
async fn sweeps_an_interval_after<D: Database>(
    database: &D,
    while_away: impl Fn(&'static str) -> Fate + Send + Sync + 'static,
) where
    Item: Record<D::S>,
{
    use std::sync::Mutex;
    use std::time::Instant;

    // The database is away from the first sweep on, for longer than a heartbeat interval.
    let away_since = Mutex::new(None);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let plan: Plan = Arc::new(move |verb| {
        let mut since = away_since.lock().expect("no panic");
        if verb == "sweep" {
            since.get_or_insert_with(Instant::now);
        }
        let Some(since) = *since else { return Fate::Answered };
        let is_away = since.elapsed() < Duration::from_millis(2_500);
        seen.lock().expect("no panic").push((verb, Instant::now(), !is_away));
        if is_away { while_away(verb) } else { Fate::Answered }
    });
    let times = pipeline(&["ONE"]).stale_after(Duration::from_secs(3)).heartbeat_interval(Duration::from_secs(1));
    let repository = faulty(database, times, plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    assert_eq!(repository.claim(1).await.expect("claimed").items.len(), 1, "held by nobody who lives");
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    assert_eq!(told(soon(worker.run_until_idle()).await).swept, 1);
    let calls = calls.lock().expect("no panic");
    let first = |verb: Option<&str>| {
        let answered = calls.iter().find(|(called, _, answered)| *answered && verb.is_none_or(|verb| verb == *called));
        answered.expect("the database came back").1
    };
    let waited = first(Some("sweep")) - first(None);
    assert!(waited >= Duration::from_secs(1), "it swept {waited:?} after the outage");
}

pub(crate) async fn a_handler_that_finishes_by_itself_is_told_of_its_timeout<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    // The handler's own finish takes longer than the timeout: none of its attempts arrives, and the last one lasts
    // until after the handler was asked to stop. If the worker dropped handlers at that point, this one would have been
    // dropped long before.
    let stage = rowlock::Stage::new("ONE").with_timeout(Duration::from_millis(200));
    let attempts = rowlock::limits::VERB_ATTEMPTS_MAX as usize;
    let plan = first_calls("finish", &vec![Fate::NeverArrived; attempts]);
    let repository = faulty(database, pipeline(&[]).add_stage(stage), plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    *repository.store().special.held_finish.lock().expect("no panic") = Some((attempts, may_go_on));
    let (tell, mut order) = mpsc::unbounded_channel();
    let worker = Worker::new(repository).handle("ONE", move |ctx, claim| {
        let (tell, go_on) = (tell.clone(), go_on.clone());
        async move {
            let (token, told) = (ctx.token(), tell.clone());
            tokio::spawn(async move {
                token.cancelled().await;
                told.send("told").expect("the test listens");
                tokio::time::sleep(Duration::from_millis(50)).await;
                go_on.send_replace(true);
            });
            let unknown = claim.complete().await.expect_err("no answer came");
            tell.send("answered").expect("the test listens");
            assert!(unknown.error().may_have_been_applied(), "{unknown}");
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.unknown, report.leaked_slots), (1, 0, 0), "{report:?}");
    assert_eq!((order.recv().await, order.recv().await), (Some("told"), Some("answered")));
}

/// As when the worker's role has no right to the row that decides the turns.
pub(crate) async fn where_no_turn_can_be_had_everybody_sweeps<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan: Plan = Arc::new(|verb| if verb == "sweep_turn" { Fate::Broken } else { Fate::Answered });
    let repository = faulty(database, pipeline(&["ONE"]).stale_after(Duration::from_secs(6)), plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let params = repository.claim_params(["ONE"], 1).expect("a stage");
    repository.store().claim(&params).await.expect("claimed by somebody who then does nothing");
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.swept, report.completed), (1, 1), "{report:?}");
    assert!(report.errors > 0, "{report:?}");
}
