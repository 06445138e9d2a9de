//! The kit for users' own tests.

use std::time::Duration;

use rowlock::testing::TestQueue;
use rowlock::{Error, Failure, Record, RetryPolicy, Stage, Status, Worker};

use super::*;

type Queue<D> = TestQueue<<D as Database>::S, Item>;

async fn queue<D: Database>(database: &D, keys: &[&str]) -> Queue<D>
where
    Item: Record<D::S>,
{
    let one = Stage::new("ONE").with_timeout(Duration::from_millis(100));
    let pipeline = pipeline(&[]).add_stage(one).stage("TWO").retry(RetryPolicy::constant(Duration::from_secs(60)));
    let store = database.store(pipeline.build().expect("a valid pipeline")).await;
    let queue = TestQueue::over(store).await.expect("prepared");
    queue.repository().add_many(keys).await.expect("added");
    queue
}

/// The worker of an application, which its tests use as it is.
fn worker<D: Database>(queue: &Queue<D>) -> Worker<D::S, Item>
where
    Item: Record<D::S>,
{
    Worker::new(queue.repository().clone())
        .handle("ONE", |context, claim| async move {
            match claim.id.as_str() {
                "fails" => Err(Failure::permanent("no")),
                "retried" => Err(Failure::retryable("not yet")),
                "panics" => panic!("boom"),
                "hangs" => std::future::pending().await,
                "in a transaction" => {
                    let transaction = context.begin().await?;
                    Ok(claim.complete_in(transaction).await?.into())
                }
                _ => Ok(rowlock::Handled::from(())),
            }
        })
        .handle_batch("TWO", 10, |_, claims| async move { claims.iter().map(|_| Ok(())).collect() })
}

pub(crate) async fn one_item_is_taken_through_one_stage<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let runs = [
        ("works", "ONE_COMPLETE", None),
        ("in a transaction", "ONE_COMPLETE", None),
        ("fails", "FAILED", Some("no")),
        ("retried", "PENDING", Some("not yet")),
        ("panics", "PENDING", Some("the handler panicked: boom")),
        ("hangs", "PENDING", Some("the handler ran for longer than the stage's timeout of 100ms")),
    ];
    let keys = runs.map(|(key, _, _)| key);
    let queue = queue(database, &keys).await;
    for (at, (key, word, error)) in runs.into_iter().enumerate() {
        let run = worker::<D>(&queue).run_one("ONE", key).await.expect("it can be claimed");
        assert_eq!((run.word.as_str(), run.error.as_deref()), (word, error), "{key}");
        for untouched in &keys[at + 1..] {
            queue.assert_word(*untouched, "PENDING").await;
        }
    }
    let run = worker::<D>(&queue).run_one("TWO", "works").await.expect("it can be claimed");
    assert_eq!((run.status, run.error), (Some(Status::Succeeded), None));
}

pub(crate) async fn an_item_that_cannot_be_claimed_is_an_error_that_says_why<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let queue = queue(database, &["retried"]).await;
    let refused = async |stage: &str, key: &str| {
        worker::<D>(&queue).run_one(stage, key).await.expect_err("it cannot be claimed").to_string()
    };
    assert!(refused("ONE", "nobody").await.contains("there is no such item"));
    let error = refused("TWO", "retried").await;
    assert!(error.contains("cannot be claimed for TWO: ready for ONE"), "{error}");
    let error = refused("THREE", "retried").await;
    assert!(error.contains("pipeline test has no such stage, but ONE, TWO"), "{error}");
    worker::<D>(&queue).run_one("ONE", "retried").await.expect("it can be claimed");
    assert!(refused("ONE", "retried").await.contains("due"));
    let alone = Worker::new(queue.repository().clone()).handle("TWO", |_, _| async { Ok(()) });
    let error = alone.run_one("ONE", "retried").await.expect_err("no handler");
    assert!(matches!(error, Error::InvalidArgument { .. }), "{error}");
}

pub(crate) async fn the_clock_of_a_test_decides_what_is_due_and_stale<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let queue = queue(database, &["retried", "held"]).await;
    worker::<D>(&queue).run_one("ONE", "retried").await.expect("it can be claimed");
    let held = queue.repository().claim(9).await.expect("claimed").items;
    assert_eq!(held.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>(), ["held"]);

    queue.clock().advance(Duration::from_secs(80));
    let run = worker::<D>(&queue).run_one("ONE", "retried").await.expect("its delay is over");
    assert_eq!(run.word, "PENDING");
    assert_eq!(queue.repository().sweep().await.expect("swept").items.len(), 0, "80 s are no reason");
    queue.clock().advance(Duration::from_secs(230));
    let swept = queue.repository().sweep().await.expect("swept");
    assert_eq!(swept.items.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["held"]);
    let (now, shown) = (queue.repository().now().await.expect("the time"), queue.clock().now());
    assert!((shown - now).num_seconds() < 60, "{now} is not {shown}");
}
