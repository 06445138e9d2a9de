//! The database's clock is set, or the machine suspended: the database's time goes on while the process's stands still.

use std::sync::Arc;

use chrono::TimeDelta;
use rowlock::{Key, Record, Worker};

use super::faulty::{Faulty, answered, counted};
use super::*;

/// If a worker took back its own items after each suspend, three suspends would make them `FAILED`.
pub(crate) async fn a_step_of_the_databases_clock_takes_nothing_from_the_living<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let (plan, sweeps) = counted("sweep", answered());
    let times = pipeline(&["ONE"]).stale_after(Duration::from_secs(3)).heartbeat_interval(Duration::from_secs(1));
    let store = Faulty::new(database.store(times.build().expect("a valid pipeline")).await, plan);
    let special = Arc::clone(&store.special);
    let repository: Repository<_, Item> = Repository::new(store);
    let keys = [Key::from("of the dead"), Key::from("of the living")];
    repository.add_many(&keys[..1]).await.expect("added");
    assert_eq!(repository.claim(1).await.expect("claimed").items.len(), 1, "held by nobody who lives");
    repository.add_many(&keys[1..]).await.expect("added");
    let worker = Worker::new(repository.clone()).handle("ONE", move |context, claim| {
        let (special, mut sweeps) = (Arc::clone(&special), sweeps.clone());
        async move {
            if claim.key().as_str() == "of the dead" {
                return Ok(());
            }
            for step in [TimeDelta::hours(1), TimeDelta::hours(1), TimeDelta::hours(-5), TimeDelta::days(4_000)] {
                *special.clock_ahead.lock().expect("no panic") += step;
                let swept_before = *sweeps.borrow();
                tokio::select! {
                    swept = sweeps.wait_for(|swept| *swept >= swept_before + 2) =>
                        drop(swept.expect("the worker lives")),
                    () = context.cancelled() => return Err(rowlock::Failure::permanent("its lease was lost")),
                }
            }
            Ok(())
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.swept, report.lost), (2, 1, 0), "{report:?}");
    let facts = repository.explain(keys[1].clone()).await.expect("read").expect("there");
    assert_eq!((facts.reset_count, facts.retry_count), (0, 0), "{facts:?}");
}
