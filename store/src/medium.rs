//! Files that replace others in one step.
//!
//! A file is written under a hidden name in the folder of its target, synced, compared with what stands there, renamed,
//! and the folder is synced. Whoever reads the target sees the old bytes or the new ones. A file that was not published
//! is removed when its [`AsideFile`] is dropped; what a killed process left is removed by the next writer of the target.
//!
//! Does not know what is in the file, nor whether the path may be written ([`crate::paths`]).

pub(crate) mod disk;

use crate::failpoint::{Control, Site, call, is_broken, reach};
use disk::File;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes that a writer gathers before it calls the system; one or two pages of a page cache read-ahead.
const BUFFER_BYTES: usize = 128 * 1024;

/// Hidden names that this process has given out and not yet taken back.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Distinguishes files that one process writes aside at the same time.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// What went wrong with one file, with its name.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// The device or the quota has no room (E1004).
    #[error("no space left while writing {path}")]
    Full {
        /// File that was being written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Any other failure of the system.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried, as in "write".
        action: &'static str,
        /// File or folder that it was tried on.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl MediumError {
    /// An error of `action` on `path`, sorted into the two kinds.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Io { action, path, source },
        }
    }

    /// The code of the diagnostic: E1004 for a full disk, else E2501 (an output path that cannot be written).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "E1004",
            Self::Io { .. } => "E2501",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Full { .. } => {
                "free some space or choose another folder; nothing that was there has been changed".into()
            }
            Self::Io { path, .. } => {
                format!("check that {} exists and may be written", parent_of(path).display())
            }
        }
    }
}

/// The folder of `path`; "." for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in `folder` durable (renames, creations, removals).
pub fn sync_folder(folder: &Path) -> Result<(), MediumError> {
    reach(Site::FolderBeforeSync)
        .and_then(|()| File::open(folder)?.sync_all())
        .and_then(|()| reach(Site::FolderAfterSync))
        .map_err(|source| MediumError::new("sync folder", folder, source))
}

/// Lets two names of one folder change places: one step on Linux, where the file system can; else three renames, of which a kill can
/// leave the first without the others. The names are durable after [`sync_folder`].
pub fn exchange(one: &Path, other: &Path) -> Result<(), MediumError> {
    let fail = |source| MediumError::new("replace", other, source);
    reach(Site::ExchangeBefore).and_then(|()| call("exchange", other)).map_err(fail)?;
    change_places(one, other)?;
    reach(Site::ExchangeAfter).map_err(fail)
}

fn change_places(one: &Path, other: &Path) -> Result<(), MediumError> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(()),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(MediumError::new("replace", other, error.into())),
        }
    }
    let aside = Hidden::beside(other);
    let rename = |from: &Path, to: &Path| {
        disk::rename(from, to).map_err(|source| MediumError::new("replace", to, source))
    };
    rename(other, &aside)?;
    rename(one, other)?;
    rename(&aside, one)
}

/// A new file beside its target, not visible under the target's name before [`AsideFile::publish`].
#[derive(Debug)]
pub struct AsideFile {
    target: PathBuf,
    aside: Hidden,
    writer: Option<BufWriter<File>>,
}

impl AsideFile {
    /// Opens a new hidden file in the folder of `target`, which must exist. Never follows a link and never opens a file
    /// that is already there. Removes what dead processes left for the same target.
    pub fn create(target: &Path) -> Result<Self, MediumError> {
        remove_stale(target);
        let aside = Hidden::beside(target);
        let fail = |source| MediumError::new("create", &aside, source);
        reach(Site::AsideBeforeCreate).map_err(fail)?;
        let file = File::create_new(&aside).map_err(fail)?;
        reach(Site::AsideAfterCreate).map_err(fail)?;
        if is_broken(Control::NameFirst) {
            disk::rename(&aside, target).map_err(fail)?;
        }
        let writer = Some(BufWriter::with_capacity(BUFFER_BYTES, file));
        Ok(Self { target: target.to_path_buf(), aside, writer })
    }

    /// The name that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// An error of writing, with the target's name.
    pub fn failed(&self, source: io::Error) -> MediumError {
        MediumError::new("write", &self.target, source)
    }

    /// Syncs the bytes and renames the file over its target, unless the target already holds the same bytes. Returns
    /// whether the target changed. One `fsync` of the file and one of the folder if it did.
    pub fn publish(self) -> Result<bool, MediumError> {
        let folder = parent_of(&self.target).to_path_buf();
        let changed = self.publish_unsynced()?;
        if changed {
            sync_folder(&folder)?;
        }
        Ok(changed)
    }

    /// [`AsideFile::publish`] without the sync of the folder, for writers of many files in one folder.
    pub fn publish_unsynced(mut self) -> Result<bool, MediumError> {
        let mut writer =
            self.writer.take().expect("invariant: the writer is taken only by publish, which consumes self");
        reach(Site::AsideBeforeFlush)
            .and_then(|()| writer.flush())
            .and_then(|()| reach(Site::AsideBeforeSync))
            .map_err(|source| self.failed(source))?;
        if is_broken(Control::NameFirst) {
            return Ok(true);
        }
        if same_content(&self.aside, &self.target) {
            return Ok(false); // dropping self removes the hidden file
        }
        writer.get_ref().sync_all().map_err(|source| self.failed(source))?;
        drop(writer);
        reach(Site::AsideBeforeRename)
            .and_then(|()| disk::rename(&self.aside, &self.target))
            .and_then(|()| reach(Site::AsideAfterRename))
            .map_err(|source| MediumError::new("replace", &self.target, source))?;
        Ok(true)
    }
}

impl Write for AsideFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().expect("invariant: the writer lives until publish").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().expect("invariant: the writer lives until publish").flush()
    }
}

impl Drop for AsideFile {
    fn drop(&mut self) {
        // The buffer is thrown away with its file, so that a full disk is not asked for room once more.
        if let Some(writer) = self.writer.take() {
            let _ = writer.into_parts();
        }
        // After a rename the hidden name is gone and this fails, as it should.
        let _ = disk::remove_file(&self.aside);
    }
}

/// Hidden names of `target` start with this; a process id and a number follow.
fn aside_prefix(target: &Path) -> String {
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // A name may have 255 bytes; 200 leave room for the rest of the hidden one.
    let mut end = name.len().min(200);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!(".{}.tmp-", &name[..end])
}

/// A hidden name; known to [`remove_unfinished`] while this value lives.
#[derive(Debug)]
pub(crate) struct Hidden(PathBuf);

impl Hidden {
    /// A name in the folder of `target` that no other writer of this or another process uses.
    pub(crate) fn beside(target: &Path) -> Self {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{sequence}", aside_prefix(target), std::process::id());
        let path = parent_of(target).join(name);
        unfinished().insert(path.clone());
        Self(path)
    }
}

impl Deref for Hidden {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what this process is writing under hidden names: for a process that is about to end without unwinding. Best
/// effort; whoever writes such a file meanwhile fails to publish it.
pub fn remove_unfinished() {
    for path in unfinished().iter() {
        let _ = if path.is_dir() { disk::remove_dir_all(path) } else { disk::remove_file(path) };
    }
}

/// Removes hidden files of `target` whose process no longer runs. Best effort: a file that stays costs space only.
pub fn remove_stale(target: &Path) {
    let prefix = aside_prefix(target);
    let Ok(entries) = disk::read_dir(parent_of(target)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&prefix)) else { continue };
        let Some(process) = rest.split('-').next().and_then(|id| id.parse::<u32>().ok()) else { continue };
        if !is_alive(process) {
            let path = entry.path();
            let _ = if path.is_dir() { disk::remove_dir_all(&path) } else { disk::remove_file(&path) };
        }
    }
}

/// Whether a process of this id runs; `true` where the system does not say.
fn is_alive(process: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(process.to_string()).exists()
}

/// Whether both are regular files with equal bytes. Cost: two stats, and one pass over both if their sizes agree.
pub fn same_content(left: &Path, right: &Path) -> bool {
    let size = |path: &Path| {
        fs::symlink_metadata(path).ok().filter(|found| found.is_file()).map(|found| found.len())
    };
    match (size(left), size(right)) {
        (Some(left_bytes), Some(right_bytes)) if left_bytes == right_bytes => {}
        _ => return false,
    }
    equal_streams(left, right).unwrap_or(false)
}

fn equal_streams(left: &Path, right: &Path) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut left_bytes, mut right_bytes) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let count = left.read(&mut left_bytes)?;
        if count == 0 {
            return Ok(right.read(&mut right_bytes)? == 0);
        }
        match right.read_exact(&mut right_bytes[..count]) {
            Ok(()) if left_bytes[..count] == right_bytes[..count] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Writes `bytes` to `target` aside, synced and renamed; `false` if it already held them.
pub fn replace(target: &Path, bytes: &[u8]) -> Result<bool, MediumError> {
    let mut file = AsideFile::create(target)?;
    file.write_all(bytes).map_err(|source| file.failed(source))?;
    file.publish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_file_leaves_the_old_one_and_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.txt");
        assert!(replace(&target, b"old").unwrap());
        let mut aside = AsideFile::create(&target).unwrap();
        aside.write_all(b"half of the new").unwrap();
        drop(aside);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn equal_bytes_leave_the_file_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.txt");
        assert!(replace(&target, b"same").unwrap());
        let before = fs::metadata(&target).unwrap().modified().unwrap();
        assert!(!replace(&target, b"same").unwrap());
        assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), before);
        assert!(replace(&target, b"othr").unwrap());
        assert!(replace(&target, b"longer than before").unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"longer than before");
    }

    #[test]
    fn leftovers_of_dead_processes_go_and_those_of_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.txt");
        let dead = dir.path().join(".a.txt.tmp-4294967294-0");
        let alive = dir.path().join(format!(".a.txt.tmp-{}-999999", std::process::id()));
        fs::write(&dead, b"x").unwrap();
        fs::write(&alive, b"x").unwrap();
        replace(&target, b"new").unwrap();
        assert!(!dead.exists());
        assert!(alive.exists());
    }

    #[test]
    fn full_device_is_e1004() {
        let error = MediumError::new("write", Path::new("x"), io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.code(), "E1004");
    }
}
