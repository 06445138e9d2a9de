//! The cost of a queue if an item is real work: a folder of videos, with and without it.

use super::Scale;
use crate::plan::{Entry, Expected, Plan};
use crate::protocol::Work;
use crate::scene::Template;

/// Videos; two are enough to see that everything works.
const VIDEOS: f64 = 60.0;
const VIDEOS_MIN: u64 = 2;

pub(super) fn plan(scale: Scale) -> Plan {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let videos = ((VIDEOS * scale.of_size).round() as u64).max(VIDEOS_MIN);
    let template = Template { name: "overhead", stages: 1, fill: Vec::new() };
    let entry = |contender| {
        let mut entry = Entry::own(contender, Work::Videos, &template, videos);
        entry.checks = Vec::new();
        entry
    };
    let succeeded =
        "select count(*) from video_processing where status = 'SUCCEEDED' and retry_count + reset_count = 0";
    Plan {
        workload: "overhead",
        title: format!("overhead: {videos} videos through ffmpeg and the image model, process by process"),
        rounds: scale.rounds(5),
        entries: vec![
            entry("video-bare"),
            entry("rowlock-video").check(succeeded, Expected::Number(videos)),
            entry("rowlock-video-sqlite"),
        ],
        figures: vec!["elapsed_s", "videos_per_s"],
    }
}
