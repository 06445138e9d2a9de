//! The sweep.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::errors::may_be_a_rows;
use super::refusal::{Place, Refusal, RefusedRow, Scope, Trial, Tried, places};
use super::rows::{Unclaimed, column};
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::limits::{BATCH_ITEMS_MAX, LADDER_PROBES_MAX};
use crate::pipeline::StageId;
use crate::store::ladder::Ladder;
use crate::store::params::{budget_limit, row_limit};
use crate::store::{SweepParams, Swept, SweptItem};
use crate::{Error, Key, Result, Status};

impl PostgresStore {
    pub(super) async fn take_sweep_turn(&self, every: Duration) -> Result<Duration> {
        let mut session = self.sessions.open("sweep_turn").await?;
        let rows = session.fetch(query(&self.statements.sweep_turn).bind(every.as_secs_f64())).await?;
        let seconds = rows.first().map_or(Ok(0.0), |row| column::<f64>("sweep_turn", row, "seconds"))?;
        session.done();
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default().min(every))
    }

    pub(super) async fn sweep_batch(&self, sweeping: &SweepParams) -> Result<Swept> {
        let limit = row_limit(sweeping.limit, BATCH_ITEMS_MAX);
        let mut session = self.sessions.open("sweep").await?;
        let mut swept = Swept::default();
        match session.fetch(self.sweep_query(&self.statements.sweep, sweeping, limit, None)).await {
            Ok(rows) => {
                // What is committed must be reported, whatever becomes of the rest: the next sweep meets the rest
                // again.
                if self.add_swept(&rows, limit, &mut swept)? > 0 {
                    match Box::pin(self.sweep_in_parts(&mut session, sweeping, limit, None)).await {
                        Ok(parts) => swept.append(parts),
                        Err(error) if swept.items.is_empty() => return Err(error),
                        Err(_) => return Ok(swept),
                    }
                }
            }
            Err(error) if may_be_a_rows(&error) => {
                swept.append(Box::pin(self.sweep_in_parts(&mut session, sweeping, limit, Some(error))).await?);
            }
            Err(error) => return Err(error),
        }
        session.done();
        if swept.items.is_empty() && swept.refused.is_empty() {
            if self.passed_over.let_back("sweep", self.pipeline.stage_ids()) {
                return Box::pin(self.sweep_batch(sweeping)).await;
            }
            return Ok(swept);
        }
        self.note_passing("sweep", swept_stages(&swept));
        Ok(swept)
    }

    /// Takes back what can be taken back of a batch that failed as a whole, and fails the items at fault. It looks at a
    /// few rows more than are wanted, so that a single one has others to be compared with.
    async fn sweep_in_parts(
        &self,
        session: &mut Session,
        sweeping: &SweepParams,
        limit: i64,
        whole: Option<Error>,
    ) -> Result<Swept> {
        let mut swept = Swept::default();
        self.begin_parts(session).await?;
        let wide = limit.max(i64::try_from(LADDER_PROBES_MAX).unwrap_or(limit));
        let rows = match session.fetch(self.sweep_query(&self.statements.pick_stale, sweeping, wide, None)).await {
            Ok(rows) => rows,
            Err(error) => return Err(whole.unwrap_or(error)),
        };
        let (mut all, mut stages) = (Vec::new(), Vec::new());
        for row in &rows {
            if let Some(place) = Place::read("sweep", row)? {
                let word = column::<Option<String>>("sweep", row, "word")?;
                stages.push(word.and_then(|word| self.pipeline.status(&word)).and_then(Status::stage));
                all.push(place);
            }
        }
        let is_full = i64::try_from(all.len()).is_ok_and(|stale| stale >= limit);
        let (mut ladder, mut is_unlogged) = (Ladder::new(all.len()), false);
        while session.has_time() {
            let room = usize::try_from(limit).unwrap_or_default().saturating_sub(swept.items.len());
            let Some(mut part) = (if room > 0 { ladder.next() } else { ladder.next_unexplained() }) else { break };
            part.truncate(room.max(1));
            let wanted = i64::try_from(part.len()).unwrap_or(i64::MAX);
            let here = places(&all, &part);
            let bind = |sql: &Arc<str>| self.sweep_query(sql, sweeping, wanted, Some(&here));
            let trial = Trial { is_single: part.len() == 1, is_unlogged: &mut is_unlogged };
            match self.try_logged(session, &self.statements.sweep_part, trial, bind).await? {
                Ok(rows) => {
                    let mut moved = Swept::default();
                    let all_moved = self.add_swept(&rows, i64::MAX, &mut moved)? == 0;
                    if all_moved && room == 0 {
                        session.run("rollback to savepoint part").await?;
                    } else if all_moved {
                        session.run("release savepoint part").await?;
                        swept.items.extend(moved.items);
                        swept.refused.extend(moved.refused);
                        ladder.passed(&part);
                    } else {
                        session.run("rollback to savepoint part").await?;
                        ladder.failed(part, Refusal::Silent);
                    }
                }
                Err(error) => ladder.failed(part, Refusal::Loud(error)),
            }
        }
        let probe = self.sweep_query(&self.statements.sweep_part.logged, sweeping, 0, Some(&[]));
        let passed = swept_stages(&swept);
        self.note_passing("sweep", passed.iter().copied());
        let scope = |item: usize| Scope { verb: "sweep", stage: stages[item], key: &all[item].key };
        for (item, refusal) in self.settle_refused(session, Tried::of(ladder, whole), probe, scope).await? {
            let (place, reason) = (&all[item], refusal.reason());
            if refusal.lasts() && self.may_fail(scope(item), &refusal) {
                self.refuse(session, RefusedRow::At(place), sweeping.now, &reason).await?;
            } else if refusal.lasts() && stages[item].is_some_and(|stage| !passed.contains(&stage)) {
                // Its stage is held: the item stays as it is, and is tried again.
                self.pass_over(&scope(item));
                continue;
            } else {
                self.leave_out(RefusedRow::At(place), &reason);
            }
            swept.refused.push((place.key.clone(), reason));
        }
        self.brake.passed("sweep", passed);
        session.run("commit").await?;
        swept.may_have_more = is_full && !swept.items.is_empty();
        Ok(swept)
    }

    /// Adds what the statement took back; returns how many rows a trigger silently left unchanged. A row whose status a
    /// trigger changed is in no state that a sweep leads to: its lease has ended, and it is reported as refused.
    fn add_swept(&self, rows: &[PgRow], limit: i64, swept: &mut Swept) -> Result<i64> {
        let mut stale = 0;
        let mut moved = 0;
        for row in rows {
            stale = column("sweep", row, "stale")?;
            let Some(item) = column::<Option<String>>("sweep", row, "item")? else { continue };
            let word = column::<Option<String>>("sweep", row, "word")?.unwrap_or_default();
            moved += 1;
            let to = match self.pipeline.status(&word) {
                Some(to @ (Status::Ready(_) | Status::Failed)) => to,
                _ => {
                    let reason = Unclaimed::Rewritten(word).to_string();
                    self.exclusions.add(Key::from(item.clone()), &reason);
                    swept.refused.push((Key::from(item), reason));
                    continue;
                }
            };
            swept.items.push(SweptItem {
                key: Key::from(item),
                to,
                holder: column("sweep", row, "holder")?,
                error: column::<Option<String>>("sweep", row, "error")?.unwrap_or_default(),
            });
        }
        swept.may_have_more |= stale >= limit && limit > 0;
        Ok(stale - moved)
    }

    fn sweep_query<'q>(
        &'q self,
        sql: &Arc<str>,
        sweeping: &SweepParams,
        limit: i64,
        only: Option<&[&str]>,
    ) -> Query<'q, Postgres, PgArguments> {
        query(sql)
            .bind(limit)
            .bind(sweeping.stale_after.as_secs_f64())
            .bind(sweeping.now)
            .bind(budget_limit(sweeping.max_resets))
            .bind(self.keys_to_leave_out("sweep", &[]))
            .bind(only.map(|places| places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>()))
    }
}

/// The stages for which items were made ready again; the stage of one that is `FAILED` now is unknown.
fn swept_stages(swept: &Swept) -> Vec<StageId> {
    swept.items.iter().filter_map(|item| item.to.stage()).collect()
}
