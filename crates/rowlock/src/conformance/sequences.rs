//! Random sequences of verbs, compared with the model after each step.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::model::{Model, Taken};
use super::scene::{Scene, Value, at, two_stages};
use super::{Harness, Shape};
use crate::pipeline::{Budget, PipelineBuilder, RetryPolicy, Role, StageId, Status};
use crate::store::{
    ClaimParams, CountParams, Finish, FinishParams, Limits, Outcome, RequeueParams, SetParams, Store, SweepParams,
};
use crate::{FencingToken, Holder, Key, Lease, Pipeline};

/// Sequences in one test; there are three tests.
const SEQUENCES: u64 = 500;

/// The same on a table of another shape: there are several, and the verbs are the same.
const SEQUENCES_OF_A_SHAPE: u64 = 60;

/// The environment variable that repeats one sequence.
const SEED: &str = "ROWLOCK_SEED";

const ITEMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

pub async fn random_verbs_do_what_the_model_does_with_budgets_per_stage<H: Harness>(harness: &H) {
    run(harness, two_stages().max_retries(3).max_resets(3)).await;
}

pub async fn random_verbs_do_what_the_model_does_with_budgets_per_item<H: Harness>(harness: &H) {
    let policy = RetryPolicy::exponential(Duration::from_secs(5), Duration::from_secs(300)).with_jitter(0.5);
    let pipeline = Pipeline::builder("pages")
        .table("pages")
        .key("page")
        .stage("FETCH")
        .stage("PARSE")
        .stage("STORE")
        .max_retries(4)
        .max_resets(2)
        .budget(Budget::PerItem)
        .retry(policy);
    run(harness, pipeline).await;
}

/// A claim of a single stage may have its own statement.
pub async fn random_verbs_do_what_the_model_does_with_one_stage<H: Harness>(harness: &H) {
    let pipeline = Pipeline::builder("pages").table("pages").key("page").stage("FETCH").max_retries(3).max_resets(3);
    run(harness, pipeline).await;
}

async fn run<H: Harness>(harness: &H, pipeline: PipelineBuilder) {
    let scene = Scene::with(harness, pipeline).await;
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        sequence(&scene, seed).await;
        return;
    }
    let first: u64 = rand::rng().random_range(0..u64::MAX / 2);
    let sequences = if harness.shape() == Shape::Plain { SEQUENCES } else { SEQUENCES_OF_A_SHAPE };
    for seed in first..first + sequences {
        sequence(&scene, seed).await;
    }
}

/// One sequence on an empty table.
async fn sequence<H: Harness>(scene: &Scene<'_, H>, seed: u64) {
    scene.execute(&format!("delete from {}; delete from rowlock_stages", scene.table())).await;
    let mut walk = Walk {
        scene,
        random: StdRng::seed_from_u64(seed),
        model: Model::new(scene.pipeline().clone()),
        now: at(0),
        leases: Vec::new(),
        inserted: 0,
        steps: Vec::new(),
    };
    let length = walk.random.random_range(12..=24);
    for _ in 0..length {
        if let Err(difference) = walk.step().await {
            let steps = walk.steps.join("\n");
            panic!("repeat with {SEED}={seed}\n{steps}\nthen the table and the model differ: {difference}");
        }
    }
}

struct Walk<'s, 'h, H: Harness> {
    scene: &'s Scene<'h, H>,
    random: StdRng,
    model: Model,
    now: DateTime<Utc>,
    /// Every lease so far, so that lost ones are tried too.
    leases: Vec<Lease>,
    inserted: i64,
    steps: Vec<String>,
}

impl<H: Harness> Walk<'_, '_, H> {
    async fn step(&mut self) -> Result<(), String> {
        let ahead = *[0, 0, 1, 5, 30, 120, 310, 4000].choose(&mut self.random).expect("not empty");
        self.now += TimeDelta::seconds(ahead);
        if self.inserted < 3 {
            self.insert().await;
        }
        match self.random.random_range(0..100) {
            0..8 => self.insert().await,
            8..34 => self.claim().await?,
            34..60 => self.finish().await?,
            60..66 => self.renew().await?,
            66..76 => self.sweep().await?,
            76..81 => self.set().await?,
            81..85 => self.cancel().await?,
            85..90 => self.requeue().await?,
            90..93 => self.pause().await?,
            93..95 => self.count().await?,
            95..97 => self.edit().await,
            97..99 => self.delete().await,
            _ => self.put_unknown_word().await,
        }
        self.model.compare(self.scene.raw_all().await)
    }

    fn note(&mut self, step: String) {
        self.steps.push(format!("{}: {step}", self.now.format("%H:%M:%S")));
    }

    fn key(&mut self) -> Key {
        Key::from(*ITEMS.choose(&mut self.random).expect("not empty"))
    }

    fn keys(&mut self) -> Vec<Key> {
        let many = self.random.random_range(1..=3);
        ITEMS.sample(&mut self.random, many).map(|key| Key::from(*key)).collect()
    }

    fn stage(&mut self) -> StageId {
        let stages: Vec<StageId> = self.scene.pipeline().stage_ids().collect();
        *stages.choose(&mut self.random).expect("a stage")
    }

    fn limits(&mut self) -> Limits {
        let mut limits = super::scene::limits(self.scene.pipeline());
        if self.random.random_bool(0.1) {
            limits.max_retries -= 1;
        }
        limits
    }

    async fn insert(&mut self) {
        let key = self.key();
        if self.model.items.contains_key(key.as_str()) {
            return;
        }
        // Each item has a different age; a few will be created only later.
        self.inserted += 1;
        let age = if self.random.random_bool(0.1) { -600 } else { 1000 };
        let created_at = self.now - TimeDelta::seconds(age - self.inserted);
        self.note(format!("insert {key}, created at {created_at}"));
        self.scene.insert_created(key.as_str(), created_at).await;
        self.model.insert(key.as_str(), created_at);
    }

    async fn claim(&mut self) -> Result<(), String> {
        let all: Vec<StageId> = self.scene.pipeline().stage_ids().collect();
        let some = if self.random.random_bool(0.8) { all } else { vec![self.stage()] };
        let claiming = ClaimParams {
            stages: some,
            limit: self.random.random_range(0..=4),
            token: FencingToken::from(self.random.random_range(1..=i64::MAX)),
            holder: Holder::named(format!("worker-{}", self.random.random_range(0..3))),
            limits: self.limits(),
            leave_exhausted: self.random.random_bool(0.1),
            alone: self.random.random_bool(0.7),
            except: if self.random.random_bool(0.1) { self.keys() } else { Vec::new() },
            now: Some(self.now),
        };
        let batch = self.scene.store.claim(&claiming).await.map_err(|error| format!("claim: {error}"))?;
        let leases: Vec<Lease> = batch.leases().cloned().collect();
        self.note(format!(
            "claim {} for {:?}, {:?}, alone {}, leave_exhausted {}, except {:?}: {:?}, exhausted {:?}",
            claiming.limit,
            claiming.stages,
            claiming.limits,
            claiming.alone,
            claiming.leave_exhausted,
            claiming.except,
            leases.iter().map(|lease| &lease.key).collect::<Vec<_>>(),
            batch.exhausted
        ));
        if !batch.refused.is_empty() {
            return Err(format!("refused: {:?}", batch.refused));
        }
        self.leases.extend(leases.iter().cloned());
        let taken = Taken {
            claimed: &leases,
            exhausted: &batch.exhausted,
            may_have_more: batch.may_have_more,
            suspect_at_head: batch.suspect_at_head,
        };
        self.model.claim(&claiming, self.now, &taken)
    }

    /// Some leases, at most one for each item: mostly the latest ones, sometimes a forged one.
    fn some_leases(&mut self) -> Vec<Lease> {
        let recent = self.leases.len().min(8);
        let many = self.random.random_range(1..=3);
        let candidates = &self.leases[self.leases.len() - recent..];
        let mut leases: Vec<Lease> = candidates.sample(&mut self.random, many).cloned().collect();
        if self.random.random_bool(0.1) {
            let forged = Lease { key: self.key(), token: FencingToken::from(1), stage: self.stage() };
            leases.push(forged);
        }
        leases.sort_by(|a, b| a.key.cmp(&b.key));
        leases.dedup_by(|a, b| a.key == b.key);
        leases
    }

    fn outcome(&mut self) -> Outcome {
        let error = format!("error {}", self.random.random_range(0..100));
        let secs = self.random.random_range(0..500);
        match self.random.random_range(0..10) {
            0..4 => Outcome::Complete,
            4 | 5 => Outcome::Retry { error, delay: None },
            6 => Outcome::Retry { error, delay: Some(Duration::from_secs(secs)) },
            7 => Outcome::Fail { error },
            8 => Outcome::Release,
            _ if secs % 2 == 0 => Outcome::SnoozeFor(Duration::from_secs(secs)),
            _ => Outcome::SnoozeUntil(self.now + Duration::from_secs(secs)),
        }
    }

    async fn finish(&mut self) -> Result<(), String> {
        let leases = self.some_leases();
        let items: Vec<Finish> = leases.into_iter().map(|lease| Finish { lease, outcome: self.outcome() }).collect();
        let finishing = FinishParams { items, limits: self.limits(), now: Some(self.now) };
        let found = self.scene.store.finish(&finishing).await.map_err(|error| format!("finish: {error}"))?;
        let moves = finishing.items.iter().map(|finish| (&finish.lease, &finish.outcome)).collect::<Vec<_>>();
        self.note(format!("finish {moves:?}: {found:?}"));
        let expected = self.model.finish(&finishing, self.now);
        same(&expected, &found)
    }

    async fn renew(&mut self) -> Result<(), String> {
        let leases = self.some_leases();
        let read = self.scene.store.read_leases(&leases).await.map_err(|error| format!("read: {error}"))?;
        same(&self.model.lease_states(&leases), &read)?;
        let found = self.scene.store.renew(&leases, Some(self.now)).await.map_err(|error| format!("renew: {error}"))?;
        self.note(format!("renew {leases:?}: {found:?}"));
        let expected = self.model.renew(&leases, self.now);
        same(&expected, &found)
    }

    async fn sweep(&mut self) -> Result<(), String> {
        let sweeping = SweepParams {
            limit: self.random.random_range(0..=6),
            stale_after: Duration::from_secs(*[60, 300].choose(&mut self.random).expect("not empty")),
            max_resets: self.scene.pipeline().max_resets(),
            now: Some(self.now),
        };
        let swept = self.scene.store.sweep(&sweeping).await.map_err(|error| format!("sweep: {error}"))?;
        let items: Vec<_> = swept.items.into_iter().map(|item| (item.key, item.to, item.error)).collect();
        self.note(format!("sweep {} older than {:?}: {items:?}", sweeping.limit, sweeping.stale_after));
        self.model.sweep(&sweeping, self.now, &items)
    }

    async fn set(&mut self) -> Result<(), String> {
        let states: Vec<Status> = self.scene.pipeline().statuses().filter(|status| !status.is_in_progress()).collect();
        let setting = SetParams {
            keys: self.keys(),
            to: *states.choose(&mut self.random).expect("not empty"),
            error: self.random.random_bool(0.5).then(|| "by hand".to_owned()),
            now: Some(self.now),
        };
        let found = self.scene.store.set(&setting).await.map_err(|error| format!("set: {error}"))?;
        self.note(format!("set {:?} to {:?}: {found:?}", setting.keys, setting.to));
        let expected = self.model.set(&setting, self.now);
        same(&expected, &found)
    }

    async fn cancel(&mut self) -> Result<(), String> {
        let keys = self.keys();
        let found = self.scene.store.cancel(&keys, Some(self.now)).await.map_err(|error| format!("cancel: {error}"))?;
        self.note(format!("cancel {keys:?}: {found:?}"));
        let expected = self.model.cancel(&keys, self.now);
        same(&expected, &found)
    }

    async fn requeue(&mut self) -> Result<(), String> {
        let stage = self.random.random_bool(0.3).then(|| self.stage());
        let requeueing = RequeueParams { keys: self.keys(), stage, now: Some(self.now) };
        let found = self.scene.store.requeue(&requeueing).await.map_err(|error| format!("requeue: {error}"))?;
        self.note(format!("requeue {:?} at {stage:?}: {found:?}", requeueing.keys));
        let expected = self.model.requeue(&requeueing, self.now);
        same(&expected, &found)
    }

    async fn pause(&mut self) -> Result<(), String> {
        let stage = self.stage();
        let paused = self.random.random_bool(0.4);
        let store = &self.scene.store;
        let found = if paused { store.pause(stage).await } else { store.resume(stage).await };
        self.note(format!("{} {stage:?}", if paused { "pause" } else { "resume" }));
        same(&self.model.pause(stage, paused), &found.map_err(|error| format!("pause: {error}"))?)
    }

    async fn count(&mut self) -> Result<(), String> {
        let counting = CountParams { now: Some(self.now), ..CountParams::default() };
        let counts = self.scene.store.counts(&counting).await.map_err(|error| format!("counts: {error}"))?;
        let found = counts
            .statuses
            .into_iter()
            .filter(|entry| entry.count > 0)
            .map(|entry| (entry.word, entry.count))
            .collect();
        same(&self.model.counts(), &found)
    }

    // What people do without the store

    async fn edit(&mut self) {
        let key = self.key();
        let Some(item) = self.model.items.get_mut(key.as_str()) else { return };
        let count = self.random.random_range(0..5);
        let (role, column) = if self.random.random_bool(0.5) {
            (Role::RetryCount, &mut item.retry_count)
        } else {
            (Role::ResetCount, &mut item.reset_count)
        };
        *column = Some(count);
        self.note(format!("edit {key}: {role:?} = {count}"));
        self.scene.edit(key.as_str(), &[(role, Value::Number(count))]).await;
    }

    async fn delete(&mut self) {
        let key = self.key();
        self.note(format!("delete {key}"));
        self.scene.delete(key.as_str()).await;
        self.model.items.remove(key.as_str());
    }

    async fn put_unknown_word(&mut self) {
        let key = self.key();
        if !self.model.items.contains_key(key.as_str()) {
            return;
        }
        self.note(format!("{key} is put into an unknown state"));
        let word = self.scene.put_into_unknown_state(key.as_str()).await;
        if let Some(item) = self.model.items.get_mut(key.as_str()) {
            item.status = Some(word);
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected {expected:?}, found {found:?}")) }
}
