//! A fail-over: for some seconds the name leads to a read-only server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rowlock::store::postgres::PostgresStore;
use rowlock::{Handled, Repository, Worker};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::watch;

use super::way::Way;
use crate::own_server::OwnServer;
use crate::worker_cases::{Item, add, pipeline, soon, told};
use crate::{Postgres, worker_cases};

const ITEMS: usize = 200;

async fn end_all_others(server: &PgConnectOptions) {
    let mut connection = PgConnection::connect_with(server).await.expect("the server answers");
    let others = "select pg_terminate_backend(pid) from pg_stat_activity
                  where backend_type = 'client backend' and pid <> pg_backend_pid()";
    connection.execute(others).await.expect("ended");
}

/// Each item has one attempt: if any were counted the item would fail. Half of the items are finished by their
/// handlers, in their own transactions, and half by the worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_seconds_in_which_nothing_can_be_written_cost_no_item_anything() {
    let (primary_server, stages) = (OwnServer::start(), pipeline(&["ONE"]).max_retries(1).build().expect("valid"));
    let primary: PgConnectOptions = primary_server.url.parse().expect("a URL");
    let name = Way::to(&primary).await;
    let store = PostgresStore::with_options(primary.clone().port(name.port), stages);
    let repository: worker_cases::Repo<Postgres> = Repository::<_, Item>::new(store);
    repository.prepare().await.expect("the table is created");
    let mut admin = PgConnection::connect_with(&primary).await.expect("the server answers");
    admin.execute("create table results (id text)").await.expect("created");
    add::<Postgres>(&repository, ITEMS).await;

    let started = Arc::new(AtomicUsize::new(0));
    let (in_full_swing, mut is_in_full_swing) = watch::channel(false);
    let (begin, window) = watch::channel(false);
    let (starts, met) = (Arc::clone(&started), Arc::new(AtomicUsize::new(0)));
    let refusals = Arc::clone(&met);
    let worker = Worker::new(repository.clone())
        .hold_between(Duration::from_millis(50), Duration::from_millis(400))
        .concurrency("ONE", 8)
        .handle("ONE", move |context, claim: rowlock::Claim<Item>| {
            let run = starts.fetch_add(1, Ordering::Relaxed);
            let (mut window, refusals) = (window.clone(), Arc::clone(&refusals));
            if run == ITEMS / 4 {
                in_full_swing.send_replace(true);
            }
            async move {
                // Some are in the middle of their transactions when it begins, the others come later.
                let is_in_the_middle = run % 4 == 3;
                let mut until_it_begins = async || {
                    if run >= ITEMS / 4 {
                        window.wait_for(|has_begun| *has_begun).await.expect("the test says so");
                    }
                };
                if !is_in_the_middle {
                    until_it_begins().await;
                }
                if run.is_multiple_of(2) {
                    return Ok(Handled::from(()));
                }
                let count_refusal = |error: &rowlock::Error| {
                    refusals.fetch_add(usize::from(error.is_read_only()), Ordering::Relaxed);
                };
                let mut transaction = context.begin().await.inspect_err(count_refusal)?;
                let key = claim.key().as_str().to_owned();
                sqlx::query("insert into results values ($1)").bind(key).execute(&mut *transaction).await?;
                if is_in_the_middle {
                    until_it_begins().await;
                }
                Ok::<Handled, rowlock::Failure>(claim.complete_in(transaction).await?.into())
            }
        });
    let running = tokio::spawn(worker.run_until_idle());
    soon(is_in_full_swing.wait_for(|is| *is)).await.expect("it works");
    let standby_server = primary_server.start_standby();
    let standby: PgConnectOptions = standby_server.url.parse().expect("a URL");
    drop(admin);
    name.lead_to(&standby);
    end_all_others(&primary).await;
    begin.send_replace(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    name.lead_to(&primary);
    let mut admin = PgConnection::connect_with(&primary).await.expect("the server answers");
    let done_meanwhile: i64 = sqlx::query_scalar("select count(*) from items where status = 'SUCCEEDED'")
        .fetch_one(&mut admin)
        .await
        .expect("counted");

    let report = told(soon(running).await.expect("no panic"));
    assert!(done_meanwhile < i64::try_from(ITEMS).expect("few"), "it was over before");
    assert!(report.outages > 0 && met.load(Ordering::Relaxed) > 0, "the handlers met it: {report:?}");
    let counted = (report.completed, report.retried, report.failed, report.refused, report.lost);
    assert_eq!(counted, (ITEMS as u64, 0, 0, 0, 0), "{report:?}");
    let once: (i64, i64) = sqlx::query_as("select count(*), count(distinct id) from results")
        .fetch_one(&mut admin)
        .await
        .expect("counted");
    assert_eq!(once.0, once.1, "what handlers wrote is there once");
}
