//! Limits, and the policies by which failed items wait.

use std::time::Duration;

use rowlock::{Budget, RetryPolicy};

use super::Limits;
use super::keys::{LIMITS, RETRY};
use super::problem::Span;
use super::reader::{Entry, Reader};

const RETRY_RULE: &str = "a retry policy is { kind = \"exponential\", base = \"60s\", cap = \"1h\" }, \
                          { kind = \"constant\", delay = \"30s\" } or \
                          { kind = \"listed\", delays = [\"10s\", \"5m\"] }, each with jitter = 0.25 and \
                          floor = \"10s\" if wanted";

/// How the delay of a retry policy grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exponential,
    Constant,
    Listed,
}

impl Kind {
    /// The keys of this kind, besides those of every kind.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::Exponential => &["base", "cap"],
            Kind::Constant => &["delay"],
            Kind::Listed => &["delays"],
        }
    }
}

impl Reader {
    pub(super) fn limits(&mut self, entry: &Entry<'_>) -> Limits {
        let mut limits = Limits::default();
        let Some(table) = self.table(entry, "write it as a table: [limits], and below it max_retries = 5") else {
            return limits;
        };
        for entry in self.entries(table, &entry.path, LIMITS) {
            match entry.key {
                "max_retries" => limits.max_retries = self.count(&entry),
                "max_resets" => limits.max_resets = self.count(&entry),
                "budget" => {
                    let budgets = [("per_stage", Budget::PerStage), ("per_item", Budget::PerItem)];
                    limits.budget = self.one_of(&entry, &budgets);
                }
                "stale_after" => limits.stale_after = self.duration(&entry),
                "heartbeat_interval" => limits.heartbeat_interval = self.duration(&entry),
                _ => limits.retry = self.retry(&entry),
            }
        }
        limits
    }

    pub(super) fn retry(&mut self, entry: &Entry<'_>) -> Option<RetryPolicy> {
        let table = self.table(entry, RETRY_RULE)?;
        let entries = self.entries(table, &entry.path, RETRY);
        let part = |key: &str| entries.iter().find(|entry| entry.key == key);
        let Some(kind) = part("kind") else {
            self.refuse_value(entry, "has no `kind`", RETRY_RULE);
            return None;
        };
        let kinds = [("exponential", Kind::Exponential), ("constant", Kind::Constant), ("listed", Kind::Listed)];
        let kind = self.one_of(kind, &kinds)?;
        let is_complete = self.check_parts(entry, &entries, kind);
        let mut durations = |key| part(key).and_then(|entry| self.duration(entry));
        let (base, cap, delay, floor) = (durations("base"), durations("cap"), durations("delay"), durations("floor"));
        let delays = part("delays").and_then(|entry| self.delays(entry));
        let jitter = part("jitter").and_then(|entry| self.share(entry));
        if !is_complete {
            return None;
        }
        let mut policy = match kind {
            Kind::Exponential => RetryPolicy::exponential(base?, cap?),
            Kind::Constant => RetryPolicy::constant(delay?),
            Kind::Listed => RetryPolicy::listed(delays?),
        };
        if let Some(jitter) = jitter {
            policy = policy.with_jitter(jitter);
        }
        if let Some(floor) = floor {
            policy = policy.with_floor(floor);
        }
        Some(policy)
    }

    /// Whether a policy has what its kind needs and nothing of another kind.
    fn check_parts(&mut self, entry: &Entry<'_>, entries: &[Entry<'_>], kind: Kind) -> bool {
        let mut is_complete = true;
        for key in kind.keys().iter().filter(|key| !entries.iter().any(|entry| entry.key == **key)) {
            self.refuse_value(entry, &format!("has no `{key}`"), RETRY_RULE);
            is_complete = false;
        }
        let common = ["kind", "jitter", "floor"];
        for other in entries.iter().filter(|entry| !common.contains(&entry.key) && !kind.keys().contains(&entry.key)) {
            self.refuse_value(other, "belongs to another kind of retry policy", RETRY_RULE);
            is_complete = false;
        }
        is_complete
    }

    fn delays(&mut self, entry: &Entry<'_>) -> Option<Vec<Duration>> {
        const RULE: &str = "it is a list with at least one duration, one for each attempt; the last is repeated";
        let list = entry.item.as_array().filter(|list| !list.is_empty());
        let Some(list) = list else {
            self.refuse_value(entry, "is no list of durations", RULE);
            return None;
        };
        let mut delays = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let at: Span = value.span().unwrap_or_else(|| entry.at.clone());
            self.places.insert(format!("{}[{index}]", entry.path), at);
            delays.extend(self.duration_of(entry, value));
        }
        (delays.len() == list.len()).then_some(delays)
    }
}
