//! Taking back what stopped workers held.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::engine::Engine;
use super::errors::Errors;
use super::hooks::{FailedBy, FailedItem};
use crate::dispatch::Dispatch;
use crate::pipeline::Status;
use crate::repository::batch_limit;
use crate::store::{Sweeping, Swept};
use crate::{Result, Store};

/// Sweeps at intervals for as long as it is polled.
pub(crate) async fn sweep_at_intervals<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) {
    let interval = engine.pipeline().stale_after() / 10;
    let mut errors = Errors::default();
    loop {
        let pause = interval.mul_f64(rand::rng().random_range(0.75..=1.25));
        tokio::time::sleep(pause).await;
        match sweep(engine, verbs).await {
            Ok(Duration::ZERO) => errors.passed("sweep"),
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(error) => engine.met(&mut errors, "sweep", &error),
        }
    }
}

/// Sweeps until nothing stale is left, or until it may not: then it says how long it has to wait. After an error it is
/// for the caller to come again, because an outage changes whether it may sweep.
pub(crate) async fn sweep<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) -> Result<Duration> {
    let pipeline = engine.pipeline();
    let sweeping = Sweeping {
        limit: batch_limit(),
        stale_after: pipeline.stale_after(),
        max_resets: pipeline.max_resets(),
        now: None,
    };
    loop {
        if engine.pulse.sweep_in(Instant::now()).is_none() {
            // The first call that gets through ends an outage; the sweep after it waits for the living.
            verbs.now_once().await?;
            engine.pulse.answered(Instant::now());
        }
        if let Some(wait) = engine.pulse.sweep_in(Instant::now()).filter(|wait| !wait.is_zero()) {
            return Ok(wait);
        }
        let swept = verbs.sweep_once(&sweeping).await?;
        engine.pulse.answered(Instant::now());
        let more = swept.may_have_more && !swept.items.is_empty();
        tell(engine, swept);
        if !more {
            return Ok(Duration::ZERO);
        }
    }
}

fn tell<S: Store, R: Send + 'static>(engine: &Engine<S, R>, swept: Swept) {
    let mut failed_items = 0;
    for item in &swept.items {
        let word = engine.pipeline().word(item.to);
        let holder = item.holder.as_deref().unwrap_or("(unknown)");
        tracing::info!(key = %item.key, holder, to = word, reason = item.error, "taken back");
        if item.to == Status::Failed {
            failed_items += 1;
            let (key, error) = (item.key.clone(), item.error.clone());
            engine.failed.tell(|| FailedItem { key, stage: None, cause: FailedBy::Sweep, error });
        }
    }
    for (key, reason) in &swept.refused {
        tracing::error!(%key, reason, "the database refuses to have the item taken back");
    }
    engine.tally.count(|report| {
        report.swept += swept.items.len() as u64;
        report.sweep_failed += failed_items;
        report.refused += swept.refused.len() as u64;
    });
    engine.nudge(swept.items.iter().filter_map(|item| item.to.stage()));
}
