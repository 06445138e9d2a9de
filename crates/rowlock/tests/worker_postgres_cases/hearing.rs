//! A connection that no longer lets anything through, without either side knowing it.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowlock::store::postgres::PostgresStore;
use rowlock::{Key, Repository, Worker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::way::Way;
use crate::worker_cases::{Item, pipeline, soon, told};
use crate::{Postgres, worker_cases};

/// Warnings, and messages about listening.
#[derive(Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                self.0.push_str(&format!(" {field}={value:?}"));
            }
        }
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        // No one may be listening any more when the worker ends.
        let _heard = self.0.send(text.0);
    }
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

async fn until_it_says(log: &mut mpsc::UnboundedReceiver<String>, words: &[&str]) -> String {
    let said = async {
        loop {
            let line = log.recv().await.expect("the worker lives");
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    };
    soon(said).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_hears_nothing_any_more_says_that_it_polls_and_goes_back_when_it_hears_again() {
    let database = Postgres::new("half_open").await;
    let way = Way::to(&database.options()).await;
    let times = pipeline(&["ONE"]).heartbeat_interval(Duration::from_millis(200)).build().expect("a valid pipeline");
    // The verbs go straight to the server, and are answered: only the connection that listens goes this way.
    let listens_by = database.options().host("127.0.0.1").port(way.port);
    let store = PostgresStore::through_pooler(database.options(), times).with_direct(listens_by);
    let repository: worker_cases::Repo<Postgres> = Repository::<_, Item>::new(store);
    repository.prepare().await.expect("the table is created");

    let (lines, mut log) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let handled: Arc<Mutex<Vec<Key>>> = Arc::default();
    let (done, mut is_done) = mpsc::unbounded_channel();
    let seen = Arc::clone(&handled);
    // It reports that it hears once a look has found nothing.
    let polling = Worker::new(repository.clone()).poll_between(Duration::from_millis(50), Duration::from_secs(1));
    let worker = polling.shutdown_on(stop.clone()).handle("ONE", move |_, claim| {
        seen.lock().expect("no panic").push(claim.key().clone());
        done.send(()).expect("the test listens");
        async { Ok(()) }
    });
    // With a single subscriber, tracing decides whether a message is wanted on the thread that meets it first: that of
    // a neighbouring test, which has none. With two it asks them.
    let _another = tracing::Dispatch::new(Log(lines.clone()));
    // Its own thread logs to the subscriber of the thread that starts it.
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tracing::subscriber::with_default(Log(lines), || runtime.block_on(worker.run()))
    });
    repository.add_many(["heard"]).await.expect("added");
    soon(is_done.recv()).await.expect("it works");
    until_it_says(&mut log, &["INFO", "notifications of new items arrive"]).await;

    way.swallow(true);
    until_it_says(&mut log, &["WARN", "found by polling"]).await;
    repository.add_many(["unheard"]).await.expect("added");
    soon(is_done.recv()).await.expect("it polls");

    way.swallow(false);
    until_it_says(&mut log, &["INFO", "notifications of new items arrive"]).await;
    repository.add_many(["heard again"]).await.expect("added");
    soon(is_done.recv()).await.expect("it works");
    stop.cancel();
    assert_eq!(told(running.join().expect("no panic")).completed, 3);
    let keys: Vec<String> = handled.lock().expect("no panic").iter().map(|key| key.as_str().to_owned()).collect();
    assert_eq!(keys, ["heard", "unheard", "heard again"]);
    database.end().await;
}
