//! Making a Lance dataset survive a power cut.
//!
//! Lance writes a temporary file and renames it, without syncing either. It never changes a file, so the files of a commit
//! are those that were not there before it: they are synced one by one, then their folders. This happens before the caller
//! is told that the update is done, and the caller writes its own record of the build after that. What a power cut leaves of
//! an update that was not reported done is either whole or found to be damaged when the index is opened.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::medium::disk::File;
use walkdir::WalkDir;

/// All files below `dir`; none if it does not exist.
pub(super) fn list_files(dir: &Path) -> io::Result<BTreeSet<PathBuf>> {
    if !dir.exists() {
        return Ok(BTreeSet::new());
    }
    let mut files = BTreeSet::new();
    for entry in WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.insert(entry.into_path());
        }
    }
    Ok(files)
}

/// Syncs the files below `dir` that are not in `before`, every folder below it, and the folder it is in.
pub(super) fn sync_new_files(dir: &Path, before: &BTreeSet<PathBuf>) -> io::Result<()> {
    for file in list_files(dir)?.difference(before) {
        File::open(file)?.sync_all()?;
    }
    for entry in WalkDir::new(dir) {
        let entry = entry?;
        if entry.file_type().is_dir() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
