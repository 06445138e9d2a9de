//! Eight workers at once, some of which lose their leases; afterwards their logs and the table must agree.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Harness;
use super::scene::{RawItem, Scene, claiming, limits, two_stages};
use crate::pipeline::{Budget, Pipeline, RetryPolicy, Status};
use crate::store::{ClaimParams, Finish, FinishParams, Finished, LeaseState, Outcome, Store, SweepParams};
use crate::{Error, FencingToken, Holder, Key, Lease, Result};

const WORKERS: u64 = 8;
const ITEMS: usize = 5_000;
/// For the sweeps only: the pipeline's own value determines its deadlines, which a busy machine must be able to meet.
const STALE_AFTER: Duration = Duration::from_millis(400);
/// A limit; the test ends long before.
const AT_MOST: Duration = Duration::from_secs(120);

/// An answer that a worker received, and the two ticks of the test's clock between which the database must have done
/// it.
#[derive(Debug, Clone)]
struct Entry {
    what: What,
    sent: u64,
    answered: u64,
}

#[derive(Debug, Clone)]
enum What {
    Claimed(Lease),
    Finished(Lease, Status, &'static str),
    Swept(Key, Status),
    Exhausted(Key),
}

impl What {
    fn key(&self) -> &Key {
        match self {
            What::Claimed(lease) | What::Finished(lease, ..) => &lease.key,
            What::Swept(key, _) | What::Exhausted(key) => key,
        }
    }
}

pub async fn eight_workers_at_once_hold_each_item_once_and_lose_none<H: Harness>(harness: &H) {
    let soon = RetryPolicy::constant(Duration::from_millis(20));
    let pipeline = two_stages().budget(Budget::PerItem).retry(soon).max_retries(6).max_resets(6);
    let scene = Scene::with(harness, pipeline).await;
    let all: Vec<Key> = (0..ITEMS).map(|number| Key::from(format!("{number:05}"))).collect();
    scene.store.add_many(&all).await.expect("add_many");
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let clock = Arc::new(AtomicU64::new(0));

    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..WORKERS {
        let worker = Worker {
            store: scene.store.fork().await.expect("fork"),
            holder: Holder::named(format!("worker-{number}")),
            random: StdRng::seed_from_u64(seed ^ number),
            clock: clock.clone(),
            log: Vec::new(),
            forgotten: Vec::new(),
            lost: 0,
        };
        tasks.spawn(worker.work());
    }
    let done = tasks.join_all().await;

    let lost: usize = done.iter().map(|(_, lost)| lost).sum();
    let log: Vec<Entry> = done.into_iter().flat_map(|(log, _)| log).collect();
    let swept = log.iter().filter(|entry| matches!(entry.what, What::Swept(..))).count();
    assert!(swept > 0 && lost > 0, "nobody lost a lease ({swept} swept, {lost} lost): the test shows nothing");
    let table = scene.raw_all().await;
    assert_eq!(table.len(), ITEMS, "an item was lost");
    audit(scene.pipeline(), &log, &table);
}

/// A worker that does everything badly except one thing: it logs each answer.
struct Worker<S: Store> {
    store: S,
    holder: Holder,
    random: StdRng,
    clock: Arc<AtomicU64>,
    log: Vec<Entry>,
    /// Leases that it stopped renewing, and when it will try to finish them after all: some before they are stale.
    forgotten: Vec<(Lease, Instant)>,
    lost: usize,
}

impl<S: Store> Worker<S> {
    async fn work(mut self) -> (Vec<Entry>, usize) {
        let started = Instant::now();
        let mut idle = 0;
        // Idle for longer than a lease lives: everything that others hold has been finished or swept by then.
        while idle < 150 {
            assert!(started.elapsed() < AT_MOST, "the queue does not drain");
            if self.random.random_bool(0.1) || idle > 0 {
                self.sweep().await;
            }
            self.wake_as_a_zombie().await;
            let held = self.claim().await;
            if held.is_empty() {
                idle += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                idle = 0;
                self.handle(held).await;
            }
        }
        self.store.close().await;
        (self.log, self.lost)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn write_down(&mut self, what: What, sent: u64) {
        let answered = self.tick();
        self.log.push(Entry { what, sent, answered });
    }

    async fn claim(&mut self) -> Vec<Lease> {
        let limit: usize = self.random.random_range(1..=60);
        let (batch, sent) = loop {
            let claiming = ClaimParams {
                token: FencingToken::draw(),
                holder: self.holder.clone(),
                now: None,
                ..claiming(self.store.pipeline(), limit)
            };
            let sent = self.tick();
            match passing(self.store.claim(&claiming).await) {
                Some(batch) => break (batch, sent),
                None => tokio::task::yield_now().await,
            }
        };
        let taken = batch.claimed.len() + batch.exhausted.len();
        assert!(taken <= limit, "{taken} were claimed of {limit}");
        assert!(batch.refused.is_empty(), "{:?}", batch.refused);
        for key in &batch.exhausted {
            self.write_down(What::Exhausted(key.clone()), sent);
        }
        let leases: Vec<Lease> = batch.leases().cloned().collect();
        for lease in &leases {
            self.write_down(What::Claimed(lease.clone()), sent);
        }
        leases
    }

    /// Finishes most items, and forgets some.
    async fn handle(&mut self, held: Vec<Lease>) {
        if self.random.random_bool(0.3) {
            self.renew(&held).await;
        }
        if self.random.random_bool(0.03) {
            held.into_iter().for_each(|lease| self.forget(lease));
            return;
        }
        let mut items = Vec::new();
        for lease in held {
            let outcome = match self.random.random_range(0..1000) {
                0..20 => {
                    self.forget(lease);
                    continue;
                }
                20..100 => Outcome::Retry { error: "broken".to_owned(), delay: None },
                100..105 => Outcome::Fail { error: "hopeless".to_owned() },
                105..120 => Outcome::Release,
                120..130 => Outcome::SnoozeFor(Duration::from_millis(30)),
                _ => Outcome::Complete,
            };
            items.push(Finish { lease, outcome });
        }
        self.finish(items).await;
    }

    async fn renew(&mut self, held: &[Lease]) {
        loop {
            match passing(self.store.renew(held, None).await) {
                Some(states) => {
                    assert_eq!(states.len(), held.len());
                    assert!(!states.contains(&LeaseState::Cancelled), "nobody cancelled anything");
                    return;
                }
                None => tokio::task::yield_now().await,
            }
        }
    }

    fn forget(&mut self, lease: Lease) {
        let wakes_at = Instant::now() + STALE_AFTER.mul_f64(self.random.random_range(0.5..2.0));
        self.forgotten.push((lease, wakes_at));
    }

    async fn wake_as_a_zombie(&mut self) {
        let now = Instant::now();
        let woken: Vec<(Lease, Instant)> = self.forgotten.extract_if(.., |(_, wakes_at)| *wakes_at <= now).collect();
        let items = woken.into_iter().map(|(lease, _)| Finish { lease, outcome: Outcome::Complete }).collect();
        self.finish(items).await;
    }

    async fn finish(&mut self, mut items: Vec<Finish>) {
        while !items.is_empty() {
            items = self.finish_once(items).await;
        }
    }

    /// Finishes the items that no other transaction has locked at the moment; returns the rest.
    async fn finish_once(&mut self, items: Vec<Finish>) -> Vec<Finish> {
        let finishing = FinishParams { items, limits: limits(self.store.pipeline()), now: None };
        let (finished, sent) = loop {
            let sent = self.tick();
            match passing(self.store.finish(&finishing).await) {
                Some(finished) => break (finished, sent),
                None => tokio::task::yield_now().await,
            }
        };
        let mut busy = Vec::new();
        for (finish, finished) in finishing.items.into_iter().zip(finished) {
            match finished {
                Finished::Applied { to } => {
                    self.write_down(What::Finished(finish.lease, to, finish.outcome.name()), sent);
                }
                Finished::LeaseLost => self.lost += 1,
                Finished::Busy => busy.push(finish),
                Finished::Unknown | Finished::Refused { .. } => panic!("{finish:?}: {finished:?}"),
            }
        }
        busy
    }

    async fn sweep(&mut self) {
        let max_resets = self.store.pipeline().max_resets();
        let sweeping = SweepParams { limit: 100, stale_after: STALE_AFTER, max_resets, now: None };
        let sent = self.tick();
        // An item that meets a busy database is left to the next round.
        let Some(swept) = passing(self.store.sweep(&sweeping).await) else { return };
        assert!(swept.items.len() <= 100 && swept.refused.is_empty());
        for item in swept.items {
            self.write_down(What::Swept(item.key, item.to), sent);
        }
    }
}

/// `None` for a transient error without effect.
fn passing<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) if error.is_transient() && !error.may_have_been_applied() => None,
        Err(Error::Deadline { verb, .. }) => panic!("{verb} met its deadline"),
        Err(error) => panic!("{error}"),
    }
}

/// Compares the answers to all workers with the table.
fn audit(pipeline: &Pipeline, log: &[Entry], table: &[RawItem]) {
    let mut of_item: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in log {
        of_item.entry(entry.what.key().as_str()).or_default().push(entry);
    }
    for item in table {
        let entries = of_item.remove(item.key.as_str()).unwrap_or_default();
        if let Err(problem) = audit_item(pipeline, &entries, item) {
            panic!("{problem}\n{item:#?}\n{entries:#?}");
        }
    }
    assert!(of_item.is_empty(), "items that are not in the table: {:?}", of_item.keys());
}

fn audit_item(pipeline: &Pipeline, entries: &[&Entry], item: &RawItem) -> Result<(), String> {
    let claims: Vec<(&Lease, &Entry)> = entries
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Claimed(lease) => Some((lease, *entry)),
            What::Finished(..) | What::Swept(..) | What::Exhausted(_) => None,
        })
        .collect();
    let finish_of = |lease: &Lease| {
        entries.iter().filter(|entry| matches!(&entry.what, What::Finished(finished, ..) if finished == lease)).count()
    };
    let count = |matches: fn(&What) -> bool| entries.iter().filter(|entry| matches(&entry.what)).count();
    let swept = count(|what| matches!(what, What::Swept(..)));
    let finished = count(|what| matches!(what, What::Finished(..)));
    let retried = count(|what| matches!(what, What::Finished(_, _, "retry")));
    let exhausted = count(|what| matches!(what, What::Exhausted(_)));

    if claims.iter().any(|(lease, _)| finish_of(lease) > 1) {
        return Err("one lease was finished twice".to_owned());
    }
    if finished != claims.iter().map(|(lease, _)| finish_of(lease)).sum::<usize>() {
        return Err("a lease was finished that nobody was given".to_owned());
    }
    if claims.len() != finished + swept {
        return Err("each claim ends by its holder or by the sweep, once".to_owned());
    }
    if held_twice(&claims, entries) {
        return Err("it was held twice at once".to_owned());
    }
    let as_count = |count: usize| i64::try_from(count).ok();
    if item.retry_count != as_count(retried) || item.reset_count != as_count(swept) {
        return Err(format!("{retried} retries and {swept} resets were accepted"));
    }
    let status = item.status.as_deref().and_then(|word| pipeline.status(word));
    if !status.is_some_and(Status::is_terminal) {
        return Err("it did not come to its end".to_owned());
    }
    // The last writer left the token or cleared it.
    let last_move = entries.iter().any(|entry| match (&entry.what, item.token) {
        (What::Finished(lease, to, _), Some(token)) => lease.token.as_i64() == token && Some(*to) == status,
        (What::Swept(_, to), None) => Some(*to) == status,
        (What::Exhausted(_), None) => status == Some(Status::Failed),
        _ => false,
    });
    if !last_move {
        return Err("it is not where its last accepted move put it".to_owned());
    }
    let ends = entries
        .iter()
        .filter(|entry| match &entry.what {
            What::Finished(_, to, _) | What::Swept(_, to) => to.is_terminal(),
            What::Exhausted(_) => true,
            What::Claimed(_) => false,
        })
        .count();
    if ends != 1 || exhausted > 1 {
        return Err(format!("it came to its end {ends} times"));
    }
    Ok(())
}

/// Whether a second claim lies wholly between a claim and the accepted finish of its own holder.
fn held_twice(claims: &[(&Lease, &Entry)], entries: &[&Entry]) -> bool {
    claims.iter().any(|(lease, claim)| {
        let finish = entries.iter().find(|entry| matches!(&entry.what, What::Finished(of, ..) if of == *lease));
        finish.is_some_and(|finish| {
            claims.iter().any(|(_, other)| claim.answered < other.sent && other.answered < finish.sent)
        })
    })
}
