//! The named folder in which a video was found, which may be a disk that is away now.

use std::io;
use std::path::Path;

/// Why nothing below `root` can be read: it is gone, empty, or does not answer. `None` if it is as it should be.
///
/// A disk that is not mounted leaves an empty folder behind, or none. A person who deletes a video deletes one of
/// several: a folder that has lost all of them counts as a disk that is away.
///
/// Blocks on the file system.
pub fn absence_of_root(root: &Path) -> Option<String> {
    let what = match root.read_dir() {
        Ok(mut entries) => match entries.next() {
            Some(Ok(_)) => return None,
            Some(Err(error)) => format!("cannot be read ({error})"),
            None => "is empty".to_owned(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => "is not there".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
        Err(error) => format!("cannot be read ({error})"),
    };
    Some(format!("the folder {} {what}: is its disk mounted?", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_or_empty_is_a_disk_that_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("disk");
        let told = |what: &str| Some(format!("the folder {} {what}: is its disk mounted?", root.display()));
        assert_eq!(absence_of_root(&root), told("is not there"));
        std::fs::create_dir(&root).unwrap();
        assert_eq!(absence_of_root(&root), told("is empty"));
        std::fs::write(root.join("another.mp4"), "x").unwrap();
        assert_eq!(absence_of_root(&root), None);
    }
}
