//! Tables of every shape that PostgreSQL has: what `prepare` makes of them, and what it rejects before it changes
//! anything.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finished, Moved, Outcome, SetParams, Store};
use rowlock::{Error, Existing, Key, KeyType, Status};
use sqlx::Executor;

use super::refusals::{as_somebody, drop_role};
use super::{add, claiming, finish_all, keys, lease_all, names, pipeline, stages, sweeping, table, value};
use crate::postgres::PostgresHarness;

/// The problem with the objects that these statements create; nothing is changed.
async fn problem(harness: &PostgresHarness, create: &str) -> String {
    harness.execute(create).await.unwrap_or_else(|error| panic!("{create}: {error}"));
    let store = harness.open(pipeline()).await;
    let problem = match store.prepare().await {
        Err(Error::Schema { problem, .. }) => problem,
        other => panic!("{create}: {other:?}"),
    };
    let inspected = store.inspect().await.expect("inspect");
    assert!(inspected.iter().any(|sentence| problem.contains(sentence)), "{create}: {inspected:?}");
    assert_eq!(value(harness, "select count(*)::text from pg_class where relname like 'rowlock%'").await, "0");
    store.close().await;
    let kind = value(
        harness,
        "select case relkind when 'm' then 'materialized view' when 'f' then 'foreign table' else 'table' end
                              from pg_class where oid = 'pages'::regclass",
    )
    .await;
    harness.execute(&format!("drop {kind} pages cascade")).await.expect("drop");
    problem
}

const PARTITIONED: &str = "create table pages (page text primary key) partition by hash (page);
    create table pages_0 partition of pages for values with (modulus 2, remainder 0);
    create table pages_1 partition of pages for values with (modulus 2, remainder 1) partition by hash (page);
    create schema \"the archive\";
    create table \"the archive\".\"pages 1\" partition of pages_1 for values with (modulus 1, remainder 0);
    insert into pages values ('a'), ('b'), ('c'), ('d')";

#[tokio::test]
async fn a_partitioned_table_is_completed_and_indexed_beside_its_writers() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PARTITIONED).await.expect("create table");
        let store = harness.open(stages().existing_rows(Existing::Ready).build().expect("valid")).await;
        store.prepare().await.expect("prepare");
        assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
        let of_leaves = "select count(*)::text from pg_index i join pg_class c on c.oid = i.indrelid
                         where c.relkind = 'r' and c.relname like 'pages%' and i.indisvalid and not i.indisprimary";
        assert_eq!(value(harness, of_leaves).await, "6", "three on each partition, and none twice");
        let drop = "do $$ declare name text; begin
                      for name in select indexrelid::regclass::text from pg_index
                        where indrelid = 'pages'::regclass and not indisprimary
                      loop execute 'drop index ' || name; end loop; end $$";
        harness.execute(drop).await.expect("drop");
        assert_eq!(store.inspect().await.expect("inspect").len(), 3);

        // A build in one statement would wait for this transaction, and would keep others from writing meanwhile.
        let mut other = harness.pool.begin().await.expect("begin");
        other.execute("insert into pages (page) values ('e')").await.expect("insert");
        let (prepared, ()) = tokio::join!(store.prepare(), async {
            while value(harness, "select count(*)::text from pg_index where not indisvalid").await == "0" {
                tokio::task::yield_now().await;
            }
            let write = "set lock_timeout = '5s'; insert into pages (page) values ('f')";
            harness.execute(write).await.expect("others write meanwhile");
            other.commit().await.expect("commit");
        });

        prepared.expect("prepare");
        assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
        assert_eq!(value(harness, of_leaves).await, "6", "three on each partition, and none twice");
        let claimed = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&claimed), ["a", "b", "c", "d", "e", "f"]);
    })
    .await;
}

#[tokio::test]
async fn an_interrupted_build_on_a_partition_is_built_anew() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PARTITIONED).await.expect("create table");
        let store = harness.open(stages().existing_rows(Existing::Ready).build().expect("valid")).await;
        store.prepare().await.expect("prepare");
        // The remains if the build on the second partition was cancelled.
        harness
            .execute(
                "update pg_index set indisvalid = false where indexrelid in (
                   select indexrelid from pg_index i join pg_class c on c.oid = i.indrelid
                   where not i.indisprimary and (c.relname like 'pages' or c.relname like 'pages_1'))",
            )
            .await
            .expect("update");
        assert_eq!(store.inspect().await.expect("inspect").len(), 3);

        store.prepare().await.expect("prepare");

        assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn what_is_no_table_of_this_server_is_refused() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness
            .execute("create foreign data wrapper nowhere; create server far foreign data wrapper nowhere")
            .await
            .expect("far");
        for (create, named) in [
            ("create materialized view pages as select 'a'::text as page, 'PENDING'::text as status", "view"),
            ("create foreign table pages (page text not null, status text default 'PENDING') server far", "foreign"),
            (
                "create table pages (page text primary key, status text default 'PENDING') partition by hash (page);
                 create table pages_0 partition of pages for values with (modulus 1, remainder 0) \
                 partition by hash (page);
                 alter table pages drop constraint pages_pkey;
                 create foreign table pages_1 partition of pages_0 for values with (modulus 1, remainder 0) server far",
                "pages_1 is a foreign table",
            ),
            (
                "create table pages (page text primary key, status text default 'PENDING');
                 create table old_pages () inherits (pages)",
                "old_pages inherits",
            ),
            (
                "create table pages (page text, status text default 'PENDING', primary key (page, status))
                 partition by list (status)",
                "partitioned by the status",
            ),
        ] {
            let problem = problem(harness, create).await;
            assert!(problem.contains(named), "{create}: {problem}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_column_that_the_driver_cannot_read_is_refused_by_its_name() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for (types, column, type_name) in [
            ("", "int4multirange", "int4multirange"),
            ("", "int4multirange[]", "int4multirange"),
            ("", "aclitem", "aclitem"),
            (
                "create domain spans as datemultirange; create type shape as (a int, b spans[]);",
                "shape",
                "datemultirange",
            ),
        ] {
            let create = format!("{types} create table pages (page text primary key, odd {column})");
            let told = problem(harness, &create).await;
            assert!(told.contains("the column \"odd\"") && told.contains(type_name), "{told}");
        }
        // Each of these is read, or ignored.
        let fine = "create type point3 as (x int, y numeric); create domain short as varchar(9);
                    create table pages (page text primary key, a int4range, b point3[], c short, d jsonb, \
                    e tsvector, f money, g point, h int4[][])";
        harness.execute(fine).await.expect("create");
        let store = harness.open(pipeline()).await;
        store.prepare().await.expect("prepare");
        harness.execute("insert into pages (page) values ('a')").await.expect("insert");
        let batch = store.claim(&super::claiming(1)).await.expect("claim");
        assert_eq!(batch.claimed.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_published_table_without_a_replica_identity_is_refused_with_what_mends_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute("create publication everything for all tables").await.expect("publication");
        let unique = "create table pages (page text not null unique, status text default 'PENDING')";
        let problem = problem(harness, unique).await;
        assert!(
            problem.contains("\"everything\"") && problem.contains("`alter table pages replica identity full`"),
            "{problem}"
        );

        let mended = format!("{unique}; alter table pages replica identity full");
        harness.execute(&mended).await.expect("create table");
        let store = table(harness, &["a"]).await;
        assert_eq!(lease_all(&store).await.len(), 1);
        store.close().await;
        // A publication of inserts alone needs none.
        harness
            .execute(&format!(
                "drop table pages; drop publication everything; {unique}; \
                 create publication new_ones for table pages with (publish = 'insert')"
            ))
            .await
            .expect("create table");
        let store = table(harness, &["a"]).await;
        assert_eq!(lease_all(&store).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_identity_key_is_added_as_given_whether_keys_exist_or_not() {
    for identity in ["always", "by default"] {
        run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
            let create = format!("create table pages (page bigint generated {identity} as identity primary key)");
            harness.execute(&create).await.expect("create table");
            let store = harness.open(stages().key_type(KeyType::BigInt).build().expect("valid")).await;
            store.prepare().await.expect("prepare");
            for (keys, added) in [([1_i64, 2], 2), ([2, 3], 1), ([3, 4], 1)] {
                let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
                assert_eq!(store.add_many(&keys).await.expect("add_many").added, added, "{identity}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_status_of_an_enum_is_refused_by_its_type_and_one_of_a_domain_by_its_check() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness
            .execute(
                "create type word as enum ('PENDING', 'SUCCEEDED'); \
                 create domain short as text check (length(value) < 9)",
            )
            .await
            .expect("types");
        let create = |type_name: &str| {
            format!("create table pages (page text primary key, status {type_name} default 'PENDING')")
        };
        let of_enum = problem(harness, &create("word")).await;
        assert!(of_enum.contains("of type word") && of_enum.contains("status_type"), "{of_enum}");
        let of_domain = problem(harness, &create("short")).await;
        assert!(of_domain.contains("short_check") && of_domain.contains("IN_PROGRESS"), "{of_domain}");
    })
    .await;
}

#[tokio::test]
async fn row_security_that_hides_rows_is_told() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let owner = table(harness, &["a", "b", "c"]).await;
        harness
            .execute(
                "alter table pages enable row level security;
                 create policy most on pages using (page <> 'c'); analyze pages",
            )
            .await
            .expect("policy");
        let (store, role) = as_somebody(harness).await;

        let said = store.inspect().await.expect("inspect");

        assert!(
            said.iter().any(|sentence| sentence.contains("row security") && sentence.contains("2 of about 3")),
            "{said:?}"
        );
        assert_eq!(owner.inspect().await.expect("inspect"), Vec::<String>::new(), "the owner sees all");
        drop_role(harness, store, &role).await;
    })
    .await;
}

#[tokio::test]
async fn the_rights_that_are_missing_are_told_with_what_grants_them() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let (store, role) = as_somebody(harness).await;
        harness
            .execute(&format!(
                "revoke all on pages, rowlock_meta, rowlock_stages, rowlock_failures from {role};
                 grant select on rowlock_meta, rowlock_stages, pages to {role};
                 grant update (status) on pages to {role}"
            ))
            .await
            .expect("revoke");

        let said = store.inspect().await.expect("inspect");

        for right in [
            format!("`grant update on \"pages\" to {role}`"),
            format!("that add_many needs: `grant insert on \"pages\" to {role}`"),
            format!("`grant insert on \"rowlock_failures\" to {role}`"),
            format!("`grant select on \"rowlock_failures\" to {role}`"),
            format!("`grant update on \"rowlock_meta\" to {role}`"),
        ] {
            assert!(said.iter().any(|sentence| sentence.contains(&right)), "{right} is not in {said:?}");
            let grant = right.trim_start_matches("that add_many needs: ").trim_matches('`');
            harness.execute(grant).await.expect("what is said can be run");
        }
        assert!(!said.iter().any(|sentence| sentence.contains("grant select on \"pages\"")), "{said:?}");
        drop_role(harness, store, &role).await;
    })
    .await;
}

/// A worker that may create nothing still prepares, if nothing is lacking.
#[tokio::test]
async fn a_complete_table_is_prepared_by_a_role_that_may_create_nothing() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let (store, role) = as_somebody(harness).await;
        store.prepare().await.expect("nothing is lacking");
        drop_role(harness, store, &role).await;
    })
    .await;
}

#[tokio::test]
async fn a_constraint_that_lacks_cancelled_may_be_extended_later() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness
            .execute(
                "create table pages (page text primary key, status text not null default 'PENDING' constraint known
                 check (status in ('PENDING', 'FETCH_IN_PROGRESS', 'SUCCEEDED', 'FAILED')))",
            )
            .await
            .expect("create table");
        let store = table(harness, &["a", "b"]).await;
        let both = ["a".into(), "b".into()];
        let moved = store.cancel(&both, None).await.expect("cancel");
        assert!(
            moved.iter().all(|moved| matches!(
                moved,
                Moved::Refused { reason } if reason.contains("\"known\"") && reason.contains("\"CANCELLED\"")
            )),
            "{moved:?}"
        );
        harness.execute("alter table pages drop constraint known").await.expect("drop");
        let moved = store.cancel(&both, None).await.expect("cancel");
        assert!(moved.iter().all(|moved| matches!(moved, Moved::Applied { .. })), "{moved:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_added_to_a_partitioned_table_is_worked_on() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness.execute(PARTITIONED.rsplit_once(';').expect("several").0).await.expect("create table");
        let store = harness.open(pipeline()).await;
        store.prepare().await.expect("prepare");
        add(&store, &names(40).iter().map(String::as_str).collect::<Vec<_>>()).await;
        let leases = lease_all(&store).await;
        assert_eq!(leases.len(), 40);
        finish_all(&store, &leases, Outcome::Complete).await.expect("finish");
        assert_eq!(value(harness, "select count(*)::text from pages where status = 'SUCCEEDED'").await, "40");
    })
    .await;
}

/// Each way in which an error is written.
#[tokio::test]
async fn an_error_is_cut_to_its_column() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        harness
            .execute(
                "create table pages (page text primary key, status text default 'PENDING', error_message varchar(20))",
            )
            .await
            .expect("create table");
        let store = table(harness, &["fail", "retry", "spent"]).await;
        let long = "é".repeat(300);
        let leases = lease_all(&store).await;
        harness.execute("update pages set retry_count = 4 where page = 'spent'").await.expect("update");
        for (lease, outcome) in leases.iter().zip([
            Outcome::Fail { error: long.clone() },
            Outcome::Retry { error: long.clone(), delay: None },
            Outcome::Retry { error: long.clone(), delay: None },
        ]) {
            let finished = finish_all(&store, std::slice::from_ref(lease), outcome).await.expect("finish");
            assert!(matches!(finished[..], [Finished::Applied { .. }]), "{finished:?}");
        }
        add(&store, &["set", "swept", "exhausted"]).await;
        let setting = SetParams { keys: vec!["set".into()], to: Status::Failed, error: Some(long), now: None };
        store.set(&setting).await.expect("set");
        harness
            .execute(
                "update pages set status = 'FETCH_IN_PROGRESS' where page = 'swept';
                 update pages set retry_count = 5, error_message = repeat('x', 20) where page = 'exhausted'",
            )
            .await
            .expect("update");
        assert_eq!(store.sweep(&sweeping()).await.expect("sweep").items.len(), 1);
        assert_eq!(store.claim(&claiming(9)).await.expect("claim").exhausted.len(), 1);
        let errors = "select string_agg(page || ' ' || length(error_message)::text, ', ' order by page) from pages";
        assert_eq!(value(harness, errors).await, "exhausted 20, fail 20, retry 20, set 20, spent 20, swept 20");
        assert_eq!(
            value(harness, "select error_message from pages where page = 'spent'").await,
            "Max retries (5) exce"
        );
    })
    .await;
}

/// No row can be skipped because of it: only the end of a transaction shows whether it is violated.
#[tokio::test]
async fn a_deferrable_constraint_is_no_key_and_beside_one_keeps_no_key_from_being_added() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let create = "create table pages (page text not null unique deferrable, status text default 'PENDING')";
        let problem = problem(harness, create).await;
        assert!(problem.contains("not deferrable"), "{problem}");

        let create = "create table pages (page text primary key, place integer unique deferrable, \
                      status text default 'PENDING')";
        harness.execute(create).await.expect("create table");
        let store = table(harness, &["a", "b"]).await;
        let added = store.add_many(&["b".into(), "c".into()]).await.expect("add_many");
        assert_eq!((added.added, added.refused.len()), (1, 0), "{added:?}");
    })
    .await;
}

/// PostgreSQL 18 keeps such constraints; older versions do not have them.
#[tokio::test]
async fn a_constraint_that_is_not_enforced_refuses_nothing() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let is_known = value(harness, "select (current_setting('server_version_num')::int >= 180000)::text").await;
        let not_enforced = if is_known == "true" { "check (status = 'PENDING') not enforced" } else { "check (true)" };
        let create =
            format!("create table pages (page text primary key, status text default 'PENDING', {not_enforced})");
        harness.execute(&create).await.expect("create table");
        let store = table(harness, &["a"]).await;
        assert_eq!(store.inspect().await.expect("inspect"), Vec::<String>::new());
        assert_eq!(lease_all(&store).await.len(), 1);
    })
    .await;
}
