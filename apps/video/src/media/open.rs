//! Opening files that nobody vetted.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a path was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The operating system said no.
    Io(io::Error),
    /// It is no file; this says what it is.
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

/// Opens the file at `path` to be read, and nothing that is not a file.
///
/// What a path leads to may change at any time. A pipe without a writer would be waited for without an end, and opening
/// some devices moves something: so the kind is looked at before, the opening never waits, and what was opened is
/// looked at once more.
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

/// What this is, if it is no regular file.
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
