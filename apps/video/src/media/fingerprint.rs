//! Whether a file is still the one that was processed.

use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::location::hex;
use super::open::open_regular;

/// How much of each end of a file is hashed. Containers keep their index at one of the ends, so that a
/// re-encoded film differs there, and a folder of large films is not read through on every run.
const HASHED_END_BYTES: u64 = 64 * 1024;

/// Half of SHA-256: this tells versions of one file apart, and does not defend against forgery.
const HASH_BYTES: usize = 16;

/// Tells two versions of a file apart: its size, its modification time, and a hash of its first and last 64 KiB.
///
/// If any of the three differs, it is another version. So a file that was merely touched or copied is processed again,
/// which costs a repetition; a change in the middle that keeps both the size and the time is missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads at most 128 KiB of the file at `path`.
    ///
    /// # Errors
    /// The file is missing or cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = open_regular(path)?;
        let metadata = file.metadata()?;
        let size_bytes = metadata.len();
        let mut hash = Sha256::new();
        io::copy(&mut file.by_ref().take(HASHED_END_BYTES), &mut HashWriter(&mut hash))?;
        file.seek(SeekFrom::Start(size_bytes.saturating_sub(HASHED_END_BYTES).max(HASHED_END_BYTES)))?;
        io::copy(&mut file.take(HASHED_END_BYTES), &mut HashWriter(&mut hash))?;
        let hash = hex(&hash.finalize()[..HASH_BYTES]);
        Ok(Self(format!("{size_bytes}-{}.{:09}-{hash}", metadata.mtime(), metadata.mtime_nsec())))
    }

    /// The text to store, and to compare with.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
