//! Ordinary batches: items all of which are to be taken or completed. Their statements return only how many rows they
//! wrote. If that is not all of them, or the database refuses one, the transaction is rolled back, and the statements
//! that answer for each item find out why.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::items::{KeyValue, json};
use super::refusal::Written;
use super::session::{Bind, Session, Sql, Verb};
use super::statements::PlainClaim;
use super::store::{Moment, SqliteStore};
use super::{errors, indexes, rows};
use crate::pipeline::{StageId, Status};
use crate::store::{ClaimBatch, ClaimParams, Finish, FinishParams, Finished, Limits, Outcome};
use crate::{FencingToken, Key, Lease, Result};

/// Up to this many groups of a batch, each has its own statement.
const GROUPS_MAX: usize = 8;

/// From this many items, a group is completed by the index on the token. Skipping an entry of the claim that is not
/// meant costs a fifth of a lookup by key: of the thousand entries that a claim may have, this many pay for it.
pub(super) const MANY: usize = 256;

/// The heads of the queues that a claim asks for.
pub(super) struct Heads<'a> {
    sql: &'a PlainClaim,
    heads: Vec<Head>,
}

/// The head of one stage's queue.
struct Head {
    stage: StageId,
    /// What identifies the rows, in the order of the queue, as JSON.
    addresses: String,
    count: usize,
}

/// Leases of a batch that one statement can name: of one claim, in one stage.
pub(super) struct Group {
    token: FencingToken,
    stage: StageId,
    /// As JSON.
    keys: String,
    count: usize,
}

/// The end of a transaction that wrote plain items.
pub(super) enum Ended<T> {
    Committed(T),
    /// It was rolled back, and another one has begun.
    Undone(Session),
}

impl SqliteStore {
    /// The heads of the queues that a claim asks for; `None` if anything in them cannot be taken plainly.
    pub(super) async fn plain_heads(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        now: &str,
        limit: usize,
    ) -> Result<Option<Heads<'_>>> {
        let except = self.left_out(claiming)?;
        let sql = self.plain_claim(session).await?;
        let mut left = limit;
        let mut heads = Vec::new();
        // Checking the bytes of each key costs a claim of names a quarter; noticing them when they are read anyway
        // costs nothing.
        let takes_keys_for_utf8 = !self.broken_keys.were_met();
        for stage in self.stages_to_pick(claiming) {
            let binds = self.pick_binds(claiming, stage, now, left, &except, takes_keys_for_utf8);
            let rows = session.rows(&sql.pick, binds).await?;
            if rows.first().is_some_and(|row| !is_utf8(row)) {
                self.broken_keys.meet();
            }
            let Some(head) = rows.first().and_then(|row| head(stage, row)) else { return Ok(None) };
            left = left.saturating_sub(head.count);
            if head.count > 0 {
                heads.push(head);
            }
            if left == 0 {
                break;
            }
        }
        Ok(Some(Heads { sql, heads }))
    }

    /// How a plain claim tells the table's rows apart.
    pub(super) async fn plain_claim(&self, session: &mut Session) -> Result<&PlainClaim> {
        let table = self.pipeline.table().name();
        let rows = session.rows(&self.statements.has_rowids, [table.into()]).await?;
        let has_rowids = rows.first().and_then(|row| rows::integer(row, 0)) == Some(1);
        Ok(if has_rowids { &self.statements.claim_by_rowid } else { &self.statements.claim_by_key })
    }

    /// Takes the items found at the heads; `None` if that is to be rolled back.
    pub(super) async fn take_heads(
        &self,
        session: &mut Session,
        claiming: &ClaimParams,
        now: &str,
        limit: usize,
        Heads { sql, heads }: &Heads<'_>,
    ) -> Result<Option<ClaimBatch<SqliteRow>>> {
        let mut batch = ClaimBatch::default();
        for head in heads {
            let binds: [Bind; 6] = [
                head.addresses.as_str().into(),
                now.into(),
                claiming.token.as_i64().into(),
                claiming.holder.as_str().into(),
                self.pipeline.word(Status::Ready(head.stage)).into(),
                self.pipeline.word(Status::InProgress(head.stage)).into(),
            ];
            if !wrote(session, &sql.take, binds, head.count).await? {
                return Ok(None);
            }
            let rows = session.rows(&sql.read, [head.addresses.as_str().into()]).await?;
            if rows.iter().any(|row| !rows::RoleReader::new(&self.pipeline, row).has_utf8_key()) {
                self.broken_keys.meet();
                return Ok(None);
            }
            let is_taken = |row: &SqliteRow| {
                let reader = rows::RoleReader::new(&self.pipeline, row);
                let is_ours = reader.token() == Some(claiming.token.as_i64());
                is_ours && reader.status() == Some(Status::InProgress(head.stage))
            };
            if rows.len() != head.count || !rows.iter().all(is_taken) {
                return Ok(None);
            }
            batch.claimed.extend(rows.into_iter().filter_map(|row| self.claimed(claiming, row)));
        }
        batch.may_have_more = heads.iter().map(|head| head.count).sum::<usize>() >= limit;
        Ok(Some(batch))
    }

    /// Writes a finish whose completions are in these groups; `None` if that is to be rolled back.
    pub(super) async fn finish_plain(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        Moment { now, has_triggers }: &Moment,
        groups: &[Group],
    ) -> Result<Option<Vec<Finished>>> {
        for group in groups {
            let leads_to = self.pipeline.word(self.pipeline.completed(group.stage));
            let binds: Vec<Bind> = self.group_binds(group, now).into_iter().chain([leads_to.into()]).collect();
            let sql = if self.is_by_token(session, group).await? {
                &self.statements.complete_many
            } else {
                &self.statements.complete_few
            };
            if !wrote(session, sql, binds.clone(), group.count).await? {
                return Ok(None);
            }
            if *has_triggers && !self.stands(session, binds, group.count).await? {
                return Ok(None);
            }
        }
        let is_other = |item: &&Finish| !is_completion(item);
        let others: Vec<Finish> = finishing.items.iter().filter(is_other).cloned().collect();
        let Some(others) = self.finish_others(session, &others, finishing.limits, now).await? else { return Ok(None) };
        let mut others = others.into_iter();
        let finished = |item: &Finish| match is_completion(item) {
            true => Some(Finished::Applied { to: self.pipeline.completed(item.lease.stage) }),
            false => others.next(),
        };
        Ok(finishing.items.iter().map(finished).collect())
    }

    /// Whether all that was completed still is: no trigger changed it afterwards.
    async fn stands(&self, session: &mut Session, binds: Vec<Bind>, count: usize) -> Result<bool> {
        let rows = session.rows(&self.statements.count_completed, binds).await?;
        Ok(rows.first().and_then(|row| rows::integer(row, 0)) == i64::try_from(count).ok())
    }

    /// Whether the items of a group are looked up by the index on their token.
    async fn is_by_token(&self, session: &mut Session, group: &Group) -> Result<bool> {
        if group.count < MANY {
            return Ok(false);
        }
        let name = indexes::name(&self.pipeline, "running");
        let rows = session.rows(&self.statements.has_index, [name.into(), self.pipeline.table().name().into()]).await?;
        Ok(rows.first().and_then(|row| rows::integer(row, 0)) == Some(1))
    }

    /// The outcomes of a finish that are not completions, item by item; `None` if that is to be rolled back.
    async fn finish_others(
        &self,
        session: &mut Session,
        others: &[Finish],
        limits: Limits,
        now: &str,
    ) -> Result<Option<Vec<Finished>>> {
        let batch = self.finish_batch(others, limits, now.to_owned())?;
        match self.write_batch(session, &batch).await {
            Ok(written) if written.iter().any(|outcome| matches!(outcome, Written::Ignored)) => Ok(None),
            Ok(written) => Ok(Some(written.into_iter().map(|outcome| self.finished(outcome)).collect())),
            Err(error) if errors::may_be_a_rows(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The completions of a finish in groups; `None` if there is none, or a statement per group would not be worth it.
    pub(super) fn completions(&self, items: &[Finish]) -> Result<Option<Vec<Group>>> {
        self.groups(items.iter().filter(|item| is_completion(item)).map(|item| &item.lease))
    }

    /// Leases in groups; `None` if there is none, or a statement per group would not be worth it.
    fn groups<'a>(&self, leases: impl IntoIterator<Item = &'a Lease>) -> Result<Option<Vec<Group>>> {
        let mut keys: HashMap<(FencingToken, StageId), Vec<&Key>> = HashMap::new();
        for lease in leases {
            keys.entry((lease.token, lease.stage)).or_default().push(&lease.key);
        }
        if keys.is_empty() || keys.len() > GROUPS_MAX {
            return Ok(None);
        }
        let group = |((token, stage), keys): ((FencingToken, StageId), Vec<&Key>)| {
            let count = keys.len();
            Ok(Group { token, stage, keys: json(&KeyValue::all(keys, self.pipeline.key_type())?), count })
        };
        keys.into_iter().map(group).collect::<Result<Vec<Group>>>().map(Some)
    }

    fn group_binds(&self, group: &Group, now: &str) -> [Bind; 4] {
        let word = self.pipeline.word(Status::InProgress(group.stage));
        [group.keys.as_str().into(), now.into(), group.token.as_i64().into(), word.into()]
    }

    /// Commits the writes; or rolls them back and begins again, without losing the writer's place.
    pub(super) async fn end_plain<T>(&self, verb: &Verb, mut session: Session, written: Option<T>) -> Result<Ended<T>> {
        let Some(written) = written else {
            session.begin_again().await?;
            return Ok(Ended::Undone(session));
        };
        match session.commit().await {
            Ok(()) => Ok(Ended::Committed(written)),
            Err(error) if errors::may_be_a_rows(&error) => Ok(Ended::Undone(self.write(verb).await?)),
            Err(error) => Err(error),
        }
    }
}

fn is_completion(finish: &Finish) -> bool {
    matches!(finish.outcome, Outcome::Complete)
}

fn is_utf8(row: &SqliteRow) -> bool {
    row.try_get_unchecked::<Vec<u8>, _>(0).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok())
}

/// `None` if an item cannot be taken plainly. By key, invalid UTF-8 shows here; by rowid, only when the row is read.
fn head(stage: StageId, row: &SqliteRow) -> Option<Head> {
    let addresses = row.try_get_unchecked::<Vec<u8>, _>(0).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    let count = rows::integer(row, 1).and_then(|count| usize::try_from(count).ok())?;
    (rows::integer(row, 2) == Some(0)).then_some(Head { stage, addresses, count })
}

/// Whether a statement wrote as many rows as it was to write.
async fn wrote(session: &mut Session, sql: &Sql, binds: impl IntoIterator<Item = Bind>, rows: usize) -> Result<bool> {
    match session.execute(sql, binds).await {
        Ok(written) => Ok(written == rows as u64),
        Err(error) if errors::may_be_a_rows(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
