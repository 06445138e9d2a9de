//! How long a storm of retries was busy: each attempt of all items is a pass, and between two passes all of them wait.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::number::float;

/// How often each item fails.
pub(super) const FAILURES: i32 = 3;

/// Runs of each item: those that fail, and one that succeeds.
pub(crate) const RUNS: usize = 4;

/// The first and the last run of the handler in each pass.
#[derive(Debug, Default)]
pub(super) struct Passes {
    spans: Mutex<[Option<(Instant, Instant)>; RUNS]>,
}

impl Passes {
    /// A handler ran on an item that had failed this often.
    pub(super) fn ran(&self, failures: i32) {
        let now = Instant::now();
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(span) = usize::try_from(failures).ok().and_then(|pass| spans.get_mut(pass)) {
            let first = span.map_or(now, |(first, _)| first);
            *span = Some((first, now));
        }
    }

    /// Runs of the handler a second, without the time in which all items waited.
    pub(super) fn busy_items_per_s(&self, runs: u64) -> f64 {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let busy: f64 = spans.iter().flatten().map(|(first, last)| (*last - *first).as_secs_f64()).sum();
        float(runs) / busy.max(1e-6)
    }
}
