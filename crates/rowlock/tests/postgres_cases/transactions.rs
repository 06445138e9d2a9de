//! A finish as a statement of the user's transaction.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finish, Outcome, Store};

use super::{LIMITS, lease_all, table_of};
use crate::postgres::PostgresHarness;

/// The server plans a statement anew each time, for a millisecond, as long as it takes that for cheaper than the
/// generic plan; and a plan that was made for a small table may read all of a large one.
#[tokio::test]
async fn a_finish_in_a_transaction_is_not_planned_each_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, _) = table_of(harness, 100).await;
        for analyzed in [false, true] {
            if analyzed {
                harness.execute("analyze pages").await.expect("analyze");
                harness.execute("update pages set status = 'PENDING', claim_token = null").await.expect("again");
            }
            for (lease, n) in lease_all(&store).await.into_iter().zip(0..) {
                let transaction = store.begin().await.expect("begin");
                let outcome = if n % 2 == 0 { Outcome::Complete } else { Outcome::Release };
                let finish = Finish { lease, outcome };
                store.finish_in(transaction, &finish, LIMITS).await.expect("finished");
            }
        }
        let mut transaction = store.begin().await.expect("begin");
        let plans = "select sum(generic_plans)::bigint, sum(custom_plans)::bigint from pg_prepared_statements
                     where statement like '%claim_token%'";
        let (generic, custom): (i64, i64) =
            sqlx::query_as(plans).fetch_one(&mut *transaction).await.expect("the finish is prepared");
        assert!(custom == 0 && generic > 0, "{custom} plans for {} finishes", custom + generic);
    })
    .await;
}
