//! Panics on the worker's own thread.

use std::sync::Arc;

use rowlock::{Error, Failure, Record, Worker};

use super::faulty::{Fate, Plan};
use super::outages::faulty;
use super::*;

pub(crate) async fn a_worker_one_of_whose_tasks_panics_ends_with_an_error<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    for broken in ["renew", "finish"] {
        let plan: Plan = Arc::new(move |verb| {
            assert!(verb != broken, "{verb} is broken");
            Fate::Answered
        });
        let times =
            pipeline(&["ONE"]).stale_after(Duration::from_secs(3)).heartbeat_interval(Duration::from_millis(300));
        let repository = faulty(database, times, plan).await;
        repository.add_many(&[Key::from(broken)]).await.expect("added");
        let worker = Worker::new(repository).grace(Duration::from_millis(100)).handle("ONE", move |_, _| async move {
            if broken == "renew" {
                std::future::pending::<()>().await;
            }
            Ok::<(), Failure>(())
        });
        let error = soon(worker.run()).await.expect_err("a part of it is gone");
        assert!(matches!(error, Error::Worker { .. }), "{broken}: {error}");
        assert!(error.to_string().contains(&format!("{broken} is broken")), "{error}");
        database.execute("delete from items").await;
    }
}
