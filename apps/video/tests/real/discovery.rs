//! Which files are found.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rowlock_video::media::{DiscoverError, FoundVideo, Links, discover};
use tempfile::TempDir;

use crate::clips::{CLIPS, clip, clips_folder, make};

fn names(videos: &[FoundVideo]) -> Vec<String> {
    videos.iter().map(|video| video.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn found(path: &Path) -> Vec<FoundVideo> {
    let discovery = discover(&[path.to_path_buf()], Links::Inside).unwrap();
    assert!(discovery.problems.is_empty(), "{:?}", discovery.problems);
    discovery.videos
}

#[test]
fn the_clips_are_found_in_order() {
    assert_eq!(names(&found(&clips_folder())), CLIPS.map(|name| format!("{name}.mp4")));
}

#[test]
fn content_counts_and_so_does_a_video_name() {
    let folder = TempDir::new().unwrap();
    let deep = folder.path().join("a/b c/d");
    fs::create_dir_all(&deep).unwrap();
    fs::copy(clip("bikes"), deep.join("no extension")).unwrap();
    fs::write(folder.path().join("garbage.MP4"), "garbage").unwrap();
    fs::write(folder.path().join("notes.txt"), "notes").unwrap();
    fs::write(folder.path().join("module.ts"), "export const G = 1").unwrap();
    for container in ["mkv", "webm", "avi", "ts", "flv", "mov", "ogv", "mpg"] {
        let codec: &[&str] = match container {
            "webm" => &["-c:v", "libvpx", "-deadline", "realtime"],
            "ogv" => &["-c:v", "libtheora"],
            "mpg" | "avi" => &["-c:v", "mpeg2video"],
            _ => &["-c:v", "libx264"],
        };
        let input = clip("carphone_distorted");
        let start = ["-i".as_ref(), input.as_os_str(), "-frames:v".as_ref(), "3".as_ref(), "-an".as_ref()];
        let codec = codec.iter().map(std::ffi::OsStr::new).collect::<Vec<_>>();
        let made = folder.path().join(format!("clip.{container}"));
        make(&[&start[..], &codec].concat(), &made);
        fs::rename(&made, folder.path().join(format!("{container}.bin"))).unwrap();
    }
    assert_eq!(
        names(&found(folder.path())),
        [
            "no extension",
            "avi.bin",
            "flv.bin",
            "garbage.MP4",
            "mkv.bin",
            "mov.bin",
            "mpg.bin",
            "ogv.bin",
            "ts.bin",
            "webm.bin",
        ]
    );
}

#[test]
fn a_file_that_is_named_directly_always_counts() {
    let folder = TempDir::new().unwrap();
    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "notes").unwrap();
    assert_eq!(names(&found(&notes)), ["notes.txt"]);
}

#[test]
fn loops_end_and_each_file_is_found_once() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::copy(clip("bikes"), inner.join("bikes.mp4")).unwrap();
    symlink(folder.path(), inner.join("up")).unwrap();
    symlink(&inner, folder.path().join("again")).unwrap();
    symlink(inner.join("bikes.mp4"), folder.path().join("same.mp4")).unwrap();
    symlink("self", folder.path().join("self")).unwrap();
    fs::hard_link(inner.join("bikes.mp4"), inner.join("zebra.mp4")).unwrap();
    let paths = [folder.path().to_path_buf(), inner.clone(), inner.join("bikes.mp4")];
    let videos = discover(&paths, Links::Inside).unwrap().videos;
    assert_eq!(names(&videos), ["bikes.mp4"]);
    assert_eq!(videos[0].other_paths.len(), 1, "a hard link is another name and no other video");
}

#[test]
fn a_pipe_named_like_a_video_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(found(folder.path()).is_empty());
    assert!(matches!(discover(&[pipe], Links::Inside), Err(DiscoverError::NotAFile { .. })));
}

#[test]
fn a_path_that_is_not_there_is_refused_and_a_dead_link_is_reported() {
    let error = discover(&[PathBuf::from("/no where")], Links::Inside).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /no where");
    let folder = TempDir::new().unwrap();
    symlink("/nowhere.mp4", folder.path().join("dead.mp4")).unwrap();
    symlink("/nowhere", folder.path().join("dead")).unwrap();
    let problems = discover(&[folder.path().to_path_buf()], Links::Inside).unwrap().problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].path.ends_with("dead.mp4"));
}

#[test]
fn a_changed_file_keeps_its_id_and_changes_its_fingerprint() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("clip.mp4");
    fs::copy(clip("bikes"), &path).unwrap();
    let before = found(folder.path());
    assert_eq!(before, found(folder.path()), "a second look finds the same");
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    // The same size and the same time: only the content differs.
    fs::File::options().append(true).open(&path).unwrap().set_modified(mtime).unwrap();
    let after = found(folder.path());
    assert_eq!(after[0].video_id, before[0].video_id);
    assert_ne!(after[0].fingerprint, before[0].fingerprint);
}

#[test]
fn links_out_of_the_named_folders_are_followed_only_when_asked() {
    let (folder, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::copy(clip("bikes"), elsewhere.path().join("private.mp4")).unwrap();
    symlink(elsewhere.path(), folder.path().join("folder")).unwrap();
    symlink(elsewhere.path().join("private.mp4"), folder.path().join("file.mp4")).unwrap();
    let paths = [folder.path().to_path_buf()];
    let inside = discover(&paths, Links::Inside).unwrap();
    assert!(inside.videos.is_empty() && inside.problems.is_empty(), "{inside:?}");
    assert_eq!(inside.passed_over_counts["a link out of the named folders"], 2);
    assert_eq!(names(&discover(&paths, Links::Followed).unwrap().videos), ["private.mp4"]);
    let both = [folder.path().to_path_buf(), elsewhere.path().to_path_buf()];
    assert_eq!(names(&discover(&both, Links::Inside).unwrap().videos), ["private.mp4"], "named as well");
}

#[test]
fn the_systems_own_folders_are_never_entered() {
    for path in ["/proc", "/sys", "/dev"] {
        let path = PathBuf::from(path);
        if path.exists() {
            assert!(matches!(discover(&[path], Links::Followed), Err(DiscoverError::System { .. })));
        }
    }
    let folder = TempDir::new().unwrap();
    symlink("/proc", folder.path().join("processes")).unwrap();
    let found = discover(&[folder.path().to_path_buf()], Links::Followed).unwrap();
    assert_eq!(found.passed_over_counts["a folder of the system"], 1, "{found:?}");
}

#[test]
fn what_is_passed_over_is_said_and_counted() {
    let folder = TempDir::new().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.mp4")).status().unwrap().success());
    for name in ["raw.h264", "tape.dv", "notes.txt"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let found = discover(&[folder.path().to_path_buf()], Links::Inside).unwrap();
    let what: Vec<_> = found.passed_over.iter().map(|passed| passed.what).collect();
    assert_eq!(what, ["a pipe", "a raw stream", "a raw stream"]);
}
