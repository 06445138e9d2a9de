//! Completing a batch whose leases come from a few claims, as those of a worker that drains a queue do:
//! `complete_batch`.

use std::collections::HashMap;

use sqlx::postgres::PgRow;

use super::finish::{keys, tokens};
use super::rows::column;
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::pipeline::KeyType;
use crate::store::{Finish, FinishParams, Finished, Outcome};
use crate::{Lease, Result};

/// From this many items per token, the index on the token is worth it. A claim has at most a thousand entries there, so
/// that at most 16 are skipped for each item that is written: about what it saves.
const ITEMS_A_TOKEN_MIN: usize = 64;

impl PostgresStore {
    /// The distinct tokens of a batch that suits `complete_batch`: nothing but completions, many per token.
    pub(super) fn tokens_to_complete_by(&self, items: &[Finish]) -> Option<Vec<i64>> {
        // A written item is identified by its key, which the server returns in its own form.
        let is_simple = |item: &Finish| {
            matches!(item.outcome, Outcome::Complete)
                && is_as_printed(self.pipeline.key_type(), item.lease.key.as_str())
        };
        if items.len() < ITEMS_A_TOKEN_MIN || !items.iter().all(is_simple) {
            return None;
        }
        let mut tokens: Vec<i64> = items.iter().map(|item| item.lease.token.as_i64()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        (items.len() >= ITEMS_A_TOKEN_MIN * tokens.len()).then_some(tokens)
    }

    /// Completes the items that are still held and locked by no other transaction. An item without an answer afterwards
    /// is untried.
    pub(super) async fn complete_batch(
        &self,
        session: &mut Session,
        finishing: &FinishParams,
        distinct_tokens: &[i64],
        answers: &mut [Option<Finished>],
    ) -> Result<()> {
        let leases: Vec<&Lease> = finishing.items.iter().map(|item| &item.lease).collect();
        let statement = query(&self.statements.complete_batch)
            .bind(keys(&leases))
            .bind(tokens(&leases))
            .bind(finishing.now)
            .bind(self.places_in_queue(&leases))
            .bind(distinct_tokens);
        let rows = session.fetch(statement).await?;
        let written: Vec<WrittenWord> = rows.iter().map(WrittenWord::read).collect::<Result<_>>()?;
        if self.is_all(&leases, &written) {
            for (lease, answer) in leases.iter().zip(answers) {
                *answer = Some(Finished::Applied { to: self.pipeline.completed(lease.stage) });
            }
            return Ok(());
        }
        self.note_each(&leases, &rows, &written, answers)
    }

    /// The stages of the leases, as `:position_of_running` numbers them.
    fn places_in_queue(&self, leases: &[&Lease]) -> Vec<i32> {
        let stages = self.pipeline.stages().len();
        leases.iter().map(|lease| i32::try_from(stages - lease.stage.index()).unwrap_or(i32::MAX)).collect()
    }

    /// Whether the whole batch was written, and with the one word that all of it should have.
    fn is_all(&self, leases: &[&Lease], written: &[WrittenWord]) -> bool {
        let (Some(first), [written]) = (leases.first(), written) else { return false };
        written.items == leases.len()
            && written.word == self.pipeline.word(self.pipeline.completed(first.stage))
            && leases.iter().all(|lease| lease.stage == first.stage)
    }

    /// Notes which items were written; the others stay without an answer.
    fn note_each(
        &self,
        leases: &[&Lease],
        rows: &[PgRow],
        written: &[WrittenWord],
        answers: &mut [Option<Finished>],
    ) -> Result<()> {
        let places: HashMap<(i64, &str), usize> =
            leases.iter().zip(0..).map(|(lease, at)| ((lease.token.as_i64(), lease.key.as_str()), at)).collect();
        let mut are_all_known = true;
        for (row, written) in rows.iter().zip(written) {
            let items: Vec<Option<String>> = column("finish", row, "items")?;
            let tokens: Vec<Option<i64>> = column("finish", row, "tokens")?;
            let finished = self.written_as(&written.word);
            for (item, token) in items.into_iter().zip(tokens) {
                match token.zip(item.as_deref()).and_then(|lease| places.get(&lease)) {
                    Some(at) => answers[*at] = Some(finished.clone()),
                    None => are_all_known = false,
                }
            }
        }
        if !are_all_known {
            // A trigger gave a row another key, or the column's collation equates different texts. The caller can still
            // prove what was written.
            answers.iter_mut().filter(|answer| answer.is_none()).for_each(|answer| *answer = Some(Finished::Unknown));
        }
        Ok(())
    }
}

/// How many items of a batch got this word.
struct WrittenWord {
    word: String,
    items: usize,
}

impl WrittenWord {
    fn read(row: &PgRow) -> Result<WrittenWord> {
        let word = column::<Option<String>>("finish", row, "word")?.unwrap_or_default();
        let items = column::<i64>("finish", row, "n")?;
        Ok(WrittenWord { word, items: usize::try_from(items).unwrap_or_default() })
    }
}

/// Whether this is the form in which the server prints the key.
fn is_as_printed(key_type: KeyType, key: &str) -> bool {
    match key_type {
        KeyType::Text => true,
        KeyType::Int | KeyType::BigInt => key.parse::<i64>().is_ok_and(|number| number.to_string() == key),
        KeyType::Uuid => {
            key.len() == 36
                && key.bytes().enumerate().all(|(at, byte)| match at {
                    8 | 13 | 18 | 23 => byte == b'-',
                    _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_in_the_servers_own_form_are_known_again() {
        assert!(is_as_printed(KeyType::Text, "  anything "));
        for (key, is) in [("7", true), ("-7", true), ("007", false), ("+7", false), (" 7", false), ("", false)] {
            assert_eq!(is_as_printed(KeyType::BigInt, key), is, "{key:?}");
        }
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f";
        assert!(is_as_printed(KeyType::Uuid, uuid));
        for other in [uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}")] {
            assert!(!is_as_printed(KeyType::Uuid, &other), "{other}");
        }
    }
}
