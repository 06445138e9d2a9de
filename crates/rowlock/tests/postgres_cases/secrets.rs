//! A password is shown nowhere, however the URL that holds it is spelt.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use rowlock::conformance::run;
use rowlock::store::postgres::PostgresStore;
use rowlock::store::sqlite::SqliteStore;
use rowlock::store::{Store, displayable_url};
use rowlock::{Error, JsonRecord, Repository, Worker};
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{pipeline, table};
use crate::postgres::PostgresHarness;

const SECRET: &str = "hunter2";

/// Everything that is logged at any level, by the driver too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().expect("no panic"), "{field}={value:?}").expect("a string");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

impl Log {
    fn write(&self, what: &dyn Debug, text: &str) {
        writeln!(self.0.lock().expect("no panic"), "{text} {what:?} {what:#?}").expect("a string");
    }
}

/// Nothing answers at this port, or the database refuses: each URL ends in an error.
fn spellings(port: u16) -> Vec<String> {
    let host = format!("127.0.0.1:{port}");
    [
        "postgres://me:SECRET@HOST/db",
        "POSTGRES://me:SECRET@HOST/db",
        "  postgres://me:SECRET@HOST/db",
        "postgresql://me:SECRET@HOST/db?sslmode=disable",
        "postgre://me:SECRET@HOST/db",
        "postgres:/me:SECRET@HOST/db",
        "postgres:me:SECRET@HOST/db",
        "postgres//me:SECRET@HOST/db",
        "me:SECRET@HOST/db",
        "mysql://me:SECRET@HOST/db",
        "sqlite://me:SECRET@HOST/db",
        "file:me:SECRET@HOST/db",
        "postgres://me:x#SECRET@HOST/db",
        "postgres://me:x?SECRET@HOST/db",
        "postgres://me:1?SECRET@HOST/db",
        "postgres://me:1?SECRET=x@HOST/db",
        "postgres://me:x/SECRET@HOST/db",
        "postgres://me:x@SECRET@HOST/db",
        "postgres://me:SECRET",
        "postgres://me:SECRET/db",
        "postgres://me%3ASECRET@HOST/db",
        "postgres://me:%20SECRET@HOST/db",
        "postgres://me@HOST/db?password=SECRET",
        "postgres://me@HOST/db?pasword=SECRET",
        "postgres://me@HOST/db?PASSWORD=SECRET",
        "postgres://me@HOST/db?password=x@SECRET",
        "postgres://me@HOST/db?sslmode=SECRET",
        "postgres://me@HOST/db?port=SECRET",
        "host=127.0.0.1 user=me password=SECRET",
        "SECRET",
    ]
    .map(|spelling| spelling.replace("SECRET", SECRET).replace("HOST", &host))
    .to_vec()
}

#[tokio::test]
async fn no_error_and_no_log_shows_a_password_however_the_url_is_spelt() {
    let log = Log::default();
    // A free port: one that was just closed.
    let port = TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address").port();
    let directory = tempfile::tempdir().expect("a directory");
    async {
        for url in spellings(port) {
            log.write(&(), &displayable_url(&url));
            let error = PostgresStore::connect(&url, pipeline()).await.expect_err("nobody answers");
            log.write(&error, &error.to_string());
            let error = SqliteStore::connect(&url, pipeline()).await.expect_err("it is no file");
            log.write(&error, &error.to_string());
            if url.contains(':') {
                let error = SqliteStore::open(&url, pipeline()).await.expect_err("it is no path");
                log.write(&error, &error.to_string());
            }
        }
        drop(directory);
    }
    .with_subscriber(log.clone())
    .await;
    let log = log.0.lock().expect("no panic");
    assert!(log.contains("127.0.0.1") && log.len() > 5_000, "hardly anything was written: {log}");
    for line in log.lines() {
        assert!(!line.contains(SECRET), "{line}");
    }
}

#[tokio::test]
async fn nothing_that_is_shown_of_a_store_holds_its_password() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let options = harness.server.clone().database(&harness.database);
        let log = Log::default();
        let wrong = PostgresStore::with_options(options.clone().password(SECRET), pipeline());
        let pooled = PostgresStore::through_pooler(options.clone().password(SECRET), pipeline())
            .with_direct(options.clone().password(SECRET));
        async {
            let error = wrong.now().await.expect_err("it is not the password");
            log.write(&error, &error.to_string());
            let error = wrong.begin().await.expect_err("it is not the password");
            log.write(&error, &error.to_string());
            log.write(&wrong, "");
            log.write(&pooled, "");
            let pages: Repository<_, JsonRecord> = Repository::new(wrong.clone());
            log.write(&Worker::new(pages).handle("FETCH", |_, _| async { Ok(()) }), "");
        }
        .with_subscriber(log.clone())
        .await;
        let right = PostgresStore::with_options(options, pipeline());
        log.write(&right.begin().await.expect("begin"), "");
        log.write(&right.listen().await.expect("listen"), "");
        let log = log.0.lock().expect("no panic");
        assert!(log.contains("PostgresStore") && log.contains("password authentication failed"), "{log}");
        for line in log.lines() {
            assert!(!line.contains(SECRET), "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_url_of_another_database_is_refused_by_what_it_is_and_what_is_expected() {
    for (url, shown, expected) in [
        ("mysql://me:hunter2@host/db", "mysql://me:…@host/db", "postgres://"),
        ("sqlite://queue.db", "sqlite://queue.db", "SqliteStore"),
        ("/var/lib/queue.db", "…", "postgres://"),
        ("postgres://me:hun#ter2@host/db", "postgres://…", "%23"),
    ] {
        let error = PostgresStore::connect(url, pipeline()).await.expect_err(url);
        let text = error.to_string();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{text}");
        assert!(text.contains(shown) && text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn an_ipv6_address_is_taken_as_one() {
    run(PostgresHarness::new().await, async |harness: &PostgresHarness| {
        table(harness, &["a"]).await;
        let listener = TcpListener::bind("[::1]:0").await.expect("this machine has IPv6 at home");
        let port = listener.local_addr().expect("address").port();
        let server = (harness.server.get_host().to_owned(), harness.server.get_port());
        let proxy = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.expect("the server");
                    // Either side may end it in any way.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        let url = std::env::var("DATABASE_URL").expect("the harness has it");
        let (user, _) = url.rsplit_once('@').expect("a URL with a user");
        let url = format!("{user}@[::1]:{port}/{}", harness.database);
        let store = PostgresStore::connect(&url, pipeline()).await.expect("it is reached");
        store.add_many(&["b".into()]).await.expect("add_many");
        proxy.abort();
    })
    .await;
}
