//! The file of a store: only its owner may read it, errors say why it cannot be opened, and it must still be the file
//! that was opened first.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::errors;
use crate::limits::FILE_CHECKED_EVERY;
use crate::{Error, Fault, Result};

/// A file, and its identity when it was first opened.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    path: PathBuf,
    opened: OnceLock<Identity>,
    checked_at: Mutex<Option<Instant>>,
}

/// What identifies a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|found| Identity { device: found.dev(), inode: found.ino() })
}

/// On other systems an open file can be neither replaced nor deleted.
#[cfg(not(unix))]
fn identity(path: &Path) -> std::io::Result<Identity> {
    fs::metadata(path).map(|_| Identity { device: 0, inode: 0 })
}

impl DatabaseFile {
    pub(super) fn new(path: PathBuf) -> DatabaseFile {
        DatabaseFile { path, opened: OnceLock::new(), checked_at: Mutex::default() }
    }

    /// Creates it if there is none, for its owner alone. SQLite gives the files beside it the same rights.
    pub(super) fn create(&self) {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Opening the file finds, and reports, whatever is wrong.
        let _ = options.open(&self.path);
    }

    pub(super) fn is_there(&self) -> bool {
        self.path.exists()
    }

    /// Takes away the rights of everybody but the owner from a file that SQLite has just created.
    pub(super) fn restrict(&self) {
        #[cfg(unix)]
        for suffix in ["", "-wal", "-shm"] {
            use std::os::unix::fs::PermissionsExt;
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            // A missing file needs no rights.
            let _ = fs::set_permissions(name, fs::Permissions::from_mode(0o600));
        }
    }

    /// Called when a connection was opened: the first one determines which file it is.
    pub(super) fn opened(&self, verb: &'static str) -> Result<()> {
        let found = identity(&self.path).map_err(|error| self.gone(verb, &error))?;
        let opened = *self.opened.get_or_init(|| found);
        if opened == found { Ok(()) } else { Err(self.replaced(verb)) }
    }

    /// Whether it is the file that was opened first, if one was.
    pub(super) fn still_the_same(&self, verb: &'static str) -> Result<()> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        match identity(&self.path) {
            Ok(found) if found == *opened => Ok(()),
            Ok(_) => Err(self.replaced(verb)),
            Err(error) => Err(self.gone(verb, &error)),
        }
    }

    /// Checks from time to time whether it is still that file. Writes to a file that was replaced or deleted are lost.
    pub(super) fn check(&self, verb: &'static str) -> Result<()> {
        let now = Instant::now();
        let mut checked_at = self.checked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if checked_at.is_some_and(|checked_at| now.duration_since(checked_at) < FILE_CHECKED_EVERY) {
            return Ok(());
        }
        self.still_the_same(verb)?;
        *checked_at = Some(now);
        Ok(())
    }

    fn replaced(&self, verb: &'static str) -> Error {
        let problem = "it was replaced by another file while it was open, and what is written to the old one is lost: \
                       open it anew, in a new process or with a new store";
        self.error(verb, problem, Fault::Lasting)
    }

    fn gone(&self, verb: &'static str, error: &std::io::Error) -> Error {
        if error.kind() != std::io::ErrorKind::NotFound {
            return self.error(verb, &error.to_string(), Fault::NotApplied);
        }
        let problem = "it was deleted or moved while it was open: put it back, or open another one with a new store";
        self.error(verb, problem, Fault::Lasting)
    }

    /// Why it could not be opened, in words that say what is wrong with the file.
    pub(super) fn explain(&self, verb: &'static str, error: Error) -> Error {
        let Error::Database { fault, source, .. } = &error else { return error };
        let (problem, fault) = match self.problem(source) {
            Some(problem) => (problem, Fault::Lasting),
            None => (errors::words(source), *fault),
        };
        self.error(verb, &problem, fault)
    }

    fn problem(&self, source: &sqlx::Error) -> Option<String> {
        if errors::is_not_a_database(source) {
            return Some("it is no SQLite database".to_owned());
        }
        match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => Some("it is a folder".to_owned()),
            Ok(_) => {
                let refused = fs::File::open(&self.path).err()?;
                (refused.kind() == std::io::ErrorKind::PermissionDenied)
                    .then(|| "this process may not read it".to_owned())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match self.path.parent() {
                Some(folder) if !folder.is_dir() => Some(format!("its folder {} does not exist", folder.display())),
                _ => Some("it does not exist, or cannot be created".to_owned()),
            },
            Err(error) => Some(error.to_string()),
        }
    }

    fn error(&self, verb: &'static str, problem: &str, fault: Fault) -> Error {
        Error::File { verb, file: self.path.display().to_string(), problem: problem.to_owned(), fault }
    }
}

/// The longest wait for another program in one attempt to open a file: its answer, that the file is locked, comes
/// before the verb's own deadline.
pub(super) fn busy_timeout_of_opening(deadline: Duration) -> Duration {
    deadline / 4
}
