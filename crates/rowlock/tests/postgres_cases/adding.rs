//! The two ways of `add_many`: a plain COPY, and a staging table if some of the keys exist.

use rowlock::Key;
use rowlock::conformance::{Harness, run};
use rowlock::store::Store;

use super::refusals::{as_somebody, drop_role};
use super::table;
use crate::postgres::PostgresHarness;

fn keys(numbers: std::ops::Range<usize>) -> Vec<Key> {
    numbers.map(|number| Key::from(format!("page-{number:04}"))).collect()
}

async fn count(harness: &PostgresHarness) -> i64 {
    sqlx::query_scalar("select count(*) from pages").fetch_one(&harness.pool).await.expect("a count")
}

#[tokio::test]
async fn keys_that_exist_or_come_twice_are_skipped_wherever_they_stand() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &[]).await;
        assert_eq!(store.add_many(&keys(0..1_000)).await.expect("all are new").added, 1_000);
        assert_eq!(store.add_many(&keys(0..1_000)).await.expect("none is new").added, 0);
        assert_eq!(store.add_many(&keys(500..1_500)).await.expect("the first exist").added, 500);
        let mut last_exists = keys(2_000..2_500);
        last_exists.push(Key::from("page-0007"));
        assert_eq!(store.add_many(&last_exists).await.expect("the last exists").added, 500);
        let twice = [keys(3_000..3_100), keys(3_000..3_100)].concat();
        assert_eq!(store.add_many(&twice).await.expect("each comes twice").added, 100);
        assert_eq!(count(harness).await, 2_100);
    })
    .await;
}

/// A row that the table refuses is an error, and nothing of the call remains.
#[tokio::test]
async fn a_refused_key_leaves_nothing_of_its_call() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a"]).await;
        harness.execute("alter table pages add check (page <> 'bad')").await.expect("alter");
        let error = store.add_many(&["b", "bad", "c"].map(Key::from)).await.expect_err("refused");
        assert!(error.to_string().contains("add_many"), "{error}");
        assert_eq!(count(harness).await, 1);
        assert_eq!(store.add_many(&["b", "c"].map(Key::from)).await.expect("the others").added, 2);
    })
    .await;
}

/// COPY ignores row-level security policies; an insert obeys them.
#[tokio::test]
async fn a_table_with_row_security_takes_keys_too() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let (store, role) = as_somebody(harness).await;
        harness
            .execute(&format!(
                "alter table pages enable row level security; create policy most on pages with check (page <> 'bad'); \
                 create policy all_seen on pages for select using (true); \
                 grant temporary on database {} to {role}",
                harness.database
            ))
            .await
            .expect("create policy");

        assert_eq!(store.add_many(&["a", "b", "c"].map(Key::from)).await.expect("added").added, 2);
        assert!(store.add_many(&["d", "bad"].map(Key::from)).await.is_err());

        assert_eq!(count(harness).await, 3);
        drop_role(harness, store, &role).await;
    })
    .await;
}
