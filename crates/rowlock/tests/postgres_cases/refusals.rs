//! Errors of the database that concern one row, and errors that do not.

use rowlock::conformance::{Harness, run};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{Finished, LeaseState, Outcome, Store};
use rowlock::{Key, Status};

use super::{claiming, finish_all, keys, lease_all, pipeline, sweeping, table, value};
use crate::postgres::PostgresHarness;

pub(super) async fn raise(harness: &PostgresHarness, when: &str, body: &str) {
    let sql = format!(
        "create or replace function refuse() returns trigger language plpgsql as $$begin {body}; end$$; \
         create or replace trigger refusing before update on pages for each row when ({when}) execute function refuse()"
    );
    harness.execute(&sql).await.expect("create trigger");
}

#[tokio::test]
async fn a_trigger_may_raise_any_code() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in ["ZZ001", "54000", "P0002", "22012", "21000", "39000"] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["a", "bad", "c"]).await;
            let raising = format!("raise exception 'no' using errcode = '{code}'");
            raise(harness, "new.page = 'bad' and new.status = 'FETCH_IN_PROGRESS'", &raising).await;
            let batch = store.claim(&claiming(9)).await.expect("claim");
            assert_eq!(keys(&batch), ["a", "c"], "{code}");

            harness.execute("drop table pages").await.expect("drop");
            let store = table(harness, &["a", "bad", "c"]).await;
            let leases = lease_all(&store).await;
            raise(harness, "new.page = 'bad' and new.status <> 'FAILED'", &raising).await;
            let states = store.renew(&leases, None).await.expect("renew");
            assert_eq!((&states[0], &states[2]), (&LeaseState::Held, &LeaseState::Held), "{code}");
            harness.execute("alter table pages disable trigger refusing").await.expect("alter");
            harness.execute("update pages set heartbeat_at = '2000-01-01' where page <> 'a'").await.expect("update");
            harness.execute("alter table pages enable trigger refusing").await.expect("alter");
            let finished = finish_all(&store, &leases[..2], Outcome::Complete).await.expect("finish");
            assert_eq!(finished[0], Finished::Applied { to: Status::Succeeded }, "{code}");
            assert!(matches!(finished[1], Finished::Refused { failed: true, .. }), "{code}: {finished:?}");
            harness
                .execute("update pages set status = 'FETCH_IN_PROGRESS', page = 'worse' where page = 'bad'")
                .await
                .expect("update");
            raise(harness, "new.page = 'worse' and new.status <> 'FAILED'", &raising).await;
            assert_eq!(store.sweep(&sweeping()).await.expect("sweep").items.len(), 1, "{code}");
        }
    })
    .await;
}

/// A trigger may wait for a row itself, for instance with NOWAIT: then its item is busy, and no other.
#[tokio::test]
async fn a_trigger_that_gets_no_lock_makes_its_item_busy() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        let leases = lease_all(&store).await;
        raise(harness, "new.page = 'bad'", "raise exception 'not now' using errcode = 'lock_not_available'").await;
        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
        let done = Finished::Applied { to: Status::Succeeded };
        assert_eq!(finished, [done.clone(), Finished::Busy, done]);
    })
    .await;
}

/// Also in a batch that another row keeps from being written as a whole.
#[tokio::test]
async fn a_busy_item_beside_a_refused_one() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "busy", "c"]).await;
        let leases = lease_all(&store).await;
        let body = "if new.page = 'busy' then raise exception 'not now' using errcode = 'lock_not_available'; \
                    else raise exception 'no'; end if";
        raise(harness, "new.page in ('bad', 'busy') and new.status <> 'FAILED'", body).await;
        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
        let done = Finished::Applied { to: Status::Succeeded };
        let refused = Finished::Refused { reason: "no".to_owned(), failed: true };
        assert_eq!(finished, [done.clone(), refused, Finished::Busy, done]);
    })
    .await;
}

/// A store whose user owns nothing, and the name of that user, which the test drops.
pub(super) async fn as_somebody(harness: &PostgresHarness) -> (PostgresStore, String) {
    let role = format!("{}_role", harness.database);
    harness
        .execute(&format!(
            "create role {role} login password 'secret'; grant all on all tables in schema public to {role}"
        ))
        .await
        .expect("create role");
    let options = harness.server.clone().database(&harness.database).username(&role).password("secret");
    (PostgresStore::with_options(options, pipeline()), role)
}

pub(super) async fn drop_role(harness: &PostgresHarness, store: PostgresStore, role: &str) {
    store.close().await;
    harness.execute(&format!("drop owned by {role}; drop role {role}")).await.expect("drop role");
}

#[tokio::test]
async fn a_missing_right_fails_nothing() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a", "b"]).await;
        let (store, role) = as_somebody(harness).await;
        let leases = lease_all(&store).await;
        assert_eq!(leases.len(), 2);
        harness.execute(&format!("revoke update on pages from {role}")).await.expect("revoke");

        let error =
            finish_all(&store, &leases, Outcome::Fail { error: "broken".to_owned() }).await.expect_err("denied");

        assert!(!error.is_transient(), "{error}");
        assert!(error.to_string().contains("permission denied"), "{error}");
        let in_progress = "select count(*)::text from pages where status = 'FETCH_IN_PROGRESS'";
        assert_eq!(value(harness, in_progress).await, "2", "work that is done is not thrown away");
        assert!(store.excluded().is_empty());
        drop_role(harness, store, &role).await;
    })
    .await;
}

#[tokio::test]
async fn row_security_refuses_only_its_own_row() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a", "bad", "c"]).await;
        let (store, role) = as_somebody(harness).await;
        harness
            .execute(
                "alter table pages enable row level security;
                 create policy most on pages using (true) with check (page <> 'bad' or status <> 'FETCH_IN_PROGRESS')",
            )
            .await
            .expect("create policy");

        let batch = store.claim(&claiming(9)).await.expect("claim");

        assert_eq!(keys(&batch), ["a", "c"]);
        assert_eq!(batch.refused.len(), 1);
        assert_eq!(value(harness, "select status from pages where page = 'bad'").await, "FAILED");
        drop_role(harness, store, &role).await;
    })
    .await;
}

#[tokio::test]
async fn a_word_that_a_trigger_writes_is_refused_for_its_item_alone() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b", "c"]).await;
        let leases = lease_all(&store).await;
        raise(harness, "new.page = 'b'", "new.status := 'ODD'; return new").await;

        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finish");

        let applied = Finished::Applied { to: Status::Succeeded };
        assert_eq!((&finished[0], &finished[2]), (&applied, &applied));
        match &finished[1] {
            Finished::Refused { reason, failed: false } => assert!(reason.contains("ODD"), "{reason}"),
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_after_a_claim_was_committed_hides_none_of_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        // The first time the trigger silently suppresses the update; the second time the database breaks down over the
        // row.
        harness.execute("create sequence calls").await.expect("create sequence");
        let body = "if nextval('calls') = 1 then return null; end if;
                    raise exception 'broken' using errcode = 'XX000'";
        raise(harness, "new.page = 'bad'", body).await;

        let batch = store.claim(&claiming(9)).await.expect("what is committed is told");

        assert_eq!(keys(&batch), ["a", "c"]);
        assert!(batch.may_have_more);
        assert_eq!(value(harness, "select status from pages where page = 'bad'").await, "PENDING");
    })
    .await;
}

#[tokio::test]
async fn an_error_after_a_sweep_was_committed_hides_none_of_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        lease_all(&store).await;
        harness.execute("update pages set heartbeat_at = '2000-01-01'; create sequence calls").await.expect("update");
        let body = "if nextval('calls') = 1 then return null; end if;
                    raise exception 'broken' using errcode = 'XX000'";
        raise(harness, "new.page = 'bad'", body).await;

        let swept = store.sweep(&sweeping()).await.expect("what is committed is told");

        let mut taken: Vec<&str> = swept.keys().map(Key::as_str).collect();
        taken.sort_unstable();
        assert_eq!(taken, ["a", "c"]);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_fits_its_own_index_fits_ours() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        // Without repetitions, so that the server cannot compress it: an index entry holds 2,704 bytes.
        let sql =
            "insert into pages (page) select left(string_agg(md5(n::text), ''), 2680) from generate_series(1, 90) n";
        harness.execute(sql).await.expect("insert");
        let leases = lease_all(&store).await;
        let key = leases[0].key.clone();

        let retry = Outcome::Retry { error: "broken".to_owned(), delay: None };
        let finished = finish_all(&store, &leases, retry).await.expect("finish");

        assert!(matches!(finished[0], Finished::Applied { to: Status::Ready(_) }), "{finished:?}");
        assert_eq!(store.failures(&key).await.expect("failures").len(), 1);
        assert_eq!(store.failures(&Key::from(&key.as_str()[..300])).await.expect("failures").len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_column_that_is_added_meanwhile_costs_an_attempt_and_no_more() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b"]).await;
        let key = Key::from("a");
        store.claim(&claiming(1)).await.expect("claim");
        // Until a call gets a connection on which the statement was prepared with the earlier columns.
        let mut columns = 0..100;
        let outdated = loop {
            if let Err(error) = store.get(&key).await {
                break error;
            }
            let column = columns.next().expect("few connections are enough for one call at a time");
            harness.execute(&format!("alter table pages add column note{column} text")).await.expect("alter");
        };
        assert!(outdated.is_transient() && !outdated.may_have_been_applied(), "{outdated}");

        let pages: rowlock::Repository<_, rowlock::JsonRecord> = rowlock::Repository::new(store);
        pages.get("a").await.expect("get").expect("an item");
        harness.execute("alter table pages add column further text").await.expect("alter");
        let item = pages.get("a").await.expect("the attempt is repeated").expect("an item");
        assert!(item.record.contains_key("further"));
    })
    .await;
}
