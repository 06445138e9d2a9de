//! The sweep: takes back what stopped workers held.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::RngExt;

use super::disruptions::Reading;
use super::hooks::{FailedBy, FailedItem};
use super::refusals::Refused;
use super::report::Errors;
use super::supervisor::Supervisor;
use crate::dispatch::Dispatch;
use crate::limits::BATCH_ITEMS_MAX;
use crate::pipeline::{StageId, Status};
use crate::store::{SweepParams, Swept};
use crate::{Result, Store};

/// The share of the interval for which a turn lasts. The next turn is taken in the rest of the interval and a quarter
/// more.
const TURN: f64 = 0.75;

/// Sweeps at intervals for as long as it is polled; in a fleet, only when it is this worker's turn.
pub(crate) async fn sweep_at_intervals<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
) {
    let interval = supervisor.pipeline().stale_after() / 10;
    let turn = interval.mul_f64(TURN);
    let (mut errors, mut turn_errors) = (Errors::default(), Errors::default());
    let mut pause = turn;
    loop {
        // All workers that wait for the same turn come within half an interval: the one that had the last turn may be
        // gone.
        let share: f64 = rand::rng().random_range(0.0..=0.5);
        tokio::time::sleep(pause + interval.mul_f64(share)).await;
        pause = match sweep_in_turn(supervisor, verbs, turn, &mut turn_errors).await {
            Ok(Done::Swept) => {
                errors.passed("sweep");
                turn
            }
            Ok(Done::Waits(wait)) => wait,
            Err(error) => {
                supervisor.met(&mut errors, "sweep", &error);
                turn
            }
        };
    }
}

/// The result of an attempt to sweep.
enum Done {
    Swept,
    /// It may not sweep yet, or it is another worker's turn.
    Waits(Duration),
}

/// Sweeps if it may, and if it is its turn.
async fn sweep_in_turn<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    turn: Duration,
    turn_errors: &mut Errors,
) -> Result<Done> {
    // A worker that may not sweep takes no turn.
    if let MaySweep::In(wait) = may_sweep(supervisor, verbs).await? {
        return Ok(Done::Waits(wait));
    }
    match verbs.sweep_turn_once(turn).await {
        Ok(wait) => {
            turn_errors.passed("sweep_turn");
            supervisor.disruptions.wrote(Instant::now());
            if !wait.is_zero() {
                return Ok(Done::Waits(wait));
            }
        }
        // If turns cannot be taken, every worker sweeps: the items of a dead worker do not wait until that is repaired.
        // In an outage the sweep fails as well, or may not be sent.
        Err(error) => supervisor.met(turn_errors, "sweep_turn", &error),
    }
    match sweep(supervisor, verbs).await? {
        Duration::ZERO => Ok(Done::Swept),
        wait => Ok(Done::Waits(wait)),
    }
}

/// Sweeps until nothing stale is left, or until it may not: then it returns how long it has to wait. After an error the
/// caller has to come again, because an outage changes whether it may sweep.
pub(crate) async fn sweep<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
) -> Result<Duration> {
    let pipeline = supervisor.pipeline();
    loop {
        let at = match may_sweep(supervisor, verbs).await? {
            MaySweep::At(at) => at,
            MaySweep::In(wait) => return Ok(wait),
            MaySweep::AfterAWrite => return Ok(pipeline.stale_after() / 10),
        };
        // With the time that was compared, not the time of the statement: in between the machine may be suspended, or
        // this process stopped.
        let sweeping = SweepParams {
            limit: BATCH_ITEMS_MAX,
            stale_after: pipeline.stale_after(),
            max_resets: pipeline.max_resets(),
            now: Some(at),
        };
        let answer = verbs.sweep_once(&sweeping).await;
        note_refusals(supervisor, verbs, &answer);
        let swept = answer?;
        supervisor.disruptions.wrote(Instant::now());
        let more = swept.may_have_more && !swept.items.is_empty();
        tell(supervisor, swept);
        if !more {
            return Ok(Duration::ZERO);
        }
    }
}

/// As [`sweep`], for a worker that starts: if the database refuses to have a stage's items taken back, the other stages
/// do not wait for that.
pub(crate) async fn sweep_first<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
) -> Result<Duration> {
    match sweep(supervisor, verbs).await {
        Err(error) if supervisor.refusals.is_any() => {
            tracing::error!(%error, "the first sweep is refused");
            Ok(Duration::ZERO)
        }
        answer => answer,
    }
}

/// Whether this worker may sweep.
enum MaySweep {
    /// It may take back what is stale at this time by the database's clock.
    At(DateTime<Utc>),
    /// It has to wait.
    In(Duration),
    /// The database is read-only at the moment, or may have been until now: a write that is not a sweep has to come
    /// first.
    AfterAWrite,
}

/// Asks the database for its time, because only that shows a suspend or a step of the clock. The first call that gets
/// through ends an outage; a sweep after it waits until living workers have renewed their leases.
async fn may_sweep<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
) -> Result<MaySweep> {
    let asked_at = Instant::now();
    supervisor.runs(asked_at);
    if let Some(wait) = supervisor.disruptions.sweep_in(asked_at).filter(|wait| !wait.is_zero()) {
        return Ok(MaySweep::In(wait));
    }
    let time = verbs.now_once().await?;
    let answered_at = Instant::now();
    supervisor.runs(answered_at);
    supervisor.disruptions.told_time(Reading { time, asked_at, answered_at });
    Ok(match supervisor.disruptions.sweep_in(answered_at) {
        Some(Duration::ZERO) => MaySweep::At(time),
        Some(wait) => MaySweep::In(wait),
        None => MaySweep::AfterAWrite,
    })
}

/// Notes for which stages items cannot be taken back, and for which they can again. Only the next sweep waits for that.
fn note_refusals<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    verbs: &Dispatch<S>,
    answer: &Result<Swept>,
) {
    let all: Vec<StageId> = supervisor.pools.iter().map(|pool| pool.stage).collect();
    let refused = match answer {
        Err(error) if error.is_transient() => return,
        _ => supervisor.note_refused(verbs.store(), Refused::Sweeps, &all),
    };
    if answer.is_ok() {
        all.into_iter()
            .filter(|stage| !refused.contains(stage))
            .for_each(|stage| supervisor.note_passed(Refused::Sweeps, stage));
    }
}

fn tell<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, swept: Swept) {
    let mut failed_items = 0;
    for item in &swept.items {
        let word = supervisor.pipeline().word(item.to);
        let holder = item.holder.as_deref().unwrap_or("(unknown)");
        tracing::info!(key = %item.key, holder, to = word, reason = item.error, "taken back");
        if item.to == Status::Failed {
            failed_items += 1;
            let (key, error) = (item.key.clone(), item.error.clone());
            supervisor.failed.tell(|| FailedItem { key, stage: None, cause: FailedBy::Sweep, error });
        }
    }
    for (key, reason) in &swept.refused {
        tracing::error!(%key, reason, "the database refuses to have the item taken back");
    }
    supervisor.tally.count(|report| {
        report.swept += swept.items.len() as u64;
        report.sweep_failed += failed_items;
        report.refused += swept.refused.len() as u64;
    });
    supervisor.nudge(swept.items.iter().filter_map(|item| item.to.stage()));
}
