//! A row of `video_processing`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::VideoStatus;

/// A video in the queue: its row.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct VideoRecord {
    /// The key.
    pub video_id: String,
    /// Its path.
    pub status: VideoStatus,
    /// Failures that were counted so far, over both stages.
    pub retry_count: i32,
    /// The time before which it cannot be claimed.
    pub retry_after: Option<DateTime<Utc>>,
    /// The last error.
    pub error_message: Option<String>,
    /// When the present or the last holder last sent a heartbeat.
    pub pc_heartbeat: Option<DateTime<Utc>>,
    /// When the row was inserted.
    pub created_at: DateTime<Utc>,
    /// When the row was last moved or renewed.
    pub updated_at: DateTime<Utc>,
}
