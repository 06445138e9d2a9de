//! A finish as a statement of the user's transaction.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finish, Outcome, Store};

use super::{LIMITS, lease_all, table};
use crate::postgres::PostgresHarness;

/// The server plans a statement anew each time, for a millisecond, while it takes that for cheaper than the plan that fits
/// every item. On the user's connections nothing tells it otherwise but the statement itself.
#[tokio::test]
async fn a_finish_in_a_transaction_is_not_planned_each_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let keys: Vec<String> = (0..100).map(|number| format!("page-{number:02}")).collect();
        let store = table(harness, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for analyzed in [false, true] {
            if analyzed {
                harness.execute("analyze pages").await.expect("analyze");
                harness.execute("update pages set status = 'PENDING', claim_token = null").await.expect("again");
            }
            for lease in lease_all(&store).await {
                let transaction = store.begin().await.expect("begin");
                let finish = Finish { lease, outcome: Outcome::Complete };
                store.finish_in(transaction, &finish, LIMITS).await.expect("finished");
            }
        }
        let mut transaction = store.begin().await.expect("begin");
        let plans = "select generic_plans, custom_plans from pg_prepared_statements where statement like '%moved as%'";
        let (generic, custom): (i64, i64) =
            sqlx::query_as(plans).fetch_one(&mut *transaction).await.expect("one statement, prepared once");
        // A connection's first five are planned for their values in any case.
        assert!(custom <= 5 && generic > 0, "{custom} plans for {} finishes", custom + generic);
    })
    .await;
}
