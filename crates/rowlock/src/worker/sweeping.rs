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
        match engine.pulse.sweep_in(Instant::now()) {
            None => continue,
            Some(wait) if wait > Duration::ZERO => tokio::time::sleep(wait).await,
            Some(_) => {}
        }
        match sweep(engine, verbs).await {
            Ok(()) => errors.passed("sweep"),
            Err(error) => {
                errors.met("sweep", &error);
                engine.tally.count(|report| report.errors += 1);
            }
        }
    }
}

/// Sweeps until nothing stale is left.
pub(crate) async fn sweep<S: Store, R: Send + 'static>(engine: &Engine<S, R>, verbs: &Dispatch<S>) -> Result<()> {
    let pipeline = engine.pipeline();
    let sweeping = Sweeping {
        limit: batch_limit(),
        stale_after: pipeline.stale_after(),
        max_resets: pipeline.max_resets(),
        now: None,
    };
    loop {
        let swept = verbs.sweep(&sweeping).await?;
        engine.pulse.answered(Instant::now());
        let more = swept.may_have_more && !swept.items.is_empty();
        tell(engine, swept);
        if !more {
            return Ok(());
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
