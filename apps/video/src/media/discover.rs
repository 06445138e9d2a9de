//! Finding the video files under the paths that a user names.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fingerprint::Fingerprint;
use super::location::video_id;
use super::open::kind_of;
use super::sniff::{has_raw_extension, has_video_extension, head_of, is_video};

/// More than any folder of videos has; a run that finds more was started at the wrong place, and would fill memory.
const MAX_VIDEOS: usize = 1_000_000;

/// Enough to see what is wrong with a folder; [`Discovery::problems_left_out`] counts the rest.
const MAX_PROBLEMS: usize = 1_000;

/// Never entered: nothing there is a regular file, and reading some entries has effects.
const SYSTEM_FOLDERS: &[&str] = &["/proc", "/sys", "/dev"];

/// The kernel's marks for the file systems of the first two, wherever they are mounted.
const SYSTEM_FILE_SYSTEMS: &[i64] = &[0x9fa0, 0x6265_6572];

/// A video file, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVideo {
    /// See [`video_id`]: depends on the path alone.
    pub video_id: String,
    /// Absolute, without symlinks; not necessarily UTF-8, see [`path_to_text`](super::path_to_text).
    pub path: PathBuf,
    /// The named folder in which it was found; `None` if it was named directly, or found through a link that leads out
    /// of the folder.
    pub root: Option<PathBuf>,
    /// Other names of the same file that were found, by hard links for instance.
    pub other_paths: Vec<PathBuf>,
    /// Differs from the stored one if the file was changed and must be processed again.
    pub fingerprint: Fingerprint,
    /// Size of the file.
    pub size_bytes: u64,
}

/// A file or folder below a named path that could not be read. Everything else is still found.
#[derive(Debug)]
pub struct Problem {
    /// Its path.
    pub path: PathBuf,
    /// The reason.
    pub error: io::Error,
}

/// Whether symbolic links may lead out of the named folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Links {
    /// Targets of links that lead outside are skipped: a folder from elsewhere cannot expose files that the user did
    /// not name.
    #[default]
    Inside,
    /// Links are followed wherever they lead.
    Followed,
}

/// Something that was not taken for a video, but should be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its path.
    pub path: PathBuf,
    /// What it is: `a pipe`, `a raw stream`.
    pub what: &'static str,
}

/// The result of [`discover`].
#[derive(Debug, Default)]
pub struct Discovery {
    /// Each file once, however many names lead to it, in the order of the paths' bytes.
    pub videos: Vec<FoundVideo>,
    /// Files and folders that could not be read, for the user.
    pub problems: Vec<Problem>,
    /// Problems beyond the first thousand.
    pub problems_left_out: usize,
    /// The first thousand skipped files.
    pub passed_over: Vec<PassedOver>,
    /// How many were skipped, by kind.
    pub passed_over_counts: BTreeMap<&'static str, usize>,
}

/// The reason why nothing was searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// A path that the user named does not exist, or cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A path that the user named is a pipe, a device or a socket.
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// A path that the user named belongs to the system's own file systems.
    #[error("{} belongs to the system, and holds no videos", path.display())]
    System {
        /// The path as given.
        path: PathBuf,
    },
    /// See the limit's own comment.
    #[error("more than {MAX_VIDEOS} videos were found: name a smaller folder")]
    TooMany,
}

/// Finds the video files at and under `paths`.
///
/// In a folder a file counts if its first bytes open a video container, or if its name ends like a video's: a broken
/// video must fail visibly and not be skipped. A file that is named directly always counts. `links` decides which
/// symlinks are followed; each folder is visited once, so that loops end; a file with several names is one video.
/// Pipes, devices and sockets below a folder are skipped, because opening one may wait for ever; `/proc`, `/sys` and
/// `/dev` are never entered.
///
/// Blocks on the file system and reads up to 132 KiB of each video: call it through `spawn_blocking`.
///
/// # Errors
/// A named path that cannot be used, before anything is searched. [`Discovery::problems`] has problems further down.
pub fn discover(paths: &[PathBuf], links: Links) -> Result<Discovery, DiscoverError> {
    let mut search = Search { links, ..Search::default() };
    for path in paths {
        let unreadable = |source| DiscoverError::Unreadable { path: path.clone(), source };
        let real = path.canonicalize().map_err(unreadable)?;
        let metadata = real.metadata().map_err(unreadable)?;
        if is_systems_own(&real) {
            return Err(DiscoverError::System { path: path.clone() });
        }
        if metadata.is_dir() {
            fs::read_dir(&real).map_err(unreadable)?;
            search.folders.push(real.clone());
        } else if metadata.is_file() {
            search.videos.insert(real.clone());
        } else {
            return Err(DiscoverError::NotAFile { path: path.clone() });
        }
        search.roots.push(real);
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
    links: Links,
    /// The named paths, without symlinks.
    roots: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Device and inode: a loop of symlinks cannot disguise them.
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
        if is_systems_own(folder) {
            self.pass_over(folder, "a folder of the system");
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
            // A broken symlink is a problem only if its name is that of a video.
            Err(_) if path.is_symlink() && !has_video_extension(path) => return Ok(()),
            Err(error) => return Err(error),
        };
        if path.is_symlink() && self.links == Links::Inside {
            let target = path.canonicalize()?;
            if !self.roots.iter().any(|root| target.starts_with(root)) {
                self.pass_over(path, "a link out of the named folders");
                return Ok(());
            }
        }
        if metadata.is_dir() {
            self.folders.push(path.canonicalize()?);
        } else if let Some(kind) = kind_of(&metadata) {
            self.pass_over(path, kind);
        } else if is_video(path, &head_of(path)?) {
            self.videos.insert(path.canonicalize()?);
        } else if has_raw_extension(path) {
            self.pass_over(path, "a raw stream");
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

    fn pass_over(&mut self, path: &Path, what: &'static str) {
        *self.found.passed_over_counts.entry(what).or_default() += 1;
        if self.found.passed_over.len() < MAX_PROBLEMS {
            self.found.passed_over.push(PassedOver { path: path.to_path_buf(), what });
        }
    }

    fn into_discovery(mut self) -> Discovery {
        let mut known: HashMap<(u64, u64), usize> = HashMap::new();
        for path in std::mem::take(&mut self.videos) {
            let (inode, video) = match describe(&path, &self.roots) {
                Ok(described) => described,
                Err(error) => {
                    self.report(path, error);
                    continue;
                }
            };
            let videos = &mut self.found.videos;
            match known.get(&inode).map(|position| &mut videos[*position]) {
                // Some network disks give different files the same number.
                Some(same) if same.fingerprint == video.fingerprint => same.other_paths.push(path),
                _ => {
                    known.insert(inode, videos.len());
                    videos.push(video);
                }
            }
        }
        self.found.problems.sort_by(|a, b| a.path.cmp(&b.path));
        self.found.passed_over.sort_by(|a, b| a.path.cmp(&b.path));
        self.found
    }
}

fn is_systems_own(path: &Path) -> bool {
    let marked = || rustix::fs::statfs(path).is_ok_and(|system| SYSTEM_FILE_SYSTEMS.contains(&system.f_type));
    SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder)) || marked()
}

/// The file's device and inode, and its metadata.
fn describe(path: &Path, roots: &[PathBuf]) -> io::Result<((u64, u64), FoundVideo)> {
    let metadata = path.metadata()?;
    let around = roots.iter().filter(|root| *root != path && path.starts_with(root));
    let root = around.max_by_key(|root| root.as_os_str().len()).cloned();
    let video = FoundVideo {
        video_id: video_id(path),
        path: path.to_path_buf(),
        root,
        other_paths: Vec::new(),
        fingerprint: Fingerprint::of(path)?,
        size_bytes: metadata.len(),
    };
    Ok(((metadata.dev(), metadata.ino()), video))
}
