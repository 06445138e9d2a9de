//! Heartbeats: one statement renews all leases that this worker holds, over separate connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::completion::{Completion, Disposition, LossReason};
use super::leases::Held;
use super::refusals::Refused;
use super::report::Errors;
use super::supervisor::Supervisor;
use crate::dispatch::Dispatch;
use crate::limits::{BATCH_ITEMS_MAX, LEASE_CHECK_INTERVAL};
use crate::store::{LeaseState, Outcome};
use crate::{Lease, Result, Store};

/// The producer has to miss its ticks in this many checks in a row before the log says so.
const SILENT_LOOKS: u32 = 10;

/// Renews leases for as long as it is polled.
pub(crate) async fn beat<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, beats: &Dispatch<S>) {
    let interval = supervisor.pipeline().heartbeat_interval();
    let pause = (interval / 50).clamp(Duration::from_millis(5), Duration::from_secs(1));
    let (mut renew_errors, mut read_errors) = (Errors::default(), Errors::default());
    let mut read_at = Instant::now();
    let mut silent_looks = 0_u32;
    loop {
        tokio::time::sleep(pause).await;
        let now = Instant::now();
        supervisor.runs(now);
        supervisor.drop_over_aged(now);
        if now.saturating_duration_since(supervisor.ticked_at()) > supervisor.pipeline().stale_after() {
            // A process that was stopped and has resumed gets here for a moment, before its producer ticks again.
            silent_looks = silent_looks.saturating_add(1);
            if silent_looks == SILENT_LOOKS {
                tracing::error!("the producer does not tick any more: no lease is renewed");
            }
            continue;
        }
        silent_looks = 0;
        let due = due(supervisor, now, interval, pause);
        for chunk in due.chunks(BATCH_ITEMS_MAX) {
            let sent_at = Instant::now();
            let leases = leases(chunk);
            match beats.renew(&leases).await {
                Ok(states) => {
                    renew_errors.passed("renew");
                    supervisor.disruptions.wrote(Instant::now());
                    learn(supervisor, beats, chunk, &states, Some(sent_at)).await;
                }
                Err(error) => {
                    supervisor.met(&mut renew_errors, "renew", &error);
                    if !error.is_transient() {
                        give_unrenewed_back(supervisor, beats, chunk);
                    }
                }
            }
        }
        if now.saturating_duration_since(read_at) >= LEASE_CHECK_INTERVAL {
            read_at = now;
            match check(supervisor, beats).await {
                Ok(()) => read_errors.passed("read leases"),
                Err(error) => supervisor.met(&mut read_errors, "read leases", &error),
            }
        }
    }
}

/// The leases to renew: once the first is due, all that are not quite new, so that they stay together. After a step of
/// the database's clock, all leases that were renewed before it are due: their age looks different to others than to
/// this process. The same holds after a standstill of this process.
fn due<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    now: Instant,
    interval: Duration,
    pause: Duration,
) -> Vec<Arc<Held>> {
    let (stale_after, respite) = (supervisor.pipeline().stale_after(), supervisor.disruptions.respite());
    let mut all = supervisor.shared.leases.all();
    all.retain(|held| held.is_renewable(now, stale_after, respite));
    let age = |held: &Held| now.saturating_duration_since(held.renewed_at());
    // Two checks early: the next check may be late, and the statement takes time.
    let early = (interval / 25).max(2 * pause);
    let parted_at = supervisor.disruptions.parted_at();
    // Where the heartbeats of a stage are refused, the item that is tried is renewed at once, to show whether they
    // pass.
    let is_tried = |held: &Held| supervisor.refusals.has(held.lease.stage, Refused::Heartbeats);
    let looks_old = |held: &Held| parted_at.is_some_and(|parted_at| held.renewed_at() < parted_at) || is_tried(held);
    if !all.iter().any(|held| looks_old(held) || age(held) + early >= interval) {
        return Vec::new();
    }
    all.retain(|held| looks_old(held) || age(held) >= interval / 2);
    all
}

fn leases(held: &[Arc<Held>]) -> Vec<Lease> {
    held.iter().map(|held| held.lease.clone()).collect()
}

/// Reads whether the leases of queued and running items are still held.
async fn check<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, beats: &Dispatch<S>) -> Result<()> {
    let mut all = supervisor.shared.leases.all();
    all.retain(|held| held.can_be_lost());
    for chunk in all.chunks(BATCH_ITEMS_MAX) {
        let states = beats.read_leases(&leases(chunk)).await?;
        supervisor.disruptions.answered(Instant::now());
        learn(supervisor, beats, chunk, &states, None).await;
    }
    Ok(())
}

/// Acts on what the database says about leases.
async fn learn<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    beats: &Dispatch<S>,
    held: &[Arc<Held>],
    states: &[LeaseState],
    sent_at: Option<Instant>,
) {
    for (held, state) in held.iter().zip(states) {
        let reason = match (state, sent_at) {
            // Otherwise it would be swept in time, and run again for nothing.
            (LeaseState::Refused { reason }, _) => {
                let is_everybodys = is_refused(supervisor, beats, held);
                if held.can_be_lost() && held.lose() {
                    let error = format!("the database refuses heartbeats of this row: {reason}");
                    let outcome = if is_everybodys { Outcome::Release } else { Outcome::Fail { error } };
                    supervisor
                        .shared
                        .completions
                        .push(Completion { held: Arc::clone(held), disposition: Disposition::Write(outcome) });
                }
                continue;
            }
            (LeaseState::Held | LeaseState::Busy, Some(sent_at)) => {
                held.renewed(sent_at);
                if *state == LeaseState::Held {
                    supervisor.note_passed(Refused::Heartbeats, held.lease.stage);
                }
                continue;
            }
            // It stays due, and is among the first of the next renewal.
            (LeaseState::NotRenewed, _) | (LeaseState::Held | LeaseState::Busy, None) => continue,
            (LeaseState::Cancelled, _) => LossReason::Cancelled,
            (LeaseState::Lost, _) => LossReason::Ended,
        };
        if !held.can_be_lost() || (held.is_running() && was_finished_by_its_holder(beats, &held.lease).await) {
            continue;
        }
        if held.lose() {
            supervisor
                .shared
                .completions
                .push(Completion { held: Arc::clone(held), disposition: Disposition::Lost(reason) });
        }
    }
}

/// Whether the database refuses the heartbeats of the whole stage.
fn is_refused<S: Store, R: Send + 'static>(supervisor: &Supervisor<S, R>, beats: &Dispatch<S>, held: &Held) -> bool {
    let stage = held.lease.stage;
    supervisor.note_refused(beats.store(), Refused::Heartbeats, &[stage]);
    supervisor.refusals.has(stage, Refused::Heartbeats)
}

/// Releases, uncounted, items that were not renewed for half of a lease's life because the database refuses the
/// heartbeats of their whole stage: in time they would be swept, which counts. Until then they may end by themselves.
fn give_unrenewed_back<S: Store, R: Send + 'static>(
    supervisor: &Supervisor<S, R>,
    beats: &Dispatch<S>,
    chunk: &[Arc<Held>],
) {
    let (now, half) = (Instant::now(), supervisor.pipeline().stale_after() / 2);
    for held in chunk {
        if is_refused(supervisor, beats, held)
            && now.saturating_duration_since(held.renewed_at()) >= half
            && held.can_be_lost()
            && held.lose()
        {
            supervisor
                .shared
                .completions
                .push(Completion { held: Arc::clone(held), disposition: Disposition::Write(Outcome::Release) });
        }
    }
}

/// Whether the holder itself ended the lease, by a finish that did not go through the handler's context: every other
/// writer that ends a lease clears its token.
async fn was_finished_by_its_holder<S: Store>(beats: &Dispatch<S>, lease: &Lease) -> bool {
    match beats.get(&lease.key).await {
        Ok(Some(row)) => row.token == Some(lease.token.as_i64()),
        Ok(None) | Err(_) => false,
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::worker::supervisor::tests::supervisor_over;

    #[tokio::test]
    async fn nothing_is_renewed_once_the_producer_does_not_tick_any_more() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let supervisor = supervisor_over(folder.path()).await;
        let repository = Arc::clone(&supervisor.shared.repository);
        repository.add_many(["a"]).await.expect("added");
        let claims = repository.claim(1).await.expect("claimed");
        let held = supervisor.shared.leases.hold(claims.items[0].lease().clone(), Instant::now());

        let started = Instant::now();
        tokio::select! {
            () = beat(&supervisor, repository.dispatch()) => {}
            () = supervisor.shared.completions.some() => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it is renewed for ever"),
        }

        let renewed_for = held.renewed_at() - started;
        let stale_after = Duration::from_secs(3);
        assert!(renewed_for > stale_after / 2, "it was renewed at first: {renewed_for:?}");
        assert!(renewed_for < stale_after + Duration::from_secs(1), "{renewed_for:?}");
        let ended = supervisor.shared.completions.take(1);
        assert_eq!(ended[0].disposition, Disposition::Lost(LossReason::NotRenewed));
    }
}
