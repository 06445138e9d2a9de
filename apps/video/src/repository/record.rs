//! A row of `video_processing`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::VideoStatus;

/// A video in the queue, as its row is.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct VideoRecord {
    /// The key.
    pub video_id: String,
    /// Where it is.
    pub status: VideoStatus,
    /// Failures that were counted so far, over both stages.
    pub retry_count: i32,
    /// Not claimable before this time.
    pub retry_after: Option<DateTime<Utc>>,
    /// The last error.
    pub error_message: Option<String>,
    /// When the present holder, or else the last one, said that it lives.
    pub pc_heartbeat: Option<DateTime<Utc>>,
    /// When the row was inserted.
    pub created_at: DateTime<Utc>,
    /// When the row was last moved or renewed.
    pub updated_at: DateTime<Utc>,
}
