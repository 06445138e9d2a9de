//! A table that others change while statements on it are prepared: the driver remembers which columns they had.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Column as _;

use super::*;
use crate::pipeline::Status;

/// What tools for migrations do: a table of another shape under the name of the one before.
async fn rebuild(scene: &Scene, columns: &str) {
    let names: Vec<_> = columns.split(", ").filter_map(|column| column.split(' ').next()).collect();
    let names = names.join(", ");
    scene
        .execute(&format!(
            "begin immediate;
             create table rebuilt ({columns});
             insert into rebuilt ({names}) select {names} from videos;
             drop table videos;
             alter table rebuilt rename to videos;
             commit"
        ))
        .await;
}

#[tokio::test]
async fn a_table_that_is_rebuilt_with_its_columns_in_another_order_is_read_by_their_names() {
    let scene = Scene::new().await;
    let other = scene.other().await;
    for (key, columns) in [
        (
            "a",
            "updated_at text, created_at text, resume_status text, claimed_at text, claimed_by text, \
             claim_token integer, heartbeat_at text, error_message text, retry_after text, reset_count integer, \
             retry_count integer, status text default 'PENDING', id text primary key",
        ),
        (
            "b",
            "id text primary key, heartbeat_at text, status text default 'PENDING', retry_count integer, \
             reset_count integer, retry_after text, error_message text, claim_token integer, claimed_by text, \
             claimed_at text, resume_status text, created_at text, updated_at text",
        ),
    ] {
        scene.execute(&format!("insert into videos (id, status) values ('{key}', 'PENDING')")).await;
        let leases = claim(&other, 10).await;
        assert_eq!(leases.len(), 1, "before {key}");
        assert_eq!(other.find_claimed(leases[0].token).await.expect("found").len(), 1);
        assert_eq!(other.get(&Key::from(key)).await.expect("get").expect("an item").word, "A_IN_PROGRESS");

        rebuild(&scene, columns).await;

        let found = other.get(&Key::from(key)).await.expect("get").expect("an item");
        assert_eq!((found.word.as_str(), found.token), ("A_IN_PROGRESS", Some(leases[0].token.as_i64())));
        let page = other.list(&ListParams::new(9)).await.expect("list");
        assert_eq!(page.items.last().map(|item| &item.key), Some(&leases[0].key));
        other.prepare().await.expect("the indexes went with the old table");
        let renewed = other.renew(&leases, None).await.expect("renew");
        assert_eq!(renewed, [LeaseState::Held]);
        let done = other.finish(&finishing(&other, &leases, &Outcome::Complete)).await.expect("finish");
        assert!(matches!(done[..], [Finished::Applied { .. }]), "{done:?}");
        let leases = claim(&other, 10).await;
        assert_eq!(leases.len(), 1, "it is ready for the next stage");
        other.finish(&finishing(&other, &leases, &Outcome::Complete)).await.expect("finish");
    }
}

#[tokio::test]
async fn a_change_that_a_users_transaction_undid_leaves_no_statement_behind() {
    let scene = Scene::new().await;
    scene.add(&["a"]).await;
    let read = async |transaction: &mut SqliteTransaction| {
        let row = sqlx::query("select * from videos").fetch_one(&mut **transaction).await.expect("a row");
        row.columns().iter().map(|column| column.name().to_owned()).collect::<Vec<_>>()
    };
    let mut transaction = scene.store.begin().await.expect("begins");
    sqlx::query("alter table videos add column note text").execute(&mut *transaction).await.expect("alters");
    assert_eq!(read(&mut transaction).await.len(), 14);
    scene.store.rollback(transaction).await.expect("rolls back");
    let mut transaction = scene.store.begin().await.expect("begins");
    assert_eq!(read(&mut transaction).await.len(), 13);
    scene.store.rollback(transaction).await.expect("rolls back");
}

/// How often the table is changed under the verbs.
const CHANGES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn columns_that_come_and_go_during_calls_fail_none_and_lose_nothing() {
    let scene = Scene::new().await;
    let keys: Vec<Key> = (0..400).map(|n| Key::from(format!("{n:04}"))).collect();
    scene.store.add_many(&keys).await.expect("add_many");
    let is_changed = AtomicBool::new(false);
    let (working, reading, changing) = (scene.other().await, scene.other().await, scene.other().await);

    let work = async {
        let mut done = 0;
        loop {
            let leases = claim(&working, 3).await;
            if leases.is_empty() && is_changed.load(Ordering::Acquire) {
                break done;
            }
            let mut transaction = working.begin().await.expect("begins");
            sqlx::query("select * from videos limit 3").fetch_all(&mut *transaction).await.expect("rows");
            working.rollback(transaction).await.expect("rolls back");
            let outcome = if is_changed.load(Ordering::Acquire) { Outcome::Complete } else { Outcome::Release };
            let finished = working.finish(&finishing(&working, &leases, &outcome)).await.expect("finish");
            assert!(finished.iter().all(|one| matches!(one, Finished::Applied { .. })), "{finished:?}");
            done += if outcome == Outcome::Complete { leases.len() } else { 0 };
        }
    };
    let read = async {
        while !is_changed.load(Ordering::Acquire) {
            let page = reading.list(&ListParams::new(20)).await.expect("list");
            assert_eq!(page.items.len(), 20);
            let item = reading.get(&keys[7]).await.expect("get").expect("an item");
            assert!(item.status.is_some(), "{}", item.word);
            reading.explain(&keys[7], None).await.expect("explain").expect("an item");
            reading.preview(&claiming(&reading, 5)).await.expect("preview");
        }
    };
    let change = async {
        for number in 0..CHANGES {
            let verb = changing.verb("test");
            let mut session = changing.write(&verb).await.expect("a connection");
            let change = if number % 3 == 2 {
                "drop column note_a"
            } else {
                ["add column note_a", "add column note_b"][number % 3]
            };
            let change = change.replace("note_b", &format!("note_{number}"));
            (*session).execute(AssertSqlSafe(format!("alter table videos {change}"))).await.expect("alters");
            session.commit().await.expect("commits");
        }
        is_changed.store(true, Ordering::Release);
    };
    let (done, (), ()) = tokio::join!(work, read, change);

    assert_eq!(done, 2 * keys.len(), "each item in each stage, once");
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    assert_eq!(counts.count(Status::Succeeded), 400);
}
