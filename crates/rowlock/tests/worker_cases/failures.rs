//! Handlers that fail, panic, hang.

use std::sync::{Arc, Mutex};

use rowlock::{Error, FailedBy, Failure, Record, Stage, Status, Worker};
use tokio::sync::mpsc;

use super::*;

pub(crate) async fn a_failed_attempt_is_retried_and_a_permanent_one_is_not<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(3)).await;
    let keys = add::<D>(&repository, 3).await;
    let failed = Arc::new(Mutex::new(Vec::new()));
    let told_failed = Arc::clone(&failed);
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, claim| async move {
            match (claim.key().as_str(), claim.retry_count()) {
                ("item-00000", 0) => Err(Failure::retryable("once")),
                ("item-00001", _) => Err(Failure::permanent("never")),
                ("item-00002", _) => Err(std::io::Error::other("always").into()),
                _ => Ok(()),
            }
        })
        .on_failed(move |item| {
            let failed = Arc::clone(&told_failed);
            async move { failed.lock().expect("no panic").push(item) }
        });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.failed), (1, 3, 2), "{report:?}");
    assert_eq!(status_of::<D>(&repository, &keys[0]).await, Status::Succeeded);
    assert_eq!(error_of::<D>(&repository, &keys[1]).await, "never");
    assert_eq!(error_of::<D>(&repository, &keys[2]).await, "Max retries (3) exceeded: always");
    let failed = failed.lock().expect("no panic");
    let mut keys: Vec<_> = failed.iter().map(|item| (item.key.as_str(), item.cause)).collect();
    keys.sort_by_key(|(key, _)| *key);
    assert_eq!(keys, [("item-00001", FailedBy::Handler), ("item-00002", FailedBy::Handler)]);
}

pub(crate) async fn a_panic_is_a_failed_attempt<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 20).await;
    let worker = Worker::new(repository.clone()).concurrency("ONE", 1).handle("ONE", |_, claim| async move {
        if claim.key().as_str() == "item-00007" {
            assert!(claim.retry_count() > 0, "seven is odd");
        }
        Ok(())
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.panicked), (20, 1, 1));
    let failures = repository.failures(keys[7].clone()).await.expect("failures");
    assert_eq!(failures[0].error, "the handler panicked: seven is odd");
}

pub(crate) async fn a_handler_past_its_timeout_is_dropped_and_its_item_retried<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = Stage::new("ONE").with_timeout(Duration::from_millis(500));
    let repository = repository(database, pipeline(&[]).add_stage(stage)).await;
    let keys = add::<D>(&repository, 1).await;
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone()).handle("ONE", move |ctx, claim| {
        let guard = SendOnDrop(dropped.clone());
        async move {
            if claim.retry_count() == 0 {
                let _guard = guard;
                ctx.cancelled().await;
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    soon(drops.recv()).await.expect("the handler was dropped");
    assert_eq!((report.completed, report.retried, report.timed_out, report.leaked_slots), (1, 1, 1, 0));
    let failures = repository.failures(keys[0].clone()).await.expect("failures");
    assert!(failures[0].error.contains("timeout of 500ms"), "{failures:?}");
}

struct SendOnDrop(mpsc::UnboundedSender<()>);

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        let _heard = self.0.send(());
    }
}

pub(crate) async fn a_leaked_slot_is_reported_and_given_back_when_its_handler_ends<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = Stage::new("ONE").with_timeout(Duration::from_millis(500));
    let times = pipeline(&[]).add_stage(stage).stale_after(Duration::from_secs(3));
    let repository = repository(database, times).await;
    let keys = add::<D>(&repository, 1).await;
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let (blocked, unblock) = (Arc::new(Mutex::new(blocked)), Arc::new(Mutex::new(Some(unblock))));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 2).handle("ONE", move |_, claim| {
        let (blocked, unblock) = (Arc::clone(&blocked), Arc::clone(&unblock));
        async move {
            if claim.retry_count() == 0 {
                // A thread that cannot be stopped until the second attempt ends it.
                let _ended = blocked.lock().expect("no panic").recv();
            } else {
                drop(unblock.lock().expect("no panic").take());
            }
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.retried, report.timed_out, report.leaked_slots), (1, 1, 1, 1), "{report:?}");
    assert_eq!(status_of::<D>(&repository, &keys[0]).await, Status::Succeeded);
}

pub(crate) async fn a_worker_whose_slots_are_all_leaked_ends_with_an_error<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = Stage::new("ONE").with_timeout(Duration::from_millis(100));
    let times = pipeline(&[]).add_stage(stage).stale_after(Duration::from_secs(3));
    let repository = repository(database, times).await;
    let keys = add::<D>(&repository, 2).await;
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let worker = Worker::new(repository.clone()).concurrency("ONE", 1).handle("ONE", move |_, _| {
        let blocked = Arc::clone(&blocked);
        async move {
            let _ended = blocked.lock().expect("no panic").recv();
            Ok(())
        }
    });
    let error = soon(worker.run()).await.expect_err("it cannot go on");
    assert!(matches!(&error, Error::Worker { problem } if problem.contains("all 1 slots of stage ONE")), "{error}");
    for key in &keys {
        assert!(status_of::<D>(&repository, key).await.is_ready());
    }
    drop(unblock);
}

pub(crate) async fn an_item_at_a_limit_is_exhausted_and_told<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    let keys = add::<D>(&repository, 2).await;
    database.execute("update items set retry_count = 99 where id = 'item-00001'").await;
    let (told_failed, mut failed) = mpsc::unbounded_channel();
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) }).on_failed(move |item| {
        told_failed.send((item.key, item.cause)).expect("the test listens");
        async {}
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.exhausted), (1, 1));
    assert_eq!(failed.recv().await, Some((keys[1].clone(), FailedBy::Exhaust)));
}
