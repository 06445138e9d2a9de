//! Tables for people.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use rowlock_video::VideoStatus;
use rowlock_video::library::VideoReport;

/// Errors are cut here in a table; `show` has them whole.
const ERROR_CHARS_MAX: usize = 100;

/// An empty table with these columns.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns);
    table
}

/// What is known about videos, a row each.
pub(crate) fn of_reports(reports: &[VideoReport]) -> Table {
    let columns = [
        "video",
        "id",
        "status",
        "duration",
        "resolution",
        "codec",
        "sound",
        "frames",
        "extraction",
        "embedding",
        "error",
    ];
    let mut table = table(columns);
    for report in reports {
        let resolution = report.width_px.zip(report.height_px).map(|(width, height)| format!("{width}×{height}"));
        table.add_row([
            file_name(report.path.as_deref(), &report.video_id),
            report.video_id.clone(),
            report.status.clone(),
            or_dash(report.duration_secs.map(seconds)),
            or_dash(resolution),
            or_dash(report.codec.clone()),
            or_dash(report.has_sound.map(|sound| if sound { "yes" } else { "no" }.to_owned())),
            or_dash(report.frame_count.map(|count| count.to_string())),
            or_dash(report.extraction_secs.map(seconds)),
            or_dash(report.embedding_secs.map(seconds)),
            // One that has succeeded keeps the error of an earlier attempt for `show`.
            report.error.as_deref().filter(|_| !succeeded(report)).map(|error| cut(&shown(error))).unwrap_or_default(),
        ]);
    }
    table
}

pub(crate) fn succeeded(report: &VideoReport) -> bool {
    report.status == VideoStatus::Succeeded.as_str()
}

pub(crate) fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// The last part of a path, or the id of a video that has none.
pub(crate) fn file_name(path: Option<&str>, video_id: &str) -> String {
    shown(path.and_then(|path| path.rsplit('/').next()).unwrap_or(video_id))
}

/// File names and errors may hold anything; a terminal obeys control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
