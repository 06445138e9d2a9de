//! Batches in which nothing is out of the ordinary: by what their rows are found.

use super::*;
use crate::store::sqlite::plain::MANY;

/// A table of these columns beside the key and the status, with so many items.
async fn table_of(columns: &str, options: &str, items: usize) -> Scene {
    let scene = Scene::new().await;
    scene
        .execute(&format!(
            "drop table videos;
             create table videos (id text primary key not null, status text not null default 'PENDING' {columns}) \
             {options}"
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

async fn items_with(scene: &Scene, word: &str) -> usize {
    let counts = scene.store.counts(&CountParams::default()).await.expect("counts");
    counts
        .statuses
        .iter()
        .find(|status| status.word == word)
        .map_or(0, |status| usize::try_from(status.count).expect("a count"))
}

/// Claims from the first stage by the statements for what is plain alone.
async fn claim_plain(scene: &Scene, limit: usize) -> Vec<Lease> {
    let (store, verb) = (&scene.store, scene.store.verb("test"));
    let claiming = ClaimParams { stages: store.pipeline().stage_ids().take(1).collect(), ..claiming(store, 1_000) };
    let mut session = store.write(&verb).await.expect("a transaction");
    let now = store.time(&mut session, None).await.expect("a time");
    let heads = store.plain_heads(&mut session, &claiming, &now, limit).await.expect("heads").expect("all is plain");
    let batch = store.take_heads(&mut session, &claiming, &now, limit, &heads).await.expect("a batch");
    session.commit().await.expect("committed");
    batch.expect("nothing is undone").leases().cloned().collect()
}

/// Completes by the statements for what is plain alone.
async fn complete_plain(scene: &Scene, leases: &[Lease]) {
    let (store, verb) = (&scene.store, scene.store.verb("test"));
    let finishing = finishing(store, leases, &Outcome::Complete);
    let groups = store.completions(&finishing.items).expect("groups").expect("few groups");
    let mut session = store.write(&verb).await.expect("a transaction");
    let moment = store.moment(&mut session, None).await.expect("a time");
    let finished = store.finish_plain(&mut session, &finishing, &moment, &groups).await.expect("a finish");
    session.commit().await.expect("committed");
    let finished = finished.expect("nothing is undone");
    assert!(finished.iter().all(|outcome| matches!(outcome, Finished::Applied { .. })), "{finished:?}");
}

/// The whole queue of the first stage, in two claims; what was claimed by each is completed.
async fn assert_drained(scene: &Scene, items: usize) {
    for _ in 0..2 {
        let leases = claim_plain(scene, items / 2).await;
        let distinct: std::collections::HashSet<&str> = leases.iter().map(|lease| lease.key.as_str()).collect();
        assert_eq!(distinct.len(), items / 2);
        complete_plain(scene, &leases).await;
    }
    assert_eq!(items_with(scene, "A_COMPLETE").await, items);
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
        let leases = claim_plain(&scene, 600).await;
        complete_plain(&scene, &leases[..some]).await;
        assert_eq!(items_with(&scene, "A_IN_PROGRESS").await, 600 - some);
        assert_eq!(items_with(&scene, "A_COMPLETE").await, some);
    }
}

/// As where a newer version of the pipeline has replaced the indexes.
#[tokio::test]
async fn many_are_completed_by_their_keys_where_the_index_on_the_token_is_missing() {
    let scene = table_of("", "", 600).await;
    let leases = claim_plain(&scene, 600).await;
    let index = indexes::name(scene.store.pipeline(), "running");
    scene.execute(&format!("drop index {index}")).await;
    complete_plain(&scene, &leases).await;
    assert_eq!(items_with(&scene, "A_COMPLETE").await, 600);
}

/// When a table is given another name its indexes go with it, and keep theirs.
#[tokio::test]
async fn many_are_completed_by_their_keys_where_the_index_is_another_tables() {
    let scene = table_of("", "", 600).await;
    let leases = claim_plain(&scene, 600).await;
    scene
        .execute(
            "alter table videos rename to former;
             create table videos (id text primary key not null, status text not null default 'PENDING')",
        )
        .await;
    scene.store.prepare().await.expect("prepares");
    scene.execute("insert into videos (id, status, claim_token) select id, status, claim_token from former").await;
    complete_plain(&scene, &leases).await;
    assert_eq!(items_with(&scene, "A_COMPLETE").await, 600);
}

/// Then a row has another rowid when it is read than when it was taken, or another row has its rowid.
#[tokio::test]
async fn what_a_trigger_has_moved_is_claimed_all_the_same() {
    for moves in [
        "delete from videos where id = new.id;
         insert into videos (id, status, claim_token, heartbeat_at)
         values (new.id, new.status, new.claim_token, new.heartbeat_at)",
        "update videos set _rowid_ = -1 where id = new.id;
         update videos set _rowid_ = new._rowid_ where id = 'v0009'",
    ] {
        let scene = table_of("", "", 10).await;
        scene
            .execute(&format!(
                "create trigger r after update on videos when new.id = 'v0003' and new.status = 'A_IN_PROGRESS'
                 begin {moves}; end"
            ))
            .await;
        scene.execute("update videos set created_at = '2025-01-01T00:00:00.000Z' where id = 'v0003'").await;
        let leases = claim(&scene.store, 1).await;
        assert_eq!(leases.iter().map(|lease| lease.key.as_str()).collect::<Vec<_>>(), ["v0003"], "{moves}");
        assert_eq!(items_with(&scene, "A_IN_PROGRESS").await, 1);
    }
}
