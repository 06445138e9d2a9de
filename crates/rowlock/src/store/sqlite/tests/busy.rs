//! Busy files, deadlines, and futures that are dropped midway.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::Fault;

/// A pipeline whose verbs give up after 0.2 s.
fn impatient() -> PipelineBuilder {
    builder().stale_after(Duration::from_millis(600))
}

fn assert_not_applied(error: &Error) {
    assert!(matches!(error, Error::Database { fault: Fault::NotApplied, .. }), "{error:?}");
    assert!(error.is_transient() && !error.may_have_been_applied());
}

#[tokio::test]
async fn a_verb_gives_up_when_the_stores_connection_is_in_a_transaction_of_the_users() {
    let scene = Scene::with(impatient()).await;
    scene.add(&["a"]).await;
    let transaction = scene.store.begin().await.expect("begins");
    assert_not_applied(&scene.store.claim(&claiming(&scene.store, 1)).await.expect_err("it is in use"));
    scene.store.get(&Key::from("a")).await.expect("reading goes on").expect("an item");
    scene.store.rollback(transaction).await.expect("rolls back");
    assert_eq!(claim(&scene.store, 1).await.len(), 1);
}

#[tokio::test]
async fn a_verb_gives_up_when_another_process_writes_for_too_long() {
    let scene = Scene::with(impatient()).await;
    scene.add(&["a"]).await;
    let other = scene.other().await;
    let transaction = other.begin().await.expect("begins");
    let error = scene.store.claim(&claiming(&scene.store, 1)).await.expect_err("the file is busy");
    assert_not_applied(&error);
    drop(transaction);
    let leases = claim(&scene.store, 1).await;
    assert_eq!(leases.len(), 1);
}

#[tokio::test]
async fn a_transaction_that_was_open_for_too_long_is_undone() {
    let scene = Scene::with(impatient()).await;
    scene.add(&["a"]).await;
    let leases = claim(&scene.store, 1).await;
    let mut transaction = scene.store.begin().await.expect("begins");
    sqlx::query("create table results (id text)").execute(&mut *transaction).await.expect("creates");
    transaction.age(Duration::from_secs(1));
    let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
    let error = scene.store.finish_in(transaction, &finish, limits(&scene.store)).await.expect_err("too late");
    assert_not_applied(&error);
    scene.execute("create table results (id text)").await;
    assert_eq!(scene.word("a").await, "A_IN_PROGRESS");
}

#[tokio::test]
async fn a_transaction_whose_process_was_stopped_is_none_the_older() {
    let scene = Scene::with(builder().stale_after(Duration::from_secs(30))).await;
    scene.add(&["a"]).await;
    let leases = claim(&scene.store, 1).await;
    let mut transaction = scene.store.begin().await.expect("begins");
    transaction.stand_still(Duration::from_secs(3_600));
    let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
    let finished = scene.store.finish_in(transaction, &finish, limits(&scene.store)).await.expect("finish_in");
    assert!(matches!(finished, Finished::Applied { .. }), "{finished:?}");
}

#[tokio::test]
async fn at_the_deadline_a_transaction_lets_others_write_and_commits_nothing_any_more() {
    let scene = Scene::with(impatient()).await;
    scene.add(&["a"]).await;
    scene.execute("create table results (number integer)").await;
    let leases = claim(&scene.store, 1).await;
    let other = scene.other().await;
    let mut transaction = scene.store.begin().await.expect("begins");
    sqlx::query("insert into results values (1)").execute(&mut *transaction).await.expect("inserts");
    let endless = "insert into results
        with recursive n (n) as (select 1 union all select n + 1 from n) select n from n where n < 0";
    sqlx::query(endless).execute(&mut *transaction).await.expect_err("it is stopped at the deadline");
    assert_eq!(other.add_many(&[Key::from("b")]).await.expect("others write").added, 1);
    // SQLite has undone the transaction: what comes afterwards would be committed by itself.
    sqlx::query("insert into results values (2)").execute(&mut *transaction).await.expect_err("too late");
    let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
    let error = scene.store.finish_in(transaction, &finish, limits(&scene.store)).await.expect_err("too late");
    assert_not_applied(&error);
    assert!(error.to_string().contains("open for longer than 200ms"), "{error}");
    assert_eq!(scene.word("a").await, "A_IN_PROGRESS");
    let mut again = scene.store.begin().await.expect("begins");
    let row = sqlx::query("select count(*) from results").fetch_one(&mut *again).await.expect("reads");
    assert_eq!(row.get::<i64, _>(0), 0);
    scene.store.rollback(again).await.expect("rolls back");
}

#[tokio::test]
async fn a_users_transaction_has_savepoints_by_the_drivers_own_begin() {
    use sqlx::Connection as _;
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    let leases = claim(&scene.store, 1).await;
    let mut transaction = scene.store.begin().await.expect("begins");
    sqlx::query("create table results (id text)").execute(&mut *transaction).await.expect("creates");
    let mut inner = transaction.begin().await.expect("a savepoint");
    sqlx::query("insert into results values ('undone')").execute(&mut *inner).await.expect("inserts");
    inner.rollback().await.expect("rolls back");
    let mut inner = transaction.begin().await.expect("a savepoint");
    sqlx::query("insert into results values ('kept')").execute(&mut *inner).await.expect("inserts");
    inner.commit().await.expect("releases");
    let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
    let finished = scene.store.finish_in(transaction, &finish, limits(&scene.store)).await.expect("finishes");
    assert!(matches!(finished, Finished::Applied { .. }));
    let mut again = scene.store.begin().await.expect("begins");
    let rows = sqlx::query("select id from results").fetch_all(&mut *again).await.expect("reads");
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>(), ["kept"]);
    scene.store.rollback(again).await.expect("rolls back");
}

/// A claim is dropped after each number of polls that it needs. Whatever it had done by then is undone, or found by its
/// token; the file is not locked, and nobody gets an item twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_dropped_anywhere_leaves_nothing_open() {
    let scene = Scene::new().await;
    scene.add(&["a", "b", "c"]).await;
    dropped_anywhere(&scene, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_item_by_item_that_is_dropped_anywhere_leaves_nothing_open() {
    let scene = Scene::new().await;
    scene.add(&["a", "b", "suspect"]).await;
    scene.execute("update videos set reset_count = 2 where id = 'suspect'").await;
    dropped_anywhere(&scene, 3).await;
}

/// Drops a claim that takes two of three items after one poll, after two, and so on.
async fn dropped_anywhere(scene: &Scene, limit: usize) {
    let mut polls_needed = None;
    for polls in 1..200 {
        let claiming = claiming(&scene.store, limit);
        let ended = {
            let mut future = pin!(scene.store.claim(&claiming));
            poll_times(future.as_mut(), polls).await
        };
        let found = scene.store.find_claimed(claiming.token).await.expect("find_claimed");
        if let Some(batch) = ended {
            let batch = batch.expect("claim");
            assert_eq!(batch.claimed.len(), 2);
            polls_needed = Some(polls);
            break;
        }
        assert!(found.is_empty() || found.len() == 2, "a claim is whole or nothing: {}", found.len());
        let leases: Vec<Lease> = found.into_iter().map(|claimed| claimed.lease).collect();
        let given_back = finishing(&scene.store, &leases, &Outcome::Release);
        scene.store.finish(&given_back).await.expect("finish");
        let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
        assert_eq!(counts.statuses[0].count, 3, "all are ready after {polls} polls");
    }
    assert!(polls_needed.is_some());
}

/// Polls a future so often, each time when it says that it can go on.
async fn poll_times<F: Future>(mut future: std::pin::Pin<&mut F>, times: usize) -> Option<F::Output> {
    let mut left = times;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        let output = future.as_mut().poll(context);
        if left == 0 && output.is_pending() {
            return std::task::Poll::Ready(None);
        }
        output.map(Some)
    })
    .await
}

#[tokio::test]
async fn a_statement_whose_future_was_dropped_is_interrupted() {
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    let mut transaction = scene.store.begin().await.expect("begins");
    {
        let endless = "with recursive n (n) as (select 1 union all select n + 1 from n) select count(*) from n";
        let mut query = pin!(sqlx::query(endless).execute(&mut *transaction));
        let polled = query.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    drop(transaction);
    assert_eq!(claim(&scene.store, 1).await.len(), 1, "the file is not locked any more");
}

#[tokio::test]
async fn two_stores_on_one_file_share_nothing() {
    let scene = Scene::new().await;
    let keys: Vec<Key> = (0..300).map(|number| Key::new(format!("v{number:04}"))).collect();
    scene.store.add_many(&keys).await.expect("add_many");
    let other = scene.other().await;
    let drain = async |store: &SqliteStore| {
        let mut mine = Vec::new();
        loop {
            let leases = claim(store, 7).await;
            if leases.is_empty() {
                return mine;
            }
            let outcome = Outcome::Fail { error: "done".to_owned() };
            store.finish(&finishing(store, &leases, &outcome)).await.expect("finish");
            mine.extend(leases.into_iter().map(|lease| lease.key));
        }
    };
    let (mut first, second) = tokio::join!(drain(&scene.store), drain(&other));
    first.extend(second);
    first.sort();
    assert_eq!(first, keys);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let scene = Scene::new().await;
    scene.store.close().await;
    let error = scene.store.counts(&CountParams::default()).await.expect_err("it is closed");
    assert!(!error.is_transient(), "{error}");
}
