//! A folder of output files: what this run produces is published, what an earlier run produced and this one does not is
//! removed.
//!
//! ```text
//! <folder>/.promptc-files      promptc-files 1
//!                              <blake3 of the content, 64 digits> <name>
//! ```
//!
//! The manifest says which files are ours. A file that is not in it, or whose content is no longer what we wrote, is
//! never removed. New files wait in a hidden folder beside the target. The manifest is written before the first rename
//! with the names of both runs, and again at the end, so that a killed run leaves no file that nobody owns.

use super::{SinkError, SinkReport};
use crate::failpoint::{Site, reach};
use crate::medium::disk::{self, File};
use crate::medium::{self, Hidden, MediumError};
use crate::paths::{self, PathError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Name of the manifest in the folder.
const MANIFEST: &str = ".promptc-files";
/// First line of the manifest.
const MANIFEST_HEAD: &str = "promptc-files 1";

type Hash = [u8; 32];

/// One file of this run.
struct Entry {
    hash: Hash,
    bytes: u64,
    /// Where it waits; `None` if the target holds the same bytes already.
    staged: Option<PathBuf>,
}

/// The output folder of one run.
pub(super) struct Tree {
    folder: PathBuf,
    path: String,
    staging: Hidden,
    staged_count: u64,
    entries: BTreeMap<String, Entry>,
}

impl Tree {
    /// `folder` is checked and exists; `path` is what the program calls it.
    pub(super) fn open(folder: PathBuf, path: &str) -> Result<Self, SinkError> {
        remove_stale(&folder);
        let staging = Hidden::beside(&folder);
        reach(Site::TreeBeforeStaging)
            .and_then(|()| disk::create_dir(&staging))
            .map_err(|source| MediumError::new("make folder", &staging, source))?;
        Ok(Self { folder, path: path.to_owned(), staging, staged_count: 0, entries: BTreeMap::new() })
    }

    /// Files added so far.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Checks a name for the row `row` (from 1) and returns its plain form.
    pub(super) fn check_name(&self, name: &str, row: u64) -> Result<String, SinkError> {
        let plain = paths::relative_output(name)?;
        let plain = plain.to_str().unwrap_or(name).to_owned();
        let fail = |detail| SinkError::Name { path: self.path.clone(), row, name: name.to_owned(), detail };
        if plain == MANIFEST {
            return Err(fail("is the name of the list of files"));
        }
        if self.contains(&plain) {
            return Err(fail("was given to an earlier row"));
        }
        paths::check_output_file(&self.folder, &plain)?;
        Ok(plain)
    }

    /// A path in the hidden folder to write a file to.
    pub(super) fn stage(&mut self) -> PathBuf {
        self.staged_count += 1;
        self.staging.join(self.staged_count.to_string())
    }

    /// Adds a file with the content `bytes` under a checked name.
    pub(super) fn add(&mut self, name: String, bytes: &[u8]) -> Result<(), SinkError> {
        let hash = *blake3::hash(bytes).as_bytes();
        let target = self.folder.join(&name);
        let staged = if holds(&target, bytes) {
            None
        } else {
            let staged = self.stage();
            write_synced(&staged, bytes).map_err(|source| MediumError::new("write", &target, source))?;
            Some(staged)
        };
        self.entries.insert(name, Entry { hash, bytes: bytes.len() as u64, staged });
        Ok(())
    }

    /// Adds the file that was written to `staged`, a path that [`Tree::stage`] gave, under a checked name.
    pub(super) fn add_staged(&mut self, name: String, staged: PathBuf) -> Result<(), SinkError> {
        let failed = |source| MediumError::new("read", &staged, source);
        let hash = hash_file(&staged).map_err(failed)?;
        let bytes = fs::metadata(&staged).map_err(failed)?.len();
        reach(Site::TreeBeforeStagedSync).and_then(|()| File::open(&staged)?.sync_all()).map_err(failed)?;
        let is_same = medium::same_content(&staged, &self.folder.join(&name));
        let staged = if is_same { None } else { Some(staged) };
        self.entries.insert(name, Entry { hash, bytes, staged });
        Ok(())
    }

    /// Renames what is new, removes what is ours and no longer produced, writes the manifest.
    pub(super) fn finish(mut self, rows: u64) -> Result<SinkReport, SinkError> {
        self.check_folders()?;
        let old = read_manifest(&self.folder)?;
        let new: BTreeMap<String, Hash> =
            self.entries.iter().map(|(name, entry)| (name.clone(), entry.hash)).collect();
        let removed: Vec<(String, Hash)> = old
            .iter()
            .filter(|(name, _)| !new.contains_key(*name))
            .map(|(name, hash)| (name.clone(), *hash))
            .collect();
        let mut changed = false;
        let mut touched = BTreeSet::new();
        if self.entries.values().any(|entry| entry.staged.is_some()) || !removed.is_empty() {
            reach(Site::TreeBeforeFirstManifest).map_err(|source| self.failed(source))?;
            let mut both = old;
            both.extend(new.clone());
            write_manifest(&self.folder, &both)?;
        }
        for (name, entry) in &mut self.entries {
            let Some(staged) = entry.staged.take() else { continue };
            let target = paths::output_file(&self.folder, name)?;
            reach(Site::TreeBeforeRename)
                .and_then(|()| disk::rename(&staged, &target))
                .map_err(|source| MediumError::new("replace", &target, source))?;
            touched.extend(target.parent().map(Path::to_path_buf));
            changed = true;
        }
        for (name, hash) in removed {
            reach(Site::TreeBeforeRemove).map_err(|source| self.failed(source))?;
            changed |= self.remove_ours(&name, &hash, &mut touched)?;
        }
        reach(Site::TreeBeforeFolderSync).map_err(|source| self.failed(source))?;
        for folder in &touched {
            if folder.is_dir() {
                medium::sync_folder(folder)?;
            }
        }
        reach(Site::TreeBeforeLastManifest).map_err(|source| self.failed(source))?;
        write_manifest(&self.folder, &new)?;
        let bytes = self.entries.values().map(|entry| entry.bytes).sum();
        Ok(SinkReport { path: self.folder.clone(), rows, bytes, changed })
    }

    fn failed(&self, source: io::Error) -> MediumError {
        MediumError::new("write", &self.folder, source)
    }

    /// No name may be the folder of another.
    fn check_folders(&self) -> Result<(), SinkError> {
        for (row, name) in self.entries.keys().enumerate() {
            for ancestor in Path::new(name).ancestors().skip(1) {
                if ancestor.to_str().is_some_and(|folder| self.contains(folder)) {
                    let (path, name) = (self.path.clone(), name.clone());
                    let detail = "has another file's name as its folder";
                    return Err(SinkError::Name { path, row: row as u64 + 1, name, detail });
                }
            }
        }
        Ok(())
    }

    /// Removes a file of an earlier run if it still is what we wrote, and folders that are empty then. A file that cannot be
    /// read or removed is an error: the manifest names it until a later run has done it.
    fn remove_ours(
        &self,
        name: &str,
        hash: &Hash,
        touched: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, SinkError> {
        match paths::check_output_file(&self.folder, name) {
            Ok(()) => {}
            Err(error @ PathError::Io { .. }) => return Err(error.into()),
            // It leads out of the folder, or is no file: somebody put something else there.
            Err(_) => return Ok(false),
        }
        let target = self.folder.join(name);
        match fs::symlink_metadata(&target) {
            Ok(found) if found.is_file() => {}
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(MediumError::new("look at", &target, source).into());
            }
            _ => return Ok(false),
        }
        let found = hash_file(&target).map_err(|source| MediumError::new("read", &target, source))?;
        if found != *hash {
            return Ok(false);
        }
        disk::remove_file(&target).map_err(|source| MediumError::new("remove", &target, source))?;
        let mut folder = target.parent();
        while let Some(at) = folder.filter(|at| *at != self.folder && at.starts_with(&self.folder)) {
            touched.insert(at.to_path_buf());
            // Fails for a folder that still holds something, which then stays.
            if disk::remove_dir(at).is_err() {
                break;
            }
            folder = at.parent();
        }
        touched.insert(self.folder.clone());
        Ok(true)
    }
}

/// Removes the hidden files of processes that no longer run, beside an output folder and in it.
pub(super) fn remove_stale(folder: &Path) {
    medium::remove_stale(folder);
    medium::remove_stale(&folder.join(MANIFEST));
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = disk::remove_dir_all(&self.staging);
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    reach(Site::TreeBeforeFile)?;
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    reach(Site::TreeBeforeFileSync)?;
    file.sync_all()
}

/// Whether `target` is a regular file with exactly these bytes.
fn holds(target: &Path, bytes: &[u8]) -> bool {
    let is_candidate =
        fs::symlink_metadata(target).is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64);
    is_candidate && disk::read(target).is_ok_and(|found| found == bytes)
}

fn hash_file(path: &Path) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            count => hasher.update(&buffer[..count]),
        };
    }
}

/// Names and hashes of the files of earlier runs. A manifest that is missing or not ours owns nothing; of a damaged one
/// the whole lines count, because a file is removed only if its hash agrees. One that cannot be read is an error: without
/// it files of earlier runs would stay for ever.
fn read_manifest(folder: &Path) -> Result<BTreeMap<String, Hash>, MediumError> {
    let path = folder.join(MANIFEST);
    let text = match disk::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            return Ok(BTreeMap::new());
        }
        Err(source) => return Err(MediumError::new("read", &path, source)),
    };
    let mut lines = text.lines();
    if lines.next() != Some(MANIFEST_HEAD) {
        return Ok(BTreeMap::new());
    }
    Ok(lines
        .filter_map(|line| {
            let (digits, name) = line.split_once(' ')?;
            let hash = blake3::Hash::from_hex(digits).ok()?;
            Some((name.to_owned(), *hash.as_bytes()))
        })
        .collect())
}

fn write_manifest(folder: &Path, entries: &BTreeMap<String, Hash>) -> Result<(), SinkError> {
    let mut text = format!("{MANIFEST_HEAD}\n");
    for (name, hash) in entries {
        text.push_str(&blake3::Hash::from_bytes(*hash).to_hex());
        text.push(' ');
        text.push_str(name);
        text.push('\n');
    }
    let target = paths::output_file(folder, MANIFEST)?;
    medium::replace(&target, text.as_bytes())?;
    Ok(())
}
