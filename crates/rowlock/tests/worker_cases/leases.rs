//! Leases: kept alive, lost, cancelled; suspects.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rowlock::{Error, Record, StageId, Status, Worker};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::*;

pub(crate) async fn a_long_item_is_kept_by_heartbeats<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stale_after = Duration::from_secs(3);
    let times = pipeline(&["ONE"]).stale_after(stale_after).heartbeat_interval(Duration::from_millis(300));
    let repository = repository(database, times).await;
    add::<D>(&repository, 1).await;
    let watched = repository.clone();
    let worker = Worker::new(repository.clone()).handle("ONE", move |_, claim| {
        let repository = watched.clone();
        async move {
            // Until the lease would have ended long ago without heartbeats.
            loop {
                let facts = repository.explain(claim.key().clone()).await?.expect("there");
                let held_for = facts.heartbeat_at.zip(facts.claimed_at).map(|(beat, since)| beat - since);
                assert_eq!(repository.sweep().await?.items.len(), 0, "swept although it is renewed");
                if held_for.is_some_and(|held_for| held_for.to_std().is_ok_and(|held_for| held_for > stale_after)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.lost), (1, 0));
}

/// Leases that hardly expire, and whose loss is noticed soon.
fn quick_heartbeats() -> rowlock::PipelineBuilder {
    pipeline(&["ONE"]).stale_after(Duration::from_secs(12)).heartbeat_interval(Duration::from_millis(200))
}

pub(crate) async fn a_lost_lease_stops_just_its_handler<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    lease_ends_while_running(database, |repository, key| async move {
        repository.set(key, Status::Ready(StageId::FIRST), None).await.expect("set");
    })
    .await;
}

pub(crate) async fn a_cancelled_item_stops_just_its_handler<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let report = lease_ends_while_running(database, |repository, key| async move {
        repository.cancel(key).await.expect("cancelled");
    })
    .await;
    assert_eq!((report.cancelled, report.lost), (1, 0));
}

/// Two handlers run; the lease of one is ended from outside. The other goes on and completes.
async fn lease_ends_while_running<D, F>(database: &D, end: impl Fn(Repo<D>, Key) -> F) -> WorkerReport
where
    D: Database,
    F: Future<Output = ()>,
    Item: Record<D::S>,
{
    let repository = repository(database, quick_heartbeats()).await;
    let keys = add::<D>(&repository, 2).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let (stopped, mut stops) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let first = Arc::new(AtomicBool::new(true));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 2).handle("ONE", move |ctx, claim| {
        let (started, stopped, gate) = (started.clone(), stopped.clone(), Arc::clone(&gate));
        let first = Arc::clone(&first);
        async move {
            started.send(claim.key().clone()).expect("the test listens");
            if claim.key().as_str() == "item-00000" && first.swap(false, Ordering::AcqRel) {
                ctx.cancelled().await;
                stopped.send(()).expect("the test listens");
                std::future::pending::<()>().await;
            }
            if claim.key().as_str() == "item-00001" {
                gate.notified().await;
            }
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    for _ in 0..2 {
        soon(starts.recv()).await.expect("started");
    }
    end(repository.clone(), keys[0].clone()).await;
    soon(stops.recv()).await.expect("the handler is told");
    assert_eq!(status_of::<D>(&repository, &keys[1]).await, Status::InProgress(StageId::FIRST));
    go_on.notify_one();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!(report.lost + report.cancelled, 1, "{report:?}");
    assert_eq!(status_of::<D>(&repository, &keys[1]).await, Status::Succeeded);
    report
}

pub(crate) async fn a_handler_that_learns_of_its_lost_lease_writes_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 1).await;
    let stealing = repository.clone();
    let first = Arc::new(AtomicBool::new(true));
    let worker = Worker::new(repository.clone()).handle("ONE", move |ctx, claim| {
        let (repository, first) = (stealing.clone(), Arc::clone(&first));
        async move {
            if first.swap(false, Ordering::AcqRel) {
                take_everything_back::<D>(&repository).await;
                let transaction = ctx.begin().await?;
                let lost = claim.complete_in(transaction).await.expect_err("the lease is lost");
                assert!(matches!(lost.error(), Error::LeaseLost { .. }), "{lost}");
                return Err(lost.into());
            }
            // The item that was taken back is due ten hours later: the time of the sweep above.
            Ok(())
        }
    });
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.shutdown_on(stop.clone()).run());
    let reset = async {
        loop {
            let facts = repository.explain("item-00000").await.expect("read").expect("there");
            if facts.reset_count == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon(reset).await;
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.lost, report.retried, report.failed), (1, 0, 0), "{report:?}");
    let facts = repository.explain("item-00000").await.expect("read").expect("there");
    assert_eq!((facts.retry_count, facts.status), (0, Some(Status::Ready(StageId::FIRST))));
}

pub(crate) async fn a_suspect_runs_alone<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 40).await;
    database.execute("update items set reset_count = 2 where id in ('item-00013', 'item-00026')").await;
    let running = Arc::new(AtomicUsize::new(0));
    let neighbours = Arc::new(Mutex::new(Vec::new()));
    let (in_handler, watched, seen) = (Arc::clone(&running), repository.clone(), Arc::clone(&neighbours));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 4).handle("ONE", move |_, claim| {
        let (running, repository, seen) = (Arc::clone(&in_handler), watched.clone(), Arc::clone(&seen));
        async move {
            running.fetch_add(1, Ordering::AcqRel);
            if claim.is_suspect() {
                let held = count::<D>(&repository, Status::InProgress(StageId::FIRST)).await;
                seen.lock().expect("no panic").push((held, running.load(Ordering::Acquire)));
            }
            running.fetch_sub(1, Ordering::AcqRel);
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.lost), (40, 0), "{report:?}");
    assert_eq!(*neighbours.lock().expect("no panic"), [(1, 1), (1, 1)]);
}

/// A backlog that is drained in full batches, two claims at a time, must not keep a suspect waiting until its end: one
/// claim does not see what the other one finds at the head of the queue. Here the backlog does not end before the
/// suspect has had its turn.
pub(crate) async fn a_suspect_has_its_turn_in_a_fast_drain<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    const AT_FIRST: usize = 20_000;
    const ADDED: usize = 1_000;
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, AT_FIRST).await;
    let last = Key::from(format!("item-{:05}", AT_FIRST - 1));
    let ran = Arc::new(AtomicUsize::new(0));
    let turns = Arc::new(Mutex::new(Vec::new()));
    let (progress, mut progressed) = mpsc::unbounded_channel();
    // However fast the drain is, its last item has not been reached by then.
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let (runs, watched, seen) = (Arc::clone(&ran), repository.clone(), Arc::clone(&turns));
    let worker = Worker::new(repository.clone()).handle("ONE", move |_, claim| {
        let ran = runs.fetch_add(1, Ordering::AcqRel) + 1;
        let (repository, seen, mut may_go_on) = (watched.clone(), Arc::clone(&seen), may_go_on.clone());
        let progress = progress.clone();
        if ran >= AT_FIRST / 10 && ran.is_multiple_of(ADDED) {
            progress.send(()).expect("the test listens");
        }
        async move {
            if ran >= AT_FIRST / 10 {
                may_go_on.wait_for(|may| *may).await.expect("the test says so");
            }
            if claim.is_suspect() {
                let counts = repository.counts_exact().await?;
                let of = |status| counts.count(status);
                let waiting = of(Status::Ready(StageId::FIRST));
                seen.lock().expect("no panic").push((of(Status::InProgress(StageId::FIRST)), waiting));
                progress.send(()).expect("the test listens");
            }
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    soon(progressed.recv()).await.expect("it works");
    let makes_it_a_suspect = "update items set reset_count = 2, created_at = '2000-01-01 00:00:00+00'";
    database.execute(&format!("{makes_it_a_suspect} where id = '{}' and status = 'PENDING'", last.as_str())).await;
    let facts = repository.explain(last).await.expect("read").expect("there");
    assert_eq!((facts.reset_count, facts.status), (2, Some(Status::Ready(StageId::FIRST))), "{facts:?}");
    go_on.send_replace(true);
    let mut added = AT_FIRST;
    let until_its_turn = async {
        while turns.lock().expect("no panic").is_empty() {
            progressed.recv().await.expect("it works");
            let keys: Vec<Key> = (added..added + ADDED).map(|n| Key::from(format!("item-{n:05}"))).collect();
            let new = repository.add_many(&keys).await.expect("added").added;
            added += usize::try_from(new).expect("few");
        }
    };
    soon(until_its_turn).await;
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.lost), (added as u64, 0), "{report:?}");
    let turns = turns.lock().expect("no panic").clone();
    let [(held, waiting)] = turns[..] else { panic!("one suspect, and {turns:?}") };
    assert_eq!(held, 1, "it did not run alone");
    assert!(waiting > 0, "it was kept waiting until {added} others had run");
}
