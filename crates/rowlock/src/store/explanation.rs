//! The facts that decide whether an item can be claimed now, and the verdict on them. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::params::Limits;
use super::verdict::{BudgetsLeft, Limit, Verdict};
use crate::Key;
use crate::limits::NEVER_DUE_FROM;
use crate::pipeline::{Pipeline, Role, StageId, Status};

/// The facts that decide whether an item can be claimed now.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The item.
    pub key: Key,
    /// The time of the answer, by the database's clock.
    pub at: DateTime<Utc>,
    /// Its state; `None` for a word that the pipeline does not know.
    pub status: Option<Status>,
    /// The word that the table has; empty for NULL.
    pub word: String,
    /// Failures that handlers reported.
    pub retry_count: i32,
    /// Times that the sweep took the item back.
    pub reset_count: i32,
    /// The time before which it may not be claimed, if there is one.
    pub retry_after: Option<DateTime<Utc>>,
    /// When it was inserted.
    pub created_at: Option<DateTime<Utc>>,
    /// Unreadable times, by role, as the row has them: such an item is not due, or its heartbeat is stale. Only on
    /// SQLite, where a column of times may hold anything.
    pub unreadable: Vec<(Role, String)>,
    /// The last error.
    pub error: Option<String>,
    /// Who claimed it last.
    pub holder: Option<String>,
    /// When it was claimed last.
    pub claimed_at: Option<DateTime<Utc>>,
    /// When its holder last sent a heartbeat.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// The ready state to which a requeue would return it.
    pub resume: Option<Status>,
    /// Whether claims for its stage are stopped.
    pub paused: bool,
    /// Whether the pipeline's condition on what is claimed does not hold for the row.
    pub unwanted: bool,
    /// Whether another transaction has the row locked right now. Always false on SQLite, which locks no rows.
    pub locked: bool,
    /// Whether this process excludes it because the database refuses its row.
    pub excluded: bool,
    /// The pipeline's limits, from which the remaining budgets are computed.
    pub limits: Limits,
    /// The age from which on a heartbeat is stale.
    pub stale_after: Duration,
}

impl Explanation {
    /// The meaning of these facts. Pass the pipeline with which they were read.
    ///
    /// If several things keep the item from being claimed, the verdict is the first one in the order in which a claim
    /// meets them: the pause, the pipeline's condition, the exclusion, the due time, the row's lock, the limits.
    pub fn verdict(&self, pipeline: &Pipeline) -> Verdict {
        let name = |stage: StageId| pipeline.stage(stage).name().to_owned();
        let resume = || name(self.resume.and_then(Status::stage).unwrap_or(StageId::FIRST));
        match self.status {
            None => Verdict::Unknown { word: self.word.clone() },
            Some(Status::Succeeded) => Verdict::Succeeded,
            Some(Status::Cancelled) => Verdict::Cancelled { resume: resume() },
            Some(Status::Failed) => Verdict::Failed { limit: self.limit_reached(), resume: resume() },
            Some(Status::InProgress(stage)) => {
                let (claimed_ahead_by, heartbeat_ahead_by) =
                    (self.ahead(self.claimed_at), self.ahead(self.heartbeat_at));
                Verdict::Held {
                    stage: name(stage),
                    holder: self.holder.clone(),
                    held_for: self.claimed_at.filter(|_| claimed_ahead_by.is_none()).map(|at| self.age(at)),
                    silent_for: self.heartbeat_at.filter(|_| heartbeat_ahead_by.is_none()).map(|at| self.age(at)),
                    claimed_ahead_by,
                    heartbeat_ahead_by,
                    stale: is_stale(self.heartbeat_at, self.at, self.stale_after),
                }
            }
            Some(Status::Ready(stage)) => self.verdict_of_ready(pipeline, name(stage)),
        }
    }

    fn verdict_of_ready(&self, pipeline: &Pipeline, stage: String) -> Verdict {
        let left = |limit: u32, count: i32| limit.saturating_add_signed(count.saturating_neg());
        let left = BudgetsLeft {
            retries: left(self.limits.max_retries, self.retry_count),
            resets: left(self.limits.max_resets, self.reset_count),
        };
        if self.paused {
            return Verdict::Paused { stage };
        }
        if self.unwanted {
            let condition = pipeline.claim_where().unwrap_or_default().to_owned();
            return Verdict::Unwanted { stage, condition };
        }
        if self.excluded {
            return Verdict::Excluded { stage };
        }
        if let Some((role, text)) = self.unreadable_due() {
            let column = pipeline.columns().name(*role).to_owned();
            return Verdict::UnreadableTime { stage, column, text: text.clone() };
        }
        // Without a due time an item is ready from its creation.
        let due = self.retry_after.or(self.created_at).filter(|due| *due > self.at);
        if due.is_some_and(|due| due >= NEVER_DUE_FROM) {
            return Verdict::NeverDue { stage, created_later: self.retry_after.is_none() };
        }
        if let Some(due_in) = due.and_then(|due| (due - self.at).to_std().ok()) {
            return Verdict::Waiting { stage, due_in, created_later: self.retry_after.is_none(), left };
        }
        if self.locked {
            return Verdict::Locked { stage };
        }
        match self.limit_reached() {
            Some(limit) => Verdict::Exhausted { stage, limit },
            None => Verdict::Claimable { stage, left, suspect: self.limits.is_suspect(self.reset_count) },
        }
    }

    /// The time by which the item would be due, if it cannot be read.
    fn unreadable_due(&self) -> Option<&(Role, String)> {
        let of_role = |role: Role| self.unreadable.iter().find(|(unreadable, _)| *unreadable == role);
        of_role(Role::RetryAfter).or_else(|| of_role(Role::CreatedAt).filter(|_| self.retry_after.is_none()))
    }

    /// The limit that the counts have reached.
    fn limit_reached(&self) -> Option<Limit> {
        self.limits.reached(self.retry_count, self.reset_count)
    }

    /// How long ago this was; `None` for a time in the future.
    fn age(&self, at: DateTime<Utc>) -> Duration {
        (self.at - at).to_std().unwrap_or_default()
    }

    /// How far in the future this is. Times that were written while the answer was on its way do not count.
    fn ahead(&self, at: Option<DateTime<Utc>>) -> Option<Duration> {
        (at? - self.at).to_std().ok().filter(|ahead| *ahead >= Duration::from_secs(1))
    }
}

/// Whether a sweep takes back an item with this heartbeat: the same rule as in the statements of the sweep.
pub(super) fn is_stale(heartbeat_at: Option<DateTime<Utc>>, at: DateTime<Utc>, stale_after: Duration) -> bool {
    let stale_after = TimeDelta::from_std(stale_after).unwrap_or(TimeDelta::MAX);
    heartbeat_at.is_none_or(|heartbeat_at| (at - heartbeat_at).abs() > stale_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        Pipeline::builder("p").table("t").key("k").stage("ONE").stage("TWO").build().expect("a valid pipeline")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time")
    }

    fn second() -> StageId {
        pipeline().stage_ids().nth(1).expect("two stages")
    }

    /// An item that was created an hour ago.
    fn facts(status: Status) -> Explanation {
        Explanation {
            key: Key::from("a"),
            at: at(0),
            status: Some(status),
            word: String::new(),
            retry_count: 0,
            reset_count: 0,
            retry_after: None,
            created_at: Some(at(-3_600)),
            unreadable: Vec::new(),
            error: None,
            holder: Some("host-1".to_owned()),
            claimed_at: Some(at(-90)),
            heartbeat_at: Some(at(-30)),
            resume: None,
            paused: false,
            unwanted: false,
            locked: false,
            excluded: false,
            limits: Limits { max_retries: 5, max_resets: 3 },
            stale_after: Duration::from_secs(300),
        }
    }

    fn ready() -> Explanation {
        facts(Status::Ready(second()))
    }

    fn running() -> Explanation {
        facts(Status::InProgress(StageId::FIRST))
    }

    #[test]
    fn every_state_has_its_sentence() {
        let late = Explanation { heartbeat_at: Some(at(-301)), ..running() };
        let silent = Explanation { heartbeat_at: None, claimed_at: None, holder: None, ..running() };
        let failed = facts(Status::Failed);
        let stopped_at_two = Some(Status::Ready(second()));
        let table = [
            (ready(), "ready for TWO: the next worker with a free slot takes it (5 attempts and 3 resets left)"),
            (
                Explanation { reset_count: 2, retry_count: 4, ..ready() },
                "ready for TWO, but one more reset is its last: the next worker that holds nothing else takes it \
                 (1 attempt and 1 reset left)",
            ),
            (
                Explanation { retry_after: Some(at(150)), retry_count: 1, ..ready() },
                "waits for TWO, and is due in 2 min (4 attempts and 3 resets left)",
            ),
            (
                Explanation { created_at: Some(at(86_400)), ..ready() },
                "waits for TWO, and is due in 24 h, at its creation time (5 attempts and 3 resets left)",
            ),
            (
                Explanation {
                    unreadable: vec![(Role::CreatedAt, "28.11.2026".to_owned())],
                    created_at: None,
                    ..ready()
                },
                "waits for TWO, and is never due: \"created_at\" holds \"28.11.2026\", which is no time that can be \
                 read",
            ),
            (Explanation { paused: true, ..ready() }, "ready for TWO, which is paused"),
            (
                Explanation { locked: true, ..ready() },
                "ready for TWO, but another transaction has its row locked just now",
            ),
            (
                Explanation { excluded: true, ..ready() },
                "ready for TWO, but the database refuses to have its row changed",
            ),
            (
                Explanation { retry_count: 5, ..ready() },
                "ready for TWO, but max_retries (5) is reached: the next claim makes it FAILED",
            ),
            (
                Explanation { reset_count: 7, ..ready() },
                "ready for TWO, but max_resets (3) is reached: the next claim makes it FAILED",
            ),
            (running(), "host-1 has had it in ONE for 90 s; last heartbeat 30 s ago"),
            (late, "host-1 has had it in ONE for 90 s; last heartbeat 5 min ago: the next sweep takes it back"),
            (
                Explanation { heartbeat_at: Some(at(300)), ..running() },
                "host-1 has had it in ONE for 90 s; its heartbeat lies 5 min in the future",
            ),
            (
                Explanation { heartbeat_at: Some(at(7_201)), claimed_at: Some(at(7_200)), ..running() },
                "host-1 has had it in ONE since a time that lies 2 h in the future; its heartbeat lies 2 h in the \
                 future: the next sweep takes it back",
            ),
            (
                Explanation { retry_after: Some(NEVER_DUE_FROM), ..ready() },
                "waits for TWO, and is never due: its due time is infinity, or the end of the year 9999",
            ),
            (
                Explanation { created_at: Some(DateTime::<Utc>::MAX_UTC), ..ready() },
                "waits for TWO, and is never due: its creation time is infinity, or the end of the year 9999",
            ),
            (silent, "(unknown) has had it in ONE; there is no heartbeat: the next sweep takes it back"),
            (failed.clone(), "failed for good; a requeue takes it up again at ONE"),
            (
                Explanation { retry_count: 5, resume: stopped_at_two, ..failed.clone() },
                "failed, because max_retries (5) was reached; a requeue takes it up again at TWO",
            ),
            (
                Explanation { reset_count: 3, ..failed },
                "failed, because max_resets (3) was reached; a requeue takes it up again at ONE",
            ),
            (
                Explanation { resume: stopped_at_two, ..facts(Status::Cancelled) },
                "cancelled; a requeue takes it up again at TWO",
            ),
            (facts(Status::Succeeded), "done"),
            (
                Explanation { status: None, word: "DONE?".to_owned(), ..ready() },
                "its status \"DONE?\" is no word of the pipeline: it is left alone",
            ),
        ];
        for (facts, expected) in table {
            assert_eq!(facts.verdict(&pipeline()).to_string(), expected, "{facts:?}");
        }
    }

    #[test]
    fn of_several_reasons_the_one_that_a_claim_meets_first_is_told() {
        let mut facts = Explanation {
            paused: true,
            excluded: true,
            retry_after: Some(at(1)),
            locked: true,
            retry_count: 9,
            ..ready()
        };
        let verdict = |facts: &Explanation| facts.verdict(&pipeline());
        assert!(matches!(verdict(&facts), Verdict::Paused { .. }));
        facts.paused = false;
        assert!(matches!(verdict(&facts), Verdict::Excluded { .. }));
        facts.excluded = false;
        assert!(matches!(verdict(&facts), Verdict::Waiting { created_later: false, .. }));
        facts.retry_after = Some(at(0));
        assert!(matches!(verdict(&facts), Verdict::Locked { .. }), "it is due at its time");
        facts.locked = false;
        assert!(matches!(verdict(&facts), Verdict::Exhausted { limit: Limit::Retries(5), .. }));
        facts.retry_count = 0;
        assert!(matches!(verdict(&facts), Verdict::Claimable { suspect: false, .. }));
    }

    #[test]
    fn a_due_time_outweighs_when_the_item_was_made() {
        let due = Explanation { created_at: Some(at(60)), retry_after: Some(at(-60)), ..ready() };
        assert!(matches!(due.verdict(&pipeline()), Verdict::Claimable { .. }));
    }

    #[test]
    fn with_one_reset_allowed_nobody_is_a_suspect() {
        let facts = Explanation { limits: Limits { max_retries: 5, max_resets: 1 }, ..ready() };
        assert!(matches!(facts.verdict(&pipeline()), Verdict::Claimable { suspect: false, .. }));
    }
}
