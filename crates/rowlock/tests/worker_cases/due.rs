//! Items that are due much later, or never.

use rowlock::{Failure, Key, Record, Worker};

use super::*;

pub(crate) async fn what_is_never_due_is_named_and_not_waited_for<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"])).await;
    add::<D>(&repository, 3).await;
    for (column, key) in [("created_at", "item-00000"), ("retry_after", "item-00001")] {
        let update = format!("update items set {column} = '9999-12-31T23:59:59.999Z' where id = '{key}'");
        database.execute(&update).await;
    }
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_idle()).await);
    let named: Vec<_> = report.remaining.never_due.iter().map(|stage| (stage.name.as_str(), stage.items)).collect();
    assert_eq!((report.completed, named), (1, vec![("ONE", 2)]), "{report:?}");
    assert!(!report.remaining.is_empty());
    assert_eq!(report.remaining.to_string(), "2 ready for ONE that are never due");
}

pub(crate) async fn a_worker_can_end_when_nothing_is_due<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE", "TWO"])).await;
    add::<D>(&repository, 3).await;
    let worker = Worker::new(repository.clone())
        .handle("ONE", |_, claim| async move {
            match claim.key().as_str() {
                "item-00001" => Err(Failure::retry_after("at night", Duration::from_secs(36_000))),
                _ => Ok(()),
            }
        })
        .handle("TWO", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_nothing_is_due()).await);
    let named: Vec<_> = report.remaining.delayed.iter().map(|stage| (stage.name.as_str(), stage.items)).collect();
    assert_eq!((report.completed, report.retried, named), (4, 1, vec![("ONE", 1)]), "{report:?}");
    let facts = repository.explain(Key::from("item-00001")).await.expect("read").expect("there");
    assert_eq!(report.remaining.next_due_at, facts.retry_after);
    assert!(report.remaining.next_due_at.is_some());
}

/// It may be due again soon, and no other worker may be there.
pub(crate) async fn a_worker_that_ends_when_nothing_is_due_waits_for_the_leases_of_others<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).stale_after(Duration::from_secs(3))).await;
    add::<D>(&repository, 1).await;
    claim_and_stop::<D>(&repository, 1).await;
    let worker = Worker::new(repository).handle("ONE", |_, _| async { Ok(()) });
    let report = told(soon(worker.run_until_nothing_is_due()).await);
    assert_eq!((report.completed, report.swept), (1, 1), "{report:?}");
    assert!(report.remaining.is_empty(), "{report:?}");
}
