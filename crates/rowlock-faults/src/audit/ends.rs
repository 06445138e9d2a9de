//! The final states of the items, and whether each is right.

use std::collections::HashSet;

use super::evidence::ItemRow;
use super::judge::Judge;
use super::violation::Violation;
use crate::subject::{Behaviour, MAX_RESETS, MAX_RETRIES, STAGES};

impl<'a> Judge<'a> {
    /// The final states of the items, and whether each is right.
    pub(super) fn judge_ends(&mut self) {
        let deleted: HashSet<&String> =
            self.evidence.edited.iter().filter(|id| !self.word_of.contains_key(id.as_str())).collect();
        let there = self.evidence.items.len() + deleted.len();
        if there < self.evidence.items_added {
            self.find(Violation::Vanished { items: self.evidence.items_added - there });
        }
        for row in &self.evidence.items {
            self.judge_end(row);
        }
    }

    fn judge_end(&mut self, row: &'a ItemRow) {
        let item = row.id.clone();
        let status = row.status.clone().unwrap_or_default();
        let doomed = self.evidence.doomed.contains(&item)
            || Behaviour::of_word(&row.behaviour).is_none_or(|behaviour| !behaviour.succeeds());
        match status.as_str() {
            "SUCCEEDED" if doomed => self.find(Violation::GuiltySucceeded { item }),
            "SUCCEEDED" => {}
            "FAILED" => {
                let reason = row.error_message.as_deref().unwrap_or_default();
                let is_logged = self.evidence.log_of_failures_is_harmed || self.evidence.explained.contains(&item);
                if reason.is_empty() || !is_logged {
                    self.find(Violation::FailedWithoutReason { item: item.clone() });
                }
                if self.is_dragged_down(row) {
                    self.find(Violation::DraggedDown { item: item.clone(), behaviour: row.behaviour.clone() });
                }
                if !doomed && !self.evidence.edited.contains(&item) && !self.is_failure_earned(row) {
                    self.find(Violation::InnocentFailed { item, error: reason.to_owned() });
                }
            }
            "CANCELLED" if self.evidence.edited.contains(&item) => {}
            _ if self.evidence.edited.contains(&item) => {}
            _ => self.find(Violation::NotTerminal { item, status }),
        }
        self.check_reports(row);
    }

    /// Whether enough holders of the item died, or enough of its runs failed, that it had to end `FAILED`.
    fn is_failure_earned(&self, row: &ItemRow) -> bool {
        let last = self.last_counts.get(row.id.as_str()).copied().unwrap_or_default();
        let reported = last.stage.and_then(|stage| self.reported_failures.get(&(row.id.as_str(), stage)));
        let runs_that_failed = last.timeouts + reported.copied().unwrap_or(0);
        let is_tried_out = last.retries >= MAX_RETRIES && runs_that_failed >= usize::try_from(MAX_RETRIES).unwrap_or(0);
        last.excused_resets >= MAX_RESETS || is_tried_out
    }

    /// If only items do harm, an item that kills no process never reaches the limit of resets by the deaths of its
    /// holders: a suspect runs alone. A late heartbeat on a busy machine is neither a death nor the fault of an item.
    fn is_dragged_down(&self, row: &ItemRow) -> bool {
        let kills = Behaviour::of_word(&row.behaviour).is_some_and(Behaviour::kills);
        let last = self.last_counts.get(row.id.as_str()).copied().unwrap_or_default();
        self.evidence.only_items_harm && !kills && last.excused_resets >= MAX_RESETS
    }

    /// A handler that only works reports no failure, so none may have been counted.
    fn check_reports(&mut self, row: &'a ItemRow) {
        let works = Behaviour::of_word(&row.behaviour).is_some_and(Behaviour::succeeds);
        let unreported = (0..STAGES.len()).map(|stage| (row.id.as_str(), stage)).any(|stage| {
            self.counted_failures.get(&stage).unwrap_or(&0) > self.reported_failures.get(&stage).unwrap_or(&0)
        });
        if works && !self.evidence.doomed.contains(&row.id) && unreported {
            self.find(Violation::UnreportedRetry { item: row.id.clone() });
        }
    }
}
