//! Errors of the worker's calls in the log: an outage is told when it begins and when it ends.

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
    /// Notes an error; logs it if it is a new one.
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

    /// As they are after an outage that has lasted for this long.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn failing_for(lasted: Duration) -> Errors {
        Errors { since: Instant::now().checked_sub(lasted), recent: VecDeque::new() }
    }

    /// For how long it has failed.
    pub(crate) fn lasted(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Different errors of one outage that are logged once: an outage shows itself in a few ways.
const ERRORS_REMEMBERED_MAX: usize = 8;
