//! Finding the video files under the paths that a user names.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fingerprint::Fingerprint;
use super::location::video_id;
use super::sniff::{has_video_extension, head_of, is_video};

/// More than any folder of videos; a run that meets it was pointed at the wrong place, and would fill
/// memory otherwise.
const MAX_VIDEOS: usize = 1_000_000;

/// Enough to see what is wrong with a folder; the number beyond is counted in
/// [`Discovery::problems_left_out`].
const MAX_PROBLEMS: usize = 1_000;

/// A video file, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVideo {
    /// See [`video_id`]: depends on the path alone.
    pub video_id: String,
    /// Absolute, without symlinks; not necessarily UTF-8, see [`path_to_text`](super::path_to_text).
    pub path: PathBuf,
    /// Differs from the stored one when the file was changed and must be taken again.
    pub fingerprint: Fingerprint,
    /// Size of the file.
    pub size_bytes: u64,
}

/// A folder or file below a named path that could not be read. Everything else is found all the same.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// What [`discover`] found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each file once, however many names lead to it, in the order of the paths' bytes.
    pub videos: Vec<FoundVideo>,
    /// What could not be read, for the user to see.
    pub problems: Vec<Problem>,
    /// Problems beyond the first thousand.
    pub problems_left_out: usize,
}

/// Why nothing was searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// A path that the user named is not there, or cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A path that the user named is a pipe, a device or a socket.
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile {
        /// As it was named.
        path: PathBuf,
    },
    /// See the limit's own comment.
    #[error("more than {MAX_VIDEOS} videos were found: name a smaller folder")]
    TooMany,
}

/// Finds the video files at and under `paths`.
///
/// Under a folder a file counts when its first bytes open a video container, or when its name ends like
/// a video's: a broken video must fail visibly and not be passed over. A file that is named directly
/// always counts. Symlinks are followed, each folder and each file is visited once, and so loops end.
/// Pipes, devices and sockets below a folder are passed over, since opening one may wait for ever.
///
/// Blocks on the file system and reads up to 132 KiB of each video: call it through `spawn_blocking`.
///
/// # Errors
/// A named path that cannot be used, before anything is searched. Trouble further down is in
/// [`Discovery::problems`].
pub fn discover(paths: &[PathBuf]) -> Result<Discovery, DiscoverError> {
    let mut search = Search::default();
    for path in paths {
        let unreadable = |source| DiscoverError::Unreadable { path: path.clone(), source };
        let real = path.canonicalize().map_err(unreadable)?;
        let metadata = real.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            fs::read_dir(&real).map_err(unreadable)?;
            search.folders.push(real);
        } else if metadata.is_file() {
            search.videos.insert(real);
        } else {
            return Err(DiscoverError::NotAFile { path: path.clone() });
        }
    }
    while let Some(folder) = search.folders.pop() {
        if let Err(error) = search.visit_folder(&folder) {
            search.report(folder, error);
        }
        if search.videos.len() > MAX_VIDEOS {
            return Err(DiscoverError::TooMany);
        }
    }
    Ok(search.into_discovery())
}

#[derive(Default)]
struct Search {
    folders: Vec<PathBuf>,
    /// Device and inode: what a loop of symlinks cannot disguise.
    seen_folders: HashSet<(u64, u64)>,
    videos: BTreeSet<PathBuf>,
    found: Discovery,
}

impl Search {
    fn visit_folder(&mut self, folder: &Path) -> io::Result<()> {
        let metadata = folder.metadata()?;
        if !self.seen_folders.insert((metadata.dev(), metadata.ino())) {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if let Err(error) = self.visit_entry(&path) {
                self.report(path, error);
            }
        }
        Ok(())
    }

    fn visit_entry(&mut self, path: &Path) -> io::Result<()> {
        let metadata = match path.metadata() {
            Ok(metadata) => metadata,
            // A symlink to nothing is no trouble of ours unless it is called a video.
            Err(_) if path.is_symlink() && !has_video_extension(path) => return Ok(()),
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            self.folders.push(path.canonicalize()?);
        } else if metadata.is_file() && is_video(path, &head_of(path)?) {
            self.videos.insert(path.canonicalize()?);
        }
        Ok(())
    }

    fn report(&mut self, path: PathBuf, error: io::Error) {
        if self.found.problems.len() < MAX_PROBLEMS {
            self.found.problems.push(Problem { path, error });
        } else {
            self.found.problems_left_out += 1;
        }
    }

    fn into_discovery(mut self) -> Discovery {
        for path in std::mem::take(&mut self.videos) {
            match describe(&path) {
                Ok(video) => self.found.videos.push(video),
                Err(error) => self.report(path, error),
            }
        }
        self.found.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.found
    }
}

fn describe(path: &Path) -> io::Result<FoundVideo> {
    Ok(FoundVideo {
        video_id: video_id(path),
        path: path.to_path_buf(),
        fingerprint: Fingerprint::of(path)?,
        size_bytes: path.metadata()?.len(),
    })
}
