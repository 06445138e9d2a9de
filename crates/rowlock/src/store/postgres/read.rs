//! Reading: `get`, `list`, `counts`, `explain`, `failures`, `held`, `now`.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;

use super::asked_key::asked_key;
use super::encoding::is_illegible;
use super::errors::{is_about_a_value, may_be_a_rows};
use super::rows::{column, item_row, key, time};
use super::session::query;
use super::store::PostgresStore;
use crate::limits::{PAGE_ITEMS_MAX, UNKNOWN_WORDS_MAX};
use crate::pipeline::Status;
use crate::store::explanation::is_stale;
use crate::store::params::{count_limit, row_limit};
use crate::store::{
    CountParams, Counts, Explanation, FailureRecord, HeldItem, ItemRow, Limits, ListParams, Page, StageCounts,
    StatusCount,
};
use crate::{Error, Fault, Key, Result};

impl PostgresStore {
    pub(super) async fn get_item(&self, item: &Key) -> Result<Option<ItemRow<PgRow>>> {
        let Ok(asked) = asked_key(item, self.pipeline.key_type()) else { return Ok(None) };
        let mut session = self.sessions.open("get").await?;
        let mut rows = session.fetch(query(&self.statements.get).bind(&*asked)).await;
        let is_missing = rows.as_ref().is_ok_and(Vec::is_empty);
        if asked.is_ascii() && is_illegible(&rows) || is_missing && self.may_be_shown(&asked) {
            // Invalid text in the first case may still be a row in the second, in a database with that encoding.
            rows = match Box::pin(self.get_as_shown(&mut session, &asked)).await {
                Err(error) if is_missing && may_be_a_rows(&error) => Ok(Vec::new()),
                answer => answer,
            };
        }
        let rows = none_if_unreadable(&asked, rows)?;
        session.done();
        rows.into_iter().next().map(|row| item_row("get", &self.pipeline, row)).transpose()
    }

    pub(super) async fn list_items(&self, listing: &ListParams) -> Result<Page<PgRow>> {
        let limit = row_limit(listing.limit, PAGE_ITEMS_MAX);
        let after = listing.after.as_ref().map(|after| self.page_start(after)).transpose()?;
        let statements = &self.statements;
        let (sql, legible) = match listing.status {
            Some(Status::Failed | Status::Cancelled) => (&statements.list_stopped, &statements.list_stopped_legible),
            Some(Status::InProgress(_)) => (&statements.list_running, &statements.list_running_legible),
            Some(Status::Ready(_) | Status::Succeeded) | None => (&statements.list, &statements.list_legible),
        };
        let statement = |sql| {
            query(sql)
                .bind(listing.status.map(|status| self.pipeline.word(status).to_owned()))
                .bind(after.clone())
                // One more than asked for, to tell whether this is the last page.
                .bind(limit + 1)
        };
        let mut session = self.sessions.open("list").await?;
        let mut rows = session.fetch(statement(sql)).await;
        if is_illegible(&rows) {
            tracing::warn!(table = %self.pipeline.table(), "rows with bytes that are no UTF-8 are left out of a list");
            rows = session.fetch(statement(legible)).await;
        }
        let rows = rows?;
        session.done();
        let shown = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = rows.len() <= shown;
        let items = rows
            .into_iter()
            .take(shown)
            .map(|row| item_row("list", &self.pipeline, row))
            .collect::<Result<Vec<_>>>()?;
        let next = items.last().filter(|_| !is_last).map(|item| item.key.clone());
        Ok(Page { items, next })
    }

    /// The key after which a page begins.
    fn page_start(&self, after: &Key) -> Result<String> {
        asked_key(after, self.pipeline.key_type()).map_err(|rule| Error::InvalidArgument {
            argument: "after",
            value: after.to_string(),
            rule,
        })
    }

    pub(super) async fn count_items(&self, counting: &CountParams) -> Result<Counts> {
        let up_to = count_limit(counting.up_to);
        // One more than reported, to tell whether there are more.
        let limit = up_to.saturating_add(1);
        let stages = self.pipeline.stages().iter();
        let (ready, running): (Vec<String>, Vec<String>) =
            stages.map(|stage| (stage.ready_word().to_owned(), stage.running_word().to_owned())).unzip();
        let mut session = self.sessions.open("counts").await?;
        let (found, stage_rows) = if counting.unfinished_only {
            let unfinished =
                query(&self.statements.unfinished).bind(limit).bind(ready).bind(running).bind(counting.now);
            let rows = session.fetch(unfinished).await?;
            (self.unfinished_counts(&rows, limit)?, rows)
        } else {
            let rows = session.fetch(query(&self.statements.counts).bind(limit).bind(UNKNOWN_WORDS_MAX)).await?;
            let found = rows.iter().map(|row| self.counted_word(row, limit)).collect::<Result<_>>()?;
            let stage_counts = query(&self.statements.stage_counts).bind(ready).bind(running).bind(counting.now);
            let stage_counts = stage_counts.bind(limit);
            (found, session.fetch(stage_counts).await?)
        };
        session.done();
        let mut stages = Vec::new();
        for (stage, row) in self.pipeline.stage_ids().zip(&stage_rows) {
            stages.push(StageCounts {
                stage,
                paused: column("counts", row, "paused")?,
                oldest_ready_since: time("counts", row, "oldest_ready_since")?,
                next_due_at: time("counts", row, "next_due_at")?,
                never_due: column::<i64>("counts", row, "never_due")?.min(up_to),
                oldest_heartbeat_at: time("counts", row, "oldest_heartbeat_at")?,
            });
        }
        let at = column("counts", first("counts", &stage_rows)?, "at")?;
        Ok(Counts { at, statuses: self.status_counts(found), stages })
    }

    /// The counts of the statement `unfinished`, one row per stage.
    fn unfinished_counts(&self, rows: &[PgRow], limit: i64) -> Result<Vec<StatusCount>> {
        let mut found = Vec::with_capacity(rows.len() * 2);
        for (stage, row) in self.pipeline.stages().iter().zip(rows) {
            let (ready, running) = (stage.ready_word().to_owned(), stage.running_word().to_owned());
            found.push(self.status_count(ready, column("counts", row, "ready_count")?, limit));
            found.push(self.status_count(running, column("counts", row, "running_count")?, limit));
        }
        Ok(found)
    }

    /// Each status of the pipeline, even without items; then the words that it does not know.
    fn status_counts(&self, found: Vec<StatusCount>) -> Vec<StatusCount> {
        let (mut known, mut unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|count| count.status.is_some());
        for status in self.pipeline.statuses() {
            if !known.iter().any(|count| count.status == Some(status)) {
                let word = self.pipeline.word(status).to_owned();
                known.push(StatusCount { status: Some(status), word, count: 0, at_least: false });
            }
        }
        let words = self.pipeline.words();
        known.sort_by_key(|count| words.iter().position(|word| *word == count.word));
        unknown.retain(|count| count.count > 0);
        known.extend(unknown);
        known
    }

    /// A row of the statement `counts`.
    fn counted_word(&self, row: &PgRow, limit: i64) -> Result<StatusCount> {
        let word = column::<Option<String>>("counts", row, "word")?.unwrap_or_default();
        Ok(self.status_count(word, column("counts", row, "count")?, limit))
    }

    fn status_count(&self, word: String, count: i64, limit: i64) -> StatusCount {
        let at_least = count >= limit;
        StatusCount {
            status: self.pipeline.status(&word),
            word,
            count: if at_least { limit - 1 } else { count },
            at_least,
        }
    }

    pub(super) async fn explain_item(&self, item: &Key, now: Option<DateTime<Utc>>) -> Result<Option<Explanation>> {
        let Ok(asked) = asked_key(item, self.pipeline.key_type()) else { return Ok(None) };
        let mut session = self.sessions.open("explain").await?;
        let answer = session.fetch(query(&self.statements.explain).bind(&*asked).bind(now)).await;
        let rows = none_if_unreadable(&asked, answer)?;
        let locked = match rows.first() {
            // A standby and a read-only transaction lock nothing, so the lock is unknown there.
            Some(_) if !self.sessions.is_read_only() => {
                session.fetch(query(&self.statements.probe_lock).bind(&*asked)).await?.is_empty()
            }
            _ => false,
        };
        session.done();
        rows.first().map(|row| self.explanation(row, locked)).transpose()
    }

    fn explanation(&self, row: &PgRow, locked: bool) -> Result<Explanation> {
        const VERB: &str = "explain";
        let word = column::<Option<String>>(VERB, row, "word")?.unwrap_or_default();
        let key = key(VERB, row, "rowlock_key")?;
        let resume: Option<String> = column(VERB, row, "resume")?;
        Ok(Explanation {
            unreadable: Vec::new(),
            at: column(VERB, row, "at")?,
            status: self.pipeline.status(&word),
            word,
            retry_count: column::<Option<i32>>(VERB, row, "retry_count")?.unwrap_or_default(),
            reset_count: column::<Option<i32>>(VERB, row, "reset_count")?.unwrap_or_default(),
            retry_after: time(VERB, row, "retry_after")?,
            created_at: time(VERB, row, "created_at")?,
            error: column(VERB, row, "error")?,
            holder: column(VERB, row, "holder")?,
            claimed_at: time(VERB, row, "claimed_at")?,
            heartbeat_at: time(VERB, row, "heartbeat_at")?,
            resume: resume.and_then(|word| self.pipeline.status(&word)),
            paused: column(VERB, row, "paused")?,
            unwanted: !column::<Option<bool>>(VERB, row, "wanted")?.unwrap_or_default(),
            locked,
            excluded: self.exclusions.contains(&key),
            limits: Limits { max_retries: self.pipeline.max_retries(), max_resets: self.pipeline.max_resets() },
            stale_after: self.pipeline.stale_after(),
            key,
        })
    }

    pub(super) async fn failure_records(&self, item: &Key) -> Result<Vec<FailureRecord>> {
        const VERB: &str = "failures";
        let Ok(asked) = asked_key(item, self.pipeline.key_type()) else { return Ok(Vec::new()) };
        let mut session = self.sessions.open(VERB).await?;
        let rows = none_if_unreadable(&asked, session.fetch(query(&self.statements.failures).bind(&*asked)).await)?;
        session.done();
        let record = |row: &PgRow| {
            Ok(FailureRecord {
                at: column(VERB, row, "failed_at")?,
                word: column(VERB, row, "word")?,
                cause: column(VERB, row, "cause")?,
                holder: column(VERB, row, "holder")?,
                error: column::<Option<String>>(VERB, row, "error")?.unwrap_or_default(),
            })
        };
        rows.iter().map(record).collect()
    }

    pub(super) async fn held_items(&self, limit: usize) -> Result<Vec<HeldItem>> {
        const VERB: &str = "held";
        let limit = row_limit(limit, PAGE_ITEMS_MAX);
        let mut session = self.sessions.open(VERB).await?;
        let rows = session.fetch(query(&self.statements.held).bind(limit)).await?;
        session.done();
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let word: String = column(VERB, row, "word")?;
            let Some(stage) = self.pipeline.status(&word).and_then(|status| status.stage()) else { continue };
            let heartbeat_at = time(VERB, row, "heartbeat_at")?;
            items.push(HeldItem {
                key: key(VERB, row, "key")?,
                stage,
                holder: column(VERB, row, "holder")?,
                claimed_at: time(VERB, row, "claimed_at")?,
                heartbeat_at,
                stale: is_stale(heartbeat_at, column(VERB, row, "at")?, self.pipeline.stale_after()),
            });
        }
        Ok(items)
    }

    pub(super) async fn database_time(&self) -> Result<DateTime<Utc>> {
        let mut session = self.sessions.open("now").await?;
        let rows = session.fetch(query(&self.statements.now)).await?;
        session.done();
        column("now", first("now", &rows)?, "now")
    }
}

/// No rows if the server cannot read the key at all, because its encoding lacks the characters: no item has it. It can
/// read ASCII; then it complains of another value.
fn none_if_unreadable(asked: &str, answer: Result<Vec<PgRow>>) -> Result<Vec<PgRow>> {
    match answer {
        Err(error) if !asked.is_ascii() && is_about_a_value(&error) => Ok(Vec::new()),
        answer => answer,
    }
}

/// The row of a statement that always returns one.
fn first<'a>(verb: &'static str, rows: &'a [PgRow]) -> Result<&'a PgRow> {
    rows.first().ok_or(Error::Database { verb, fault: Fault::Lasting, source: sqlx::Error::RowNotFound })
}
