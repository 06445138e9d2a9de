//! Outages that handlers meet: no item pays for them, and the stage is held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rowlock::{Failure, HeldBy, HeldStage, Record, Status, Worker};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::faulty::{Fate, first_calls};
use super::outages::faulty;
use super::*;

const PAUSE_MIN: Duration = Duration::from_millis(4);
const PAUSE_MAX: Duration = Duration::from_millis(16);

/// Something that every item needs, and that is away for this many calls.
#[derive(Clone)]
struct Service {
    calls: Arc<Mutex<Vec<Key>>>,
    away_for_calls: usize,
}

impl Service {
    fn away_for(calls: usize) -> Service {
        Service { calls: Arc::default(), away_for_calls: calls }
    }

    fn call(&self, key: &Key) -> Result<(), sqlx::Error> {
        let mut calls = self.calls.lock().expect("no panic");
        calls.push(key.clone());
        if calls.len() <= self.away_for_calls { Err(sqlx::Error::PoolTimedOut) } else { Ok(()) }
    }

    fn calls(&self) -> Vec<Key> {
        self.calls.lock().expect("no panic").clone()
    }
}

async fn retries_of<D: Database>(repository: &Repo<D>, key: &Key) -> i32
where
    Item: Record<D::S>,
{
    repository.explain(key.clone()).await.expect("read").expect("there is such an item").retry_count
}

pub(crate) async fn an_outage_that_a_handler_hands_back_spends_no_attempt<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<D>(&repository, 40).await;
    let service = Service::away_for(25);
    let called = service.clone();
    let worker = Worker::new(repository.clone()).hold_between(PAUSE_MIN, PAUSE_MAX).concurrency("ONE", 4).handle(
        "ONE",
        move |_, claim| {
            let service = called.clone();
            async move { Ok(service.call(claim.key())?) }
        },
    );
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (40, 0, 0), "{report:?}");
    assert_eq!((report.outages, report.snoozed), (25, 25), "{report:?}");
    assert_eq!(count::<D>(&repository, Status::Succeeded).await, 40);
    assert_eq!(service.calls().len(), 65);
}

pub(crate) async fn while_a_stage_is_held_one_item_is_tried_and_each_time_another<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 400).await;
    let service = Service::away_for(16);
    // A try that lasts longer than the longest pause lets another one follow, and on a busy machine each may last for a
    // while.
    let longest_pause = Duration::from_millis(500);
    let (called, running, most_running) =
        (service.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most = Arc::clone(&most_running);
    let worker = Worker::new(repository.clone()).hold_between(PAUSE_MIN, longest_pause).concurrency("ONE", 4).handle(
        "ONE",
        move |_, claim| {
            let (service, running, most) = (called.clone(), Arc::clone(&running), Arc::clone(&most));
            async move {
                let runs = running.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = service.call(claim.key());
                // When the stage was held, up to two full sets of handlers may have been running.
                let calls = service.calls().len();
                if calls > 8 && answer.is_err() {
                    most.fetch_max(runs, Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(answer?)
            }
        },
    );
    let started = Instant::now();
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.outages), (400, 16), "{report:?}");
    assert_eq!(most_running.load(Ordering::SeqCst), 1, "one at a time");
    let tried = &service.calls()[8..16];
    assert!(tried.windows(2).all(|two| two[0] != two[1]), "another each time: {tried:?}");
    // At least eight pauses, of which each but the last is twice as long as the one before, or at least half of that.
    assert!(started.elapsed() > (2_u32.pow(7) - 1) * PAUSE_MIN / 2, "the pause grows: {:?}", started.elapsed());
}

pub(crate) async fn a_held_stage_is_told_once_and_once_when_it_goes_on<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 20).await;
    let service = Service::away_for(10);
    let told_of: Arc<Mutex<Vec<HeldStage>>> = Arc::default();
    let tell = Arc::clone(&told_of);
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .concurrency("ONE", 1)
        .on_hold(move |held| tell.lock().expect("no panic").push(held.clone()))
        .handle("ONE", move |_, claim| {
            let service = service.clone();
            async move { Ok(service.call(claim.key())?) }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert!(report.held_stages.is_empty(), "{report:?}");
    let told_of = told_of.lock().expect("no panic");
    let [began, ended] = &told_of[..] else { panic!("told of: {told_of:?}") };
    assert_eq!((began.name.as_str(), began.cause, began.is_over), ("ONE", HeldBy::Outage, false));
    assert!(began.reason.contains("pool timed out"), "{began}");
    assert!(ended.is_over && ended.held_for > PAUSE_MIN, "{ended:?}");
}

pub(crate) async fn a_stage_is_held_for_as_long_as_its_handler_says_and_others_go_on<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    let keys = add::<D>(&repository, 21).await;
    for key in &keys[1..] {
        repository
            .set(key.clone(), Status::Ready(repository.pipeline().stage_named("TWO").expect("there")), None)
            .await
            .expect("set");
    }
    // Long enough for the other stage on any machine.
    let down_for = Duration::from_secs(2);
    let (calls, done_in_two): (Arc<Mutex<Vec<Instant>>>, _) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
    let (of_one, of_two) = (Arc::clone(&calls), Arc::clone(&done_in_two));
    let in_one = Arc::clone(&done_in_two);
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .handle("ONE", move |_, _| {
            let is_first = {
                let mut calls = of_one.lock().expect("no panic");
                calls.push(Instant::now());
                calls.len() == 1
            };
            let done = in_one.load(Ordering::SeqCst);
            async move {
                assert!(is_first || done == 20, "the other stage went on meanwhile: {done}");
                if is_first { Err(Failure::outage_for("the API is down for maintenance", down_for)) } else { Ok(()) }
            }
        })
        .handle("TWO", move |_, _| {
            of_two.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.outages, report.failed), (22, 1, 0), "{report:?}");
    let calls = calls.lock().expect("no panic");
    assert_eq!(calls.len(), 2);
    assert!(calls[1] - calls[0] >= down_for, "{:?}", calls[1] - calls[0]);
}

pub(crate) async fn an_item_that_alone_meets_outages_holds_nobody_up_and_comes_to_an_end<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(2)).await;
    let poison = add::<D>(&repository, 1).await.remove(0);
    let (stop, has_failed) = (CancellationToken::new(), CancellationToken::new());
    let (meets, mut met) = watch::channel(0_usize);
    let (runs, mut run) = mpsc::unbounded_channel();
    let (ends_it, meetings, fails) = (poison.clone(), met.clone(), has_failed.clone());
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .poll_between(PAUSE_MIN, PAUSE_MAX)
        .shutdown_on(stop.clone())
        .on_failed(move |item| {
            assert!(item.error.contains("crashed background worker"), "{item:?}");
            fails.cancel();
            async {}
        })
        .handle("ONE", move |_, claim| {
            let is_poison = *claim.key() == ends_it;
            match is_poison {
                true => meets.send_modify(|meetings| *meetings += 1),
                false => runs.send(*meetings.borrow()).expect("the test listens"),
            }
            async move { if is_poison { Err(sqlx::Error::WorkerCrashed.into()) } else { Ok(()) } }
        });
    let running = tokio::spawn(worker.run());
    // Each time it has met an outage again, another item comes in.
    let mut added = 0;
    loop {
        tokio::select! {
            met_again = soon(met.changed()) => met_again.expect("the worker lives"),
            () = has_failed.cancelled() => break,
        }
        repository.add_many(&[Key::from(format!("good-{added}"))]).await.expect("added");
        added += 1;
        let met_before = *met.borrow();
        let met_until = soon(run.recv()).await.expect("the worker lives");
        // Once it may have been claimed already, and once it may have been due before.
        assert!(met_until.saturating_sub(met_before) <= 2, "held up by {met_before} to {met_until}");
    }
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.failed, report.retried, report.completed), (1, 1, added), "{report:?}");
    assert!(report.outages >= u64::from(rowlock::limits::OUTAGES_ALONE_MAX), "{report:?}");
    assert_eq!(status_of::<D>(&repository, &poison).await, Status::Failed);
}

pub(crate) async fn an_item_that_alone_says_that_something_is_away_pays_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    let keys = add::<D>(&repository, 50).await;
    let (stop, alone) = (CancellationToken::new(), keys[0].clone());
    let (stops, done) = (stop.clone(), Arc::new(AtomicUsize::new(0)));
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .concurrency("ONE", 2)
        .shutdown_on(stop)
        .handle("ONE", move |_, claim| {
            let (is_alone, stop, done) = (*claim.key() == alone, stops.clone(), Arc::clone(&done));
            async move {
                if is_alone {
                    return Err(Failure::outage("its own server is away"));
                }
                if done.fetch_add(1, Ordering::SeqCst) == 48 {
                    stop.cancel();
                }
                Ok(())
            }
        });
    let report = told(soon(worker.run()).await);
    assert_eq!((report.completed, report.retried, report.failed), (49, 0, 0), "{report:?}");
    assert!(report.outages > 0, "{report:?}");
    assert_eq!(retries_of::<D>(&repository, &keys[0]).await, 0);
}

pub(crate) async fn a_batch_handler_pays_nothing_for_an_outage_either<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<D>(&repository, 60).await;
    let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&sizes);
    let worker = Worker::new(repository.clone()).hold_between(PAUSE_MIN, PAUSE_MAX).concurrency("ONE", 1).handle_batch(
        "ONE",
        10,
        move |_, claims| {
            let call = {
                let mut sizes = seen.lock().expect("no panic");
                sizes.push(claims.len());
                sizes.len()
            };
            async move {
                let answer = |_| if call <= 4 { Err(Failure::from(sqlx::Error::PoolClosed)) } else { Ok(()) };
                (0..claims.len()).map(answer).collect()
            }
        },
    );
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (60, 0, 0), "{report:?}");
    let sizes = sizes.lock().expect("no panic");
    assert_eq!(sizes[..5], [10, 1, 1, 1, 1], "one item is tried and not a batch");
    assert!(sizes[5..].iter().any(|size| *size > 1), "{sizes:?}");
}

pub(crate) async fn a_handler_whose_transaction_meets_an_outage_pays_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let fates = [[Fate::NotApplied, Fate::NeverArrived]; 6];
    let repository =
        faulty(database, pipeline(&["ONE"]).max_retries(1), first_calls("finish_in", fates.as_flattened())).await;
    let keys: Vec<Key> = (0..10).map(|n| Key::from(format!("item-{n}"))).collect();
    repository.add_many(&keys).await.expect("added");
    let worker =
        Worker::new(repository.clone()).hold_between(PAUSE_MIN, PAUSE_MAX).handle("ONE", |ctx, claim| async move {
            let transaction = ctx.begin().await?;
            Ok(claim.complete_in(transaction).await?)
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (10, 0, 0), "{report:?}");
    assert!(report.outages > 0, "{report:?}");
}

pub(crate) async fn a_queue_of_one_item_outlives_an_outage<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    let keys = add::<D>(&repository, 1).await;
    let service = Service::away_for(12);
    let worker = Worker::new(repository.clone()).hold_between(PAUSE_MIN, PAUSE_MAX).handle("ONE", move |_, claim| {
        let service = service.clone();
        async move { Ok(service.call(claim.key())?) }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.outages, report.retried), (1, 12, 0), "{report:?}");
    assert_eq!(retries_of::<D>(&repository, &keys[0]).await, 0);
}

pub(crate) async fn a_worker_that_ends_while_a_stage_is_held_names_it<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 3).await;
    let stop = CancellationToken::new();
    let stops = stop.clone();
    let worker = Worker::new(repository.clone())
        .shutdown_on(stop)
        .on_hold(move |_| stops.cancel())
        .handle("ONE", |_, _| async { Err::<(), _>(Failure::outage("the API answers 503")) });
    let report = told(soon(worker.run()).await);
    let [held] = &report.held_stages[..] else { panic!("{report:?}") };
    assert_eq!((held.name.as_str(), held.is_over), ("ONE", false));
    let seconds = held.held_for.as_secs();
    assert_eq!(held.to_string(), format!("ONE held for {seconds} s by an outage: the API answers 503"));
    for key in keys {
        assert_eq!(retries_of::<D>(&repository, &key).await, 0);
    }
}

pub(crate) async fn a_held_stage_is_named_by_what_is_waited_for<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    add::<D>(&repository, 3).await;
    let (tell, is_told) = watch::channel(None);
    let back = is_told.clone();
    let worker = Worker::new(repository.clone())
        .hold_between(Duration::from_millis(100), Duration::from_millis(200))
        .concurrency("ONE", 1)
        .on_wait(move |waiting| {
            if let [held] = &waiting.held_stages[..] {
                tell.send_replace(Some((held.clone(), waiting.to_string())));
            }
        })
        .handle("ONE", move |_, _| {
            let is_back = back.borrow().is_some();
            async move { if is_back { Ok(()) } else { Err(Failure::outage("the API answers 503")) } }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried), (3, 0), "{report:?}");
    let (held, words) = is_told.borrow().clone().expect("told");
    assert_eq!((held.name.as_str(), held.cause, held.is_over), ("ONE", HeldBy::Outage, false));
    assert!(words.contains("ONE held for") && words.contains("the API answers 503"), "{words}");
}

pub(crate) async fn a_worker_that_ends_when_nothing_is_due_names_the_stage_that_it_holds<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 1).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async {
        Err::<(), _>(Failure::outage_for("the API is down until 21:00", Duration::from_secs(36_000)))
    });
    let report = told(soon(worker.run_until_nothing_is_due()).await);
    let [held] = &report.remaining.held_stages[..] else { panic!("{report:?}") };
    assert_eq!((held.name.as_str(), held.reason.as_str()), ("ONE", "the API is down until 21:00"));
    assert!(report.remaining.to_string().contains("1 delayed for ONE"), "{}", report.remaining);
    assert!(report.remaining.next_due_at.is_some());
}

/// As in "the API is down until 21:00": one item has found out, and none pays.
pub(crate) async fn an_outage_until_a_time_puts_its_item_off_until_then<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    let keys = add::<D>(&repository, 3).await;
    // SQLite's times have milliseconds.
    let now = repository.now().await.expect("the time").timestamp_millis() + 3_000;
    let over_at = chrono::DateTime::from_timestamp_millis(now).expect("a time");
    let (put_off, seen) = (watch::Sender::new(None), Arc::new(AtomicUsize::new(0)));
    let (was_put_off, watched, calls) = (put_off.subscribe(), repository.clone(), Arc::clone(&seen));
    let worker = Worker::new(repository.clone())
        .hold_between(PAUSE_MIN, PAUSE_MAX)
        .concurrency("ONE", 1)
        .on_hold(move |held| {
            put_off.send_replace(Some(held.is_over));
        })
        .handle("ONE", move |_, claim| {
            let (repository, is_first) = (watched.clone(), calls.fetch_add(1, Ordering::SeqCst) == 0);
            async move {
                if is_first {
                    return Err(Failure::outage_until("the API is down", over_at));
                }
                let now = repository.now().await?;
                assert!(claim.key().as_str() != "item-00000" || now >= over_at, "{now} is before {over_at}");
                Ok(())
            }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.outages, report.retried, report.panicked), (3, 1, 0, 0), "{report:?}");
    assert_eq!(*was_put_off.borrow(), Some(true), "the stage was held until the next one passed");
    assert_eq!(retries_of::<D>(&repository, &keys[0]).await, 0);
}
