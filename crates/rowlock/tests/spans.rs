//! Every verb opens a span with its own name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rowlock::store::ListParams;
use rowlock::store::sqlite::SqliteStore;
use rowlock::{Key, Pipeline, Repository, StageId, Status, Worker};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A span's name, and those of its fields that have a value.
type Seen = (&'static str, BTreeMap<&'static str, String>);

/// All spans, in order.
#[derive(Clone, Default)]
struct Spans {
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("rowlock")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = self.seen.lock().expect("no panic");
        let mut fields = BTreeMap::new();
        span.record(&mut Fields(&mut fields));
        seen.push((span.metadata().name(), fields));
        Id::from_u64(seen.len() as u64)
    }
    fn record(&self, span: &Id, values: &Record<'_>) {
        let place = usize::try_from(span.into_u64()).expect("a place") - 1;
        values.record(&mut Fields(&mut self.seen.lock().expect("no panic")[place].1));
    }
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn event(&self, _event: &Event<'_>) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// Every verb once, as a user calls it, and then a worker.
async fn every_verb(file: std::path::PathBuf) -> rowlock::Result<()> {
    let pipeline = Pipeline::builder("spans").table("items").key("id").stage("ONE").stage("TWO").build()?;
    let repository: Repository<_, (String,)> = Repository::new(SqliteStore::open(file, pipeline).await?);
    let finished = "each is finished once";
    repository.prepare().await?;
    repository.inspect().await?;
    let keys = ["a", "b", "c"].map(Key::from);
    assert_eq!(repository.add_many(&keys).await?.added, 3);
    repository.now().await?;
    repository.pause(StageId::FIRST).await?;
    repository.resume(StageId::FIRST).await?;
    repository.preview(1).await?;
    let mut claims = repository.claim(2).await?.items;
    let claim = claims.pop().expect("two were claimed");
    claim.renew().await?;
    claim.complete().await.expect(finished);
    let transaction = repository.begin().await?;
    claims.pop().expect("two were claimed").complete_in(transaction).await.expect(finished);
    repository.sweep().await?;
    repository.set("c", Status::Failed, None).await?;
    repository.requeue("c").await?;
    repository.cancel("c").await?;
    repository.get("c").await?;
    repository.list(&ListParams::new(9)).await?;
    repository.counts_exact().await?;
    repository.explain("c").await?;
    repository.failures("c").await?;
    repository.held(9).await?;
    repository.add_many(&[Key::from("d")]).await?;
    let worker = Worker::new(repository.clone()).handle("ONE", |_, _| async { Ok(()) });
    worker.handle("TWO", |_, _| async { Ok(()) }).run_until_idle().await?;
    Ok(())
}

#[test]
fn every_verb_opens_a_span_of_its_name() {
    let spans = Spans::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let subscriber = tracing::Dispatch::new(spans.clone());
    tracing::dispatcher::with_default(&subscriber, || {
        runtime.block_on(every_verb(folder.path().join("queue.sqlite"))).expect("every verb works");
    });
    let seen = spans.seen.lock().expect("no panic");
    let verbs = [
        "prepare",
        "inspect",
        "add_many",
        "now",
        "pause",
        "resume",
        "preview",
        "claim",
        "renew",
        "finish",
        "begin",
        "finish_in",
        "sweep",
        "set",
        "requeue",
        "cancel",
        "get",
        "list",
        "counts",
        "explain",
        "failures",
        "held",
        "listen",
        "worker",
    ];
    for verb in verbs {
        let (_, fields) = seen.iter().find(|(name, _)| *name == verb).unwrap_or_else(|| panic!("no span {verb}"));
        assert_eq!(fields.get("pipeline").map(String::as_str), Some("\"spans\""), "{verb}");
        assert!(verb == "worker" || verb == "listen" || fields.contains_key("duration_ms"), "{verb}: {fields:?}");
    }
    let (_, claim) = seen.iter().find(|(name, _)| *name == "claim").expect("seen above");
    assert_eq!((claim["limit_items"].as_str(), claim["claimed_items"].as_str()), ("2", "2"));
}
