//! Unreadable times, for `inspect`: their rows are never due, or stale.

use super::rows;
use super::session::Session;
use super::store::SqliteStore;
use crate::Result;
use crate::limits::COUNT_EXACT_MAX;
use crate::pipeline::Role;
use crate::store::params::count_limit;

impl SqliteStore {
    /// Returns sentences. The table must have the pipeline's columns.
    pub(super) async fn unreadable_times(&self, session: &mut Session) -> Result<Vec<String>> {
        let column = |role: Role| self.pipeline.columns().name(role);
        let due = format!(
            "never due: {:?} or {:?} holds what cannot be read as a time",
            column(Role::RetryAfter),
            column(Role::CreatedAt)
        );
        let stale = format!("stale: {:?} holds what cannot be read as a time", column(Role::Heartbeat));
        let limit = count_limit(COUNT_EXACT_MAX);
        let mut sentences = Vec::new();
        for (sql, consequence) in
            [(&self.statements.unreadable_due, due), (&self.statements.unreadable_heartbeats, stale)]
        {
            let found = session.rows(sql, [limit.into()]).await?;
            let Some(row) = found.first() else { continue };
            let count = rows::integer(row, 0).unwrap_or(0);
            if count > 0 {
                let rows = match count {
                    1 => "1 row is".to_owned(),
                    count if count >= limit => format!("at least {count} rows are"),
                    count => format!("{count} rows are"),
                };
                let example = rows::text(row, 1).unwrap_or_default();
                sentences.push(format!(
                    "{rows} {consequence}, as {example:?}: write 2026-11-28T18:31:01.123Z, or another form \
                     of ISO with a time zone or in UTC"
                ));
            }
        }
        Ok(sentences)
    }
}
