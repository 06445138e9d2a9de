//! Errors of the worker's calls in the log: an outage is logged when it begins and when it ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Error;

/// Errors of one kind of call: logged when they begin and when they end, not each time.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    since: Option<Instant>,
    recent: VecDeque<String>,
}

impl Errors {
    /// Notes an error, and logs it if it is new.
    pub(crate) fn met(&mut self, what: &str, error: &Error) {
        self.since.get_or_insert_with(Instant::now);
        let text = error.to_string();
        if self.recent.contains(&text) {
            tracing::debug!(what, error = text, "still failing");
            return;
        }
        tracing::error!(what, error = text, transient = error.is_transient(), "failed; will be tried again");
        self.recent.push_back(text);
        if self.recent.len() > ERRORS_REMEMBERED_MAX {
            self.recent.pop_front();
        }
    }

    /// Notes a success.
    pub(crate) fn passed(&mut self, what: &str) {
        if let Some(since) = self.since.take() {
            tracing::info!(what, after_ms = since.elapsed().as_millis(), "works again");
            self.recent.clear();
        }
    }

    /// The state after an outage of this length.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn failing_for(lasted: Duration) -> Errors {
        Errors { since: Instant::now().checked_sub(lasted), recent: VecDeque::new() }
    }

    /// For how long calls have failed.
    pub(crate) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// How many different errors of one outage are logged only once: an outage shows in a few ways.
const ERRORS_REMEMBERED_MAX: usize = 8;
