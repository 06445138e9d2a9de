//! Adding items: `add_many`.

use std::sync::atomic::Ordering;

use super::asked_key::{AskedKey, asked_key};
use super::errors::{is_about_a_value, is_not_supported};
use super::refusal::refusal_reason;
use super::session::{Session, query};
use super::store::PostgresStore;
use crate::limits::REFUSED_KEYS_MAX;
use crate::store::Added;
use crate::store::bisection::Bisection;
use crate::{Key, Result};

impl PostgresStore {
    /// Tries a plain COPY, as if every key were new. If a key exists, or the table takes no COPY, it uses COPY into a
    /// staging table and one insert that skips existing keys: twice the cost, and vacuum has to remove what the first
    /// COPY wrote. A caller that adds existing keys will do so again, so the next call stages its keys at once.
    pub(super) async fn add_keys(&self, keys: &[Key]) -> Result<Added> {
        let mut asked = Vec::with_capacity(keys.len());
        let mut refused: Vec<(usize, String)> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            match asked_key(key, self.pipeline.key_type()) {
                Ok(text) => asked.push(AskedKey { text, place }),
                Err(reason) => refused.push((place, reason)),
            }
        }
        let mut session = self.sessions.open_for_operator("add_many").await?;
        let added = match self.add_asked(&mut session, &asked).await {
            Err(error) if is_about_a_value(&error) => {
                let holdable = self.holdable_keys(&mut session, asked, &mut refused).await?;
                self.start_again(&mut session).await?;
                asked = holdable;
                self.insert_keys(&mut session, &asked).await?
            }
            answer => answer?,
        };
        session.done();
        self.keys_existed.store(added < asked.len() as u64, Ordering::Relaxed);
        refused.sort_unstable();
        let refused = refused.into_iter().map(|(place, reason)| (keys[place].clone(), reason)).collect();
        Ok(Added { added, refused })
    }

    async fn add_asked(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        // COPY would give each row the default status.
        if self.keys_existed.load(Ordering::Relaxed) || self.pipeline.allows_other_default() {
            return self.insert_keys(session, keys).await;
        }
        match self.copy_new_keys(session, keys).await {
            Err(error) if error.is_row_refusal() || is_not_supported(&error) => {
                self.start_again(session).await?;
                self.insert_keys(session, keys).await
            }
            answer => answer,
        }
    }

    async fn start_again(&self, session: &mut Session) -> Result<()> {
        session.run("rollback").await?;
        session.extend_deadline(self.sessions.deadline());
        Ok(())
    }

    /// The keys that the column can hold, found by adding parts of them and rolling back. The others are refused.
    async fn holdable_keys(
        &self,
        session: &mut Session,
        keys: Vec<AskedKey>,
        refused: &mut Vec<(usize, String)>,
    ) -> Result<Vec<AskedKey>> {
        let mut holdable = Vec::with_capacity(keys.len());
        let mut parts = Bisection::new(keys);
        while let Some(part) = parts.next() {
            self.start_again(session).await?;
            match self.insert_part(session, &part).await {
                Ok(_) => holdable.extend(part),
                Err(error) if is_about_a_value(&error) && refused.len() < REFUSED_KEYS_MAX => {
                    if let Some(key) = parts.halve(part) {
                        refused.push((key.place, refusal_reason(&error)));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(holdable)
    }

    async fn copy_new_keys(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        session.run("begin").await?;
        let added = copy_keys(session, &self.statements.copy_keys, keys).await?;
        session.run("commit").await?;
        Ok(added)
    }

    async fn insert_keys(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        let added = self.insert_part(session, keys).await?;
        session.run("commit").await?;
        Ok(added)
    }

    /// Adds keys through a staging table, in a transaction that it leaves open.
    async fn insert_part(&self, session: &mut Session, keys: &[AskedKey]) -> Result<u64> {
        session.run("begin").await?;
        session.execute(query(&self.statements.create_staging_table)).await?;
        copy_keys(session, "copy rowlock_staged (key) from stdin", keys).await?;
        session.execute(query(&self.statements.add_many)).await
    }
}

async fn copy_keys(session: &mut Session, copy: &str, keys: &[AskedKey]) -> Result<u64> {
    /// Bytes sent at a time.
    const CHUNK_BYTES: usize = 64 * 1024;
    let copied = session.work(async |connection| {
        let mut copy = connection.copy_in_raw(copy).await?;
        let mut chunk = String::with_capacity(CHUNK_BYTES + 1024);
        for key in keys {
            push_copied(&mut chunk, &key.text);
            if chunk.len() >= CHUNK_BYTES {
                copy.send(chunk.as_bytes()).await?;
                chunk.clear();
            }
        }
        copy.send(chunk.as_bytes()).await?;
        copy.finish().await
    });
    copied.await
}

/// A line of COPY's text format.
fn push_copied(chunk: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '\n', '\r', '\t']) {
        chunk.push_str(&rest[..at]);
        chunk.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    chunk.push_str(rest);
    chunk.push('\n');
}

#[cfg(test)]
mod tests {
    use super::push_copied;

    #[test]
    fn a_key_cannot_end_its_own_line() {
        let mut chunk = String::new();
        push_copied(&mut chunk, "a\nb\\.\tc");
        assert_eq!(chunk, "a\\nb\\\\.\\tc\n");
    }
}
