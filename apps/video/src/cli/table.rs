//! Tables for people.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{ContentArrangement, Table};
use rowlock::store::Counts;
use rowlock_video::library::VideoReport;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.to_vec());
    table
}

/// What became of each video.
pub(super) fn videos(reports: &[VideoReport]) -> Table {
    let mut table =
        table(&["video", "status", "length", "size", "codec", "sound", "frames", "extraction", "embedding", "error"]);
    for video in reports {
        let size = video.width_px.zip(video.height_px).map(|(width, height)| format!("{width}×{height}"));
        let sound = video.has_sound.map(|sound| if sound { "yes" } else { "no" }.to_owned());
        let error = if video.status == "SUCCEEDED" { None } else { video.error.clone() };
        table.add_row([
            video.video_id.clone(),
            video.status.clone(),
            seconds(video.duration_secs),
            size.unwrap_or_default(),
            video.codec.clone().unwrap_or_default(),
            sound.unwrap_or_default(),
            video.frame_count.map(|count| count.to_string()).unwrap_or_default(),
            seconds(video.extraction_secs),
            seconds(video.embedding_secs),
            error.unwrap_or_default(),
        ]);
    }
    table
}

/// How many videos are in each state.
pub(super) fn counts(counts: &Counts) -> Table {
    let mut table = table(&["status", "videos"]);
    for entry in &counts.statuses {
        table.add_row([entry.word.clone(), entry.count.to_string()]);
    }
    table
}

/// Which videos look alike.
pub(super) fn similar(rows: &[(String, String, f64)]) -> Table {
    let mut table = table(&["video", "looks like", "cosine"]);
    for (video, like, cosine) in rows {
        table.add_row([video.clone(), like.clone(), format!("{cosine:.3}")]);
    }
    table
}

fn seconds(secs: Option<f64>) -> String {
    secs.map(|secs| format!("{secs:.1} s")).unwrap_or_default()
}
