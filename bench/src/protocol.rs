//! The task of a contender, and its answer. bench/README.md describes them for programs other than this one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::keys_seen;
use crate::number::float;

/// Figures by name; the unit is the last word of the name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The task of a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Work {
    /// Handle every ready item with a handler that does nothing.
    Drain,
    /// The same, with each item claimed and completed by itself, 16 at a time if the contender has that many
    /// connections.
    Small,
    /// Add this many items with new keys.
    Add,
    /// Wait for items; add them from another connection, one by one; measure the time to each one's handler.
    Wake,
    /// Handle every item, which fails three times and then succeeds.
    Retry,
    /// Have many workers wait for items that do not arrive.
    Idle,
    /// Have workers hold all items for a time.
    Alive,
    /// Take this many videos through ffmpeg and the image model.
    Videos,
}

/// The arguments of a contender.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Task {
    #[arg(long, value_enum)]
    pub(crate) work: Work,
    /// The database, created for this run alone: a URL, or a file for SQLite.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) database: String,
    /// The number of items that exist, or that are to be added.
    #[arg(long, default_value_t = 0)]
    pub(crate) items: u64,
    /// Stop after this many items: for contenders that would take hours.
    #[arg(long)]
    pub(crate) take: Option<u64>,
    /// Stages of the pipeline.
    #[arg(long, default_value_t = 1)]
    pub(crate) stages: usize,
    /// Workers in the process.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: u32,
    /// How long to go on, if the work has no end; in a storm of retries, how long an item waits.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) secs: f64,
}

impl Task {
    /// The items to handle, each once.
    pub(crate) fn to_handle(&self) -> u64 {
        self.take.unwrap_or(self.items)
    }
}

/// A line of a contender: a mark, or the answer. The harness reads the server's counters at the marks; without
/// marks, before the contender starts and after it has ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Mark { mark: Mark },
    Answer(Answer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    Begin,
    End,
}

/// A contender's answer at its end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Runs of the handler, or items added: a number larger than that of the items means that one was done twice.
    pub(crate) handled: u64,
    /// Which items those were, as a sum by keys_seen.rs; from contenders of this program.
    #[serde(default)]
    pub(crate) keys_seen: Option<u64>,
    /// From before it connected until everything was written, in seconds since 1970.
    pub(crate) started_at: f64,
    pub(crate) ended_at: f64,
    /// Its own measurements.
    #[serde(default)]
    pub(crate) figures: Figures,
    /// Its settings, for people.
    #[serde(default)]
    pub(crate) settings: String,
}

/// Writes a line for the harness.
pub(crate) fn say(line: &Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Says that the measured part begins or ends, and waits until the harness has read the counters.
pub(crate) fn mark(mark: Mark) -> Result<()> {
    say(&Line::Mark { mark })?;
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Returns when the harness has read its figures for this process.
pub(crate) fn wait_for_dismissal() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Counts handled items, and notes when each tenth of them was done.
#[derive(Debug)]
pub(crate) struct Progress {
    started_at: f64,
    expected: u64,
    handled: AtomicU64,
    keys_seen: AtomicU64,
    counts_keys: AtomicBool,
    first_at: Mutex<Option<Instant>>,
    tenths: Mutex<Vec<Instant>>,
}

impl Progress {
    pub(crate) fn start(expected: u64) -> Progress {
        Progress {
            started_at: unix_now(),
            expected: expected.max(1),
            handled: AtomicU64::new(0),
            keys_seen: AtomicU64::new(0),
            counts_keys: AtomicBool::new(false),
            first_at: Mutex::default(),
            tenths: Mutex::default(),
        }
    }

    /// A handler ran on this item in this stage.
    pub(crate) fn handled_key(&self, key: &str, stage: u64) {
        self.handled_keys([key], stage);
    }

    pub(crate) fn handled_keys<'a>(&self, keys: impl IntoIterator<Item = &'a str>, stage: u64) {
        let (mut count, mut sum) = (0, 0_u64);
        for key in keys {
            count += 1;
            sum = sum.wrapping_add(keys_seen::of_key(key, stage));
        }
        self.keys_seen.fetch_add(sum, Ordering::Relaxed);
        self.counts_keys.store(true, Ordering::Relaxed);
        self.add(count);
    }

    /// This many items were handled, of any keys.
    pub(crate) fn add(&self, items: u64) {
        let before = self.handled.fetch_add(items, Ordering::Relaxed);
        if before == 0 {
            *self.first_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        let tenth = |handled: u64| handled * 10 / self.expected;
        for _ in tenth(before)..tenth(before + items) {
            self.tenths.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        }
    }

    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// The answer of a contender that ends now.
    pub(crate) fn answer(&self, settings: &str) -> Answer {
        let mut figures = Figures::new();
        let tenths = self.tenths.lock().unwrap_or_else(PoisonError::into_inner);
        let first_at = *self.first_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(start), [first, .., ninth, last]) = (first_at, &tenths[..]) {
            let rate = |secs: f64| float(self.expected) / 10.0 / secs.max(1e-6);
            figures.insert("first_tenth_items_per_s".into(), rate((*first - start).as_secs_f64()));
            figures.insert("last_tenth_items_per_s".into(), rate((*last - *ninth).as_secs_f64()));
        }
        Answer {
            handled: self.handled(),
            keys_seen: self.counts_keys.load(Ordering::Relaxed).then(|| self.keys_seen.load(Ordering::Relaxed)),
            started_at: self.started_at,
            ended_at: unix_now(),
            figures,
            settings: settings.to_owned(),
        }
    }
}
