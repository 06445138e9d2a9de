//! The evidence that the auditor reads.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};

use crate::arena::Scene;
use crate::on_either;
use crate::subject::Database;
use crate::subject::log::{self, Event};

/// An item at the end.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ItemRow {
    /// Its key.
    pub id: String,
    /// Its word.
    pub status: Option<String>,
    /// The behaviour that its handler was given.
    pub behaviour: String,
    /// Its retry count.
    pub retry_count: Option<i32>,
    /// Its reset count.
    pub reset_count: Option<i32>,
    /// The last error.
    pub error_message: Option<String>,
}

/// An effect of a handler.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Effect {
    /// The item.
    pub item: String,
    /// The stage's name.
    pub stage: String,
    /// The token under which it was written.
    pub token: i64,
    /// The holder that wrote it.
    pub worker: String,
}

/// One move of one item, recorded by a trigger in the same transaction.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Move {
    /// The moves of one item have rising numbers.
    pub n: i64,
    /// The item.
    pub item: String,
    /// The word before; `None` for an insert.
    pub was: Option<String>,
    /// The word after; `None` for a delete.
    pub became: Option<String>,
    /// The token of the claim that began or, if none did, of the one that ended.
    pub token: Option<i64>,
    /// Who claimed the item last.
    pub holder: Option<String>,
    /// The heartbeat before the move.
    pub heartbeat_at: Option<DateTime<Utc>>,
    /// The retry count after it.
    pub retries: Option<i32>,
    /// The reset count after it.
    pub resets: Option<i32>,
    /// The error after it.
    pub error: Option<String>,
    /// The time of the move.
    pub at: DateTime<Utc>,
}

/// A time in which one worker, or all of them, were dead, stopped or cut off.
#[derive(Debug, Clone)]
pub struct Affliction {
    /// The worker; `None` means all of them.
    pub holder: Option<String>,
    /// The beginning.
    pub from: DateTime<Utc>,
    /// The end; `None` means for ever.
    pub until: Option<DateTime<Utc>>,
    /// When the worker was known to be dead, if it died: some time after `from`, if it died by itself.
    pub dead_by: Option<DateTime<Utc>>,
}

impl Affliction {
    /// Whether it held up this worker at some moment between these two times.
    pub fn touches(&self, holder: Option<&str>, from: DateTime<Utc>, until: DateTime<Utc>) -> bool {
        let whom = self.holder.is_none() || self.holder.as_deref() == holder;
        whom && self.from <= until && self.until.is_none_or(|end| end >= from)
    }
}

/// An operator's verb. Nothing else makes its move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// To `CANCELLED`.
    Cancel,
    /// From a terminal word to a ready one.
    Requeue,
}

/// An operator's verb's answer for one item.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The item.
    pub item: String,
    /// The verb.
    pub verb: Verb,
    /// Whether it reported a move of the item.
    pub moved: bool,
}

/// The log of one worker's process.
#[derive(Debug, Clone)]
pub struct WorkerLog {
    /// The name under which the worker claimed.
    pub holder: String,
    /// Its events.
    pub events: Vec<Event>,
}

/// All evidence that the auditor uses.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// How many items there were.
    pub items_added: usize,
    /// The items at the end.
    pub items: Vec<ItemRow>,
    /// All effects.
    pub effects: Vec<Effect>,
    /// All moves, by number.
    pub moves: Vec<Move>,
    /// Items that the log of failures names.
    pub explained: HashSet<String>,
    /// The workers' logs.
    pub logs: Vec<WorkerLog>,
    /// The harm done, and to whom.
    pub afflictions: Vec<Affliction>,
    /// Items that were edited by hand: any move of theirs is allowed.
    pub edited: HashSet<String>,
    /// Numbers of moves that were made by hand: no holder's, whatever they look like.
    pub moves_by_hand: HashSet<i64>,
    /// The answers to operators' verbs, if there were operators.
    pub answers: Vec<Answer>,
    /// Items that must end `FAILED`, whatever their behaviour.
    pub doomed: HashSet<String>,
    /// The age from which on a lease is stale.
    pub stale_after: Duration,
    /// The longest run of a handler.
    pub timeout: Duration,
    /// Only the items themselves harmed the workers.
    pub only_items_harm: bool,
    /// No retry and no reset may have been counted.
    pub nothing_counted: bool,
    /// The database answered all the time, and every live holder renewed its leases.
    pub the_living_keep_their_leases: bool,
    /// What a dead holder held must be taken back within this time. `None` if too much was wrong to promise a time.
    pub taken_back_within: Option<Duration>,
    /// The longest time without a completion between the first and the last one. `None` if at times no worker could
    /// work.
    pub no_standstill_of: Option<Duration>,
    /// When the suite gave up waiting for items to end, if it did.
    pub given_up_at: Option<DateTime<Utc>>,
    /// The log of failures was damaged, and need not name each failed item.
    pub log_of_failures_is_harmed: bool,
}

impl Evidence {
    /// Reads the evidence.
    pub(crate) async fn read(scene: &Scene) -> Result<Evidence> {
        let mut evidence = Evidence {
            items_added: scene.items_added(),
            afflictions: scene.fleet.afflictions().to_vec(),
            edited: scene.edited.iter().cloned().collect(),
            moves_by_hand: scene.moves_by_hand.iter().copied().collect(),
            answers: scene.answers.clone(),
            doomed: scene.doomed.iter().cloned().collect(),
            stale_after: scene.cast.stale_after,
            timeout: scene.cast.timeout,
            only_items_harm: scene.only_items_harm,
            nothing_counted: scene.nothing_counted,
            the_living_keep_their_leases: scene.the_living_keep_their_leases,
            taken_back_within: scene.taken_back_within,
            no_standstill_of: scene.no_standstill_of,
            given_up_at: scene.given_up_at,
            log_of_failures_is_harmed: scene.log_of_failures_is_harmed,
            ..Evidence::of_tables(&scene.database).await?
        };
        for file in scene.fleet.logs() {
            let events = if file.exists() { log::read(file)? } else { Vec::new() };
            // A process that was killed before it could log its name has logged nothing else.
            if let Some(Event::Started { holder, .. }) = events.first() {
                evidence.logs.push(WorkerLog { holder: holder.clone(), events });
            }
        }
        Ok(evidence)
    }

    /// The evidence from the database alone.
    pub(crate) async fn of_tables(database: &Database) -> Result<Evidence> {
        let items = "select id, status, behaviour, retry_count, reset_count, error_message from items";
        let effects = "select item, stage, token, worker from effects";
        let moves = "select n, item, was, became, token, holder, heartbeat_at, retries, resets, error, at \
                     from moves order by n";
        let failures = "select distinct item from rowlock_failures";
        let mut evidence = Evidence::default();
        on_either!(database, pool => {
            evidence.items = sqlx::query_as(items).fetch_all(pool).await?;
            evidence.effects = sqlx::query_as(effects).fetch_all(pool).await?;
            evidence.moves = sqlx::query_as(moves).fetch_all(pool).await?;
            let explained: Vec<String> = sqlx::query_scalar(failures).fetch_all(pool).await?;
            evidence.explained = explained.into_iter().collect();
        });
        Ok(evidence)
    }

    /// The moves of each item, in order.
    pub fn moves_by_item(&self) -> HashMap<&str, Vec<&Move>> {
        let mut by_item: HashMap<&str, Vec<&Move>> = HashMap::new();
        for one in &self.moves {
            by_item.entry(&one.item).or_default().push(one);
        }
        by_item
    }
}
