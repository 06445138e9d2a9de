//! Leases: `renew`, `read_leases`, `find_claimed`.

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::errors::may_be_a_rows;
use super::finish::{keys, length, tokens};
use super::refusal::{Refusal, RefusedRow, SILENTLY_REFUSED, Scope, Tried};
use super::rows::{ClaimedColumns, column};
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::limits::LADDER_PROBES_MAX;
use crate::store::ladder::Ladder;
use crate::store::{ClaimedRow, LeaseState, Limits};
use crate::{Error, FencingToken, Key, Lease, Result};

impl PostgresStore {
    pub(super) async fn renew_leases(&self, leases: &[Lease], now: Option<DateTime<Utc>>) -> Result<Vec<LeaseState>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        for lease in leases {
            lease.key.check()?;
        }
        let mut session = self.sessions.open("renew").await?;
        let states = self.renew_in(&mut session, leases, now).await?;
        session.done();
        Ok(states)
    }

    /// Uses one connection: another one could meet the row locks of a refused statement, which the server releases only
    /// after it has answered.
    async fn renew_in(
        &self,
        session: &mut Session,
        leases: &[Lease],
        now: Option<DateTime<Utc>>,
    ) -> Result<Vec<LeaseState>> {
        let all: Vec<usize> = (0..leases.len()).collect();
        let mut states: Vec<Option<LeaseState>> = vec![None; leases.len()];
        let mut untried = Vec::new();
        match session.fetch(self.renew_query(leases, &all, now)).await {
            Ok(rows) => note_renewed(&rows, &all, &mut states)?,
            Err(error) if may_be_a_rows(&error) => {
                untried = Box::pin(self.renew_in_parts(session, leases, now, error, &mut states)).await?;
            }
            Err(error) => return Err(error),
        }
        let missing: Vec<usize> = (0..leases.len()).filter(|index| states[*index].is_none()).collect();
        if !missing.is_empty() {
            let open: Vec<Lease> = missing.iter().map(|index| leases[*index].clone()).collect();
            for (index, state) in missing.iter().zip(self.read_lease_states(session, &open).await?) {
                states[*index] = Some(match state {
                    LeaseState::Held if untried.contains(index) => LeaseState::NotRenewed,
                    LeaseState::Held => LeaseState::Busy,
                    ended => ended,
                });
            }
            let is_busy = |index: &&usize| states[**index] == Some(LeaseState::Busy);
            let busy: Vec<usize> = missing.iter().filter(is_busy).take(LADDER_PROBES_MAX).copied().collect();
            for index in busy {
                states[index] = Some(Box::pin(self.busy_state(session, &leases[index], now)).await?);
                if matches!(states[index], Some(LeaseState::Refused { .. })) {
                    self.may_fail(Scope::of_renewal(&leases[index]), &Refusal::Silent);
                }
            }
        }
        self.note_renewals_passed(leases, &states);
        Ok(states.into_iter().map(|state| state.unwrap_or(LeaseState::Lost)).collect())
    }

    /// Tells the brake which leases passed.
    fn note_renewals_passed(&self, leases: &[Lease], states: &[Option<LeaseState>]) {
        if self.brake.is_counting() {
            let renewed = leases.iter().zip(states).filter(|(_, state)| **state == Some(LeaseState::Held));
            self.brake.passed("renew", renewed.map(|(lease, _)| lease.stage));
        }
    }

    /// Renews what can be renewed of a batch that failed as a whole by this error: one row that refuses heartbeats must
    /// not keep the others from theirs. A row that only took too long, or met others, is refused if it does so again;
    /// a resource that ran out is no row's fault. Returns the leases that there was no time to try.
    async fn renew_in_parts(
        &self,
        session: &mut Session,
        leases: &[Lease],
        now: Option<DateTime<Utc>>,
        whole: Error,
        states: &mut [Option<LeaseState>],
    ) -> Result<Vec<usize>> {
        self.begin_parts(session).await?;
        let mut renewed = states.to_vec();
        let late = self.late.take();
        let order = renewal_order(leases, |key| late.contains(key), |key| self.exclusions.contains(key));
        let mut ladder = Ladder::new(order.len());
        while session.has_time()
            && let Some(tried) = ladder.next()
        {
            let part: Vec<usize> = tried.iter().map(|item| order[*item]).collect();
            match self.try_part(session, self.renew_query(leases, &part, now)).await? {
                Ok(rows) => {
                    session.run("release savepoint part").await?;
                    note_renewed(&rows, &part, &mut renewed)?;
                    ladder.passed(&tried);
                }
                Err(error) => ladder.failed(tried, Refusal::Loud(error)),
            }
        }
        let untried: Vec<usize> = ladder.untried().map(|item| order[item]).collect();
        self.late.add(untried.iter().map(|item| leases[*item].key.clone()));
        let probe = self.renew_query(leases, &[], now);
        let scope = |item: usize| Scope::of_renewal(&leases[order[item]]);
        self.note_renewals_passed(leases, &renewed);
        let refused = self.settle_refused(session, Tried::of(ladder, Some(whole)), probe, scope).await?;
        session.run("commit").await?;
        states.clone_from_slice(&renewed);
        for (item, refusal) in refused {
            let lease = &leases[order[item]];
            let reason = refusal.reason();
            states[order[item]] = Some(if refusal.is_of_resources() {
                // The heartbeats of others fit where there was still space. This one stays due until it fits as well.
                LeaseState::NotRenewed
            } else {
                // The holder decides by the count whether the item is to be failed.
                self.may_fail(scope(item), &refusal);
                if refusal.lasts() || self.exclusions.contains(&lease.key) {
                    LeaseState::Refused { reason }
                } else {
                    self.leave_out(RefusedRow::Held(lease), &reason);
                    LeaseState::Busy
                }
            });
        }
        Ok(untried)
    }

    /// What keeps a valid lease from its heartbeat: a lock, or a trigger that suppresses the update. Only with the row
    /// locked can it tell.
    async fn busy_state(&self, session: &mut Session, lease: &Lease, now: Option<DateTime<Utc>>) -> Result<LeaseState> {
        self.begin_parts(session).await?;
        let locked = session.fetch(query(&self.statements.probe_lock).bind(lease.key.as_str())).await?;
        let mut state = LeaseState::Busy;
        if !locked.is_empty() {
            let one = std::slice::from_ref(lease);
            match self.try_part(session, self.renew_query(one, &[0], now)).await? {
                Ok(rows) if !rows.is_empty() => state = LeaseState::Held,
                Ok(_) => {
                    let found = self.read_lease_states(session, one).await?;
                    state = match found.first() {
                        Some(LeaseState::Held) => LeaseState::Refused { reason: SILENTLY_REFUSED.to_owned() },
                        Some(other) => other.clone(),
                        None => LeaseState::Lost,
                    };
                }
                Err(_) => {}
            }
        }
        session.run("commit").await?;
        Ok(state)
    }

    fn renew_query<'q>(
        &'q self,
        leases: &'q [Lease],
        part: &[usize],
        now: Option<DateTime<Utc>>,
    ) -> Query<'q, Postgres, PgArguments> {
        let part: Vec<&Lease> = part.iter().map(|index| &leases[*index]).collect();
        query(&self.statements.renew)
            .bind(keys(&part))
            .bind(tokens(&part))
            .bind(now)
            .bind(self.words_in_progress(&part))
            .bind(length(&part))
    }

    pub(super) async fn read_lease_states(&self, session: &mut Session, leases: &[Lease]) -> Result<Vec<LeaseState>> {
        let mut states = vec![LeaseState::Lost; leases.len()];
        if leases.is_empty() {
            return Ok(states);
        }
        let all: Vec<&Lease> = leases.iter().collect();
        let statement = query(&self.statements.read_leases)
            .bind(keys(&all))
            .bind(tokens(&all))
            .bind(self.words_in_progress(&all))
            .bind(length(&all));
        for row in session.fetch(statement).await? {
            let position: i32 = column("read_leases", &row, "n")?;
            let state = match (column("read_leases", &row, "held")?, column("read_leases", &row, "cancelled")?) {
                (true, _) => LeaseState::Held,
                (false, true) => LeaseState::Cancelled,
                (false, false) => LeaseState::Lost,
            };
            if let Some(slot) = usize::try_from(position - 1).ok().and_then(|index| states.get_mut(index)) {
                *slot = state;
            }
        }
        Ok(states)
    }

    /// Whether this lease still holds.
    pub(super) async fn is_held(&self, session: &mut Session, lease: &Lease) -> Result<bool> {
        Ok(self.read_lease_states(session, std::slice::from_ref(lease)).await? == [LeaseState::Held])
    }

    pub(super) async fn find_claimed_rows(&self, token: FencingToken) -> Result<Vec<ClaimedRow<PgRow>>> {
        let mut session = self.sessions.open("find_claimed").await?;
        let rows = session
            .fetch(query(&self.statements.find_claimed).bind(token.as_i64()).bind(None::<DateTime<Utc>>))
            .await?;
        session.done();
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let columns = ClaimedColumns::of("find_claimed", &self.pipeline, first)?;
        let limits = Limits { max_retries: self.pipeline.max_retries(), max_resets: self.pipeline.max_resets() };
        let found = rows.into_iter().map(|row| columns.claimed_row(&self.pipeline, token, limits, row));
        found.filter_map(|row| row.map(Result::ok).transpose()).collect()
    }
}

/// The order in which the leases of a batch that failed as a whole are tried: late ones first, then the others, and
/// last those that the database has refused before.
fn renewal_order(leases: &[Lease], is_late: impl Fn(&Key) -> bool, was_refused: impl Fn(&Key) -> bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..leases.len()).collect();
    order.sort_by_key(|lease| {
        let key = &leases[*lease].key;
        (was_refused(key), !is_late(key))
    });
    order
}

/// Notes which leases of a part were renewed.
fn note_renewed(rows: &[PgRow], part: &[usize], states: &mut [Option<LeaseState>]) -> Result<()> {
    for row in rows {
        let position: i32 = column("renew", row, "n")?;
        if let Some(index) = usize::try_from(position - 1).ok().and_then(|position| part.get(position)) {
            states[*index] = Some(LeaseState::Held);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StageId;

    #[test]
    fn what_is_late_is_tried_first_and_what_was_refused_last() {
        let lease = |key: &str| Lease { key: Key::from(key), token: FencingToken::draw(), stage: StageId::FIRST };
        let leases = ["a", "refused", "b", "late", "c"].map(lease);
        let order = renewal_order(&leases, |key| key.as_str() == "late", |key| key.as_str() == "refused");
        assert_eq!(order, [3, 0, 2, 4, 1]);
    }
}
