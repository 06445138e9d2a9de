//! Items that continue with the next stage without being given back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rowlock::{Record, Status, Worker};
use tokio_util::sync::CancellationToken;

use super::faulty::{Fate, Faulty, Plan, answered, counted, first_calls};
use super::outages::faulty;
use super::*;

type FaultyRepository<D> = Repository<Faulty<<D as Database>::S>, Item>;

const ITEMS: u64 = 500;

/// Runs that a slow machine gets.
const ROUNDS_MAX: u32 = 50;

/// How often each item was handled, by its word in progress.
type Runs = Arc<Mutex<HashMap<String, usize>>>;

async fn with_items<D: Database>(database: &D, plan: Plan) -> FaultyRepository<D>
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE", "TWO"]), plan).await;
    add_items::<D>(&repository, 0).await;
    repository
}

async fn add_items<D: Database>(repository: &FaultyRepository<D>, round: u32)
where
    Item: Record<D::S>,
{
    let keys: Vec<Key> = (0..ITEMS).map(|n| Key::from(format!("item {round} {n}"))).collect();
    assert_eq!(repository.add_many(&keys).await.expect("added").added, ITEMS);
}

fn worker<D: Database>(repository: &FaultyRepository<D>, runs: &Runs) -> Worker<Faulty<D::S>, Item>
where
    Item: Record<D::S>,
{
    let handle = |runs: &Runs| {
        let runs = Arc::clone(runs);
        move |_, claim: rowlock::Claim<Item>| {
            *runs.lock().expect("no panic").entry(format!("{} {}", claim.id, claim.status)).or_default() += 1;
            async { Ok::<(), rowlock::Failure>(()) }
        }
    };
    Worker::new(repository.clone()).advance_directly().handle("ONE", handle(runs)).handle("TWO", handle(runs))
}

/// Runs items through both stages; each must be handled once in each, whatever the plan does to the calls. Again, if the
/// machine was so slow that it did not come to continuing.
async fn each_is_handled_once_in_each_stage<D: Database>(database: &D, plan: Plan) -> (WorkerReport, usize)
where
    Item: Record<D::S>,
{
    let (plan, calls) = counted("continue_items", plan);
    let repository = with_items(database, plan).await;
    for round in 1..=ROUNDS_MAX {
        let runs = Runs::default();
        let report = told(soon(worker::<D>(&repository, &runs).run_until_idle()).await);
        let (twice, handled) = {
            let runs = runs.lock().expect("no panic");
            (runs.values().filter(|count| **count > 1).count(), runs.len() as u64)
        };
        assert_eq!((handled, twice), (2 * ITEMS, 0));
        assert_eq!((report.completed, report.lost, report.unknown), (2 * ITEMS, 0, 0), "{report:?}");
        let counts = repository.counts_exact().await.expect("counted");
        assert_eq!(counts.count(Status::Succeeded).unsigned_abs(), u64::from(round) * ITEMS);
        if *calls.borrow() > 0 {
            return (report, repository.store().special.continued_items.load(Ordering::Relaxed));
        }
        add_items::<D>(&repository, round).await;
    }
    panic!("it never came to continuing")
}

pub(crate) async fn items_continue_to_the_next_stage_without_a_claim<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (report, continued_items) = each_is_handled_once_in_each_stage(database, answered()).await;
    assert!(continued_items > 0, "all were given back: {report:?}");
    assert_eq!(report.errors, 0, "{report:?}");
}

pub(crate) async fn items_that_continued_by_a_lost_answer_are_adopted<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan = first_calls("continue_items", &[Fate::AnswerLost; 3]);
    let (report, _) = each_is_handled_once_in_each_stage(database, plan).await;
    assert_eq!((report.errors, report.released), (0, 0), "{report:?}");
}

/// Nobody finds the items at first, so their old leases are finished: the row's new token proves that they continued.
pub(crate) async fn items_that_continued_and_are_found_later_are_given_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (calls, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let plan: Plan = Arc::new(move |verb| match verb {
        "continue_items" if calls.fetch_add(1, Ordering::Relaxed) == 0 => Fate::AnswerLost,
        "find_claimed" if looks.fetch_add(1, Ordering::Relaxed) < 2 => Fate::NeverArrived,
        _ => Fate::Answered,
    });
    let (report, _) = each_is_handled_once_in_each_stage(database, plan).await;
    assert!(report.released > 0 && report.errors > 0, "{report:?}");
}

/// Nobody can tell from the error, so the items are completed as those that may have continued.
pub(crate) async fn items_that_did_not_continue_by_a_lost_call_are_completed<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan = first_calls("continue_items", &[Fate::NeverArrived]);
    let (report, _) = each_is_handled_once_in_each_stage(database, plan).await;
    assert!(report.released == 0 && report.errors > 0, "{report:?}");
}

/// What may have continued is finished apart, as one part: one item of it that the database cannot write is found by halving.
pub(crate) async fn one_that_cannot_be_written_holds_up_none_that_may_have_continued<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    const FEW: i64 = 16;
    let (plan, calls) = counted("continue_items", first_calls("continue_items", &[Fate::NeverArrived; 2]));
    let repository = faulty(database, pipeline(&["ONE", "TWO"]), plan).await;
    let keys: Vec<Key> = (0..FEW).map(|n| Key::from(format!("item {n}"))).collect();
    repository.store().special.unwritable.lock().expect("no panic").insert(keys[7].clone());
    let (stop, runs) = (CancellationToken::new(), Runs::default());
    // It ends with that: until a lost statement can take nothing any more a worker looks for what it took.
    let worker = worker::<D>(&repository, &runs).grace(Duration::ZERO).shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    repository.add_many(&keys).await.expect("added");
    let succeeded = async |expected: i64| {
        while repository.counts_exact().await.expect("counted").count(Status::Succeeded) < expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(succeeded(FEW - 1)).await;
    repository.store().special.unwritable.lock().expect("no panic").clear();
    soon(succeeded(FEW)).await;
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.lost), (2 * FEW.unsigned_abs(), 0), "{report:?}");
    assert!(*calls.borrow() > 0, "{report:?}");
}

/// What is wrong with an item is for the finish to say.
pub(crate) async fn items_that_cannot_continue_are_completed<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan: Plan = Arc::new(|verb| if verb == "continue_items" { Fate::Broken } else { Fate::Answered });
    let (_, continued_items) = each_is_handled_once_in_each_stage(database, plan).await;
    assert_eq!(continued_items, 0);
}

pub(crate) async fn nothing_continues_to_a_stage_that_is_paused<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (plan, calls) = counted("continue_items", answered());
    let repository = with_items(database, plan).await;
    let two = repository.pipeline().stage_named("TWO").expect("a stage");
    repository.pause(two).await.expect("paused");
    for round in 1..=ROUNDS_MAX {
        let runs = Runs::default();
        let report = told(soon(worker::<D>(&repository, &runs).run_until_idle()).await);
        assert_eq!((report.completed, report.lost, report.errors), (ITEMS, 0, 0), "{report:?}");
        let counts = repository.counts_exact().await.expect("counted");
        assert_eq!(counts.count(Status::Ready(two)).unsigned_abs(), u64::from(round) * ITEMS);
        if *calls.borrow() > 0 {
            return;
        }
        add_items::<D>(&repository, round).await;
    }
    panic!("it never came to continuing")
}

pub(crate) async fn by_default_a_worker_passes_through_the_word_between_two_stages<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (plan, calls) = counted("continue_items", answered());
    let repository = with_items(database, plan).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let worker = worker.handle("TWO", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, *calls.borrow()), (2 * ITEMS, 0), "{report:?}");
}

/// A worker continues only where it can also do the work.
pub(crate) async fn nothing_continues_to_a_stage_without_a_handler<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = with_items(database, answered()).await;
    let two = repository.pipeline().stage_named("TWO").expect("a stage");
    let worker = Worker::new(repository.clone()).advance_directly().handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.lost, report.errors), (ITEMS, 0, 0), "{report:?}");
    assert_eq!(repository.counts_exact().await.expect("counted").count(Status::Ready(two)).unsigned_abs(), ITEMS);
}

/// The stage before never runs dry, and what comes from there would fill the later one for ever: all the same what waits for
/// that is claimed.
pub(crate) async fn what_waits_for_the_next_stage_has_its_turn<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    has_its_turn(
        database,
        "update items set status = 'ONE_COMPLETE', created_at = '2000-01-01 00:00:00+00' where id = 'item-39999'",
    )
    .await;
}

pub(crate) async fn a_suspect_of_the_next_stage_has_its_turn<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let last = "update items set status = 'ONE_COMPLETE', reset_count = 2, created_at = '2000-01-01 00:00:00+00' \
                where id = 'item-39999'";
    has_its_turn(database, last).await;
}

/// The last of many items is put into another state in full swing, and must be handled in stage TWO before the others are.
async fn has_its_turn<D: Database>(database: &D, last: &str)
where
    Item: Record<D::S>,
{
    const MANY: usize = 40_000;
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, MANY).await;
    let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (in_full_swing, mut is_in_full_swing) = tokio::sync::watch::channel(false);
    // However fast the drain is, its last item is still to come then.
    let (let_finish, may_finish) = tokio::sync::watch::channel(false);
    let (ran, stopped) = (Arc::clone(&runs), stop.clone());
    let worker = Worker::new(repository.clone())
        .advance_directly()
        .concurrency("ONE", 8)
        .handle("ONE", move |_, _| {
            let turn = ran.fetch_add(1, Ordering::AcqRel);
            in_full_swing.send_replace(turn >= MANY / 10);
            let mut may_finish = may_finish.clone();
            async move {
                if turn >= MANY / 10 {
                    may_finish.wait_for(|may| *may).await.expect("the test says so");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
        })
        .concurrency("TWO", 4)
        .handle("TWO", move |_, claim| {
            if claim.id == "item-39999" {
                stopped.cancel();
            }
            async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(())
            }
        })
        .shutdown_on(stop);
    let running = tokio::spawn(worker.run());
    soon(is_in_full_swing.wait_for(|is| *is)).await.expect("it works");
    database.execute(last).await;
    let_finish.send_replace(true);
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.lost, report.unknown, report.retried), (0, 0, 0), "{report:?}");
    let turn = runs.load(Ordering::Acquire);
    assert!(turn < MANY / 2, "it was kept waiting until {turn} others had run");
}

pub(crate) async fn a_stop_while_items_continue_keeps_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    const MANY: usize = 10_000;
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, MANY).await;
    let (stop, runs) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let (ran, stopped) = (Arc::clone(&runs), stop.clone());
    let worker = Worker::new(repository.clone())
        .advance_directly()
        .handle("ONE", |_, _| async { Ok(()) })
        .handle("TWO", move |_, _| {
            if ran.fetch_add(1, Ordering::Relaxed) == MANY / 4 {
                stopped.cancel();
            }
            async { Ok(()) }
        })
        .shutdown_on(stop);
    let report = told(soon(worker.run()).await);
    assert_eq!((report.lost, report.unknown, report.retried), (0, 0, 0), "{report:?}");
    let in_progress = repository.counts_exact().await.expect("counted");
    let held: i64 = repository.pipeline().stage_ids().map(|stage| in_progress.count(Status::InProgress(stage))).sum();
    assert_eq!(held, 0);
    let rest = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let rest = told(soon(rest.handle("TWO", |_, _| async { Ok(()) }).run_until_idle()).await);
    assert_eq!(report.completed + rest.completed, 2 * MANY as u64, "each stage of each item once");
}

/// Of an answer that comes when the worker ends nothing is begun any more: a handler that was not told to stop would be left to
/// the sweep.
pub(crate) async fn items_that_continued_while_the_worker_stopped_are_given_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (plan, mut calls) = counted("continue_items", answered());
    let repository = with_items(database, plan).await;
    let (let_go, may_go) = tokio::sync::watch::channel(false);
    *repository.store().special.held_answer.lock().expect("no panic") = Some(may_go);
    let (stop, runs) = (CancellationToken::new(), Runs::default());
    let worker = worker::<D>(&repository, &runs).grace(Duration::ZERO).shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    let mut round = 0;
    while tokio::time::timeout(Duration::from_secs(5), calls.wait_for(|calls| *calls > 0)).await.is_err() {
        round += 1;
        add_items::<D>(&repository, round).await;
    }
    stop.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = runs.lock().expect("no panic").len();
    let_go.send_replace(true);
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!(runs.lock().expect("no panic").len(), before, "a handler was begun");
    assert!(repository.store().special.continued_items.load(Ordering::Relaxed) > 0);
    assert!(report.released > 0 && report.lost + report.unknown == 0, "{report:?}");
    let counts = repository.counts_exact().await.expect("counted");
    let held: i64 = repository.pipeline().stage_ids().map(|stage| counts.count(Status::InProgress(stage))).sum();
    assert_eq!(held, 0, "{report:?}");
}
