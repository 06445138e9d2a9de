//! Tables for people.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::Path;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use rowlock_video::VideoStatus;
use rowlock_video::library::VideoReport;
use rowlock_video::media::path_from_text;

pub(crate) use super::terminal::shown;

/// Width of a table that is not shown on a terminal, which has its own width.
const WIDTH: u16 = 80;

/// Room for a file's name if ids are short.
const NAME_WIDTH: usize = 24;

/// A blank on each side of a cell.
const CELL_PADDING: usize = 2;

/// A table cuts errors here; `show` has them whole.
const ERROR_CHARS_MAX: usize = 100;

/// An empty table with these columns.
pub(crate) fn table<const N: usize>(columns: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_width(WIDTH);
    }
    table.set_header(columns);
    table
}

/// Makes the first column as wide as its ids, which are never broken, because users copy them.
pub(crate) fn keep_ids_whole<'a>(table: &mut Table, column: usize, ids: impl IntoIterator<Item = &'a str>) {
    let widest = ids.into_iter().map(|id| shown(id).chars().count()).max().unwrap_or(0).max(NAME_WIDTH);
    let width = u16::try_from(widest + CELL_PADDING).unwrap_or(u16::MAX);
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
}

/// The facts about videos, one row each.
pub(crate) fn of_reports(reports: &[VideoReport]) -> Table {
    let mut table = table(["video", "what is known"]);
    for report in reports {
        table.add_row([named(report.path.as_deref(), &report.video_id), known(report)]);
    }
    keep_ids_whole(&mut table, 0, reports.iter().map(|report| report.video_id.as_str()));
    table
}

/// A video's name, and its id below.
pub(crate) fn named(path: Option<&str>, video_id: &str) -> String {
    match path {
        Some(_) => format!("{}\n{}", file_name(path, video_id), shown(video_id)),
        None => shown(video_id),
    }
}

fn known(report: &VideoReport) -> String {
    let mut lines = vec![shown(&report.status)];
    if let Some((width, height)) = report.width_px.zip(report.height_px) {
        let sound = report.has_sound.map(|sound| if sound { "sound" } else { "no sound" }.to_owned());
        let frames = report.frame_count.map(|count| format!("{count} frame{}", if count == 1 { "" } else { "s" }));
        let picture = [Some(format!("{width}×{height}")), report.codec.as_deref().map(shown)];
        let facts = [report.duration_secs.map(seconds)].into_iter().chain(picture).chain([sound, frames]);
        lines.push(facts.flatten().collect::<Vec<_>>().join(", "));
    }
    let took = [("extraction", report.extraction_secs), ("embedding", report.embedding_secs)];
    let took = took.into_iter().filter_map(|(stage, secs)| Some(format!("{stage} {}", seconds(secs?))));
    lines.push(took.collect::<Vec<_>>().join(", "));
    lines.extend(report.note.as_deref().map(|note| format!("note: {}", shown(note))));
    // A succeeded video keeps the error of an earlier attempt for `show`.
    lines.extend(report.error.as_deref().filter(|_| !succeeded(report)).map(|error| cut(&shown(error))));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
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

/// The last part of a path, as it is; the id if a video has no path.
pub(crate) fn file_name(path: Option<&str>, video_id: &str) -> String {
    let path = path.map(path_from_text);
    let name = path.as_deref().and_then(Path::file_name).map(OsStr::to_string_lossy);
    shown(&name.unwrap_or(video_id.into()))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_they_are() {
        for (stored, name) in
            [("/a/100%25.mp4", "100%.mp4"), ("/a/100%2525.mp4", "100%25.mp4"), ("/a/ü b.mp4", "ü b.mp4")]
        {
            assert_eq!(file_name(Some(stored), "id"), name);
        }
        assert_eq!(file_name(None, "id\u{202e}"), "id\\u{202e}");
    }
}
