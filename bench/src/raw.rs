//! The same work by hand: the best plain SQL over the same table, the same index, the same columns written and
//! returned, the same fence, the same commits. No library above the driver.

use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Row};

const CLAIM: &str = "
with picked as materialized (
  select id from items
  where status = 'PENDING' and status in ('PENDING')
    and coalesce(retry_after, created_at, '-infinity') <= statement_timestamp()
  order by coalesce(retry_after, created_at, '-infinity')
  limit $1
  for update skip locked
)
update items
set status = 'WORK_IN_PROGRESS', claim_token = $2, claimed_by = $3, claimed_at = statement_timestamp(),
    heartbeat_at = statement_timestamp(), updated_at = statement_timestamp()
where id = any (array(select id from picked))
returning *";

const COMPLETE: &str = "
update items t
set status = 'SUCCEEDED', retry_after = null, retry_count = 0, reset_count = 0, updated_at = statement_timestamp()
from unnest($1::text[]) as i (id)
where t.id = any (array(select unnest($1::text[]))) and t.id = i.id
  and t.claim_token = $2 and t.status = 'WORK_IN_PROGRESS'
returning t.id";

/// Drains the table: each connection claims a batch, then completes it, until nothing is left.
pub(crate) async fn drain(options: &PgConnectOptions, batch: i64, connections: u32) -> Result<()> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await?;
    let loops: Vec<_> = (0..connections).map(|_| tokio::spawn(claim_and_complete(pool.clone(), batch))).collect();
    for finished in loops {
        finished.await??;
    }
    pool.close().await;
    Ok(())
}

async fn claim_and_complete(pool: PgPool, batch: i64) -> Result<()> {
    let mut connection = pool.acquire().await?;
    loop {
        let token: i64 = rand::random_range(1..=i64::MAX);
        let rows = sqlx::query(CLAIM).bind(batch).bind(token).bind("bench").fetch_all(&mut *connection).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?;
        sqlx::query(COMPLETE).bind(&ids).bind(token).fetch_all(&mut *connection).await?;
    }
}
