//! One item, one stage, or one thread that must not hold up anything else.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rowlock::{Error, FailedBy, Outcome, Record, Stage, StageId, Status, Worker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::faulty::{Fate, Faulty, Plan, Special, answered, counted};
use super::outages::faulty;
use super::*;

pub(crate) async fn an_item_that_cannot_be_written_holds_up_no_other<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let report = all_others_complete_without(database, |special| &special.unwritable).await;
    assert!(report.errors > 0, "{report:?}");
}

pub(crate) async fn an_item_whose_row_is_locked_holds_up_no_other<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    all_others_complete_without(database, |special| &special.locked).await;
}

/// As when a trigger on one row reports a full disk: taken alone it looks like a fault that concerns everyone.
pub(crate) async fn an_item_that_alone_looks_like_an_outage_holds_up_no_other<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), answered()).await;
    let keys: Vec<Key> = (0..30).map(|n| Key::from(format!("item-{n:02}"))).collect();
    repository.add_many(&keys).await.expect("added");
    let special = std::sync::Arc::clone(&repository.store().special);
    special.out_of_room.lock().expect("no panic").insert(keys[0].clone());
    let worker = Worker::new(repository.clone()).concurrency("ONE", 4).handle("ONE", move |_, claim| {
        let (special, is_first) = (std::sync::Arc::clone(&special), claim.lease().key == Key::from("item-00"));
        async move {
            // The first one is sent alone.
            while !is_first && special.turned_away.load(std::sync::atomic::Ordering::Relaxed) == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    soon(async {
        while repository.counts_exact().await.expect("counted").count(Status::Succeeded) < 29 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    repository.store().special.out_of_room.lock().expect("no panic").clear();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.lost, report.unknown), (30, 0, 0), "{report:?}");
}

/// One item of thirty cannot be finished until all the others are.
async fn all_others_complete_without<D: Database>(
    database: &D,
    special: fn(&Special) -> &Mutex<std::collections::HashSet<Key>>,
) -> WorkerReport
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), answered()).await;
    let keys: Vec<Key> = (0..30).map(|n| Key::from(format!("item-{n}"))).collect();
    repository.add_many(&keys).await.expect("added");
    let special_keys = special(&repository.store().special);
    special_keys.lock().expect("no panic").insert(keys[7].clone());
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let running = tokio::spawn(worker.run_until_idle());
    soon(async {
        while repository.counts_exact().await.expect("counted").count(Status::Succeeded) < 29 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let held = repository.get(keys[7].clone()).await.expect("read").expect("there");
    assert_eq!(held.status, Some(Status::InProgress(StageId::FIRST)));
    special_keys.lock().expect("no panic").clear();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.lost, report.unknown), (30, 0, 0), "{report:?}");
    report
}

pub(crate) async fn a_finish_of_the_handlers_own_that_is_refused_is_no_lost_lease<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = faulty(database, pipeline(&["ONE"]), answered()).await;
    let key = Key::from("a");
    repository.add_many(std::slice::from_ref(&key)).await.expect("added");
    repository.store().special.refused.lock().expect("no panic").insert(key.clone());
    let (tell, mut told_failed) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, claim| async move {
            let refused = claim.complete().await.expect_err("the database refuses it");
            assert!(matches!(refused.error(), Error::Refused { failed: true, .. }), "{refused}");
            let words = refused.to_string();
            assert!(refused.claim().is_none(), "the item is failed: there is nothing to finish");
            Err::<(), _>(rowlock::Failure::retryable(words))
        })
        .on_failed(move |item| {
            tell.send((item.key, item.cause)).expect("the test listens");
            async {}
        })
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    assert_eq!(soon(told_failed.recv()).await, Some((key, FailedBy::Refused)));
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.refused, report.lost, report.retried), (1, 0, 0), "{report:?}");
}

pub(crate) async fn an_item_that_a_sweep_fails_is_told<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 1).await;
    let held = claim_and_stop::<D>(&repository, 1).await;
    database.execute("update items set heartbeat_at = null, reset_count = 2").await;
    let (tell, mut told_failed) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) }).on_failed(move |item| {
        tell.send((item.key, item.cause)).expect("the test listens");
        async {}
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.swept, report.sweep_failed), (1, 1), "{report:?}");
    assert_eq!(told_failed.recv().await, Some((held[0].clone(), FailedBy::Sweep)));
}

pub(crate) async fn an_empty_stage_is_looked_at_though_another_is_busy<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 20).await;
    let (in_two, mut twos) = mpsc::unbounded_channel();
    let (in_one, mut ones) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, _| {
            // Released at once, and therefore claimed again and again.
            in_one.send(()).expect("the test listens");
            async { Ok(Outcome::Release) }
        })
        .handle("TWO", move |_, claim| {
            in_two.send(claim.key().clone()).expect("the test listens");
            async { Ok(()) }
        })
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    for _ in 0..100 {
        soon(ones.recv()).await.expect("the first stage is busy");
    }
    database.execute("insert into items (id, status) values ('second', 'ONE_COMPLETE')").await;
    assert_eq!(soon(twos.recv()).await, Some(Key::from("second")));
    stop.cancel();
    told(soon(running).await.expect("no panic"));
}

pub(crate) async fn a_worker_drains_only_while_the_suspect_is_there<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (plan, mut claims) = counted("claim", answered());
    let repository = faulty(database, pipeline(&["ONE"]), plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let (started, mut starts) = mpsc::unbounded_channel();
    let go_on = CancellationToken::new();
    let gate = go_on.clone();
    let worker = Worker::new(repository.clone()).concurrency("ONE", 2).handle("ONE", move |_, claim| {
        let (started, gate) = (started.clone(), gate.clone());
        async move {
            started.send(claim.key().clone()).expect("the test listens");
            gate.cancelled().await;
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    assert_eq!(soon(starts.recv()).await, Some(Key::from("a")));
    database.execute("insert into items (id, reset_count) values ('suspect', 2)").await;
    // A worker that makes room goes on looking.
    let looks = *claims.borrow() + 3;
    soon(claims.wait_for(|claims| *claims >= looks)).await.expect("it looks");
    let params = repository.claim_params(repository.pipeline().stage_ids(), 9).expect("stages");
    let other = repository.store().inner.claim(&params).await.expect("claimed");
    assert_eq!(other.claimed.len(), 1, "another worker takes the suspect");
    repository.add_many(&[Key::from("b")]).await.expect("added");
    assert_eq!(soon(starts.recv()).await, Some(Key::from("b")), "while a runs");
    go_on.cancel();
    repository.cancel("suspect").await.expect("cancelled");
    assert_eq!(told(soon(running).await.expect("no panic")).completed, 2);
}

pub(crate) async fn a_stop_looks_for_what_a_lost_claim_took<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let is_found = Arc::new(AtomicBool::new(false));
    let found = Arc::clone(&is_found);
    let (plan, mut looks) = counted(
        "find_claimed",
        Arc::new(move |verb| match verb {
            "claim" => Fate::AnswerLost,
            "find_claimed" if !found.load(Ordering::Acquire) => Fate::Broken,
            _ => Fate::Answered,
        }),
    );
    let repository: Repository<Faulty<D::S>, Item> = faulty(database, pipeline(&["ONE"]), plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) }).shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    // The claim itself has looked without success, and has failed: no one holds what it took when the stop comes.
    soon(looks.wait_for(|looks| *looks > 1)).await.expect("it looks");
    stop.cancel();
    is_found.store(true, Ordering::Release);
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!(report.released, 1, "{report:?}");
    let facts = repository.explain("a").await.expect("read").expect("there");
    assert_eq!((facts.status, facts.reset_count), (Some(Status::Ready(StageId::FIRST)), 0));
}

pub(crate) async fn a_worker_that_is_too_old_ends_at_once<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan: Plan = Arc::new(|verb| if verb == "now" { Fate::TooNew } else { Fate::Answered });
    let repository = faulty(database, pipeline(&["ONE"]), plan).await;
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    let error = soon(worker.run()).await.expect_err("no time mends it");
    assert!(matches!(error, Error::SchemaTooNew { .. }), "{error}");
}

/// A runtime with one thread for the handlers, which a blocking handler occupies.
fn on_one_thread(work: impl FnOnce(&tokio::runtime::Runtime) + Send + 'static) -> std::thread::JoinHandle<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    std::thread::spawn(move || {
        work(&runtime);
        runtime.shutdown_background();
    })
}

pub(crate) async fn handlers_that_block_their_threads_keep_nothing_queued<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 2).await;
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 2).handle("ONE", move |_, _| {
        let blocked = Arc::clone(&blocked);
        async move {
            let _ended = blocked.lock().expect("no panic").recv();
            Ok(())
        }
    });
    let (ended, report) = tokio::sync::oneshot::channel();
    let thread = on_one_thread(move |runtime| {
        ended.send(runtime.block_on(worker.run_until_idle())).expect("the test listens");
    });
    let states = async || {
        let counts = repository.counts_exact().await.expect("counted");
        (counts.count(Status::InProgress(StageId::FIRST)), counts.count(Status::Ready(StageId::FIRST)))
    };
    soon(async { while states().await != (2, 0) {} }).await;
    soon(async { while states().await != (1, 1) {} }).await;
    drop(unblock);
    assert_eq!(told(soon(report).await.expect("no panic")).completed, 2);
    thread.join().expect("no panic");
}

pub(crate) async fn a_handler_that_blocks_the_only_thread_for_ever_ends_the_worker<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = Stage::new("ONE").with_timeout(Duration::from_millis(100));
    let repository = repository(database, pipeline(&[]).add_stage(stage)).await;
    let keys = add::<D>(&repository, 2).await;
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 2).handle("ONE", move |_, _| {
        let blocked = Arc::clone(&blocked);
        async move {
            let _ended = blocked.lock().expect("no panic").recv();
            Ok(())
        }
    });
    let (ended, answer) = tokio::sync::oneshot::channel();
    let thread = on_one_thread(move |runtime| {
        ended.send(runtime.block_on(worker.run_until_idle())).expect("the test listens");
    });
    let error = soon(answer).await.expect("no panic").expect_err("it cannot go on");
    assert!(matches!(&error, Error::Worker { problem } if problem.contains("all 2 slots of stage ONE")), "{error}");
    for key in &keys {
        assert!(status_of::<D>(&repository, key).await.is_ready());
    }
    drop(unblock);
    thread.join().expect("no panic");
}

pub(crate) async fn a_cancelled_item_is_noticed_long_before_its_renewal<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    // The next renewal would be due in 100 s.
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 1).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone()).handle("ONE", move |ctx, _| {
        let started = started.clone();
        async move {
            started.send(()).expect("the test listens");
            ctx.cancelled().await;
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run_until_idle());
    soon(starts.recv()).await.expect("started");
    repository.cancel(keys[0].clone()).await.expect("cancelled");
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.cancelled, report.completed), (1, 0), "{report:?}");
}
