//! Batches in which nothing is out of the ordinary: by what their rows are found.

use super::*;
use crate::store::sqlite::plain::MANY;

/// A table of these columns beside the key and the status, with so many items.
async fn table_of(columns: &str, options: &str, items: usize) -> Scene {
    let scene = Scene::new().await;
    scene
        .execute(&format!(
            "drop table videos;
             create table videos (id text primary key not null, status text not null default 'PENDING' {columns}) {options}"
        ))
        .await;
    scene.store.prepare().await.expect("prepares");
    scene
        .execute(&format!(
            "with recursive n (n) as (select 1 union all select n + 1 from n where n < {items})
             insert into videos (id, created_at) select printf('v%04d', {items} - n), '2026-01-01T00:00:00.000Z' from n"
        ))
        .await;
    scene
}

async fn goes_by_rowid(scene: &Scene) -> bool {
    let verb = scene.store.verb("test");
    let mut session = scene.store.take_writer(&verb).await.expect("a connection");
    let sql = scene.store.plain_claim(&mut session).await.expect("an answer");
    session.keep();
    std::ptr::eq(sql, &raw const scene.store.statements.claim_by_rowid)
}

async fn items_with(scene: &Scene, word: &str) -> i64 {
    let counts = scene.store.counts(&Counting::default()).await.expect("counts");
    counts.statuses.iter().find(|status| status.word == word).map_or(0, |status| status.count)
}

/// The whole queue of the first stage, in two claims; what was claimed by each is completed.
async fn assert_drained(scene: &Scene, items: usize) {
    let limit = i64::try_from(items / 2).expect("a small number");
    for _ in 0..2 {
        let stages = scene.store.pipeline().stage_ids().take(1).collect();
        let batch = scene.store.claim(&Claiming { stages, ..claiming(&scene.store, limit) }).await.expect("claim");
        let leases: Vec<Lease> = batch.leases().cloned().collect();
        let distinct: std::collections::HashSet<&str> = leases.iter().map(|lease| lease.key.as_str()).collect();
        assert_eq!(distinct.len(), items / 2);
        let finished = scene.store.finish(&finishing(&scene.store, &leases, &Outcome::Complete)).await.expect("finish");
        assert!(finished.iter().all(|outcome| matches!(outcome, Finished::Applied { .. })), "{finished:?}");
    }
    assert_eq!(items_with(scene, "A_COMPLETE").await, 2 * limit);
}

#[tokio::test]
async fn rows_are_found_by_their_rowid() {
    let scene = table_of("", "", 600).await;
    assert!(goes_by_rowid(&scene).await);
    assert_drained(&scene, 600).await;
}

#[tokio::test]
async fn rows_without_a_rowid_are_found_by_their_key() {
    let scene = table_of("", "without rowid", 600).await;
    assert!(!goes_by_rowid(&scene).await);
    assert_drained(&scene, 600).await;
}

/// SQLite gives the name of the rowid to a column that is called so.
#[tokio::test]
async fn a_column_of_the_users_that_hides_the_rowid_is_not_taken_for_it() {
    let scene = table_of(", _RowID_ text default 'the same everywhere'", "", 600).await;
    assert!(!goes_by_rowid(&scene).await);
    assert_drained(&scene, 600).await;
}

/// A table that was made anew while the store was open.
#[tokio::test]
async fn a_claim_sees_that_the_table_has_no_rowid_any_more() {
    let scene = table_of("", "", 10).await;
    assert_eq!(claim(&scene.store, 10).await.len(), 10);
    scene
        .execute(
            "drop table videos;
             create table videos (id text primary key not null, status text not null default 'PENDING') without rowid",
        )
        .await;
    scene.store.prepare().await.expect("prepares");
    scene.add(&["a", "b"]).await;
    assert_eq!(claim(&scene.store, 10).await.len(), 2);
}

/// Many are completed by the index on the token, few by their keys: what somebody else took meanwhile is left to them.
#[tokio::test]
async fn of_a_large_batch_only_what_is_held_is_completed() {
    let scene = table_of("", "", 600).await;
    let leases = claim(&scene.store, 600).await;
    let (stolen, kept) = (&leases[300], &leases[599]);
    scene
        .store
        .finish(&finishing(&scene.store, std::slice::from_ref(stolen), &Outcome::Release))
        .await
        .expect("finish");
    let again = claim(&scene.store, 600).await;
    assert_eq!(again.len(), 1);
    let finished =
        scene.store.finish(&finishing(&scene.store, &leases[..599], &Outcome::Complete)).await.expect("finish");
    for (index, outcome) in finished.iter().enumerate() {
        match index {
            300 => assert!(matches!(outcome, Finished::LeaseLost), "{outcome:?}"),
            _ => assert!(matches!(outcome, Finished::Applied { .. }), "{index}: {outcome:?}"),
        }
    }
    assert_eq!(scene.word(stolen.key.as_str()).await, "A_IN_PROGRESS");
    assert_eq!(scene.word(kept.key.as_str()).await, "A_IN_PROGRESS", "it was not completed");
}

/// Both ways of completing a group, on each side of the line between them.
#[tokio::test]
async fn a_group_of_a_claim_is_completed_without_the_rest_of_it() {
    for some in [MANY - 1, MANY] {
        let scene = table_of("", "", 600).await;
        let leases = claim(&scene.store, 600).await;
        let finishing = finishing(&scene.store, &leases[..some], &Outcome::Complete);
        let finished = scene.store.finish(&finishing).await.expect("finish");
        assert!(finished.iter().all(|outcome| matches!(outcome, Finished::Applied { .. })), "{finished:?}");
        assert_eq!(items_with(&scene, "A_IN_PROGRESS").await, 600 - i64::try_from(some).expect("small"));
        assert_eq!(items_with(&scene, "A_COMPLETE").await, i64::try_from(some).expect("small"));
    }
}

/// Then a row has another rowid when it is read than when it was taken.
#[tokio::test]
async fn a_row_that_a_trigger_puts_another_in_the_place_of_is_claimed() {
    let scene = table_of("", "", 10).await;
    scene
        .execute(
            "create trigger r after update on videos when new.id = 'v0003' and new.status = 'A_IN_PROGRESS' begin
               delete from videos where id = new.id;
               insert into videos (id, status, claim_token, heartbeat_at) values (new.id, new.status, new.claim_token, new.heartbeat_at);
             end",
        )
        .await;
    let leases = claim(&scene.store, 10).await;
    assert_eq!(leases.len(), 10);
    assert!(leases.iter().any(|lease| lease.key.as_str() == "v0003"));
}
