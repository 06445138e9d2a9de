//! The progress of a run, counted by the handlers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use tokio::sync::Notify;

use crate::task::{Answer, Work};

/// How long nothing may happen. A peer that stands still ends with an error.
const STILL_MAX: Duration = Duration::from_secs(120);

/// Counts runs of the handler; notes when each tenth was done, and how long each job of a wake took.
#[derive(Debug)]
pub struct Progress {
    work: Work,
    expected: u64,
    started_at: f64,
    handled: AtomicU64,
    awaited: AtomicU64,
    reached: Notify,
    first_at: Mutex<Option<Instant>>,
    tenths: Mutex<Vec<Instant>>,
    sent_at: Mutex<Option<Instant>>,
    wakes_ms: Mutex<Vec<f64>>,
}

impl Progress {
    /// The clock runs from now on.
    pub fn start(expected: u64, work: Work) -> Progress {
        Progress {
            work,
            expected: expected.max(1),
            started_at: unix_now(),
            handled: AtomicU64::new(0),
            awaited: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            first_at: Mutex::default(),
            tenths: Mutex::default(),
            sent_at: Mutex::default(),
            wakes_ms: Mutex::default(),
        }
    }

    /// A handler runs: this is all that a handler does.
    pub fn handled(&self) {
        if self.work == Work::Wake
            && let Some(sent_at) = locked(&self.sent_at).take()
        {
            locked(&self.wakes_ms).push(sent_at.elapsed().as_secs_f64() * 1000.0);
        }
        self.count(1);
    }

    /// This many jobs were handled, or added.
    pub fn count(&self, jobs: u64) {
        let before = self.handled.fetch_add(jobs, Ordering::SeqCst);
        if before == 0 {
            *locked(&self.first_at) = Some(Instant::now());
        }
        let tenth = |handled: u64| handled.min(self.expected) * 10 / self.expected;
        for _ in tenth(before)..tenth(before + jobs) {
            locked(&self.tenths).push(Instant::now());
        }
        if before + jobs >= self.awaited.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }

    /// Runs of the handler so far.
    pub fn count_handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }

    /// As many handlers ran as required.
    pub fn is_done(&self) -> bool {
        self.count_handled() >= self.expected
    }

    /// A job is about to be added, for which a worker has to wake up.
    pub(crate) fn sent(&self) {
        *locked(&self.sent_at) = Some(Instant::now());
    }

    /// Returns once this many handlers have run.
    pub(crate) async fn wait_for(&self, jobs: u64) -> Result<()> {
        self.awaited.store(jobs, Ordering::SeqCst);
        let mut before = self.count_handled();
        while before < jobs {
            let waited = tokio::time::timeout(STILL_MAX, self.reached.notified()).await;
            let now = self.count_handled();
            ensure!(waited.is_ok() || now > before, "nothing happened in {STILL_MAX:?}, after {now} of {jobs} jobs");
            before = now;
        }
        Ok(())
    }

    /// The answer of a run that ends now.
    pub(crate) fn answer(&self, settings: String) -> Answer {
        let mut figures = BTreeMap::new();
        let first_at = *locked(&self.first_at);
        if matches!(self.work, Work::Drain | Work::Small)
            && let (Some(start), [first, .., ninth, last]) = (first_at, &locked(&self.tenths)[..])
        {
            let rate = |time: Duration| float(self.expected) / 10.0 / time.as_secs_f64().max(1e-6);
            figures.insert("first_tenth_items_per_s", rate(*first - start));
            figures.insert("last_tenth_items_per_s", rate(*last - *ninth));
        }
        if self.work == Work::Wake {
            let wakes_ms = locked(&self.wakes_ms);
            figures.insert("wake_p50_ms", percentile(&wakes_ms, 0.5));
            figures.insert("wake_p99_ms", percentile(&wakes_ms, 0.99));
        }
        Answer { handled: self.count_handled(), started_at: self.started_at, ended_at: unix_now(), figures, settings }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The value below which this share of them lies, interpolated: as in the harness.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share * float(last as u64);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}
