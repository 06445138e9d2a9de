//! A separate volume, small enough to fill.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A file system in memory, mounted for as long as this value lives.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Why no volume can be mounted here, if that is so.
    pub fn is_missing() -> Option<String> {
        match SmallDisk::of_megabytes(1) {
            Ok(_) => None,
            Err(error) => Some(format!("no volume can be mounted here: {error:#}")),
        }
    }

    /// A volume of this size.
    ///
    /// # Errors
    /// Without the right to mount.
    pub fn of_megabytes(megabytes: u32) -> Result<SmallDisk> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={megabytes}m,mode=0755");
        let output =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "rowlock-faults"]).arg(folder.path()).output();
        let output = output.context("mount")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(SmallDisk { folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// Those of the file, except the one that says that the disk is full.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast())?;
        let mut piece = vec![1_u8; 64 << 10];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        Ok(())
    }

    /// Frees the space again.
    ///
    /// # Errors
    /// Those of the file.
    pub fn free(&self) -> Result<()> {
        std::fs::remove_file(self.ballast()).context("removing the ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // If it cannot be unmounted now, it is unmounted once no process has a file on it.
        let _unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
