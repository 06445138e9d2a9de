//! Opening untrusted files.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a path was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The operating system's error.
    Io(io::Error),
    /// It is not a regular file; this says what it is.
    NotAFile(&'static str),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error,
            OpenError::NotAFile(kind) => Self::new(io::ErrorKind::InvalidInput, format!("is {kind} and no file")),
        }
    }
}

/// Opens the file at `path` for reading, and nothing that is not a regular file.
///
/// The target of a path may change at any time. Opening a pipe without a writer would wait without end, and opening
/// some devices has effects: so the kind is checked before, the opening never waits, and the opened file is checked
/// once more.
pub(super) fn open_regular(path: &Path) -> Result<File, OpenError> {
    check_kind(&path.metadata()?)?;
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    check_kind(&file.metadata()?)?;
    Ok(file)
}

fn check_kind(metadata: &Metadata) -> Result<(), OpenError> {
    match kind_of(metadata) {
        None => Ok(()),
        Some(kind) => Err(OpenError::NotAFile(kind)),
    }
}

/// What this is, if it is not a regular file.
pub(super) fn kind_of(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a folder")
    } else if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.mp4");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, kind) in
            [(pipe.as_path(), "a pipe"), (Path::new("/dev/zero"), "a device"), (folder.path(), "a folder")]
        {
            assert!(matches!(open_regular(path), Err(OpenError::NotAFile(found)) if found == kind), "{kind}");
        }
        assert!(matches!(open_regular(&folder.path().join("none")), Err(OpenError::Io(_))));
    }
}
