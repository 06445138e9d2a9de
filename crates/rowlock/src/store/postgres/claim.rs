//! Claims: `claim`, `preview`. statements.rs says which text runs when.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::encoding::is_illegible;
use super::errors::may_be_a_rows;
use super::queue_head::{Seen, Start};
use super::refusal::{Place, Refusal, RefusedRow, Scope, Trial, Tried, places};
use super::rows::{ClaimedColumns, Unclaimed, column, item_row, place};
use super::session::{Session, query};
use super::store::PostgresStore;
use super::time::{TIME_MIN, Time};
use crate::limits::{BATCH_ITEMS_MAX, LADDER_PROBES_MAX, QUEUE_FULL_ITEMS_MIN};
use crate::pipeline::StageId;
use crate::store::ladder::Ladder;
use crate::store::params::{budget_limit, row_limit};
use crate::store::{ClaimBatch, ClaimParams, ItemRow};
use crate::{Error, Lease, Result, Status};

impl PostgresStore {
    /// One statement in the ordinary case. Once a statement is committed, no later error may hide what it claimed.
    pub(super) async fn claim_batch(&self, claiming: &ClaimParams) -> Result<ClaimBatch<PgRow>> {
        let Some(pick) = self.pick(claiming) else { return Ok(ClaimBatch::default()) };
        let mut session = self.sessions.open("claim").await?;
        let mut batch = ClaimBatch::default();
        let (still_to_claim, error) = match self.claim_whole(&mut session, claiming, &pick, &mut batch).await {
            Ok(left_as_they_were) => (left_as_they_were, None),
            Err(error) if may_be_a_rows(&error) => (pick.limit, Some(error)),
            Err(error) => return Err(error),
        };
        if still_to_claim > 0 {
            let pick = pick.limited_to(still_to_claim);
            match Box::pin(self.claim_in_parts(&mut session, claiming, &pick, error)).await {
                Ok(parts) => batch.append(parts),
                // If the parts may be committed, the caller looks for the whole batch by its token.
                Err(error) if batch.is_empty() || error.may_have_been_applied() => return Err(error),
                Err(_) => {
                    batch.may_have_more = true;
                    return Ok(batch);
                }
            }
        }
        session.done();
        if batch.claimed.is_empty() {
            let is_empty = batch.is_empty() && !batch.suspect_at_head;
            if is_empty && self.passed_over.let_back("claim", claiming.stages.iter().copied()) {
                return Box::pin(self.claim_batch(claiming)).await;
            }
            return Ok(batch);
        }
        self.note_passing("claim", batch.claimed.iter().map(|row| row.lease.stage));
        Ok(batch)
    }

    /// Claims. If the queue is full, it first leaves out what a claim may skip then, and if that gives nothing, claims
    /// from the whole queue. Returns how many rows a trigger silently left unchanged.
    async fn claim_whole(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        pick: &Pick,
        batch: &mut ClaimBatch<PgRow>,
    ) -> Result<i64> {
        // What lies before the place where the last claim ended is done only in a queue in the order of age.
        let is_by_age = self.pipeline.order().is_empty();
        let start = self.queue_head.start(&pick.ready_words, Instant::now()).filter(|_| is_by_age);
        if let Some(start) = start {
            let left_as_they_were = self.claim_once(session, claiming, pick, Some(start), batch).await?;
            // What was skipped may be all that there is.
            if left_as_they_were > 0 || !batch.is_empty() || batch.suspect_at_head {
                batch.may_have_more = true;
                return Ok(left_as_they_were);
            }
        }
        self.claim_once(session, claiming, pick, None, batch).await
    }

    /// Claims once: by the plain statement, or by the other one if the plain one meets a special item or a recent claim
    /// met one.
    async fn claim_once(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        pick: &Pick,
        start: Option<Start>,
        batch: &mut ClaimBatch<PgRow>,
    ) -> Result<i64> {
        let sent_at = Instant::now();
        let plain = match pick.ready_words.as_slice() {
            [ready_word] if !self.queue_head.met_special() => {
                self.claim_plain(session, claiming, pick, ready_word, start).await?
            }
            _ => None,
        };
        let is_plain = plain.is_some();
        let (rows, tally) = match plain {
            Some(plain) => plain,
            None => {
                let rows = session
                    .fetch(self.claim_query(&self.statements.claim, claiming, pick, None, start.is_some()))
                    .await?;
                let tally = ClaimTally::of(&rows)?;
                (rows, tally)
            }
        };
        let took = sent_at.elapsed();
        let ClaimEffect { left_as_they_were, until, unclaimed } =
            self.add_claimed(claiming, pick, tally, rows, batch)?;
        if !unclaimed.is_empty() {
            Box::pin(self.refuse_unclaimed(session, claiming, unclaimed, batch)).await;
        }
        if !is_plain {
            let met_special = tally.picked > tally.chosen
                || !batch.exhausted.is_empty()
                || batch.claimed.iter().any(|item| item.suspect);
            self.queue_head.note_special(met_special);
        }
        let is_full = pick.limit >= QUEUE_FULL_ITEMS_MIN && tally.picked >= pick.limit;
        self.queue_head.note(&pick.ready_words, Seen { start, is_full, until, took }, Instant::now());
        Ok(left_as_they_were)
    }

    /// Claims items of one stage if all that it meets are plain; `None` if not, and for a full queue also if it took
    /// nothing.
    async fn claim_plain(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        pick: &Pick,
        ready_word: &str,
        start: Option<Start>,
    ) -> Result<Option<(Vec<PgRow>, ClaimTally)>> {
        let statements = &self.statements;
        let sql = if start.is_some() { &statements.claim_full } else { &statements.claim_plain };
        let statement =
            pick.bind_rows(query(sql).bind(ready_word)).bind(claiming.token.as_i64()).bind(claiming.holder.as_str());
        let statement = match start {
            Some(Start(from)) => statement.bind(from),
            None => statement,
        };
        let rows = session.fetch(statement).await?;
        let picked = rows.first().map(|row| column::<Option<i64>>("claim", row, "rowlock_picked")).transpose()?;
        Ok(picked.flatten().map(|picked| (rows, ClaimTally { picked, chosen: picked, suspect_at_head: false })))
    }

    /// Claims what can be claimed of a batch that failed as a whole, by this error or because a trigger left rows
    /// unchanged, and fails the rows at fault. One short transaction. It looks at a few rows more than are wanted, so
    /// that a single wanted row has others to be compared with; they replace rows that cannot be claimed.
    async fn claim_in_parts(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        pick: &Pick,
        whole: Option<Error>,
    ) -> Result<ClaimBatch<PgRow>> {
        let mut batch = ClaimBatch::default();
        self.begin_parts(session).await?;
        let wide = pick.limited_to(pick.limit.max(i64::try_from(LADDER_PROBES_MAX).unwrap_or(pick.limit)));
        let rows = match session.fetch(wide.bind(query(&self.statements.pick_locked), None)).await {
            Ok(rows) => rows,
            Err(error) => return Err(whole.unwrap_or(error)),
        };
        let (mut all, mut stages) = (Vec::new(), Vec::new());
        for row in &rows {
            ClaimTally::read(row)?.note(pick, &mut batch);
            if let Some(place) = Place::read("claim", row)? {
                let word = column::<Option<String>>("claim", row, "word")?;
                stages.push(word.and_then(|word| self.pipeline.status(&word)).and_then(Status::stage));
                all.push(place);
            }
        }
        let mut ladder = Ladder::new(all.len());
        let (mut unclaimed, mut is_unlogged) = (Vec::new(), false);
        while session.has_time() {
            let room = room(pick, &batch);
            let Some(mut part) = (if room > 0 { ladder.next() } else { ladder.next_unexplained() }) else { break };
            part.truncate(room.max(1));
            let of_part = pick.limited_to(i64::try_from(part.len()).unwrap_or(pick.limit));
            let here = places(&all, &part);
            let bind = |sql: &Arc<str>| self.claim_query(sql, claiming, &of_part, Some(&here), false);
            let trial = Trial { is_single: part.len() == 1, is_unlogged: &mut is_unlogged };
            match self.try_logged(session, &self.statements.claim_part, trial, bind).await? {
                Ok(rows) if moved_all(&rows)? && room == 0 => {
                    session.run("rollback to savepoint part").await?;
                    ladder.passed(&part);
                }
                Ok(rows) if moved_all(&rows)? => {
                    session.run("release savepoint part").await?;
                    let tally = ClaimTally::of(&rows)?;
                    unclaimed.extend(self.add_claimed(claiming, pick, tally, rows, &mut batch)?.unclaimed);
                    ladder.passed(&part);
                }
                Ok(_) => {
                    session.run("rollback to savepoint part").await?;
                    ladder.failed(part, Refusal::Silent);
                }
                Err(error) => ladder.failed(part, Refusal::Loud(error)),
            }
        }
        let nothing = pick.limited_to(0);
        let probe = self.claim_query(&self.statements.claim_part.logged, claiming, &nothing, Some(&[]), false);
        self.note_passing("claim", batch.claimed.iter().map(|row| row.lease.stage));
        let scope = |item: usize| Scope { verb: "claim", stage: stages[item], key: &all[item].key };
        let refused = self.settle_refused(session, Tried::of(ladder, whole), probe, scope).await?;
        let passed: Vec<StageId> = batch.claimed.iter().map(|row| row.lease.stage).collect();
        for (item, refusal) in refused {
            let (place, reason) = (&all[item], refusal.reason());
            if refusal.lasts() && self.may_fail(scope(item), &refusal) {
                Box::pin(self.refuse(session, RefusedRow::At(place), claiming.now, &reason)).await?;
            } else if refusal.lasts() && stages[item].is_some_and(|stage| !passed.contains(&stage)) {
                // Its stage is held: the item stays as it is, and is tried again.
                self.pass_over(&scope(item));
                continue;
            } else {
                self.leave_out(RefusedRow::At(place), &reason);
            }
            batch.refused.push((place.key.clone(), reason));
        }
        self.brake.passed("claim", passed);
        session.run("commit").await?;
        sort_as_picked(&mut batch, &all);
        self.refuse_unclaimed(session, claiming, unclaimed, &mut batch).await;
        Ok(batch)
    }

    /// Ends rows that a claim wrote and that are no claims all the same: a trigger changed the status, or the key is
    /// one by which the holder could not finish the item. The claim is committed: a row that cannot be ended now is
    /// logged, and is no error.
    async fn refuse_unclaimed(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        unclaimed: Vec<(Lease, Unclaimed)>,
        batch: &mut ClaimBatch<PgRow>,
    ) {
        for (lease, why) in unclaimed {
            let row = match why {
                Unclaimed::Rewritten(_) | Unclaimed::Exhausted => RefusedRow::Under(&lease.key, claiming.token),
                Unclaimed::UnfitKey(_) => RefusedRow::Held(&lease),
            };
            let reason = why.to_string();
            if let Err(error) = self.refuse_apart(session, row, claiming.now, &reason).await {
                tracing::warn!(key = %lease.key, %error, "{reason}, and that could not be mended");
                self.leave_out(row, &reason);
            }
            batch.refused.push((lease.key.clone(), reason));
        }
    }

    /// Fails a row in a separate transaction, and leaves none open.
    async fn refuse_apart(
        &self,
        session: &mut Session,
        row: RefusedRow<'_>,
        now: Option<chrono::DateTime<chrono::Utc>>,
        reason: &str,
    ) -> Result<()> {
        let refused = async {
            self.begin_parts(session).await?;
            self.refuse(session, row, now, reason).await?;
            session.run("commit").await
        };
        let refused = refused.await;
        if refused.is_err() {
            session.give_up_transaction().await;
        }
        refused
    }

    /// Adds what a claim statement returned.
    fn add_claimed(
        &self,
        claiming: &ClaimParams,
        pick: &Pick,
        tally: ClaimTally,
        rows: Vec<PgRow>,
        batch: &mut ClaimBatch<PgRow>,
    ) -> Result<ClaimEffect> {
        let Some(first) = rows.first() else { return Ok(ClaimEffect::default()) };
        tally.note(pick, batch);
        let columns = ClaimedColumns::of("claim", &self.pipeline, first)?;
        let ready_since = place("claim", first, "rowlock_ready_since")?;
        let (mut moved, mut unclaimed) = (0, Vec::new());
        let (mut claimed, mut order) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in rows {
            if columns.is_none(&row)? {
                continue;
            }
            moved += 1;
            // Of another type only where `prepare` would refuse the table: the claimed rows are worth more than their
            // order.
            let ready_since = column::<Time>("claim", &row, ready_since).unwrap_or(Time(TIME_MIN));
            match columns.claimed_row(&self.pipeline, claiming.token, claiming.limits, row)? {
                Ok(row) => {
                    order.push((Reverse(row.lease.stage), ready_since, claimed.len()));
                    claimed.push(Some(row));
                }
                Err((exhausted, Unclaimed::Exhausted)) => batch.exhausted.push(exhausted.key),
                Err(other) => unclaimed.push(other),
            }
        }
        // The order of the queue, as far as the rows show it: the statement moves them in any order.
        order.sort_unstable();
        let until = order.last().map(|(_, ready_since, _)| ready_since.0).filter(|since| *since > TIME_MIN);
        batch.claimed.extend(order.into_iter().filter_map(|(_, _, at)| claimed[at].take()));
        Ok(ClaimEffect { left_as_they_were: tally.chosen - moved, until, unclaimed })
    }

    pub(super) async fn preview_rows(&self, claiming: &ClaimParams) -> Result<Vec<ItemRow<PgRow>>> {
        let Some(pick) = self.pick(claiming) else { return Ok(Vec::new()) };
        let mut session = self.sessions.open("preview").await?;
        let mut rows = session.fetch(pick.bind(query(&self.statements.preview), None)).await;
        if is_illegible(&rows) {
            rows = session.fetch(pick.bind(query(&self.statements.preview_legible), None)).await;
        }
        let rows = rows?;
        session.done();
        rows.into_iter().map(|row| item_row("preview", &self.pipeline, row)).collect()
    }

    fn claim_query<'q>(
        &self,
        sql: &Arc<str>,
        claiming: &'q ClaimParams,
        pick: &'q Pick,
        only: Option<&[&str]>,
        queue_is_full: bool,
    ) -> Query<'q, Postgres, PgArguments> {
        pick.bind(query(sql), only).bind(claiming.token.as_i64()).bind(claiming.holder.as_str()).bind(queue_is_full)
    }

    /// The binds of `pick`; `None` if nothing is asked for.
    fn pick(&self, claiming: &ClaimParams) -> Option<Pick> {
        let mut stages = claiming.stages.clone();
        stages.sort_unstable();
        stages.dedup();
        if claiming.limit == 0 || stages.is_empty() {
            return None;
        }
        let word = |stage| self.pipeline.word(Status::Ready(stage)).to_owned();
        Some(Pick {
            ready_words: stages.into_iter().rev().map(word).collect(),
            limit: row_limit(claiming.limit, BATCH_ITEMS_MAX),
            now: claiming.now,
            max_retries: budget_limit(claiming.limits.max_retries),
            max_resets: budget_limit(claiming.limits.max_resets),
            leave_exhausted: claiming.leave_exhausted,
            alone: claiming.alone,
            except: self.keys_to_leave_out("claim", &claiming.except),
        })
    }
}

/// How many more items are wanted.
fn room(pick: &Pick, batch: &ClaimBatch<PgRow>) -> usize {
    let taken = batch.claimed.len() + batch.exhausted.len();
    usize::try_from(pick.limit).unwrap_or_default().saturating_sub(taken)
}

/// Restores the order of the queue, which the parts do not keep.
fn sort_as_picked(batch: &mut ClaimBatch<PgRow>, all: &[Place]) {
    let order: HashMap<&str, usize> = all.iter().zip(0..).map(|(place, at)| (place.key.as_str(), at)).collect();
    batch.claimed.sort_by_key(|item| order.get(item.lease.key.as_str()).copied());
    batch.refused.sort_by_key(|(key, _)| order.get(key.as_str()).copied());
}

/// What a claim statement did.
#[derive(Default)]
struct ClaimEffect {
    /// Rows that a trigger silently left unchanged.
    left_as_they_were: i64,
    /// Since when the last claimed item in the order of the queue was ready; `None` also if it has no such time.
    until: Option<chrono::DateTime<chrono::Utc>>,
    /// Rows that it wrote and no worker can hold.
    unclaimed: Vec<(Lease, Unclaimed)>,
}

/// The binds of the pick of `claim.sql`.
#[derive(Clone)]
struct Pick {
    ready_words: Vec<String>,
    limit: i64,
    now: Option<chrono::DateTime<chrono::Utc>>,
    max_retries: i32,
    max_resets: i32,
    leave_exhausted: bool,
    alone: bool,
    except: Option<Vec<String>>,
}

impl Pick {
    fn bind<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
        only: Option<&[&str]>,
    ) -> Query<'q, Postgres, PgArguments> {
        self.bind_rows(query.bind(&self.ready_words))
            .bind(only.map(|places| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>()))
            .bind(self.alone)
    }

    /// Those of them that every claim has.
    fn bind_rows<'q>(&'q self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.limit)
            .bind(self.now)
            .bind(self.max_retries)
            .bind(self.max_resets)
            .bind(self.leave_exhausted)
            .bind(&self.except)
    }

    fn limited_to(&self, limit: i64) -> Pick {
        Pick { limit, ..self.clone() }
    }
}

/// What a claim met. Every row of an answer carries the same tally, even the one without an item.
#[derive(Debug, Clone, Copy, Default)]
struct ClaimTally {
    /// Rows that it locked.
    picked: i64,
    /// Those of them that it was to take.
    chosen: i64,
    suspect_at_head: bool,
}

impl ClaimTally {
    fn of(rows: &[PgRow]) -> Result<ClaimTally> {
        rows.first().map_or(Ok(ClaimTally::default()), ClaimTally::read)
    }

    fn read(row: &PgRow) -> Result<ClaimTally> {
        Ok(ClaimTally {
            picked: column("claim", row, "rowlock_picked")?,
            chosen: column("claim", row, "rowlock_chosen")?,
            suspect_at_head: column("claim", row, "rowlock_suspect_at_head")?,
        })
    }

    /// There may be more if the limit was reached, or if suspects were left out.
    fn note(self, pick: &Pick, batch: &mut ClaimBatch<PgRow>) {
        batch.may_have_more |= self.picked >= pick.limit || self.picked > self.chosen;
        batch.suspect_at_head |= self.suspect_at_head;
    }
}

/// Whether the update moved every row that was chosen.
fn moved_all(rows: &[PgRow]) -> Result<bool> {
    let mut moved = 0;
    for row in rows {
        moved += i64::from(column::<Option<&str>>("claim", row, "rowlock_key")?.is_some());
    }
    Ok(moved == ClaimTally::of(rows)?.chosen)
}
