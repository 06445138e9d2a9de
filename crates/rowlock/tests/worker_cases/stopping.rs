//! Stopping a worker, and wrong arguments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rowlock::{Error, Failure, Outcome, Record, Stage, StageId, Status, Worker};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::faulty::{Fate, Faulty, first_calls};
use super::outages::faulty;
use super::*;

pub(crate) async fn a_graceful_shutdown_finishes_what_runs_and_counts_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 20).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let gate = Arc::clone(&go_on);
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .concurrency("ONE", 1)
        .handle("ONE", move |_, claim| {
            let (started, gate) = (started.clone(), Arc::clone(&gate));
            async move {
                started.send(claim.key().clone()).expect("the test listens");
                gate.notified().await;
                Ok(())
            }
        })
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    let key = soon(starts.recv()).await.expect("started");
    stop.cancel();
    go_on.notify_one();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.retried, report.lost), (1, 0, 0), "{report:?}");
    assert_eq!(status_of::<D>(&repository, &key).await, Status::Succeeded);
    assert_eq!(count::<D>(&repository, Status::Ready(StageId::FIRST)).await, 19);
}

/// Handlers that take almost no time demand one full batch after the other: two claims are running when the worker is
/// asked to stop.
pub(crate) async fn a_stop_in_the_middle_of_a_fast_drain_keeps_nothing<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    const ITEMS: u64 = 20_000;
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, usize::try_from(ITEMS).expect("small")).await;
    let runs = Arc::new(AtomicU64::new(0));
    let stop = CancellationToken::new();
    let (ran, stopped) = (Arc::clone(&runs), stop.clone());
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, _| {
            if ran.fetch_add(1, Ordering::Relaxed) == ITEMS / 4 {
                stopped.cancel();
            }
            async { Ok(()) }
        })
        .shutdown_on(stop);
    let report = told(soon(worker.run()).await);
    let ended = count::<D>(&repository, Status::Succeeded).await;
    assert_eq!(
        (report.completed, report.lost + report.unknown + report.retried),
        (u64::try_from(ended).expect("a count"), 0),
        "{report:?}"
    );
    assert_eq!(runs.load(Ordering::Relaxed), report.completed, "each was run once");
    assert!(report.completed < ITEMS, "it was stopped too late");
    assert_eq!(count::<D>(&repository, Status::InProgress(StageId::FIRST)).await, 0);
    let rest =
        told(soon(Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) }).run_until_idle()).await);
    assert_eq!(report.completed + rest.completed, ITEMS);
}

pub(crate) async fn after_the_grace_period_the_rest_is_released_uncounted<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 2).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .concurrency("ONE", 2)
        .handle("ONE", move |_, _| {
            let started = started.clone();
            async move {
                started.send(()).expect("the test listens");
                std::future::pending::<()>().await;
                Ok(())
            }
        })
        .grace(Duration::from_millis(50))
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    for _ in 0..2 {
        soon(starts.recv()).await.expect("started");
    }
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.released, report.lost), (0, 2, 0), "{report:?}");
    for key in &keys {
        let facts = repository.explain(key.clone()).await.expect("read").expect("there");
        let ready = Some(Status::Ready(StageId::FIRST));
        assert_eq!((facts.status, facts.retry_count, facts.reset_count), (ready, 0, 0));
    }
}

/// As when another handler blocks the thread on which this one would receive its answer.
pub(crate) async fn a_finish_of_the_handlers_own_without_an_answer_is_unknown<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let plan = first_calls("finish", &[Fate::Silent]);
    let repository: Repository<Faulty<D::S>, Item> = faulty(database, pipeline(&["ONE"]), plan).await;
    repository.add_many(&[Key::from("a")]).await.expect("added");
    let stop = CancellationToken::new();
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, claim| async move {
            claim.complete().await?;
            Ok(())
        })
        .grace(Duration::from_millis(50))
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    soon(async {
        while repository.counts_exact().await.expect("counted").count(Status::Succeeded) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stop.cancel();
    let report = told(soon(running).await.expect("no panic"));
    assert_eq!((report.completed, report.unknown, report.lost), (0, 1, 0), "{report:?}");
}

pub(crate) async fn a_dropped_run_gives_its_items_back<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 1).await;
    let (started, mut starts) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone()).handle("ONE", move |_, _| {
        let started = started.clone();
        async move {
            started.send(()).expect("the test listens");
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    let running = tokio::spawn(worker.run());
    soon(starts.recv()).await.expect("started");
    running.abort();
    let released = async {
        while count::<D>(&repository, Status::Ready(StageId::FIRST)).await != 1 {
            tokio::task::yield_now().await;
        }
    };
    soon(released).await;
}

pub(crate) async fn wrong_arguments_are_refused<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let worker = || Worker::new(repository.clone());
    let handled = || worker().handle("ONE", |_, _| async { Ok(()) });
    let refused = [
        worker().run().await,
        worker().handle("THREE", |_, _| async { Ok(()) }).run().await,
        handled().handle("ONE", |_, _| async { Ok(()) }).run().await,
        handled().concurrency("ONE", 0).run().await,
        handled().concurrency("TWO", 1).run().await,
        handled().poll_between(Duration::from_secs(2), Duration::from_secs(1)).run().await,
        handled().hold_between(Duration::ZERO, Duration::from_secs(1)).run().await,
        worker().handle_batch("ONE", 0, |_, _| async { Vec::<Result<(), rowlock::Failure>>::new() }).run().await,
    ];
    for name in ["a\0b".to_owned(), "é".repeat(97), String::new()] {
        let repository = repository.clone().with_holder(rowlock::Holder::named(name));
        add_one_and_be_refused::<D>(&repository).await;
        let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
        let error = worker.run_until_idle().await.expect_err("refused at the start");
        assert!(error.to_string().contains("from 1 to 96 characters"), "{error}");
    }
    assert_eq!(count::<D>(&repository, Status::Failed).await, 0, "it is no row's fault");
    for answer in refused {
        assert!(matches!(answer, Err(Error::InvalidArgument { .. })), "{answer:?}");
    }
}

async fn add_one_and_be_refused<D: Database>(repository: &Repo<D>)
where
    Item: Record<D::S>,
{
    repository.add_many(["item"]).await.expect("added");
    let refused = repository.claim(1).await.map(drop).expect_err("a claim as well");
    assert!(matches!(refused, Error::InvalidArgument { argument: "holder", .. }), "{refused:?}");
}

pub(crate) async fn no_time_is_too_long_for_a_worker<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = Stage::new("ONE").with_timeout(Duration::MAX);
    let pipeline = Pipeline::builder("test").table("items").key("id").add_stage(stage);
    let repository = repository(database, pipeline).await;
    let keys = add::<D>(&repository, 7).await;
    let all_run = Arc::new(tokio::sync::Barrier::new(keys.len()));
    let worker = Worker::new(repository.clone())
        .poll_between(Duration::MAX, Duration::MAX)
        .hold_between(Duration::MAX, Duration::MAX)
        .grace(Duration::MAX)
        .concurrency("ONE", keys.len())
        .handle("ONE", move |ctx, claim: rowlock::Claim<Item>| {
            let all_run = Arc::clone(&all_run);
            async move {
                let end_of_time = chrono::DateTime::<chrono::Utc>::MAX_UTC;
                all_run.wait().await;
                match claim.key().as_str() {
                    "item-00001" => Err(Failure::outage("away")),
                    "item-00002" => Err(Failure::outage_for("away", Duration::MAX)),
                    "item-00003" => Err(Failure::outage_until("away", end_of_time)),
                    "item-00004" => Err(Failure::retry_after("later", Duration::MAX)),
                    "item-00005" => Ok(Outcome::SnoozeFor(Duration::MAX)),
                    "item-00006" => Ok(Outcome::SnoozeUntil(end_of_time)),
                    _ => {
                        ctx.cancelled().await;
                        Ok(Outcome::Release)
                    }
                }
            }
        });
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.shutdown_on(stop.clone()).run());
    let left = || async {
        let counts = repository.counts_exact().await.expect("counted");
        counts.count(Status::InProgress(StageId::FIRST))
    };
    soon(async {
        while left().await != 1 {
            tokio::task::yield_now().await
        }
    })
    .await;
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!running.is_finished(), "it lets its handler finish");
    running.abort();
}
