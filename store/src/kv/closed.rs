//! The mark of a database that was closed in order: what its folder held then.
//!
//! ```text
//! promptc-closed 1
//! format 1                                        version of the store's layout
//! log 1234                                        number of the newest write
//! <blake3, 64 digits, or a dash> <bytes> <name>   per file: hashes of `CURRENT`, manifests and logs, sizes of tables
//! sum <blake3 of the lines above, 64 digits>
//! ```
//!
//! RocksDB takes a log or a manifest that ends early for one that was being written when the power went, and forgets what
//! stood behind, tables included. After an orderly close nothing ends early. As long as `CURRENT` is the one of the mark
//! nobody has opened the database for writing since (every such opening begins a manifest), so every file must be as it was.
//! Otherwise the mark is a lower bound: the log is not trimmed, so it does not end before the newest write of then.
//!
//! Losing the mark costs this check and nothing else: it is written without a sync, and one that is damaged counts as none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::medium::disk;
use crate::open::FORMAT_VERSION;

/// Name of the mark in the database's folder; RocksDB leaves names alone that it does not know.
pub(crate) const CLOSED_NAME: &str = "CLOSED";
const HEAD: &str = "promptc-closed 1";
/// Longest mark that is read: some ten thousand files.
const CLOSED_BYTES_MAX: u64 = 1 << 20;

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Version of the store's layout.
    pub(crate) format: u32,
    /// Number of the newest write of the log; 0 if there was none.
    pub(crate) last_sequence: u64,
    /// Hash (not of tables) and bytes of each file.
    files: BTreeMap<String, (Option<String>, u64)>,
}

/// Which files count: what RocksDB cannot do without.
fn is_needed(name: &str) -> bool {
    name == "CURRENT" || name.starts_with("MANIFEST-") || name.ends_with(".sst") || name.ends_with(".log")
}

/// Tables have checksums in every block; the others are small and end anywhere.
fn is_hashed(name: &str) -> bool {
    !name.ends_with(".sst")
}

impl Closed {
    /// The mark in the folder of a database; `None` if there is none, or it is damaged.
    pub(crate) fn read(database: &Path) -> Option<Self> {
        let path = database.join(CLOSED_NAME);
        fs::metadata(&path).ok().filter(|found| found.len() <= CLOSED_BYTES_MAX)?;
        Self::parse(&disk::read_to_string(&path).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (body, sum) = text.strip_suffix('\n')?.rsplit_once("\nsum ")?;
        let body = format!("{body}\n");
        (blake3::hash(body.as_bytes()).to_hex().as_str() == sum).then_some(())?;
        let mut lines = body.lines();
        (lines.next() == Some(HEAD)).then_some(())?;
        let format = lines.next()?.strip_prefix("format ")?.parse().ok()?;
        let last_sequence = lines.next()?.strip_prefix("log ")?.parse().ok()?;
        let file = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let (hash, bytes, name) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
            Some((name.to_owned(), ((hash != "-").then(|| hash.to_owned()), bytes)))
        };
        Some(Self { format, last_sequence, files: lines.map(file).collect::<Option<_>>()? })
    }

    fn of(database: &Path, last_sequence: u64) -> std::io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in disk::read_dir(database)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_needed(&name) {
                continue;
            }
            let found = if is_hashed(&name) {
                let bytes = disk::read(&entry.path())?;
                (Some(blake3::hash(&bytes).to_hex().to_string()), bytes.len() as u64)
            } else {
                (None, entry.metadata()?.len())
            };
            files.insert(name, found);
        }
        Ok(Self { format: FORMAT_VERSION, last_sequence, files })
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEAD}\nformat {}\nlog {}\n", self.format, self.last_sequence);
        for (name, (hash, bytes)) in &self.files {
            let hash = hash.as_deref().unwrap_or("-");
            writeln!(text, "{hash} {bytes} {name}").expect("invariant: a string takes any text");
        }
        let sum = blake3::hash(text.as_bytes()).to_hex();
        writeln!(text, "sum {sum}").expect("invariant: a string takes any text");
        text
    }

    /// Whether nobody has opened the database for writing since.
    pub(crate) fn is_latest(&self, database: &Path) -> bool {
        self.is_as_marked(database, "CURRENT")
    }

    fn is_as_marked(&self, database: &Path, name: &str) -> bool {
        let stated = self.files.get(name).and_then(|(hash, _)| hash.as_deref());
        let found = disk::read(&database.join(name)).ok();
        stated.is_some() && found.map(|bytes| blake3::hash(&bytes).to_hex().to_string()).as_deref() == stated
    }

    /// What differs in the folder from the mark: a file's name and how. Nothing if the database was opened for writing since.
    /// Cost: manifest and logs are read once.
    pub(crate) fn difference(&self, database: &Path) -> Option<String> {
        if !self.is_latest(database) {
            return None;
        }
        self.files.iter().find_map(|(name, (_, bytes))| {
            let path = database.join(name);
            match fs::metadata(&path) {
                Err(error) => Some(format!("`{name}`, which was there when the store was closed: {error}")),
                Ok(found) if found.len() != *bytes => Some(format!(
                    "`{name}` has {} bytes, and had {bytes} when the store was closed",
                    found.len()
                )),
                Ok(_) if is_hashed(name) && !self.is_as_marked(database, name) => {
                    Some(format!("`{name}` differs from what it was when the store was closed"))
                }
                Ok(_) => None,
            }
        })
    }
}

/// Writes the mark when it is dropped, which must be after the database was closed.
#[derive(Debug)]
pub(crate) struct MarkOnClose {
    database: PathBuf,
    /// The newest write, once everything is known to be on the disk; `None` leaves the old mark.
    last_sequence: Option<u64>,
}

impl MarkOnClose {
    pub(crate) fn new(database: &Path) -> Self {
        Self { database: database.to_path_buf(), last_sequence: None }
    }

    /// Everything up to this write is on the disk.
    pub(crate) fn arm(&mut self, last_sequence: u64) {
        self.last_sequence = Some(last_sequence);
    }
}

impl Drop for MarkOnClose {
    fn drop(&mut self) {
        let Some(last_sequence) = self.last_sequence else { return };
        // Best effort: the old mark stays true, as a lower bound.
        if let Ok(closed) = Closed::of(&self.database, last_sequence) {
            let aside = self.database.join("CLOSED.new");
            let written = disk::write(&aside, closed.to_text().as_bytes())
                .and_then(|()| disk::rename(&aside, &self.database.join(CLOSED_NAME)));
            if written.is_err() {
                let _ = disk::remove_file(&aside);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_what_differs_and_none_passes_that_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in
            [("CURRENT", "MANIFEST-5\n"), ("MANIFEST-5", "m"), ("7.log", "log"), ("8.sst", "table")]
        {
            fs::write(at(name), text).unwrap();
        }
        fs::write(at("OPTIONS-6"), "not needed").unwrap();
        let mut mark = MarkOnClose::new(dir.path());
        mark.arm(3);
        drop(mark);
        let closed = Closed::read(dir.path()).unwrap();
        assert_eq!((closed.format, closed.last_sequence, closed.files.len()), (FORMAT_VERSION, 3, 4));
        assert_eq!(closed.difference(dir.path()), None);
        for (name, text, word) in [
            ("7.log", "lo", "2 bytes"),
            ("7.log", "loG", "differs"),
            ("8.sst", "tabl", "4 bytes"),
            ("MANIFEST-5", "n", "differs"),
        ] {
            let good = fs::read(at(name)).unwrap();
            fs::write(at(name), text).unwrap();
            let difference = closed.difference(dir.path()).unwrap();
            assert!(difference.contains(name) && difference.contains(word), "{difference}");
            fs::write(at(name), good).unwrap();
        }
        fs::remove_file(at("7.log")).unwrap();
        assert!(closed.difference(dir.path()).unwrap().contains("7.log"));
        fs::write(at("CURRENT"), "MANIFEST-9\n").unwrap();
        assert_eq!(closed.difference(dir.path()), None, "somebody opened it since");
        let text = fs::read(at(CLOSED_NAME)).unwrap();
        for at_byte in 0..text.len() {
            let mut wrong = text.clone();
            wrong[at_byte] ^= 1;
            fs::write(at(CLOSED_NAME), &wrong).unwrap();
            assert_eq!(Closed::read(dir.path()), None, "byte {at_byte}");
            fs::write(at(CLOSED_NAME), &text[..at_byte]).unwrap();
            assert_eq!(Closed::read(dir.path()), None, "cut at {at_byte}");
        }
    }
}
