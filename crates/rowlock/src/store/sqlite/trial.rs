//! A batch that failed as a whole, tried in parts: whose fault it was.
//!
//! The parts are those of the [`Ladder`], under savepoints of one transaction. If that cannot work (a trigger that
//! raises `ROLLBACK`, a constraint that is checked at the commit), each part has a separate transaction.

use super::errors;
use super::items::{BatchItem, json};
use super::leases::Found;
use super::refusal::{Batch, SILENTLY_REFUSED, WhenRefused, Written};
use super::session::{Session, Verb};
use super::store::SqliteStore;
use crate::pipeline::{StageId, Status};
use crate::store::brake::{Refused, skeleton};
use crate::store::ladder::{AtFault, Ladder};
use crate::{Error, Result};

/// A batch that failed as a whole, tried in parts.
struct Trial {
    ladder: Ladder<String>,
    /// The positions of the items that the ladder numbers.
    matching: Vec<usize>,
    written: Vec<Written>,
    /// Why the last part failed.
    why: Option<NotWritten>,
    /// Others passed before: what fails is its own fault.
    beside_others: bool,
}

/// Why a part was not written.
enum NotWritten {
    Refused(Error),
    /// A trigger suppressed an update.
    Ignored,
}

impl NotWritten {
    fn reason(&self) -> String {
        match self {
            NotWritten::Refused(error) => errors::reason(error),
            NotWritten::Ignored => SILENTLY_REFUSED.to_owned(),
        }
    }
}

/// A part of a batch.
struct Part {
    /// Its items, by the ladder's numbers.
    rungs: Vec<usize>,
    /// Their positions in the batch.
    indexes: Vec<usize>,
}

/// What was tried, in the brake's words; `None` if no item becomes `FAILED` for it.
fn tried(item: &BatchItem) -> Option<&'static str> {
    match item.step {
        Some("take" | "exhaust") => Some("claim"),
        step => step,
    }
}

/// The verb that picked it from the table; `None` if its holder named it.
fn picking_verb(item: &BatchItem) -> Option<&'static str> {
    tried(item).filter(|verb| ["claim", "sweep"].contains(verb))
}

/// The result of trying in parts.
enum TrialOutcome {
    Settled {
        written: Vec<Written>,
        refused: Vec<(usize, String)>,
    },
    /// Each item failed, and there are too few for a verdict.
    Undecided {
        written: Vec<Written>,
        refused: Vec<(usize, String)>,
    },
    /// These were tried alone.
    Everybody {
        why: NotWritten,
        tried: Vec<usize>,
    },
}

/// A batch that was tried, with the verdict.
struct Judged {
    written: Vec<Written>,
    refused: Vec<(usize, String)>,
    none_passed: bool,
    beside_others: bool,
    /// The stages of the items that passed.
    passed: Vec<StageId>,
}

impl Trial {
    fn new(items: usize, matching: Vec<usize>, beside_others: bool) -> Trial {
        let mut ladder = Ladder::new(matching.len());
        if beside_others {
            ladder.passed(&[]);
        }
        Trial { ladder, matching, written: vec![Written::Missing; items], why: None, beside_others }
    }

    fn next(&mut self) -> Option<Part> {
        let rungs = self.ladder.next()?;
        let indexes = rungs.iter().map(|rung| self.matching[*rung]).collect();
        Some(Part { rungs, indexes })
    }

    fn passed(&mut self, part: &Part, written: Vec<Written>) {
        self.ladder.passed(&part.rungs);
        for (index, outcome) in part.indexes.iter().zip(written) {
            self.written[*index] = outcome;
        }
    }

    fn failed(&mut self, part: Part, why: NotWritten) {
        self.ladder.failed(part.rungs, why.reason());
        self.why = Some(why);
    }

    fn end(self) -> TrialOutcome {
        let Trial { ladder, matching, written, why, .. } = self;
        let tried = ladder.failed_alone().map(|rung| matching[rung]).collect();
        let places =
            |failed: Vec<(usize, String)>| failed.into_iter().map(|(rung, reason)| (matching[rung], reason)).collect();
        match (ladder.at_fault(), why) {
            (AtFault::Items(failed), _) => TrialOutcome::Settled { written, refused: places(failed) },
            (AtFault::AllTried(failed), _) => TrialOutcome::Undecided { written, refused: places(failed) },
            (AtFault::Everybody, Some(why)) => TrialOutcome::Everybody { why, tried },
            (AtFault::Everybody, None) => TrialOutcome::Settled { written, refused: Vec::new() },
        }
    }
}

impl SqliteStore {
    /// Writes what can be written, and makes items at fault `FAILED` or leaves them out. If no item is at fault, it
    /// returns the error, and nothing is changed. If others passed before, what fails is its own fault.
    pub(super) async fn settle(&self, verb: &Verb, batch: &Batch<'_>, beside_others: bool) -> Result<Vec<Written>> {
        let mut session = self.write(verb).await?;
        match self.settle_at_once(&mut session, batch, beside_others).await {
            Ok(written) => match session.commit().await {
                Ok(()) => return Ok(self.excluding(batch, written)),
                Err(error) if errors::may_be_a_rows(&error) => {}
                Err(error) => return Err(error),
            },
            Err(error) if errors::is_transaction_gone(&error) => session.roll_back().await?,
            Err(error) if errors::may_be_a_rows(&error) => {
                session.roll_back().await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let written = self.settle_apart(verb, batch, beside_others).await?;
        Ok(self.excluding(batch, written))
    }

    /// In one transaction, each part under a savepoint.
    async fn settle_at_once(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        beside_others: bool,
    ) -> Result<Vec<Written>> {
        let mut trial = Trial::new(batch.items.len(), self.matching(session, batch).await?, beside_others);
        while let Some(part) = trial.next() {
            session.run("SAVEPOINT part").await?;
            match self.write_part(session, batch, &part.indexes).await? {
                Ok(written) => {
                    session.run("RELEASE part").await?;
                    trial.passed(&part, written);
                }
                Err(why) => {
                    session.run("ROLLBACK TO part").await?;
                    session.run("RELEASE part").await?;
                    trial.failed(part, why);
                }
            }
        }
        let probe = self.probe(session, batch);
        let mut judged = self.settle_trial(batch, trial, probe).await?;
        self.record_failures(session, batch, &judged.written).await?;
        for (index, reason) in std::mem::take(&mut judged.refused) {
            let item = &batch.items[index];
            judged.written[index] = if self.may_fail(batch, item, &reason) {
                let failed = self.fail_refused(session, batch, item, &reason).await?;
                Written::Refused { reason, failed }
            } else {
                self.not_failed(batch, index, reason, &judged)
            };
        }
        self.note_passed(batch, &judged.written);
        Ok(judged.written)
    }

    /// Each part in a separate transaction, and each refused item becomes `FAILED` in another.
    async fn settle_apart(&self, verb: &Verb, batch: &Batch<'_>, beside_others: bool) -> Result<Vec<Written>> {
        let mut session = self.write(verb).await?;
        let mut trial = Trial::new(batch.items.len(), self.matching(&mut session, batch).await?, beside_others);
        session.roll_back().await?;
        while let Some(part) = trial.next() {
            match self.write_part_apart(verb, batch, &part.indexes).await? {
                Ok(written) => trial.passed(&part, written),
                Err(why) => trial.failed(part, why),
            }
        }
        let mut judged = self.settle_trial(batch, trial, self.probe_apart(verb, batch)).await?;
        for (index, reason) in std::mem::take(&mut judged.refused) {
            let item = &batch.items[index];
            judged.written[index] = if self.may_fail(batch, item, &reason) {
                let failed = self.fail_alone(verb, batch, item, &reason).await?;
                Written::Refused { reason, failed }
            } else {
                self.not_failed(batch, index, reason, &judged)
            };
        }
        self.note_passed(batch, &judged.written);
        Ok(judged.written)
    }

    /// Whose fault it was: that of the items named as refused, or the error is everybody's. `probe` tries the batch's
    /// statement with no item, for a batch of which each item failed.
    async fn settle_trial(
        &self,
        batch: &Batch<'_>,
        trial: Trial,
        probe: impl Future<Output = Result<()>>,
    ) -> Result<Judged> {
        let beside_others = trial.beside_others;
        let (written, refused, none_passed) = match trial.end() {
            TrialOutcome::Settled { written, refused } => (written, refused, false),
            TrialOutcome::Undecided { written, refused } => {
                if let Err(error) = probe.await {
                    return Err(self.everybodys(batch, refused.iter().map(|(index, _)| *index), error));
                }
                self.check_brake(batch, &refused)?;
                (written, refused, true)
            }
            TrialOutcome::Everybody { why, tried } => {
                self.pass_over(batch, tried.iter().copied());
                return Err(self.everybodys(batch, tried.into_iter(), self.error_of(why)));
            }
        };
        self.note_passed(batch, &written);
        let passed = self.stages_passed(batch, &written);
        Ok(Judged { written, refused, none_passed, beside_others, passed })
    }

    /// The positions of the items whose rows are as a move requires them. An item that matches no row would pass
    /// anyway, and say nothing about the others.
    async fn matching(&self, session: &mut Session, batch: &Batch<'_>) -> Result<Vec<usize>> {
        let found = self.read_words(session, &batch.items.iter().collect::<Vec<_>>()).await?;
        let matches = |(index, (item, found)): (usize, (&BatchItem, Option<Found>))| {
            found.is_some_and(|found| found.matches(item)).then_some(index)
        };
        Ok(batch.items.iter().zip(found).enumerate().filter_map(matches).collect())
    }

    /// Writes some of the batch's items; or returns why not, which may be a row's fault. A suppressed update counts as
    /// an error of its row.
    async fn write_part(
        &self,
        session: &mut Session,
        batch: &Batch<'_>,
        indexes: &[usize],
    ) -> Result<Result<Vec<Written>, NotWritten>> {
        let items: Vec<BatchItem> = indexes.iter().map(|index| batch.items[*index].clone()).collect();
        let part = Batch { items, now: batch.now.clone(), binds: batch.binds.clone(), ..*batch };
        let mut written = match self.apply(session, &part, &(0..part.items.len()).collect::<Vec<_>>()).await {
            Ok(written) => written,
            Err(error) if errors::may_be_a_rows(&error) => return Ok(Err(NotWritten::Refused(error))),
            Err(error) => return Err(error),
        };
        self.mark_ignored(session, &part, &mut written).await?;
        if written.iter().any(|outcome| matches!(outcome, Written::Ignored)) {
            return Ok(Err(NotWritten::Ignored));
        }
        self.mark_rewritten(session, &part, &mut written).await?;
        Ok(Ok(written))
    }

    async fn write_part_apart(
        &self,
        verb: &Verb,
        batch: &Batch<'_>,
        indexes: &[usize],
    ) -> Result<Result<Vec<Written>, NotWritten>> {
        let mut session = self.write(verb).await?;
        let written = match self.write_part(&mut session, batch, indexes).await? {
            Ok(written) => written,
            Err(why) => {
                session.roll_back().await?;
                return Ok(Err(why));
            }
        };
        let items = indexes.iter().map(|index| batch.items[*index].clone()).collect();
        let part = Batch { items, now: batch.now.clone(), binds: batch.binds.clone(), ..*batch };
        if let Err(error) = self.record_failures(&mut session, &part, &written).await {
            // The log rolled the move back, and is left out from now on.
            session.roll_back().await?;
            return if errors::is_transaction_gone(&error) {
                Box::pin(self.write_part_apart(verb, batch, indexes)).await
            } else {
                Err(error)
            };
        }
        match session.commit().await {
            Ok(()) => Ok(Ok(written)),
            Err(error) if errors::may_be_a_rows(&error) => Ok(Err(NotWritten::Refused(error))),
            Err(error) => Err(error),
        }
    }

    /// Notes which items passed.
    pub(super) fn note_passed(&self, batch: &Batch<'_>, written: &[Written]) {
        let is_applied = |(_, outcome): &(&BatchItem, &Written)| matches!(outcome, Written::Applied { .. });
        let passed = || batch.items.iter().zip(written).filter(is_applied).map(|(item, _)| item);
        if self.brake.is_counting() {
            passed().filter_map(|item| Some((tried(item)?, self.stage_of(item)))).for_each(|(verb, stage)| {
                self.brake.passed(verb, stage);
            });
        }
        if self.passed_over.has_any() {
            for verb in ["claim", "sweep"] {
                let of_verb = passed().filter(|item| tried(item) == Some(verb));
                self.passed_over.let_back(verb, of_verb.filter_map(|item| self.stage_of(item)));
            }
        }
    }

    /// Whether a refused item may become `FAILED`: not if many in a row do, for the same cause.
    pub(super) fn may_fail(&self, batch: &Batch<'_>, item: &BatchItem, reason: &str) -> bool {
        batch.when_refused == WhenRefused::Leave
            || self.with_refused(item, reason, |refused| self.brake.refused(refused)).unwrap_or(true)
    }

    /// Notes that an item was refused, where no item becomes `FAILED`.
    pub(super) fn note_refused(&self, item: &BatchItem, reason: &str) {
        self.with_refused(item, reason, |refused| self.brake.refused(refused));
    }

    /// Passes over items of a claim or a sweep that were tried while nothing passed.
    fn pass_over(&self, batch: &Batch<'_>, places: impl IntoIterator<Item = usize>) {
        for item in places.into_iter().map(|place| &batch.items[place]) {
            if let Some(verb) = picking_verb(item) {
                self.passed_over.add(verb, self.stage_of(item), &item.key.to_key());
            }
        }
    }

    pub(super) fn is_passed_over(&self, item: &BatchItem) -> bool {
        picking_verb(item).is_some_and(|verb| self.passed_over.contains(verb, self.stage_of(item), &item.key.to_key()))
    }

    /// The error of a batch of which nothing passed, if nothing of its kind passed before for the same cause.
    fn check_brake(&self, batch: &Batch<'_>, refused: &[(usize, String)]) -> Result<()> {
        let held = |(index, reason): &(usize, String)| {
            self.with_refused(&batch.items[*index], reason, |refused| self.brake.holds(refused)).flatten()
        };
        let held: Option<Vec<Error>> = refused.iter().map(held).collect();
        let Some(error) = held.and_then(|mut held| held.pop()) else { return Ok(()) };
        self.pass_over(batch, refused.iter().map(|(index, _)| *index));
        Err(error)
    }

    /// An item in the brake's words; `None` if no item becomes `FAILED` for it.
    fn with_refused<T>(&self, item: &BatchItem, reason: &str, then: impl FnOnce(Refused<'_>) -> T) -> Option<T> {
        let key = item.key.to_key();
        let (verb, stage, cause) = (tried(item)?, self.stage_of(item), skeleton(reason, &key));
        Some(then(Refused { verb, stage, key: &key, cause: &cause, reason }))
    }

    /// What becomes of an item that is not made `FAILED`, because others were for the same cause: if others of its
    /// stage pass, it is left out; otherwise its stage is held, and it stays as it is.
    fn not_failed(&self, batch: &Batch<'_>, index: usize, reason: String, judged: &Judged) -> Written {
        let item = &batch.items[index];
        let is_finish = !matches!(tried(item), Some("claim" | "sweep"));
        let others_pass =
            judged.beside_others || self.stage_of(item).is_none_or(|stage| judged.passed.contains(&stage));
        let is_held = is_finish || !others_pass;
        if judged.none_passed || is_held {
            self.pass_over(batch, [index]);
        }
        if is_held { Written::Held } else { Written::Refused { reason, failed: false } }
    }

    fn stages_passed(&self, batch: &Batch<'_>, written: &[Written]) -> Vec<StageId> {
        let applied = batch.items.iter().zip(written).filter(|(_, outcome)| matches!(outcome, Written::Applied { .. }));
        applied.filter_map(|(item, _)| self.stage_of(item)).collect()
    }

    fn stage_of(&self, item: &BatchItem) -> Option<StageId> {
        self.pipeline.status(&item.word).and_then(Status::stage)
    }

    /// Notes that no item is at fault for an error, and that these were tried alone.
    fn everybodys(&self, batch: &Batch<'_>, tried_alone: impl Iterator<Item = usize>, error: Error) -> Error {
        for item in tried_alone.map(|index| &batch.items[index]) {
            if let Some(verb) = tried(item) {
                self.brake.refused_whole(verb, self.stage_of(item), &error);
            }
        }
        error
    }

    fn error_of(&self, why: NotWritten) -> Error {
        match why {
            NotWritten::Refused(error) => error,
            NotWritten::Ignored => Error::Schema {
                table: self.pipeline.table().to_string(),
                problem: format!("{SILENTLY_REFUSED}, of every item that was tried"),
            },
        }
    }

    /// Runs the statement with no items. If each item of a small batch failed, there is no other to compare with, and
    /// this touches no row: if it fails too (a column that is gone, a trigger that does not compile), the fault is
    /// everybody's; if it does not, the fault was the items' own.
    async fn probe(&self, session: &mut Session, batch: &Batch<'_>) -> Result<()> {
        session.rows(batch.sql, batch.binds(json::<BatchItem>(&[]))).await?;
        Ok(())
    }

    pub(super) async fn probe_apart(&self, verb: &Verb, batch: &Batch<'_>) -> Result<()> {
        let mut session = self.write(verb).await?;
        let probed = self.probe(&mut session, batch).await;
        session.roll_back().await?;
        probed
    }
}
