//! What a user's observer learns about handlers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rowlock::{Failure, HandledItem, HandlerObserver, Record, Worker};

use super::*;

/// Records its calls, and panics at one item.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn write(&self, what: &str, item: &HandledItem<'_>, of: &str) {
        let line = format!("{what} {} {}{of}", item.stage_name, item.key.as_str());
        self.0.lock().expect("no panic").push(line);
        assert!(item.key.as_str() != "harms the observer", "the observer's own fault");
    }

    fn sorted(&self) -> Vec<String> {
        let mut lines = self.0.lock().expect("no panic").clone();
        lines.sort();
        lines
    }
}

impl HandlerObserver for Notes {
    fn on_start(&self, item: &HandledItem<'_>) {
        self.write("start", item, "");
    }

    fn on_success(&self, item: &HandledItem<'_>, _: Duration) {
        self.write("success", item, "");
    }

    fn on_failure(&self, item: &HandledItem<'_>, took: Duration, error: &str) {
        assert!(took < Duration::from_secs(60));
        self.write("failure", item, &format!(": {error}"));
    }
}

pub(crate) async fn an_observer_hears_how_each_handler_ended<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let stage = rowlock::Stage::new("ONE").with_timeout(Duration::from_millis(200));
    let pipeline = pipeline(&[]).add_stage(stage).max_retries(1);
    let repository = repository(database, pipeline).await;
    repository.add_many(["fails", "hangs", "harms the observer", "panics", "works"]).await.expect("added");
    let notes = Notes::default();
    let worker = Worker::new(repository.clone()).observe(notes.clone()).handle("ONE", |_, claim| async move {
        match claim.id.as_str() {
            "fails" => Err(Failure::permanent("no")),
            "hangs" => std::future::pending().await,
            "panics" => panic!("boom"),
            _ => Ok(()),
        }
    });
    let report = told(soon(worker.run_until_idle()).await);
    assert_eq!((report.completed, report.failed, report.leaked_slots), (2, 3, 0), "{report:?}");
    let expected = [
        "failure ONE fails: no",
        "failure ONE hangs: the handler ran for longer than the stage's timeout of 200ms",
        "failure ONE panics: the handler panicked: boom",
        "start ONE fails",
        "start ONE hangs",
        "start ONE harms the observer",
        "start ONE panics",
        "start ONE works",
        "success ONE harms the observer",
        "success ONE works",
    ];
    assert_eq!(notes.sorted(), expected);
}

pub(crate) async fn an_observer_hears_of_each_item_of_a_batch<D: Database>(database: &D)
where
    Item: Record<D::S>,
{
    let repository = repository(database, pipeline(&["ONE"]).max_retries(1)).await;
    repository.add_many(["a", "b"]).await.expect("added");
    let notes = Notes::default();
    let answer = |claim: &rowlock::Claim<Item>| if claim.id == "a" { Ok(()) } else { Err(Failure::permanent("no")) };
    let worker = Worker::new(repository.clone()).observe(notes.clone()).handle_batch("ONE", 10, move |_, claims| {
        let answers: Vec<_> = claims.iter().map(answer).collect();
        async { answers }
    });
    told(soon(worker.run_until_idle()).await);
    assert_eq!(notes.sorted(), ["failure ONE b: no", "start ONE a", "start ONE b", "success ONE a"]);
}
