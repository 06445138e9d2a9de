//! The judgement. Pure: the same evidence leads to the same findings.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::TimeDelta;

use super::evidence::{Affliction, Evidence, ItemRow};
use super::lives::{Holding, Step, StepKind, steps};
use super::standstill::{Progress, standstills};
use super::violation::{Findings, Violation};
use crate::subject::log::Event;
use crate::subject::{MAX_RESETS, MAX_RETRIES, STAGES, pipeline};

/// SQLite's times are text with milliseconds, and each of two times may be rounded.
const ROUNDING: TimeDelta = TimeDelta::milliseconds(2);

/// A stage of an item, under one token.
pub(super) type Token<'a> = (&'a str, usize, i64);

/// Judges the evidence.
///
/// # Panics
/// Never: the pipeline under attack is a valid one.
pub fn audit(evidence: &Evidence) -> Findings {
    // The words and the moves are those of the pipeline; its times do not matter here.
    let times = (Duration::from_secs(300), Duration::from_secs(3600));
    let pipeline = pipeline(times.0, times.1).expect("the pipeline under attack is valid");
    let mut judge = Judge::new(evidence);
    judge.read_logs();
    for (item, moves) in evidence.moves_by_item() {
        let steps = steps(&pipeline, &moves);
        judge.follow(item, &steps);
    }
    judge.compare_effects();
    judge.compare_logs();
    judge.findings.violations.extend(standstills(evidence, std::mem::take(&mut judge.progress)));
    judge.judge_ends();
    judge.compare_answers();
    judge.findings.violations.sort();
    judge.findings
}

pub(super) struct Judge<'a> {
    pub(super) evidence: &'a Evidence,
    findings: Findings,
    /// Tokens of claims, with the holder that drew each, and the items that it was used for: one claim may take many.
    tokens: HashMap<i64, &'a str>,
    tokens_of_items: HashSet<(&'a str, i64)>,
    /// Stages of items under a token, with the holder that claimed.
    pub(super) claims: HashMap<Token<'a>, &'a str>,
    /// Tokens of completions, with the holder that completed.
    pub(super) completions: HashMap<Token<'a>, &'a str>,
    /// Failures that handlers announced.
    pub(super) reported_failures: HashMap<(&'a str, usize), usize>,
    /// Failures that were counted without a timeout.
    pub(super) counted_failures: HashMap<(&'a str, usize), usize>,
    /// Counts in the stage in which each item ended.
    pub(super) last_counts: HashMap<&'a str, LastStage>,
    pub(super) word_of: HashMap<&'a str, &'a ItemRow>,
    /// What was added, and what was completed.
    progress: Vec<Progress<'a>>,
}

/// The history of an item in its last stage.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastStage {
    pub(super) stage: Option<usize>,
    pub(super) retries: i32,
    /// Runs that took as long as a run may take.
    pub(super) timeouts: usize,
    pub(super) excused_resets: i32,
}

impl<'a> Judge<'a> {
    fn new(evidence: &'a Evidence) -> Judge<'a> {
        Judge {
            evidence,
            findings: Findings::default(),
            tokens: HashMap::new(),
            tokens_of_items: HashSet::new(),
            claims: HashMap::new(),
            completions: HashMap::new(),
            reported_failures: HashMap::new(),
            counted_failures: HashMap::new(),
            last_counts: HashMap::new(),
            word_of: evidence.items.iter().map(|row| (row.id.as_str(), row)).collect(),
            progress: Vec::new(),
        }
    }

    pub(super) fn find(&mut self, violation: Violation) {
        self.findings.violations.push(violation);
    }

    fn read_logs(&mut self) {
        for log in &self.evidence.logs {
            for event in &log.events {
                match event {
                    Event::Claimed { limit, claimed } if claimed > limit => {
                        let holder = log.holder.clone();
                        self.find(Violation::ClaimTooLarge { holder, limit: *limit, claimed: *claimed });
                    }
                    Event::Run { .. } => self.findings.runs += 1,
                    Event::Failing { item, stage, .. } => {
                        *self.reported_failures.entry((item, *stage)).or_default() += 1;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Follows one item through its moves.
    fn follow(&mut self, item: &'a str, steps: &[Step<'a>]) {
        if self.evidence.edited.contains(item) {
            self.follow_claims(item, steps);
            return;
        }
        let mut held: Option<Holding> = None;
        let mut word: Option<&str> = None;
        let mut last = LastStage::default();
        for step in steps {
            if step.row.was.as_deref() != word {
                let (expected, found) = (shown(word), shown(step.row.was.as_deref()));
                self.find(Violation::BrokenChain { item: item.to_owned(), expected, found });
            }
            word = step.row.became.as_deref();
            match step.kind {
                StepKind::Insert => {
                    self.progress.push(Progress { at: step.row.at, item, is_completion: false });
                    (held, last) = (None, LastStage::default());
                }
                StepKind::Delete => held = None,
                StepKind::Claim => held = Some(self.claim(item, step, held.take())),
                StepKind::Illegal => self.illegal(item, step, held.as_ref()),
                StepKind::Exhaust => {}
                StepKind::Complete => {
                    self.check_token(item, step, held.take().as_ref());
                    self.complete(item, step);
                    last = LastStage::default();
                }
                StepKind::Retry => {
                    let held = held.take();
                    self.check_token(item, step, held.as_ref());
                    last.timeouts += usize::from(!self.count_failure(item, step, held.as_ref()));
                    last.retries += 1;
                    last.stage = step.stage;
                }
                StepKind::Sweep => {
                    let held = held.take();
                    last.excused_resets += i32::from(self.sweep(item, step, held.as_ref()));
                    self.time_the_take_back(item, step, held.as_ref());
                }
                StepKind::GiveBack => self.check_token(item, step, held.take().as_ref()),
                StepKind::Fail => self.check_token(item, step, held.take().as_ref()),
            }
            self.check_limits(item, step);
        }
        self.last_counts.insert(item, last);
    }

    /// Of an item that people edit, only its claims and completions are recorded.
    fn follow_claims(&mut self, item: &'a str, steps: &[Step<'a>]) {
        for step in steps.iter().filter(|step| !self.evidence.moves_by_hand.contains(&step.row.n)) {
            match step.kind {
                StepKind::Claim => drop(self.claim(item, step, None)),
                StepKind::Complete => self.complete(item, step),
                _ => {}
            }
        }
    }

    fn claim(&mut self, item: &'a str, step: &Step<'a>, held: Option<Holding>) -> Holding {
        let holder = step.row.holder.as_deref().unwrap_or_default();
        if let Some(first) = held {
            let second = holder.to_owned();
            self.find(Violation::HeldTwice { item: item.to_owned(), first: first.holder, second });
        }
        if let (Some(stage), Some(token)) = (step.stage, step.row.token) {
            self.claims.insert((item, stage, token), holder);
            let is_anothers = self.tokens.insert(token, holder).is_some_and(|first| first != holder);
            if !self.tokens_of_items.insert((item, token)) || is_anothers {
                self.find(Violation::TokenReused { item: item.to_owned() });
            }
        }
        Holding { token: step.row.token, holder: holder.to_owned(), at: step.row.at }
    }

    fn complete(&mut self, item: &'a str, step: &Step<'a>) {
        self.findings.completions += 1;
        self.progress.push(Progress { at: step.row.at, item, is_completion: true });
        if let (Some(stage), Some(token)) = (step.stage, step.row.token) {
            self.completions.insert((item, stage, token), step.row.holder.as_deref().unwrap_or_default());
        }
    }

    fn check_token(&mut self, item: &str, step: &Step<'a>, held: Option<&Holding>) {
        if held.is_none_or(|held| held.token != step.row.token || step.row.token.is_none()) {
            let holder = step.row.holder.clone().unwrap_or_default();
            self.find(Violation::WrongToken { item: item.to_owned(), holder });
        }
    }

    /// Whether the sweep had a reason that the suite knows of.
    fn sweep(&mut self, item: &str, step: &Step<'a>, held: Option<&Holding>) -> bool {
        self.findings.sweeps += 1;
        self.check_age(item, step);
        // Harm that ended before the last heartbeat is no reason.
        let since = step.row.heartbeat_at.or(held.map(|held| held.at)).unwrap_or(step.row.at);
        let holder = held.map(|held| held.holder.as_str());
        let excused = self.evidence.afflictions.iter().any(|one| one.touches(holder, since, step.row.at));
        if !excused {
            self.findings.unexplained_sweeps += 1;
            if self.evidence.the_living_keep_their_leases {
                let holder = holder.unwrap_or_default().to_owned();
                self.find(Violation::SweptFromLiving { item: item.to_owned(), holder });
            }
        }
        excused
    }

    /// The ledger has the heartbeat that the row had before the sweep: the last renewal that was committed. Both times
    /// are the database's, and the ledger's is never earlier than the sweep's own: a late worker is no excuse, and
    /// needs none. A heartbeat that is as far in the future is stale as well.
    fn check_age(&mut self, item: &str, step: &Step<'a>) {
        let Some(heartbeat_at) = step.row.heartbeat_at else { return }; // None is stale at any age.
        let age = step.row.at - heartbeat_at;
        let stale_after = TimeDelta::from_std(self.evidence.stale_after).unwrap_or(TimeDelta::MAX);
        if age.abs() + ROUNDING < stale_after {
            let holder = step.row.holder.clone().unwrap_or_default();
            self.find(Violation::SweptTooEarly { item: item.to_owned(), holder, age_ms: age.num_milliseconds() });
        }
    }

    /// A worker ends a run that reaches the timeout, and then no handler announces a failure. Returns whether this run
    /// was shorter.
    fn count_failure(&mut self, item: &'a str, step: &Step<'a>, held: Option<&Holding>) -> bool {
        let held_for = held.and_then(|held| (step.row.at - held.at).to_std().ok());
        let is_shorter =
            held_for.is_none_or(|held_for| held_for + ROUNDING.to_std().unwrap_or_default() < self.evidence.timeout);
        if let (true, Some(stage)) = (is_shorter, step.stage) {
            *self.counted_failures.entry((item, stage)).or_default() += 1;
        }
        is_shorter
    }

    /// How long an item stayed with a holder that had died.
    fn time_the_take_back(&mut self, item: &str, step: &Step<'a>, held: Option<&Holding>) {
        let Some(Holding { holder, .. }) = held else { return };
        let afflictions = &self.evidence.afflictions;
        let of_holder = |one: &&Affliction| one.holder.as_deref() == Some(holder);
        let Some(dead_by) = afflictions.iter().filter(of_holder).find_map(|one| one.dead_by) else { return };
        let Ok(after) = (step.row.at - dead_by).to_std() else { return };
        if afflictions.iter().any(|one| one.holder.is_none() && one.touches(None, dead_by, step.row.at)) {
            return; // No worker could sweep for a while.
        }
        self.findings.taken_back.push(after);
        if self.evidence.taken_back_within.is_some_and(|limit| after > limit) {
            let (item, holder) = (item.to_owned(), holder.clone());
            self.find(Violation::TakenBackLate { item, holder, after_ms: after.as_millis() });
        }
    }

    fn illegal(&mut self, item: &str, step: &Step<'a>, held: Option<&Holding>) {
        let (was, became) = (shown(step.row.was.as_deref()), shown(step.row.became.as_deref()));
        if let (Some(first), true) = (held, became.ends_with("_IN_PROGRESS")) {
            let second = step.row.holder.clone().unwrap_or_default();
            let first = first.holder.clone();
            self.find(Violation::HeldTwice { item: item.to_owned(), first, second });
        } else {
            self.find(Violation::IllegalMove { item: item.to_owned(), was, became });
        }
    }

    fn check_limits(&mut self, item: &str, step: &Step<'a>) {
        let (retries, resets) = (step.row.retries.unwrap_or(0), step.row.resets.unwrap_or(0));
        let failed = step.row.became.as_deref() == Some("FAILED");
        let over = retries > MAX_RETRIES || resets > MAX_RESETS;
        let at_limit_and_alive = (retries >= MAX_RETRIES || resets >= MAX_RESETS) && !failed;
        if over || (at_limit_and_alive && step.row.became.is_some()) {
            self.find(Violation::PastLimit { item: item.to_owned(), retries, resets });
        }
        if self.evidence.nothing_counted && retries + resets > 0 {
            self.find(Violation::CountedAtShutdown { item: item.to_owned(), retries, resets });
        }
    }
}

pub(super) fn stage_name(stage: usize) -> String {
    STAGES.get(stage).map_or_else(|| format!("stage {stage}"), |name| (*name).to_owned())
}

fn shown(word: Option<&str>) -> String {
    word.unwrap_or("(none)").to_owned()
}
