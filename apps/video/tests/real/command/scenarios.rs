//! What the command must do on either database.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::{json, of_file, rowlock_video, run_to_end, text};
use crate::clips::{clip, make};

const INVALID: &str = "Invalid data found when processing input";

/// Good videos and every kind of bad one.
fn good_and_bad(folder: &Path) {
    for name in ["carphone_pristine", "carphone_distorted", "bikes"] {
        fs::copy(clip(name), folder.join(name).with_extension("mp4")).unwrap();
    }
    let whole = fs::read(clip("bikes")).unwrap();
    fs::create_dir(folder.join("deeper")).unwrap();
    fs::write(folder.join("deeper/corrupt.mp4"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.join("empty.mp4"), "").unwrap();
    fs::write(folder.join("text.mp4"), "It was the best of times.\n".repeat(50)).unwrap();
    fs::write(folder.join("notes.txt"), "no video, and not called one").unwrap();
    let sound = clip("bigbuckbunny");
    let arguments = ["-i".as_ref(), sound.as_os_str(), "-vn".as_ref(), "-c:a".as_ref(), "copy".as_ref()];
    make(&arguments, &folder.join("sound.mp4"));
}

/// Takes a folder through both stages; the bad files fail at once, a second run adds nothing, and all reading commands
/// agree.
pub(super) fn a_folder_end_to_end(database: &str) {
    let folder = TempDir::new().unwrap();
    good_and_bad(folder.path());
    let path = folder.path().to_str().unwrap();
    let run = ["run", path, "--frames", "2"];

    let first = run_to_end(rowlock_video(database, &[&run[..], &["--json"]].concat()), 1);
    let log = text(&first.stderr);
    assert!(log.contains("failed for good") && !log.contains('\u{1b}'), "no colours where there is no terminal: {log}");
    let first: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!((&first["found"], &first["new"], &first["known"]), (&7.into(), &7.into(), &0.into()), "{first}");
    for name in ["carphone_pristine.mp4", "carphone_distorted.mp4", "bikes.mp4"] {
        let video = of_file(&first["videos"], name);
        assert_eq!((&video["status"], &video["frame_count"]), (&"SUCCEEDED".into(), &2.into()), "{video}");
        assert!(video["extraction_secs"].as_f64() > Some(0.0) && video["embedding_secs"].as_f64() > Some(0.0));
    }
    let bikes = of_file(&first["videos"], "bikes.mp4");
    assert_eq!(
        (&bikes["width_px"], &bikes["codec"], &bikes["has_sound"]),
        (&640.into(), &"h264".into(), &false.into())
    );
    for name in ["corrupt.mp4", "empty.mp4", "text.mp4", "sound.mp4"] {
        let video = of_file(&first["videos"], name);
        assert_eq!((&video["status"], &video["retry_count"]), (&"FAILED".into(), &0.into()), "{video}");
        let error = if name == "sound.mp4" { "has sound but no picture" } else { INVALID };
        assert!(video["error"].as_str().unwrap().contains(error), "{video}");
    }

    let second = json(database, &run, 1);
    assert_eq!((&second["new"], &second["changed"], &second["known"]), (&0.into(), &0.into(), &7.into()));
    assert_eq!(second["videos"], first["videos"], "a second run changes nothing");

    reading_commands(database, &first["videos"]);
    retrying(database, &first["videos"]);
}

fn reading_commands(database: &str, videos: &Value) {
    let status = json(database, &["status"], 0);
    assert_eq!((&status["statuses"]["SUCCEEDED"], &status["statuses"]["FAILED"]), (&3.into(), &4.into()), "{status}");
    assert_eq!(json(database, &["list"], 0).as_array().unwrap().len(), 7);
    assert_eq!(json(database, &["list", "--status", "FAILED"], 0).as_array().unwrap().len(), 4);

    let empty = of_file(videos, "empty.mp4")["video_id"].as_str().unwrap();
    let shown = json(database, &["show", empty], 0);
    assert_eq!((&shown["failures"][0]["cause"], &shown["failures"][0]["error"]), (&"fail".into(), &INVALID.into()));
    assert!(shown["explanation"]["text"].as_str().unwrap().contains("a requeue takes it up again at"), "{shown}");

    let pristine = of_file(videos, "carphone_pristine.mp4")["video_id"].as_str().unwrap();
    for arguments in [&["similar", "--all"][..], &["similar", pristine, "--top", "1"]] {
        let similar = json(database, arguments, 0);
        let nearest = &of_file(&similar, "carphone_pristine.mp4")["similar"];
        assert_eq!(nearest.as_array().unwrap().len(), 1);
        assert!(nearest[0]["path"].as_str().unwrap().ends_with("carphone_distorted.mp4"), "{nearest}");
    }
    for arguments in [&["status"][..], &["list"], &["show", empty], &["similar", "--all"]] {
        let output = run_to_end(rowlock_video(database, arguments), 0);
        assert!(!output.stdout.is_empty(), "{arguments:?}");
    }
    run_to_end(rowlock_video(database, &["show", "nobody"]), 2);
    run_to_end(rowlock_video(database, &["similar", "nobody"]), 2);
}

fn retrying(database: &str, videos: &Value) {
    let before = json(database, &["status"], 0);
    let bikes = of_file(videos, "bikes.mp4")["video_id"].as_str().unwrap();
    run_to_end(rowlock_video(database, &["retry", "--failed"]), 0);
    run_to_end(rowlock_video(database, &["retry", bikes]), 0);
    run_to_end(rowlock_video(database, &["retry", "nobody"]), 1);
    // It is ready already.
    run_to_end(rowlock_video(database, &["retry", bikes]), 1);

    let ready = json(database, &["list"], 0);
    let dry = json(database, &["dry-run", "10", "--frames", "1"], 1);
    let dry = dry.as_array().unwrap();
    assert_eq!(dry.len(), 5);
    assert_eq!(dry.iter().filter(|run| run["to"] == "EXTRACTION_COMPLETE").count(), 1, "{dry:?}");
    assert_eq!(dry.iter().filter(|run| run["to"] == "FAILED").count(), 4, "{dry:?}");
    assert_eq!(json(database, &["list"], 0), ready, "a dry run writes nothing");

    let path = of_file(videos, "bikes.mp4")["path"].as_str().unwrap();
    let folder = Path::new(path).parent().unwrap().to_str().unwrap();
    json(database, &["run", folder, "--frames", "2"], 1);
    let after = json(database, &["status"], 0);
    assert_eq!(after["statuses"], before["statuses"]);
}

/// A changed file is processed again, and its results replace the old ones.
pub(super) fn a_changed_file(database: &str) {
    let folder = TempDir::new().unwrap();
    let (path, other) = (folder.path().join("video.mp4"), folder.path().join("other.mp4"));
    fs::copy(clip("carphone_distorted"), &path).unwrap();
    fs::copy(clip("carphone_distorted"), &other).unwrap();
    let run = ["run", folder.path().to_str().unwrap(), "--frames", "1"];
    let before = json(database, &run, 0);
    fs::copy(clip("bikes"), &path).unwrap();
    let after = json(database, &run, 0);
    assert_eq!((&after["new"], &after["changed"], &after["known"]), (&0.into(), &1.into(), &1.into()), "{after}");
    let video = of_file(&after["videos"], "video.mp4");
    assert_eq!((&video["status"], &video["width_px"]), (&"SUCCEEDED".into(), &640.into()), "{video}");
    assert_eq!(video["video_id"], of_file(&before["videos"], "video.mp4")["video_id"]);
    assert_eq!(of_file(&after["videos"], "other.mp4"), of_file(&before["videos"], "other.mp4"));
}

/// The plain form: the database first, the table last.
pub(super) fn plain_output(database: &str) {
    let folder = TempDir::new().unwrap();
    fs::copy(clip("carphone_distorted"), folder.path().join("a.mp4")).unwrap();
    let run = rowlock_video(database, &["run", folder.path().to_str().unwrap(), "--frames", "1", "--jobs", "1"]);
    let output = text(&run_to_end(run, 0).stdout);
    let shown = database.split('?').next().unwrap();
    let first = output.lines().next().unwrap();
    assert!(first.starts_with("database: ") && first.ends_with(shown.rsplit('/').next().unwrap()), "{output}");
    for word in ["a.mp4", "SUCCEEDED", "176×144", "h264", "1 of 1 videos succeeded"] {
        assert!(output.contains(word), "{word}: {output}");
    }
}
