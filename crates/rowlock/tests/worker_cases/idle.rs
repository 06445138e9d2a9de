//! What `run_until_idle` waits for, and what it reports instead of waiting.

use std::sync::{Arc, Mutex};

use rowlock::{Failure, Record, StageId, Status, Worker};
use tokio::sync::mpsc;

use super::*;

pub(crate) async fn a_paused_stage_is_named<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 3).await;
    let two = repository.pipeline().stage_named("TWO").expect("there is such a stage");
    repository.pause(two).await.expect("paused");
    let worker =
        Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) }).handle("TWO", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    let named: Vec<_> = report.remaining.paused.iter().map(|stage| (stage.name.as_str(), stage.items)).collect();
    assert_eq!((report.completed, named), (3, vec![("TWO", 3)]));
}

pub(crate) async fn a_stage_without_a_handler_is_named<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 3).await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    let named: Vec<_> =
        report.remaining.without_handler.iter().map(|stage| (stage.name.as_str(), stage.items)).collect();
    assert_eq!((report.completed, named), (3, vec![("TWO", 3)]));
}

pub(crate) async fn an_unknown_word_is_named<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 3).await;
    database.execute("update items set status = 'QUEUED' where id = 'item-00001'").await;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.remaining.unknown_words), (2, vec![("QUEUED".to_owned(), 1)]));
}

pub(crate) async fn the_lease_of_another_worker_is_waited_for<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).stale_after(Duration::from_secs(6))).await;
    add::<D>(&repository, 3).await;
    let held = claim_and_stop::<D>(&repository, 1).await;
    let waits = Arc::new(Mutex::new(Vec::new()));
    let told_waits = Arc::clone(&waits);
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, _| async { Ok(()) })
        .on_wait(move |waiting| told_waits.lock().expect("no panic").push(waiting.clone()));
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.swept), (3, 1), "{report:?}");
    assert_eq!(status_of::<D>(&repository, &held[0]).await, Status::Succeeded);
    let waits = waits.lock().expect("no panic");
    assert!(waits.iter().any(|waiting| waiting.held_items == 1 && waiting.lease_ends_at.is_some()), "{waits:?}");
}

pub(crate) async fn a_delayed_item_is_waited_for<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 1).await;
    let waits = Arc::new(Mutex::new(Vec::new()));
    let told_waits = Arc::clone(&waits);
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, claim| async move {
            match claim.retry_count() {
                0 => Err(Failure::retry_after("later", Duration::from_millis(1_500))),
                _ => Ok(()),
            }
        })
        .on_wait(move |waiting| told_waits.lock().expect("no panic").push(waiting.clone()));
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried), (1, 1));
    let waits = waits.lock().expect("no panic");
    assert!(waits.iter().any(|waiting| waiting.delayed_items == 1 && waiting.next_due_at.is_some()), "{waits:?}");
}

pub(crate) async fn a_worker_is_woken_by_a_new_item<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (handled, mut items) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone())
        .handle("ONE", move |_, claim| {
            handled.send(claim.key().clone()).expect("the test listens");
            async { Ok(()) }
        })
        .shutdown_on(stop.clone());
    let running = tokio::spawn(worker.run());
    for n in 0..3 {
        let key = Key::from(format!("new-{n}"));
        repository.add_many(std::slice::from_ref(&key)).await.expect("added");
        assert_eq!(soon(items.recv()).await, Some(key));
    }
    stop.cancel();
    assert_eq!(told(soon(running).await.expect("no panic")).completed, 3);
    assert_eq!(count::<D>(&repository, Status::Ready(StageId::FIRST)).await, 0);
}
