//! The sweep.

use std::time::Duration;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;

use super::PostgresStore;
use super::claim::{SILENTLY_REFUSED, query};
use super::rows::column;
use super::session::{BEGIN_IN_PARTS, Session};
use crate::limits::BATCH_ITEMS_MAX;
use crate::store::bisection::Parts;
use crate::store::{Sweeping, Swept, SweptItem};
use crate::{Error, Key, Result};

impl PostgresStore {
    pub(super) async fn take_sweep_turn(&self, every: Duration) -> Result<Duration> {
        let mut session = self.sessions.open("sweep_turn").await?;
        let rows = session.fetch(query(&self.statements.sweep_turn).bind(every.as_secs_f64())).await?;
        let seconds = rows.first().map_or(Ok(0.0), |row| column::<f64>("sweep_turn", row, "seconds"))?;
        session.done();
        Ok(Duration::try_from_secs_f64(seconds).unwrap_or_default().min(every))
    }

    pub(super) async fn sweep_batch(&self, sweeping: &Sweeping) -> Result<Swept> {
        if sweeping.limit < 0 {
            return Err(Error::InvalidArgument {
                argument: "limit",
                value: sweeping.limit.to_string(),
                rule: "a sweep takes zero items or more".to_owned(),
            });
        }
        let limit = sweeping.limit.min(i64::try_from(BATCH_ITEMS_MAX).unwrap_or(i64::MAX));
        let mut session = self.sessions.open("sweep").await?;
        let mut swept = Swept::default();
        match session.fetch(self.sweep_query(sweeping, limit, None)).await {
            Ok(rows) => {
                // What is committed must be told, whatever becomes of the rest: the next sweep meets it again.
                if self.add_swept(&rows, limit, &mut swept)? > 0 {
                    match self.sweep_in_parts(&mut session, sweeping, limit).await {
                        Ok(parts) => swept.append(parts),
                        Err(error) if swept.items.is_empty() => return Err(error),
                        Err(_) => return Ok(swept),
                    }
                }
            }
            Err(error) if error.is_row_refusal() => {
                swept.append(self.sweep_in_parts(&mut session, sweeping, limit).await?);
            }
            Err(error) => return Err(error),
        }
        session.done();
        Ok(swept)
    }

    /// Takes back what the database lets be taken back of a batch that it refused as a whole.
    async fn sweep_in_parts(&self, session: &mut Session, sweeping: &Sweeping, limit: i64) -> Result<Swept> {
        let mut swept = Swept::default();
        session.run(BEGIN_IN_PARTS).await?;
        let statement = query(&self.statements.pick_stale)
            .bind(limit)
            .bind(sweeping.stale_after.as_secs_f64())
            .bind(sweeping.now)
            .bind(sweeping.max_resets)
            .bind(self.excluded_keys())
            .bind(None::<Vec<String>>);
        let rows = session.fetch(statement).await?;
        let keys = rows.iter().map(|row| super::rows::key("sweep", row, "key")).collect::<Result<Vec<Key>>>()?;
        let is_full = i64::try_from(keys.len()).is_ok_and(|stale| stale >= limit);
        let mut parts = Parts::new(keys);
        while let Some(part) = parts.next() {
            let wanted = i64::try_from(part.len()).unwrap_or(i64::MAX);
            let reason = match self.attempt(session, self.sweep_query(sweeping, wanted, Some(&part))).await? {
                Ok(rows) => {
                    let mut moved = Swept::default();
                    self.add_swept(&rows, i64::MAX, &mut moved)?;
                    if i64::try_from(moved.items.len()).unwrap_or(i64::MAX) == wanted {
                        session.run("release savepoint part").await?;
                        swept.items.extend(moved.items);
                        continue;
                    }
                    session.run("rollback to savepoint part").await?;
                    SILENTLY_REFUSED.to_owned()
                }
                Err(reason) => reason,
            };
            if let Some(key) = parts.halve(part) {
                self.refuse(session, &key, None, None, sweeping.now, &reason).await?;
                swept.refused.push((key, reason));
            }
        }
        session.run("commit").await?;
        swept.may_have_more = is_full && !swept.items.is_empty();
        Ok(swept)
    }

    /// Adds what the statement took back; the answer is how many rows a trigger silently left as they were.
    fn add_swept(&self, rows: &[PgRow], limit: i64, swept: &mut Swept) -> Result<i64> {
        let mut stale = 0;
        let mut moved = 0;
        for row in rows {
            stale = column("sweep", row, "stale")?;
            let Some(item) = column::<Option<String>>("sweep", row, "item")? else { continue };
            let word = column::<Option<String>>("sweep", row, "word")?.unwrap_or_default();
            let Some(to) = self.pipeline.status(&word) else { continue };
            moved += 1;
            swept.items.push(SweptItem {
                key: Key::from(item),
                to,
                holder: column("sweep", row, "holder")?,
                error: column::<Option<String>>("sweep", row, "error")?.unwrap_or_default(),
            });
        }
        swept.may_have_more |= stale >= limit && limit > 0;
        Ok(stale - moved)
    }

    fn sweep_query<'q>(
        &'q self,
        sweeping: &Sweeping,
        limit: i64,
        only: Option<&[Key]>,
    ) -> Query<'q, Postgres, PgArguments> {
        query(&self.statements.sweep)
            .bind(limit)
            .bind(sweeping.stale_after.as_secs_f64())
            .bind(sweeping.now)
            .bind(sweeping.max_resets)
            .bind(self.excluded_keys())
            .bind(only.map(|keys| keys.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>()))
    }

    fn excluded_keys(&self) -> Vec<String> {
        self.exclusions.keys().iter().map(|key| key.as_str().to_owned()).collect()
    }
}
