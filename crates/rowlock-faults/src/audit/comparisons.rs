//! Comparisons with the ledger: effects, the workers' logs, and the answers to operators.

use std::collections::HashMap;

use super::evidence::{Move, Verb};
use super::judge::{Judge, Token, stage_name};
use super::violation::Violation;
use crate::subject::log::Event;
use crate::subject::{STAGES, has_effect};

impl<'a> Judge<'a> {
    /// Each completion has its effect, and each effect its completion.
    pub(super) fn compare_effects(&mut self) {
        let mut effects: HashMap<Token<'a>, (&'a str, usize)> = HashMap::new();
        for effect in &self.evidence.effects {
            let stage = STAGES.iter().position(|stage| *stage == effect.stage).unwrap_or(usize::MAX);
            let entry = effects.entry((&effect.item, stage, effect.token)).or_insert((&effect.worker, 0));
            entry.1 += 1;
        }
        let named = |(item, stage, _): &Token<'a>| ((*item).to_owned(), stage_name(*stage));
        for (token, (worker, count)) in &effects {
            let (item, stage) = named(token);
            if *count > 1 {
                self.find(Violation::EffectTwice { item: item.clone(), stage: stage.clone() });
            }
            if self.completions.get(token).is_none_or(|by| by != worker) {
                self.find(Violation::EffectOfNoHolder { item, stage, worker: (*worker).to_owned() });
            }
        }
        let missing: Vec<_> = self.completions.keys().filter(|token| !effects.contains_key(*token)).copied().collect();
        for token in missing {
            let (item, stage) = named(&token);
            if has_effect(&stage) {
                self.find(Violation::EffectMissing { item, stage });
            }
        }
    }

    /// The workers' logs agree with the database.
    pub(super) fn compare_logs(&mut self) {
        let mut completed_by: HashMap<&str, u64> = HashMap::new();
        for holder in self.completions.values() {
            *completed_by.entry(holder).or_default() += 1;
        }
        for log in &self.evidence.logs {
            // A worker that could not renew a lease gives it up and counts it as lost, though the handler's own finish
            // may still get through: then the handler learns of the success, and the worker's count is one too low.
            let mut after_giving_up = 0;
            for event in &log.events {
                match event {
                    Event::Run { item, stage, token } => {
                        let by = self.claims.get(&(item.as_str(), *stage, *token));
                        if by.is_none_or(|by| *by != log.holder) {
                            let holder = log.holder.clone();
                            self.find(Violation::RunWithoutClaim { item: item.clone(), holder });
                        }
                    }
                    Event::Acknowledged { item, stage, token, told_to_stop } => {
                        if self.completions.contains_key(&(item.as_str(), *stage, *token)) {
                            after_giving_up += u64::from(*told_to_stop);
                        } else {
                            let stage = stage_name(*stage);
                            self.find(Violation::AcknowledgedInVain { item: item.clone(), stage });
                        }
                    }
                    Event::Ended { completed, unknown, lost, .. } => {
                        let written = completed_by.get(log.holder.as_str()).copied().unwrap_or(0);
                        let given_up = after_giving_up.min(*lost);
                        if written < *completed || written > completed + unknown + given_up {
                            self.find(Violation::MiscountedCompletions {
                                holder: log.holder.clone(),
                                reported: *completed,
                                unknown: *unknown,
                                written,
                            });
                        }
                    }
                    Event::Started { .. }
                    | Event::Claimed { .. }
                    | Event::Failing { .. }
                    | Event::Dying { .. }
                    | Event::NotAcknowledged { .. } => {}
                }
            }
        }
    }

    /// The answers to operators agree with what was done: each of their moves was reported as one, and nothing else
    /// was.
    pub(super) fn compare_answers(&mut self) {
        let mut counted: HashMap<(&'a str, Verb), (usize, usize)> = HashMap::new();
        for answer in &self.evidence.answers {
            counted.entry((&answer.item, answer.verb)).or_default().0 += usize::from(answer.moved);
        }
        for one in &self.evidence.moves {
            let verb = operators_verb(one);
            if let Some(counts) = verb.and_then(|verb| counted.get_mut(&(one.item.as_str(), verb))) {
                counts.1 += 1;
            }
        }
        for ((item, verb), (answered, moved)) in counted {
            if answered != moved {
                let (item, verb) = (item.to_owned(), format!("{verb:?}"));
                self.find(Violation::AnsweredOtherwise { item, verb, answered, moved });
            }
        }
    }
}

/// The operator's verb that makes such a move; nothing else makes it.
fn operators_verb(one: &Move) -> Option<Verb> {
    let is_terminal = |word: &str| matches!(word, "SUCCEEDED" | "FAILED" | "CANCELLED");
    match (one.was.as_deref()?, one.became.as_deref()?) {
        (was, "CANCELLED") if was != "CANCELLED" => Some(Verb::Cancel),
        (was, became) if is_terminal(was) && !is_terminal(became) => Some(Verb::Requeue),
        _ => None,
    }
}
