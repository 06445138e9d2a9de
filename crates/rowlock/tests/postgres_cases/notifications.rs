//! The trigger that wakes idle workers.

use std::time::Duration;

use rowlock::conformance::{Harness, run};
use rowlock::store::{Listener, Store};

use super::{pipeline, stages, value};
use crate::postgres::PostgresHarness;

const TRIGGERS: &str = "select count(*)::text from pg_trigger where tgrelid = 'pages'::regclass and not tgisinternal";

/// A user's table that gets no trigger automatically.
async fn own_table(harness: &PostgresHarness) {
    harness.execute("create table pages (page text primary key)").await.expect("create table");
}

#[tokio::test]
async fn a_table_of_the_users_gets_a_trigger_only_when_asked_for() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        own_table(harness).await;
        let store = harness.open(pipeline()).await;
        store.prepare().await.expect("prepare");
        assert_eq!(value(harness, TRIGGERS).await, "0");
        assert!(!store.listen().await.expect("listen").notifies(), "whoever listens must look often");

        store.install_trigger().await.expect("install_trigger");
        store.install_trigger().await.expect("it may be repeated");

        assert_eq!(value(harness, TRIGGERS).await, "1");
        let mut listener = store.listen().await.expect("listen");
        assert!(listener.notifies());
        listener.arm(Duration::from_secs(5)).await.expect("arm");
        harness.execute("insert into pages (page) values ('a')").await.expect("insert");
        assert!(listener.wait(Duration::from_secs(10)).await.expect("wait"), "no NOTIFY though somebody waits");

        harness.execute("alter table pages disable trigger user").await.expect("alter table");
        assert!(!store.listen().await.expect("listen").notifies(), "a trigger that does not fire tells nobody");
    })
    .await;
}

#[tokio::test]
async fn two_pipelines_on_one_table_are_both_told() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        own_table(harness).await;
        let other = rowlock::Pipeline::builder("others").table("pages").key("page").stage("FETCH");
        let mut listeners = Vec::new();
        for pipeline in [pipeline(), other.build().expect("valid")] {
            let store = harness.open(pipeline).await;
            store.prepare().await.expect("prepare");
            store.install_trigger().await.expect("install_trigger");
            listeners.push(store.listen().await.expect("listen"));
        }
        for listener in &mut listeners {
            listener.arm(Duration::from_secs(5)).await.expect("arm");
        }
        harness.execute("insert into pages (page) values ('a')").await.expect("insert");
        for listener in &mut listeners {
            assert!(listener.wait(Duration::from_secs(10)).await.expect("wait"), "no NOTIFY though somebody waits");
        }
    })
    .await;
}

#[tokio::test]
async fn the_trigger_never_makes_an_insert_fail() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        own_table(harness).await;
        let store = harness.open(stages().build().expect("valid")).await;
        store.prepare().await.expect("prepare");
        store.install_trigger().await.expect("install_trigger");
        let mut listener = store.listen().await.expect("listen");
        listener.arm(Duration::from_secs(5)).await.expect("arm");

        // A role that may insert and do nothing else, and whose search path finds other objects under our names.
        let role = format!("{}_role", harness.database);
        let odd = format!(
            "create role {role}; grant insert on pages to {role};
             create schema odd; create table odd.rowlock_meta (wrong integer);
             create function odd.pg_notify(text, text) returns void language plpgsql as $$begin raise 'odd'; end$$;
             grant usage on schema odd to {role}"
        );
        harness.execute(&odd).await.expect("create role");
        let insert = |key: &str| {
            format!(
                "begin; set local role {role}; set local search_path = odd, public;
                 insert into public.pages (page) values ('{key}'); commit"
            )
        };
        harness.execute(&insert("a")).await.expect("the insert is not refused");
        assert!(listener.wait(Duration::from_secs(10)).await.expect("wait"), "and it is told");

        // Rowlock's tables are gone, or hold nonsense.
        harness
            .execute("update rowlock_meta set value = 'nonsense' where key <> 'schema_version'")
            .await
            .expect("update");
        harness.execute(&insert("b")).await.expect("the insert is not refused");
        harness.execute("drop table rowlock_meta").await.expect("drop");
        harness.execute(&insert("c")).await.expect("the insert is not refused");
        assert_eq!(value(harness, "select count(*)::text from pages").await, "3");
        harness.execute(&format!("drop owned by {role}; drop role {role}")).await.expect("drop role");
    })
    .await;
}
