//! Reading: `get`, `list`, `counts`, `explain`, `failures`, `held`, `now`.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::items::KeyValue;
use super::session::{Bind, Session, Verb};
use super::store::SqliteStore;
use super::{clock, rows};
use crate::limits::{FAILURES_KEPT_MAX, PAGE_ITEMS_MAX, UNKNOWN_WORDS_MAX};
use crate::pipeline::{Role, StageId, Status};
use crate::store::explanation::is_stale;
use crate::store::params::{count_limit, row_limit};
use crate::store::{
    CountParams, Counts, Explanation, FailureRecord, HeldItem, ItemRow, Limits, ListParams, Page, StageCounts,
    StatusCount,
};
use crate::{Error, Key, Result};

impl SqliteStore {
    pub(super) async fn get_item(&self, verb: &Verb, key: &Key) -> Result<Option<ItemRow<SqliteRow>>> {
        let Ok(key) = KeyValue::asked(key, self.pipeline.key_type()) else { return Ok(None) };
        let mut session = self.read(verb).await?;
        let rows = session.rows(&self.statements.get, [key.into()]).await?;
        session.roll_back().await?;
        Ok(rows.into_iter().next().map(|row| rows::item(&self.pipeline, row)))
    }

    pub(super) async fn list_items(&self, verb: &Verb, listing: &ListParams) -> Result<Page<SqliteRow>> {
        let limit = row_limit(listing.limit, PAGE_ITEMS_MAX);
        if limit == 0 {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let after = listing.after.as_ref().map(|key| KeyValue::new(key, self.pipeline.key_type())).transpose()?;
        let word = listing.status.map(|status| self.pipeline.word(status));
        let statements = &self.statements;
        let (start, next) = match listing.status {
            Some(Status::InProgress(_)) => (&statements.list_running, &statements.list_running_after),
            Some(Status::Failed | Status::Cancelled) => (&statements.list_stopped, &statements.list_stopped_after),
            Some(Status::Ready(_) | Status::Succeeded) | None => (&statements.list_any, &statements.list_any_after),
        };
        let sql = if after.is_none() { start } else { next };
        // One more than asked for, to tell whether there is a next page.
        let binds = [Bind::from(word), Bind::from(limit + 1)].into_iter().chain(after.map(Bind::from));
        let mut session = self.read(verb).await?;
        let rows = session.rows(sql, binds).await?;
        session.roll_back().await?;
        let mut items: Vec<_> = rows.into_iter().map(|row| rows::item(&self.pipeline, row)).collect();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_next = items.len() > limit;
        items.truncate(limit);
        let next = if has_next { items.last().map(|item| item.key.clone()) } else { None };
        Ok(Page { items, next })
    }

    pub(super) async fn count_items(&self, verb: &Verb, counting: &CountParams) -> Result<Counts> {
        let mut session = self.read(verb).await?;
        let now = self.time(&mut session, counting.now).await?;
        let paused = self.read_paused(&mut session).await?;
        let up_to = count_limit(counting.up_to);
        // One more than reported, to tell whether there are more.
        let limit = up_to.saturating_add(1);
        let count = |status: Option<Status>, word: &str, count: i64| StatusCount {
            status,
            word: word.to_owned(),
            count: count.min(up_to),
            at_least: count > up_to,
        };
        let mut statuses = Vec::new();
        let mut stages = Vec::new();
        for id in self.pipeline.stage_ids() {
            let stage = self.pipeline.stage(id);
            let ready = [stage.ready_word().into(), limit.into(), now.as_str().into()];
            let ready = one(session.rows(&self.statements.count_ready, ready).await?)?;
            let running = [stage.running_word().into(), limit.into()];
            let running = one(session.rows(&self.statements.count_running, running).await?)?;
            let number = |row| rows::integer(row, 0).unwrap_or(0);
            statuses.push(count(Some(Status::Ready(id)), stage.ready_word(), number(&ready)));
            statuses.push(count(Some(Status::InProgress(id)), stage.running_word(), number(&running)));
            stages.push(StageCounts {
                stage: id,
                paused: paused.contains(&id),
                oldest_ready_since: rows::time(&ready, 1),
                next_due_at: rows::time(&ready, 2),
                never_due: rows::integer(&ready, 3).unwrap_or(0).min(up_to),
                oldest_heartbeat_at: rows::time(&running, 1),
            });
        }
        let (succeeded, stopped, strange) = if counting.unfinished_only {
            (0, Vec::new(), Vec::new())
        } else {
            let succeeded = one(session.rows(&self.statements.count_succeeded, [limit.into()]).await?)?;
            let succeeded = rows::integer(&succeeded, 0).unwrap_or(0);
            let stopped = self.count_stopped(&mut session, limit).await?.into_iter();
            let stopped: Vec<_> = stopped.map(|(word, number)| (word.unwrap_or_default(), number)).collect();
            (succeeded, stopped, self.count_strange(&mut session, limit).await?)
        };
        session.roll_back().await?;
        statuses.push(count(Some(Status::Succeeded), self.pipeline.word(Status::Succeeded), succeeded));
        for status in [Status::Failed, Status::Cancelled] {
            let word = self.pipeline.word(status);
            let number = stopped.iter().filter(|(found, _)| found == word).map(|(_, number)| number).sum();
            statuses.push(count(Some(status), word, number));
        }
        let unknown = stopped.iter().filter(|(word, number)| *number > 0 && self.pipeline.status(word).is_none());
        statuses.extend(unknown.map(|(word, number)| count(None, word, *number)));
        statuses.extend(strange.iter().map(|(word, number)| count(None, word, *number)));
        Ok(Counts { at: clock::parse(&now).unwrap_or_default(), statuses, stages })
    }

    /// The words of items that failed, were cancelled or are unknown, with their counts; null is one of them.
    pub(super) async fn count_stopped(&self, session: &mut Session, limit: i64) -> Result<Vec<(Option<String>, i64)>> {
        let rows = session.rows(&self.statements.count_stopped, [limit.into(), UNKNOWN_WORDS_MAX.into()]).await?;
        let counted = |row: &SqliteRow| (rows::text(row, 0), rows::integer(row, 1).unwrap_or(0));
        Ok(rows.iter().map(counted).collect())
    }

    /// Rows that have a word of the pipeline and yet are no items, by their description.
    async fn count_strange(&self, session: &mut Session, limit: i64) -> Result<Vec<(String, i64)>> {
        let mut strange = Vec::new();
        for stage in self.pipeline.stages() {
            for (word, sql) in [
                (stage.ready_word(), &self.statements.count_strange_ready),
                (stage.running_word(), &self.statements.count_strange_running),
            ] {
                let row = one(session.rows(sql, [word.into(), limit.into()]).await?)?;
                let count = rows::integer(&row, 0).unwrap_or(0);
                if count > 0 {
                    strange.push((format!("{word} (with a key that makes no item)"), count));
                }
            }
        }
        Ok(strange)
    }

    pub(super) async fn explain_item(
        &self,
        verb: &Verb,
        key: &Key,
        now: Option<DateTime<Utc>>,
    ) -> Result<Option<Explanation>> {
        let Ok(key) = KeyValue::asked(key, self.pipeline.key_type()) else { return Ok(None) };
        let mut session = self.read(verb).await?;
        let now = self.time(&mut session, now).await?;
        let paused = self.read_paused(&mut session).await?;
        let rows = session.rows(&self.statements.explain, [key.into()]).await?;
        session.roll_back().await?;
        Ok(rows.first().map(|row| self.explanation(row, &now, &paused)))
    }

    fn explanation(&self, row: &SqliteRow, now: &str, paused: &[StageId]) -> Explanation {
        let reader = rows::RoleReader::new(&self.pipeline, row);
        let (key, status) = (reader.key(), reader.status());
        // The last columns are the times as the claim and the sweep read them, and whether the row is wanted.
        let wanted = row.len() - 1;
        let first = wanted - 3;
        let roles = [Role::RetryAfter, Role::CreatedAt, Role::Heartbeat];
        let [retry_after, created_at, heartbeat_at] =
            [0, 1, 2].map(|place| clock::Reading::of(rows::text(row, first + place).as_deref()));
        let unreadable = roles
            .into_iter()
            .zip([retry_after, created_at, heartbeat_at])
            .filter(|(_, reading)| *reading == clock::Reading::Unreadable)
            .map(|(role, _)| (role, reader.text(role).unwrap_or_default()))
            .collect();
        Explanation {
            unreadable,
            excluded: self.exclusions.contains(&key),
            key,
            at: clock::parse(now).unwrap_or_default(),
            status,
            word: reader.word(),
            retry_count: reader.count(Role::RetryCount),
            reset_count: reader.count(Role::ResetCount),
            retry_after: retry_after.at(),
            created_at: created_at.at(),
            error: reader.text(Role::ErrorMessage),
            holder: reader.text(Role::ClaimedBy),
            claimed_at: reader.time(Role::ClaimedAt),
            heartbeat_at: heartbeat_at.at(),
            resume: reader.text(Role::ResumeStatus).and_then(|word| self.pipeline.status(&word)),
            paused: status.and_then(Status::stage).is_some_and(|stage| paused.contains(&stage)),
            unwanted: rows::integer(row, wanted) != Some(1),
            locked: false,
            limits: Limits { max_retries: self.pipeline.max_retries(), max_resets: self.pipeline.max_resets() },
            stale_after: self.pipeline.stale_after(),
        }
    }

    pub(super) async fn read_failures(&self, verb: &Verb, key: &Key) -> Result<Vec<FailureRecord>> {
        let Ok(key) = KeyValue::asked(key, self.pipeline.key_type()) else { return Ok(Vec::new()) };
        let kept = i64::try_from(FAILURES_KEPT_MAX).unwrap_or(i64::MAX);
        let mut session = self.read_session(verb).await?;
        let rows = session.rows(&self.statements.failures, [key.into(), kept.into()]).await?;
        session.keep();
        let record = |row: &SqliteRow| FailureRecord {
            at: rows::time(row, 0).unwrap_or_default(),
            word: rows::text(row, 1).unwrap_or_default(),
            cause: rows::text(row, 2).unwrap_or_default(),
            holder: rows::text(row, 3),
            error: rows::text(row, 4).unwrap_or_default(),
        };
        Ok(rows.iter().map(record).collect())
    }

    pub(super) async fn held_items(&self, verb: &Verb, limit: usize) -> Result<Vec<HeldItem>> {
        let limit = row_limit(limit, PAGE_ITEMS_MAX);
        let mut session = self.read_session(verb).await?;
        let at = clock::parse(&self.time(&mut session, None).await?).unwrap_or_default();
        let rows = session.rows(&self.statements.held, [limit.into()]).await?;
        session.keep();
        let held = |row: &SqliteRow| {
            let stage = self.pipeline.status(&rows::text(row, 1)?)?.stage()?;
            let heartbeat_at = rows::time(row, 4);
            Some(HeldItem {
                key: Key::new(rows::text(row, 0)?),
                stage,
                holder: rows::text(row, 2),
                claimed_at: rows::time(row, 3),
                heartbeat_at,
                stale: is_stale(heartbeat_at, at, self.pipeline.stale_after()),
            })
        };
        Ok(rows.iter().filter_map(held).collect())
    }

    pub(super) async fn read_clock(&self, verb: &Verb) -> Result<DateTime<Utc>> {
        let mut session = self.read_session(verb).await?;
        let now = self.time(&mut session, None).await?;
        session.keep();
        Ok(clock::parse(&now).unwrap_or_default())
    }
}

fn one(rows: Vec<SqliteRow>) -> Result<SqliteRow> {
    rows.into_iter().next().ok_or(Error::Database {
        verb: "counts",
        fault: crate::Fault::Lasting,
        source: sqlx::Error::RowNotFound,
    })
}
