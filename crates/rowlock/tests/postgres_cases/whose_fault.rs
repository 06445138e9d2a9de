//! Whose fault an error is: found by trying a batch in parts, whatever the error's code says.

use std::time::{Duration, Instant};

use rowlock::conformance::{Harness, run};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{Finish, FinishParams, Finished, LeaseState, Outcome, Store};
use rowlock::{Key, Lease, Status};

use super::refusals::{as_somebody, drop_role, raise};
use super::{LIMITS, claiming, finish_all, keys, lease_all, stages, sweeping, table, value};
use crate::postgres::PostgresHarness;

/// One code of each class that a trigger, a user's function or a foreign server may raise; several of those that the
/// server raises for its own reasons, and all with which it reports on itself or on a connection.
const CODES: [&str; 52] = [
    "02000", "03000", "08003", "08006", "08P01", "09000", "0A000", "0B000", "0F000", "0L000", "0P000", "0Z000",
    "20000", "21000", "22012", "23514", "24000", "25P01", "26000", "27000", "28000", "2B000", "2D000", "2F000",
    "34000", "38000", "39000", "3B000", "3D000", "3F000", "40003", "42501", "42703", "42883", "42P01", "44000",
    "54000", "55000", "57P01", "57P02", "57P03", "57P04", "57P05", "58000", "F0000", "HV000", "P0001", "XX000",
    "XX001", "ZZ001", "45000", "25P02",
];

/// Codes of transient errors. A row that raises them is left out for a while, or busy, but does not become `FAILED`.
const PASSING_CODES: [&str; 10] =
    ["25006", "40001", "40P01", "55P03", "57014", "53100", "53300", "53400", "58030", "72000"];

/// Those among them that say that the server ran out of a resource.
const RESOURCE_CODES: [&str; 5] = ["53100", "53300", "53400", "58030", "72000"];

const BAD: &str = "new.page = 'bad' and new.status <> 'FAILED'";

fn raising(code: &str) -> String {
    format!("raise exception 'no' using errcode = '{code}'")
}

/// A table in which the row `bad` raises this code, with leases on all rows.
async fn leased(harness: &PostgresHarness, code: &str) -> (PostgresStore, Vec<Lease>) {
    harness.execute("drop table if exists pages").await.expect("drop");
    let store = table(harness, &["a", "b", "bad", "c", "d"]).await;
    let leases = lease_all(&store).await;
    raise(harness, BAD, &raising(code)).await;
    (store, leases)
}

async fn status_of_bad(harness: &PostgresHarness) -> String {
    value(harness, "select status from pages where page = 'bad'").await
}

#[tokio::test]
async fn one_row_keeps_no_other_from_its_claim_whatever_it_raises() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in CODES.into_iter().chain(PASSING_CODES) {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["a", "b", "bad", "c", "d"]).await;
            raise(harness, BAD, &raising(code)).await;
            let batch = store.claim(&claiming(9)).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            assert_eq!(keys(&batch), ["a", "b", "c", "d"], "{code}");
            assert_eq!(batch.refused, [(Key::from("bad"), "no".to_owned())], "{code}");
            let is_failed = status_of_bad(harness).await == "FAILED";
            assert_eq!(is_failed, !PASSING_CODES.contains(&code), "{code}");
            assert_eq!(store.excluded().len(), usize::from(!is_failed), "{code}: failed or left out");
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_of_one_item_passes_by_the_row_that_raises() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in ["XX000", "42P01", "40001"] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["bad"]).await;
            super::add(&store, &["c", "d"]).await;
            raise(harness, BAD, &raising(code)).await;
            let batch = store.claim(&claiming(1)).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            assert_eq!((keys(&batch), batch.refused.len()), (vec!["c"], 1), "{code}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_only_row_of_a_queue_is_at_fault_if_its_statement_passes_without_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["bad"]).await;
        raise(harness, BAD, &raising("42883")).await;
        assert_eq!(store.claim(&claiming(9)).await.expect("claim").refused.len(), 1);
        assert_eq!(status_of_bad(harness).await, "FAILED");
    })
    .await;
}

#[tokio::test]
async fn one_row_keeps_no_other_from_its_heartbeat_whatever_it_raises() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in CODES.into_iter().chain(PASSING_CODES) {
            let (store, leases) = leased(harness, code).await;
            for beat in 0..2 {
                let states = store.renew(&leases, None).await.unwrap_or_else(|error| panic!("{code}: {error}"));
                for (lease, state) in leases.iter().zip(states) {
                    let refused = LeaseState::Refused { reason: "no".to_owned() };
                    let expected = match lease.key.as_str() {
                        "bad" if RESOURCE_CODES.contains(&code) => LeaseState::NotRenewed,
                        "bad" if beat == 0 && PASSING_CODES.contains(&code) => LeaseState::Busy,
                        "bad" => refused,
                        _ => LeaseState::Held,
                    };
                    assert_eq!(state, expected, "{code}, {}", lease.key);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn one_row_keeps_no_other_from_its_sweep_whatever_it_raises() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in CODES.into_iter().chain(PASSING_CODES) {
            let (store, _) = leased(harness, code).await;
            harness.execute("alter table pages disable trigger user").await.expect("alter");
            harness.execute("update pages set heartbeat_at = '2000-01-01'").await.expect("update");
            harness.execute("alter table pages enable trigger user").await.expect("alter");
            let swept = store.sweep(&sweeping()).await.unwrap_or_else(|error| panic!("{code}: {error}"));
            let mut taken: Vec<&str> = swept.keys().map(Key::as_str).collect();
            taken.sort_unstable();
            assert_eq!(taken, ["a", "b", "c", "d"], "{code}");
            assert_eq!(swept.refused, [(Key::from("bad"), "no".to_owned())], "{code}");
            assert_eq!(status_of_bad(harness).await == "FAILED", !PASSING_CODES.contains(&code), "{code}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_row_keeps_no_other_from_its_finish_whatever_it_raises() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in CODES.into_iter().chain(PASSING_CODES) {
            let (store, leases) = leased(harness, code).await;
            let finished = finish_all(&store, &leases, Outcome::Complete).await;
            let finished = finished.unwrap_or_else(|error| panic!("{code}: {error}"));
            for (lease, finished) in leases.iter().zip(finished) {
                let expected = match lease.key.as_str() {
                    "bad" if PASSING_CODES.contains(&code) => Finished::Busy,
                    "bad" => Finished::Refused { reason: "no".to_owned(), failed: true },
                    _ => Finished::Applied { to: Status::Succeeded },
                };
                assert_eq!(finished, expected, "{code}, {}", lease.key);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_only_item_of_a_finish_is_at_fault_if_its_statement_passes_without_it() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in CODES {
            let (store, leases) = leased(harness, code).await;
            let bad: Vec<Lease> = leases.into_iter().filter(|lease| lease.key.as_str() == "bad").collect();
            let finished = finish_all(&store, &bad, Outcome::Complete).await.expect(code);
            assert_eq!(finished, [Finished::Refused { reason: "no".to_owned(), failed: true }], "{code}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_error_of_its_own_is_its_rows_also_beside_nothing_but_what_may_be_everybodys() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["full", "bad"]).await;
        let leases = lease_all(&store).await;
        let refuse = "if new.page = 'full' then raise exception 'full' using errcode = '53100'; end if; \
                      raise exception 'no' using errcode = '0B000'";
        raise(harness, "new.status <> 'FAILED'", refuse).await;
        let finished = finish_all(&store, &leases, Outcome::Complete).await.expect("finished");
        for (lease, finished) in leases.iter().zip(finished) {
            let expected = match lease.key.as_str() {
                "full" => Finished::Busy,
                _ => Finished::Refused { reason: "no".to_owned(), failed: true },
            };
            assert_eq!(finished, expected, "{}", lease.key);
        }
    })
    .await;
}

#[tokio::test]
async fn what_nobody_passes_is_everybodys_and_marks_nothing() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for break_it in [
            "alter table pages rename column updated_at to renamed",
            "alter table pages add constraint never check (status = 'PENDING') not valid",
            "create function broken() returns trigger language plpgsql as $$begin return gone(); end$$; \
             create trigger broken before update on pages for each row execute function broken()",
        ] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let (store, _) = super::table_of(harness, 100).await;
            harness.execute(break_it).await.expect("alter");
            let error = store.claim(&claiming(100)).await.expect_err(break_it);
            assert!(!error.is_transient(), "{error}");
            assert_eq!(value(harness, "select count(*)::text from pages where status <> 'PENDING'").await, "0");
            assert!(store.excluded().is_empty(), "{break_it}");
        }
    })
    .await;
}

/// Far more than it takes even on a busy machine, and far less than a time-out for each of the others.
const BOUNDED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_row_that_never_ends_holds_up_the_others_for_a_bounded_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "b", "bad", "c", "d"]).await;
        let quick = stages().stale_after(Duration::from_secs(6)).build().expect("a valid pipeline");
        let quick = harness.open(quick).await;
        raise(harness, "new.page = 'bad'", "perform pg_sleep(600); return new").await;

        let started = Instant::now();
        let batch = quick.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&batch), ["a", "b", "c", "d"]);
        assert_eq!(batch.refused.len(), 1);
        assert!(started.elapsed() < BOUNDED, "{:?}", started.elapsed());

        harness.execute("alter table pages disable trigger user").await.expect("alter");
        let mut leases: Vec<Lease> = batch.leases().cloned().collect();
        leases.extend(store.claim(&claiming(9)).await.expect("claim").leases().cloned());
        leases.sort_by(|a, b| a.key.cmp(&b.key));
        harness.execute("alter table pages enable trigger user").await.expect("alter");
        assert_eq!(leases.len(), 5);

        let started = Instant::now();
        let states = quick.renew(&leases, None).await.expect("renew");
        assert_eq!(states.iter().filter(|state| **state == LeaseState::Held).count(), 4, "{states:?}");
        let finished = finish_all(&quick, &leases, Outcome::Complete).await.expect("finish");
        let done = Finished::Applied { to: Status::Succeeded };
        assert_eq!(finished.iter().filter(|finished| **finished == done).count(), 4, "{finished:?}");
        assert!(started.elapsed() < 2 * BOUNDED, "{:?}", started.elapsed());
    })
    .await;
}

#[tokio::test]
async fn leases_beside_many_rows_that_never_end_are_renewed_at_once() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, _) = super::table_of(harness, 64).await;
        let leases = lease_all(&store).await;
        let quick = stages().stale_after(Duration::from_secs(6)).build().expect("a valid pipeline");
        let quick = harness.open(quick).await;
        // So many that a renewal runs out of time before each of them has been tried alone.
        raise(harness, "new.page in ('page-010', 'page-020', 'page-030')", "perform pg_sleep(600); return new").await;
        let states = quick.renew(&leases, None).await.expect("renew");
        let held = states.iter().filter(|state| **state == LeaseState::Held).count();
        assert!(held >= 32, "{held} of 61: {states:?}");
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_a_renewal_had_no_time_for_is_told_and_renewed_by_the_next() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (store, _) = super::table_of(harness, 200).await;
        let mut leases = lease_all(&store).await;
        let quick = stages().stale_after(Duration::from_secs(3)).build().expect("a valid pipeline");
        let quick = harness.open(quick).await;
        raise(harness, "new.page = 'page-001'", "perform pg_sleep(600); return new").await;
        let mut beats = 0;
        while leases.len() > 1 {
            assert!(beats < 4, "still not renewed: {leases:?}");
            beats += 1;
            let states = quick.renew(&leases, None).await.expect("renew");
            let left = leases.iter().zip(states).filter(|(lease, state)| {
                assert!(
                    *state == LeaseState::Held || *state == LeaseState::NotRenewed || lease.key == "page-001".into()
                );
                *state != LeaseState::Held
            });
            leases = left.map(|(lease, _)| lease.clone()).collect();
            assert!(leases.len() < 20, "of 200: {leases:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_log_of_failures_never_stops_a_move() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let move_on = "alter sequence rowlock_failures_id_seq restart with 1; \
                       insert into rowlock_failures (id, pipeline, item, failed_at, word, cause, error) \
                       overriding system value \
                       select n, 'pages', 'x', now(), 'w', 'fail', 'e' from generate_series(1, 1000) n";
        for break_it in [
            move_on,
            "alter table rowlock_failures add constraint never check (item = '') not valid",
            "drop table rowlock_failures",
        ] {
            harness.execute("drop table if exists pages, rowlock_failures, rowlock_meta cascade").await.expect("drop");
            let store = table(harness, &["a", "b", "c"]).await;
            let leases = lease_all(&store).await;
            harness.execute(break_it).await.expect(break_it);
            let finished = finish_all(&store, &leases, Outcome::Fail { error: "broken".to_owned() }).await;
            let finished = finished.unwrap_or_else(|error| panic!("{break_it}: {error}"));
            assert_eq!(finished, vec![Finished::Applied { to: Status::Failed }; 3], "{break_it}");
            harness
                .execute("update pages set status = 'FETCH_IN_PROGRESS', heartbeat_at = null")
                .await
                .expect("update");
            let swept = store.sweep(&sweeping()).await.unwrap_or_else(|error| panic!("{break_it}: {error}"));
            assert_eq!(swept.items.len(), 3, "{break_it}");
            harness.execute("update pages set retry_count = 99").await.expect("update");
            let batch = store.claim(&claiming(9)).await.unwrap_or_else(|error| panic!("{break_it}: {error}"));
            assert_eq!(batch.exhausted.len(), 3, "{break_it}");
        }
    })
    .await;
}

/// Its second try finds nothing to write, as if another transaction had taken the row in between.
#[tokio::test]
async fn a_row_that_is_gone_at_its_second_try_costs_others_no_line_of_the_log() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["bad", "c"]).await;
        let leases = lease_all(&store).await;
        harness.execute("create sequence tries").await.expect("create");
        let body = "if nextval('tries') <= 2 then raise exception 'no'; end if; return null";
        raise(harness, "new.page = 'bad'", body).await;
        let finish = |lease: &Lease| {
            let error = "broken".to_owned();
            let outcome = if lease.key.as_str() == "bad" { Outcome::Complete } else { Outcome::Fail { error } };
            Finish { lease: lease.clone(), outcome }
        };
        let items = leases.iter().map(finish).collect();
        store.finish(&FinishParams { items, limits: LIMITS, now: None }).await.expect("finish");
        let tries = value(harness, "select last_value::text from tries").await;
        assert!(tries.parse::<u32>().is_ok_and(|tries| tries >= 3), "{tries} tries of the bad row");
        let logged = store.failures(&Key::from("c")).await.expect("failures");
        assert_eq!(logged.len(), 1, "{logged:?}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_right_to_the_log_stops_no_move() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a", "b"]).await;
        let (store, role) = as_somebody(harness).await;
        let leases = lease_all(&store).await;
        harness.execute(&format!("revoke insert on rowlock_failures from {role}")).await.expect("revoke");
        let finished = finish_all(&store, &leases[..1], Outcome::Fail { error: "broken".to_owned() }).await;
        assert_eq!(finished.expect("finish"), [Finished::Applied { to: Status::Failed }]);
        drop_role(harness, store, &role).await;
    })
    .await;
}

#[tokio::test]
async fn a_word_that_a_trigger_writes_at_a_claim_is_said_and_nobody_holds_the_row() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for word in ["ODD", "CANCELLED", "FAILED"] {
            harness.execute("drop table if exists pages").await.expect("drop");
            let store = table(harness, &["a", "bad", "c"]).await;
            let body = format!("new.status := '{word}'; return new");
            raise(harness, "new.page = 'bad' and new.status = 'FETCH_IN_PROGRESS'", &body).await;

            let batch = store.claim(&claiming(9)).await.expect("claim");

            assert_eq!((keys(&batch), batch.exhausted.len()), (vec!["a", "c"], 0), "{word}");
            assert_eq!(batch.refused[0].1, format!("a trigger changed the status to {word:?}"));
            assert_eq!(status_of_bad(harness).await, "FAILED");
            let error = value(harness, "select error_message from pages where page = 'bad'").await;
            assert!(error.contains("a trigger changed the status"), "{error}");
            let held = "select count(*)::text from pages where page = 'bad' and claim_token is not null";
            assert_eq!(value(harness, held).await, "0");
        }
    })
    .await;
}

#[tokio::test]
async fn a_word_that_a_trigger_writes_at_a_sweep_is_said() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        lease_all(&store).await;
        harness.execute("update pages set heartbeat_at = '2000-01-01'").await.expect("update");
        raise(harness, "new.page = 'bad' and new.status = 'PENDING'", "new.status := 'ODD'; return new").await;
        let swept = store.sweep(&sweeping()).await.expect("sweep");
        assert_eq!(swept.items.len(), 2);
        assert_eq!(swept.refused, [(Key::from("bad"), "a trigger changed the status to \"ODD\"".to_owned())]);
        assert_eq!(value(harness, "select count(*)::text from pages where claim_token is not null").await, "0");
    })
    .await;
}

#[tokio::test]
async fn a_key_beyond_the_pipelines_key_type_harms_only_itself() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let create = "create table pages (page bigint primary key, status text not null default 'PENDING')";
        harness.execute(create).await.expect("create");
        let numbers = rowlock::Pipeline::builder("pages").table("pages").key("page").stage("FETCH");
        let numbers = numbers.key_type(rowlock::pipeline::KeyType::Int).build().expect("a valid pipeline");
        let store = harness.open(numbers).await;
        // Whether `prepare` accepts it is another matter: the rows came later, or the column was changed.
        harness.execute("alter table pages alter column page type int").await.expect("alter");
        store.prepare().await.expect("prepare");
        harness.execute("alter table pages alter column page type bigint").await.expect("alter");
        harness.execute("insert into pages (page) values (5000000000), (1), (2), (3)").await.expect("insert");

        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!(keys(&batch), ["1", "2", "3"]);
        assert_eq!(batch.refused[0].0, Key::from("5000000000"));
        let status = "select status from pages where page = 5000000000";
        assert_eq!(value(harness, status).await, "FAILED");

        // Also if it refuses every write: then it is on the list of excluded keys.
        harness.execute("update pages set status = 'PENDING', claim_token = null").await.expect("update");
        raise(harness, "new.page > 10", &raising("P0001")).await;
        assert_eq!(store.claim(&claiming(9)).await.expect("claim").claimed.len(), 3);
        assert_eq!(store.excluded().len(), 1);
        harness
            .execute("update pages set status = 'PENDING', claim_token = null where page < 10")
            .await
            .expect("update");
        assert_eq!(store.claim(&claiming(9)).await.expect("claim").claimed.len(), 3);
        assert!(store.sweep(&sweeping()).await.expect("sweep").items.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_policy_or_a_generated_column_refuses_only_its_own_row() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        harness
            .execute(
                "create function never(page text, status text) returns text language plpgsql immutable as $$begin
                   if page = 'bad' and status = 'FETCH_IN_PROGRESS' then raise exception 'no' \
                   using errcode = 'XX000'; end if;
                   return status; end$$;
                 alter table pages add column shadow text generated always as (never(page, status)) stored",
            )
            .await
            .expect("alter");
        let batch = store.claim(&claiming(9)).await.expect("claim");
        assert_eq!((keys(&batch), batch.refused.len()), (vec!["a", "c"], 1));
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_that_a_trigger_suppresses_is_refused_and_one_that_is_locked_is_busy() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let store = table(harness, &["a", "bad", "c"]).await;
        let leases = lease_all(&store).await;
        raise(harness, BAD, "return null").await;
        let mut other = harness.pool.begin().await.expect("begin");
        sqlx::query("select from pages where page = 'c' for update").execute(&mut *other).await.expect("lock");

        let states = store.renew(&leases, None).await.expect("renew");

        assert_eq!((&states[0], &states[2]), (&LeaseState::Held, &LeaseState::Busy));
        assert!(matches!(states[1], LeaseState::Refused { .. }), "{states:?}");
        other.rollback().await.expect("rollback");
    })
    .await;
}

#[tokio::test]
async fn a_finish_in_a_transaction_is_judged_by_what_its_statement_does_alone() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        for code in ["XX000", "42883", "HV000"] {
            let (store, leases) = leased(harness, code).await;
            let bad = leases.iter().find(|lease| lease.key.as_str() == "bad").expect("a lease").clone();
            let finish = rowlock::store::Finish { lease: bad, outcome: Outcome::Complete };
            let transaction = store.begin().await.expect("begin");
            let finished = store.finish_in(transaction, &finish, super::LIMITS).await.expect(code);
            assert_eq!(finished, Finished::Refused { reason: "no".to_owned(), failed: true }, "{code}");
        }

        // Without the log the handler's own writes are kept.
        harness.execute("drop table pages").await.expect("drop");
        let store = table(harness, &["a"]).await;
        let leases = lease_all(&store).await;
        harness.execute("create table notes (note text); drop table rowlock_failures").await.expect("create");
        let mut transaction = store.begin().await.expect("begin");
        sqlx::query("insert into notes values ('kept')").execute(&mut *transaction).await.expect("insert");
        let outcome = Outcome::Fail { error: "broken".to_owned() };
        let finish = rowlock::store::Finish { lease: leases[0].clone(), outcome };
        let finished = store.finish_in(transaction, &finish, super::LIMITS).await.expect("finish_in");
        assert_eq!(finished, Finished::Applied { to: Status::Failed });
        assert_eq!(value(harness, "select note from notes").await, "kept");
    })
    .await;
}
