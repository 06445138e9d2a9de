//! The demand for items: how many to claim, for which stages, and when to poll what was found empty. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::limits::{BATCH_ITEMS_MAX, CLAIM_AHEAD_ITEMS_MAX, CLAIM_LOOK_AHEAD};
use crate::pipeline::StageId;

/// How busy a stage pool is, for the size of claims.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    /// Slots that can work: not leaked, and polled.
    pub(crate) slots: usize,
    /// Slots that wait for an item.
    pub(crate) idle: usize,
    /// Items that one run of the handler takes.
    pub(crate) size: usize,
    /// Items in the queue.
    pub(crate) queued: usize,
    /// How long the run that started last has lasted, if every slot is busy.
    pub(crate) youngest_run: Option<Duration>,
}

/// What the claims say about the queue: which stages are empty, and whether it is full.
#[derive(Debug)]
pub(crate) struct QueueView {
    /// Stages that were found empty, each with the time of its next poll.
    empty: HashMap<StageId, Instant>,
    /// How long what is found empty now is not polled. It doubles as long as the claims find nothing.
    pub(crate) poll_delay: Duration,
    /// The last claim brought a full batch, so the next one may too.
    pub(crate) is_full: bool,
    /// Whether the counts were read since the queue was last polled.
    pub(crate) is_counted: bool,
}

impl QueueView {
    pub(crate) fn new(poll_min: Duration) -> QueueView {
        QueueView { empty: HashMap::new(), poll_delay: poll_min, is_full: false, is_counted: false }
    }

    pub(crate) fn is_empty(&self, stage: StageId) -> bool {
        self.empty.contains_key(&stage)
    }

    /// These stages were found empty, and are to be polled again at this time.
    pub(crate) fn found_empty(&mut self, stages: Vec<StageId>, look_at: Instant) {
        self.empty.extend(stages.into_iter().map(|stage| (stage, look_at)));
    }

    /// Forgets that these stages were found empty: they are asked for, or a claim found some items.
    pub(crate) fn forget(&mut self, stages: &[StageId]) {
        self.empty.retain(|stage, _| !stages.contains(stage));
    }

    /// As [`QueueView::forget`] for all stages.
    pub(crate) fn forget_all(&mut self) {
        self.empty.clear();
    }

    /// Forgets that stages were found empty when it is time to poll them again.
    pub(crate) fn forget_due(&mut self, now: Instant) {
        let known = self.empty.len();
        self.empty.retain(|_, look_at| *look_at > now);
        if self.empty.len() < known {
            self.is_counted = false;
        }
    }

    /// Polls all empty stages at this time at the latest.
    pub(crate) fn look_by(&mut self, due_at: Instant) {
        self.empty.values_mut().for_each(|look_at| *look_at = due_at.min(*look_at));
    }

    /// When empty stages are to be polled again.
    pub(crate) fn next_looks(&self) -> impl Iterator<Item = Instant> {
        self.empty.values().copied()
    }
}

/// The measured time that a stage's handler takes for one item, as an exponential moving average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    /// Slot time for one item; `None` before the first measurement.
    per_item: Option<Duration>,
}

/// The newest measurement's share of the average.
const NEWEST_SHARE: f64 = 0.5;

impl Pace {
    /// Adds a measurement: the time of busy slots, and the number of items that they handled in it.
    pub(crate) fn measure(&mut self, busy: Duration, items: u64) {
        if items == 0 {
            return;
        }
        let newest = busy.div_f64(items as f64);
        self.per_item = Some(match self.per_item {
            None => newest,
            Some(average) => newest.mul_f64(NEWEST_SHARE) + average.mul_f64(1.0 - NEWEST_SHARE),
        });
    }

    /// How many items these slots will handle within the look-ahead: as many are worth holding beyond those that run.
    /// Zero before the first measurement, so that a stage of unknown pace hoards nothing.
    pub(crate) fn ahead(&self, load: &Load) -> usize {
        let Some(average) = self.per_item else { return 0 };
        // Runs that have lasted longer than the average are the newest information about the pace.
        let under_way = load.youngest_run.map_or(Duration::ZERO, |lasted| lasted.div_f64(load.size.max(1) as f64));
        let per_item = average.max(under_way).as_secs_f64().max(1e-9);
        let items = CLAIM_LOOK_AHEAD.as_secs_f64() * load.slots as f64 / per_item;
        // A float beyond the limit saturates.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "limited, and never negative")]
        let items = items.min(CLAIM_AHEAD_ITEMS_MAX as f64) as usize;
        items
    }
}

/// A stage's demand: enough items for its idle slots, and as many ahead as its pace justifies. Zero while more than
/// half of what it should have ahead is still queued, so that claims are few and large.
pub(crate) fn wanted(load: &Load, ahead: usize) -> usize {
    let feeds_idle_slots = load.queued >= load.idle * load.size;
    if feeds_idle_slots && load.queued > low_water(ahead) { 0 } else { space(load, ahead) }
}

/// How many items a stage has space for.
fn space(load: &Load, ahead: usize) -> usize {
    let worth = if load.slots == 0 { 0 } else { load.idle * load.size + ahead };
    worth.saturating_sub(load.queued).min(BATCH_ITEMS_MAX)
}

/// The queue length at which the producer looks again.
pub(crate) fn low_water(ahead: usize) -> usize {
    ahead / 2
}

/// How many items to keep in the queue when they have waited for too long: as many as the pace justifies, with room for
/// its changes. None if a slot is idle nevertheless: it is not polled, and would not take them.
pub(crate) fn keep_queued(load: &Load, ahead: usize) -> usize {
    if load.idle > 0 { 0 } else { 2 * ahead }
}

/// One claim for several stages. Its limit is the demand of the latest stage that has one; each of the other stages in
/// the claim demands at least as much. So no stage can get more than it wants, whatever the mix.
pub(crate) fn plan(wants: &[(StageId, usize)]) -> Option<(Vec<StageId>, usize)> {
    let (_, limit) = wants.iter().copied().filter(|(_, want)| *want > 0).max_by_key(|(stage, _)| *stage)?;
    let stages = wants.iter().filter(|(_, want)| *want >= limit).map(|(stage, _)| *stage).collect();
    Some((stages, limit))
}

/// The stages that a claim for `asked` found empty: all if the claim came back short, else those later than the
/// earliest stage that it took an item of.
pub(crate) fn found_empty(asked: &[StageId], taken: &[StageId], may_have_more: bool) -> Vec<StageId> {
    if !may_have_more {
        return asked.to_vec();
    }
    let earliest = taken.iter().min();
    asked.iter().copied().filter(|stage| earliest.is_some_and(|earliest| stage > earliest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pipeline;

    fn stages() -> Vec<StageId> {
        let pipeline = Pipeline::builder("p").table("t").key("k").stage("A").stage("B").stage("C").build().unwrap();
        pipeline.stage_ids().collect()
    }

    fn load(slots: usize, idle: usize, size: usize, queued: usize) -> Load {
        Load { slots, idle, size, queued, youngest_run: None }
    }

    #[test]
    fn an_unmeasured_stage_asks_for_its_idle_slots_alone() {
        let load = load(4, 4, 1, 0);
        assert_eq!(wanted(&load, Pace::default().ahead(&load)), 4);
    }

    #[test]
    fn a_busy_stage_of_unknown_pace_asks_for_nothing() {
        let load = load(4, 0, 1, 0);
        assert_eq!(wanted(&load, Pace::default().ahead(&load)), 0);
    }

    #[test]
    fn a_fast_stage_asks_for_a_full_batch() {
        let mut pace = Pace::default();
        pace.measure(Duration::from_micros(100), 100);
        let load = load(4, 4, 1, 0);
        assert_eq!(pace.ahead(&load), CLAIM_AHEAD_ITEMS_MAX);
        assert_eq!(wanted(&load, pace.ahead(&load)), BATCH_ITEMS_MAX);
    }

    #[test]
    fn a_slow_stage_holds_nothing_ahead() {
        let mut pace = Pace::default();
        pace.measure(Duration::from_secs(240), 4);
        assert_eq!(pace.ahead(&load(4, 0, 1, 0)), 0);
        assert_eq!(wanted(&load(4, 1, 1, 0), 0), 1);
        assert_eq!(wanted(&load(4, 0, 1, 0), 0), 0);
    }

    #[test]
    fn runs_under_way_that_last_longer_than_the_average_slow_the_pace() {
        let mut pace = Pace::default();
        pace.measure(Duration::from_micros(100), 100);
        let load = Load { youngest_run: Some(Duration::from_secs(30)), ..load(4, 0, 1, 10) };
        assert_eq!(pace.ahead(&load), 0);
    }

    #[test]
    fn nothing_is_asked_for_while_half_of_the_ahead_is_queued() {
        assert_eq!(wanted(&load(4, 0, 1, 600), 1_000), 0);
        assert_eq!(wanted(&load(4, 0, 1, 400), 1_000), 600);
    }

    #[test]
    fn a_stage_has_space_for_its_idle_slots_and_what_it_should_have_ahead() {
        assert_eq!(space(&load(4, 4, 1, 0), 0), 4);
        assert_eq!(space(&load(4, 0, 1, 600), 1_000), 400, "also where it would not ask for them");
        assert_eq!(space(&load(2, 1, 32, 40), 0), 0);
        assert_eq!(space(&load(0, 0, 1, 0), 1_000), 0);
    }

    #[test]
    fn what_is_queued_for_too_long_is_kept_only_as_far_as_the_pace_is_worth_it() {
        assert_eq!(keep_queued(&load(4, 0, 100, 400), 0), 0);
        assert_eq!(keep_queued(&load(4, 0, 1, 400), 50), 100);
        assert_eq!(keep_queued(&load(2, 1, 1, 400), 50), 0, "the idle slot is not polled");
    }

    #[test]
    fn a_batch_handler_asks_for_whole_batches() {
        assert_eq!(wanted(&load(2, 2, 32, 0), 0), 64);
        assert_eq!(wanted(&load(2, 1, 32, 40), 0), 0);
    }

    #[test]
    fn a_pool_without_slots_wants_nothing() {
        assert_eq!(wanted(&load(0, 0, 1, 0), 100), 0);
    }

    #[test]
    fn the_limit_of_a_claim_is_the_smallest_want_of_the_stages_that_it_asks_for() {
        let [a, b, c] = stages()[..] else { panic!("three stages") };
        assert_eq!(plan(&[(a, 4), (b, 1_000), (c, 4)]), Some((vec![a, b, c], 4)));
        assert_eq!(plan(&[(a, 4), (b, 1_000)]), Some((vec![b], 1_000)));
        assert_eq!(plan(&[(a, 4), (b, 0)]), Some((vec![a], 4)));
        assert_eq!(plan(&[(a, 0)]), None);
    }

    #[test]
    fn a_stage_that_was_found_empty_is_polled_again_when_it_is_time_and_counted_again_after_that() {
        let [a, b, _] = stages()[..] else { panic!("three stages") };
        let (mut queue, now) = (QueueView::new(Duration::from_secs(1)), Instant::now());
        queue.is_counted = true;
        queue.found_empty(vec![a, b], now + Duration::from_secs(9));
        queue.forget(&[a]);
        assert!(!queue.is_empty(a) && queue.is_empty(b));
        queue.look_by(now + Duration::from_secs(2));
        queue.forget_due(now + Duration::from_secs(1));
        assert!(queue.is_empty(b) && queue.is_counted);
        queue.forget_due(now + Duration::from_secs(2));
        assert!(!queue.is_empty(b) && !queue.is_counted);
    }

    #[test]
    fn a_short_claim_found_every_stage_empty_and_a_full_one_the_later_stages() {
        let [a, b, c] = stages()[..] else { panic!("three stages") };
        assert_eq!(found_empty(&[a, b, c], &[c], false), [a, b, c]);
        assert_eq!(found_empty(&[a, b, c], &[c, b], true), [c]);
        assert!(found_empty(&[a, b, c], &[], true).is_empty());
    }
}
