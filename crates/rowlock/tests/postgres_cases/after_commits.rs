//! Errors that come after something was committed: what was committed is still reported.

use rowlock::conformance::{Harness, run};
use rowlock::store::{Finished, Outcome, Store};
use rowlock::{Key, Status};

use super::refusals::raise;
use super::{claiming, finish_all, lease_all, table, value};
use crate::postgres::PostgresHarness;

/// A trigger changes a claimed row, and refuses to let it become `FAILED` for that.
#[tokio::test]
async fn a_row_that_is_no_claim_and_cannot_be_failed_makes_no_claim_take_more() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for raised in [
            "raise exception 'locked' using errcode = '55P03'",
            "raise exception 'not now' using errcode = '57P03'",
            "perform pg_terminate_backend(pg_backend_pid())",
        ] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["odd", "a", "b", "c", "d"]).await;
            let first = "update pages set created_at = now() - interval '1 hour' where page = 'odd'";
            harness.execute(first).await.expect("update");
            let body = format!(
                "if new.status = 'FETCH_IN_PROGRESS' then new.status := 'ODD'; \
                 elsif new.status = 'FAILED' then {raised}; end if; return new"
            );
            raise(harness, "new.page = 'odd'", &body).await;

            let batch = store.claim(&claiming(2)).await.unwrap_or_else(|error| panic!("{raised}: {error}"));

            assert_eq!(batch.claimed.len(), 1, "{raised}");
            let reason = "a trigger changed the status to \"ODD\"".to_owned();
            assert_eq!(batch.refused, [(Key::from("odd"), reason)], "{raised}");
            let in_progress = "select count(*)::text from pages where status = 'FETCH_IN_PROGRESS'";
            assert_eq!(value(harness, in_progress).await, "1", "{raised}");
        }
    })
    .await;
}

/// The connection breaks while the refused row of a batch becomes `FAILED`. The others were committed before.
#[tokio::test]
async fn a_refused_item_that_cannot_be_failed_hides_no_answer_of_the_others() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for raised in
            ["raise exception 'not now' using errcode = '57P03'", "perform pg_terminate_backend(pg_backend_pid())"]
        {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["a", "bad", "c"]).await;
            let leases = lease_all(&store).await;
            let body = format!("if new.status = 'FAILED' then {raised}; else raise exception 'no'; end if; return new");
            raise(harness, "new.page = 'bad'", &body).await;

            let finished = finish_all(&store, &leases, Outcome::Complete).await;

            let finished = finished.unwrap_or_else(|error| panic!("{raised}: {error}"));
            let done = Finished::Applied { to: Status::Succeeded };
            assert_eq!((&finished[0], &finished[2]), (&done, &done), "{raised}");
            let is_told =
                matches!(finished[1], Finished::Busy | Finished::Unknown | Finished::Refused { failed: false, .. });
            assert!(is_told, "{raised}: {finished:?}");
        }
    })
    .await;
}

/// One row that is refused, and then refuses to become `FAILED` as if it were locked, stops no claim.
#[tokio::test]
async fn a_refused_row_that_says_it_is_locked_when_it_is_failed_stops_no_claim() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        let body = "if new.status = 'FAILED' then raise exception 'locked' using errcode = '55P03'; \
                    else raise exception 'no'; end if; return new";
        raise(harness, "new.page = 'bad'", body).await;
        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(batch.claimed.len(), 2);
        assert_eq!(batch.refused, [(Key::from("bad"), "no".to_owned())]);
    })
    .await;
}
