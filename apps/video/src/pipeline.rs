//! The pipeline of the videos: two stages over one table.

use std::time::Duration;

use rowlock::{Budget, Pipeline, Role};

/// The stage in which ffmpeg determines a video's format and takes its frames.
pub const EXTRACTION: &str = "EXTRACTION";

/// The stage in which the image model makes one vector from the frames.
pub const EMBEDDING: &str = "EMBEDDING";

/// The age of a heartbeat after which a video is taken back from its holder, unless a command sets another.
pub const STALE_AFTER: Duration = Duration::from_secs(300);

/// The pipeline over `video_processing`.
///
/// The budgets are per item: a video that failed in EXTRACTION gets no new attempts in EMBEDDING. Renewals come every
/// third of `stale_after`.
///
/// # Errors
/// [`rowlock::Error::InvalidPipeline`] if `stale_after` is too short or too long.
pub fn pipeline(stale_after: Duration) -> rowlock::Result<Pipeline> {
    Pipeline::builder("videos")
        .table("video_processing")
        .key("video_id")
        .column(Role::Heartbeat, "pc_heartbeat")
        .stage(EXTRACTION)
        .stage(EMBEDDING)
        .budget(Budget::PerItem)
        .stale_after(stale_after)
        .build()
}
