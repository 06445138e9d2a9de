//! A store that may only read.

use super::Harness;
use super::scene::{Scene, at};
use crate::store::{Outcome, Store};

pub async fn a_read_only_store_refuses_every_write<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let lease = scene.lease("a").await;
    let before = scene.raw_all().await;
    let dry = scene.store.read_only().await.expect("read_only");

    for (verb, result) in scene.try_every_write(&dry, &lease).await {
        let error = result.expect_err(verb);
        assert!(error.is_read_only(), "{verb}: {error}");
        assert_eq!(scene.raw_all().await, before, "{verb}");
    }
    dry.close().await;
    assert!(matches!(scene.finish(&lease, Outcome::Complete).await, crate::store::Finished::Applied { .. }));
}

pub async fn a_read_only_store_reads<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert_all(&["a", "b"]).await;
    let lease = scene.lease("a").await;
    let dry = scene.store.read_only().await.expect("read_only");

    for (verb, result) in scene.try_every_read(&dry, &lease).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
    let preview = dry.preview(&scene.claiming(9)).await.expect("preview");
    assert_eq!(preview.len(), 1);
    assert_eq!(preview[0].key.as_str(), "b");
}

pub async fn a_users_transaction_of_a_read_only_store_refuses_writes_too<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    scene.insert("a").await;
    let dry = scene.store.read_only().await.expect("read_only");
    // Either the transaction is refused, or the write in it.
    if let Ok(mut transaction) = dry.begin().await {
        let written = harness.execute_in(&mut transaction, "update pages set status = 'SUCCEEDED'").await;
        assert!(written.is_err(), "a dry run wrote");
        drop(transaction);
    }
    assert_eq!(scene.raw("a").await.status.as_deref(), Some("PENDING"));
}

pub async fn a_read_only_store_follows_what_is_written<H: Harness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let dry = scene.store.read_only().await.expect("read_only");
    scene.insert("a").await;
    assert_eq!(dry.preview(&scene.claiming(9)).await.expect("preview").len(), 1);
    scene.lease_at("a", at(0)).await;
    assert_eq!(dry.preview(&scene.claiming(9)).await.expect("preview").len(), 0);
}
