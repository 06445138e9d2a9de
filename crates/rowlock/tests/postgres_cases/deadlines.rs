//! Every call of the store ends, even if the server does not answer or a row stays locked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowlock::conformance::{Harness, run};
use rowlock::store::postgres::PostgresStore;
use rowlock::store::{Finish, Listener, Outcome, SetParams, Store};
use rowlock::{Key, Status};
use sqlx::Executor;
use sqlx::postgres::PgConnectOptions;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{LIMITS, claiming, finish_all, lease_all, stages, table};
use crate::postgres::PostgresHarness;

/// The deadline of a verb is a third of this.
const STALE_AFTER: Duration = Duration::from_millis(1500);

/// Longer than any deadline and its clean-up.
const TOO_LONG: Duration = Duration::from_secs(20);

/// Passes bytes between the store and the server, until it is asked to hold them back, or until a connection has sent
/// as many as it may.
struct Wire {
    port: u16,
    is_cut: Arc<watch::Sender<bool>>,
}

impl Wire {
    async fn to(server: &PgConnectOptions, bytes_sent_max: u64) -> Wire {
        let (host, port) = (server.get_host().to_owned(), server.get_port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let own_port = listener.local_addr().expect("address").port();
        let is_cut = Arc::new(watch::Sender::new(false));
        let cut = Arc::clone(&is_cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (host, cut) = (host.clone(), cut.subscribe());
                tokio::spawn(async move {
                    let server = TcpStream::connect((host, port)).await.expect("the server");
                    hand_on(client, server, bytes_sent_max, cut).await;
                });
            }
        });
        Wire { port: own_port, is_cut }
    }
}

async fn hand_on(mut client: TcpStream, mut server: TcpStream, bytes_sent_max: u64, mut cut: watch::Receiver<bool>) {
    {
        let (from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut from_client = from_client.take(bytes_sent_max);
        tokio::select! {
            sent = tokio::io::copy(&mut from_client, &mut to_server) => {
                if !sent.is_ok_and(|sent| sent == bytes_sent_max) {
                    return;
                }
            }
            _ = tokio::io::copy(&mut from_server, &mut to_client) => return,
            _ = cut.wait_for(|cut| *cut) => {}
        }
    }
    // The sockets stay open, but nothing moves any more.
    std::future::pending::<()>().await;
}

async fn wired(harness: &PostgresHarness, bytes_sent_max: u64) -> (Wire, PostgresStore) {
    let wire = Wire::to(&harness.server, bytes_sent_max).await;
    let options = harness.server.clone().host("127.0.0.1").port(wire.port).database(&harness.database);
    let pipeline = stages().stale_after(STALE_AFTER).build().expect("a valid pipeline");
    let store = PostgresStore::with_options(options, pipeline);
    store.prepare().await.expect("prepare");
    (wire, store)
}

async fn in_time<T>(what: &str, started: Instant, call: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(TOO_LONG, call).await;
    let answer = answer.unwrap_or_else(|_| panic!("{what} has no end"));
    assert!(started.elapsed() < TOO_LONG, "{what}");
    answer
}

#[tokio::test]
async fn every_call_ends_when_the_server_does_not_answer() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (wire, store) = wired(harness, u64::MAX).await;
        let keys: Vec<Key> = ["a", "b"].map(Key::from).to_vec();
        store.add_many(&keys).await.expect("add_many");
        let leases = lease_all(&store).await;
        let mut listener = store.listen().await.expect("listen");
        let (mut first, mut second) = (store.begin().await.expect("begin"), store.begin().await.expect("begin"));
        for transaction in [&mut first, &mut second] {
            (**transaction).execute("select 1").await.expect("select");
        }

        wire.is_cut.send_replace(true);

        let started = Instant::now();
        assert!(in_time("rollback", started, store.rollback(first)).await.is_err());
        let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
        assert!(in_time("finish_in", started, store.finish_in(second, &finish, LIMITS)).await.is_err());
        assert!(in_time("begin", started, store.begin()).await.is_err());
        assert!(in_time("claim", started, store.claim(&claiming(1))).await.is_err());
        assert!(in_time("finish", started, finish_all(&store, &leases, Outcome::Complete)).await.is_err());
        assert!(in_time("renew", started, store.renew(&leases, None)).await.is_err());
        assert!(in_time("add_many", started, store.add_many(&keys)).await.is_err());
        assert!(in_time("listen", started, store.listen()).await.is_err());
        assert!(in_time("arm", started, listener.arm(Duration::from_secs(1))).await.is_err());
        assert!(in_time("fork", started, store.fork()).await.is_err());

        // None of these connections is pooled: once the server answers again, so do new connections.
        wire.is_cut.send_replace(false);
        let recovered = async { while store.now().await.is_err() {} };
        in_time("now", started, recovered).await;
    })
    .await;
}

/// COPY is many messages, and the server's statement_timeout does not apply while it waits for the next one.
#[tokio::test]
async fn add_many_ends_when_the_server_stops_to_read() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (_wire, store) = wired(harness, 1_000_000).await;
        // More than the buffers on the way can hold.
        let keys: Vec<Key> = (0..40_000).map(|number| Key::from(format!("{number:0>500}"))).collect();
        let started = Instant::now();
        let error = in_time("add_many", started, store.add_many(&keys)).await.expect_err("it was cut off");
        assert!(error.is_transient(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_a_locked_row_ends_in_time() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a", "b"]).await;
        let store = harness.open(stages().stale_after(STALE_AFTER).build().expect("a valid pipeline")).await;
        let leases = lease_all(&store).await;
        let mut other = harness.pool.begin().await.expect("begin");
        other.execute("select from pages where page = 'a' for update").await.expect("lock");

        let started = Instant::now();
        let setting = SetParams { keys: vec![Key::from("a")], to: Status::Failed, error: None, now: None };
        let error = in_time("set", started, store.set(&setting)).await.expect_err("the row is locked");
        assert!(error.is_transient(), "{error}");
        let transaction = store.begin().await.expect("begin");
        let finish = Finish { lease: leases[0].clone(), outcome: Outcome::Complete };
        let error = in_time("finish_in", started, store.finish_in(transaction, &finish, LIMITS)).await;
        let error = error.expect_err("the row is locked");
        assert!(error.is_transient(), "{error}");
        other.rollback().await.expect("rollback");
    })
    .await;
}

/// Neither side learns of the end, as behind a firewall that forgot the connection.
#[tokio::test]
async fn a_listener_whose_connection_fell_silent_finds_out() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        let (wire, store) = wired(harness, u64::MAX).await;
        let mut listener = store.listen().await.expect("listen");
        listener.arm(Duration::from_secs(60)).await.expect("arm");
        listener.test_hearing().await.expect("it hears");
        assert!(!listener.wait(Duration::from_millis(100)).await.expect("wait"), "it heard nothing but itself");
        harness.execute("insert into pages (page) values ('a')").await.expect("insert");
        listener.test_hearing().await.expect("it hears");
        assert!(listener.wait(Duration::from_secs(10)).await.expect("wait"), "what was told meanwhile is lost");

        wire.is_cut.send_replace(true);
        let started = Instant::now();
        let error = in_time("test_hearing", started, listener.test_hearing()).await.expect_err("it hears nothing");
        assert!(error.is_transient(), "{error}");
    })
    .await;
}
