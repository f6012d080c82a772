//! Read-only check of a store directory, and what garbage collection may remove.
//!
//! The doctor opens nothing for writing and changes nothing. It says what is damaged, what is lost by it, and what to do;
//! since everything in a store is computed from the sources, the remedy is always to remove and run again.

use crate::failpoint::{Site, reach};
use crate::flows::Flow;
use crate::kv::KvError;
use crate::medium::{self, MediumError, disk};
use crate::open::{Folder, OpenError, Store, StoreOptions};
use crate::vectors;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is damaged or missing.
    Error,
    /// Nothing is lost, but something is not as it should be.
    Warning,
    /// A fact worth knowing.
    Info,
}

/// One thing that the doctor saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Code of the diagnostic, for errors and for a store in use (E1001, a warning: nothing was examined).
    pub code: Option<&'static str>,
    /// File, folder or entry that it is about.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What is lost and what to do; empty for facts.
    pub help: String,
}

impl Finding {
    fn error(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (subject, message, help) = (subject.into(), message.into(), help.into());
        Self { severity: Severity::Error, code: Some(code), subject, message, help }
    }

    fn info(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { severity: Severity::Info, code: None, subject, message, help: String::new() }
    }
}

/// Examines the store in `dir` without changing it: version, lock, key-value store, ledger, the log and its records, and the
/// files that builds stand on. Findings in this order; the worst does not hide the rest where that can be helped.
///
/// Cost: the ledger, the log and the records are read once, and every flow file that a build stands on (about 1 GB/s, 1 MiB of memory).
pub fn check(dir: &Path) -> Vec<Finding> {
    let options = StoreOptions { cache_bytes: u64::MAX, read_only: true };
    let store = match Store::open(dir, &options) {
        Ok(store) => store,
        Err(error) => return vec![closed(dir, &error)],
    };
    let mut findings = vec![Finding::info(dir.display().to_string(), "format and lock are in order")];
    check_ledger(&store, &mut findings);
    check_records(&store, &mut findings);
    match store.ledger().uses() {
        Ok(uses) => check_uses(&store, uses, &mut findings),
        Err(error) => findings.push(kv_finding(&error)),
    }
    match unreferenced(&store) {
        Ok(leftovers) if !leftovers.is_empty() => {
            let bytes: u64 = leftovers.iter().map(|leftover| leftover.bytes).sum();
            let message = format!("{} files or folders ({bytes} bytes) belong to no build", leftovers.len());
            findings.push(Finding {
                severity: Severity::Warning,
                code: None,
                subject: dir.display().to_string(),
                message,
                help: "`promptc gc --yes` removes them".into(),
            });
        }
        Ok(_) => {}
        Err(error) => {
            findings.push(Finding::error("E1003", dir.display().to_string(), error.to_string(), error.help()))
        }
    }
    findings
}

fn closed(dir: &Path, error: &OpenError) -> Finding {
    if let OpenError::Locked { .. } = error {
        return Finding {
            severity: Severity::Warning,
            code: Some(error.code()),
            subject: dir.display().to_string(),
            message: format!("{error}; it was not examined"),
            help: "ask again when that process has ended".into(),
        };
    }
    Finding::error(error.code(), dir.display().to_string(), error.to_string(), error.help())
}

fn kv_finding(error: &KvError) -> Finding {
    Finding::error(error.code(), "kv", error.to_string(), error.help())
}

fn check_ledger(store: &Store, findings: &mut Vec<Finding>) {
    match store.ledger().damaged_names() {
        Ok(names) if names.is_empty() => {
            findings.push(Finding::info("ledger", "every entry has its checksum"))
        }
        Ok(names) => findings.extend(names.into_iter().map(|name| {
            let help = "the builds recorded there are computed again; remove the store and run the program";
            Finding::error("E1003", format!("ledger entry `{name}`"), "its checksum differs", help)
        })),
        Err(error) => findings.push(kv_finding(&error)),
    }
}

/// A store that has no records says nothing of them.
fn check_records(store: &Store, findings: &mut Vec<Finding>) {
    match store.records().verify() {
        Ok(verified) if verified.log_records == 0 => {}
        Ok(verified) => findings.push(Finding::info(
            "records",
            format!("{} records are what {} writes of the log say", verified.keys, verified.log_records),
        )),
        Err(error) => findings.push(kv_finding(&error)),
    }
}

fn check_uses(store: &Store, uses: Vec<(String, String)>, findings: &mut Vec<Finding>) {
    let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (program, path) in uses {
        programs.entry(path).or_default().push(format!("`{program}`"));
    }
    for (path, programs) in programs {
        let file = store.dir().join(&path);
        let programs = programs.join(", ");
        let is_folder = !path.starts_with(Folder::Flows.name());
        let (problem, is_there) = match fs::metadata(&file) {
            Err(error) => (Some(format!("is missing: {error}")), false),
            Ok(metadata) if metadata.is_dir() != is_folder => {
                (Some("is not what the build left there".to_owned()), true)
            }
            Ok(_) if path.starts_with(Folder::Vectors.name()) => (vectors::problem(&file), true),
            Ok(_) if is_folder => (None, true),
            Ok(_) => (flow_problem(&file), true),
        };
        let help = if is_there {
            format!("remove {} and run {programs} again: it is made again", file.display())
        } else {
            format!("run {programs} again, which makes it anew")
        };
        if let Some(problem) = problem {
            findings.push(Finding::error("E1003", file.display().to_string(), problem, help));
        }
    }
}

/// What is wrong with a flow file, compared with its checksums from end to end.
fn flow_problem(path: &Path) -> Option<String> {
    Flow::open(path).and_then(|flow| flow.verify()).err().map(|error| error.to_string())
}

/// A file or folder of the store that no build stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes that its removal frees.
    pub bytes: u64,
}

/// Why leftovers cannot be listed or removed.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The ledger does not say what is in use; nothing may be removed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// A folder cannot be read or a file not removed.
    #[error(transparent)]
    Medium(#[from] MediumError),
}

impl CollectError {
    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kv(error) => error.code(),
            Self::Medium(error) => error.code(),
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Kv(error) => error.help(),
            Self::Medium(error) => error.help(),
        }
    }
}

/// Flow files and indexes that the last build of no program stands on, in byte order of their paths. Removes nothing.
pub fn unreferenced(store: &Store) -> Result<Vec<Leftover>, CollectError> {
    let used: BTreeSet<String> = store.ledger().uses()?.into_iter().map(|(_, path)| path).collect();
    let mut leftovers = Vec::new();
    for folder in Folder::ALL {
        let dir = store.dir().join(folder.name());
        let fail = |source| MediumError::new("read folder", &dir, source);
        let entries = match disk::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fail(error).into()),
        };
        for entry in entries {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !used.contains(&format!("{}/{name}", folder.name())) {
                let path = entry.path();
                leftovers.push(Leftover { bytes: bytes_below(&path), path });
            }
        }
    }
    leftovers.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(leftovers)
}

/// Removes what [`unreferenced`] found and returns the bytes freed. Call it while no build runs: a build's new files are
/// referenced only when it has succeeded.
pub fn remove(leftovers: &[Leftover]) -> Result<u64, CollectError> {
    let mut bytes = 0;
    for leftover in leftovers {
        let removed = reach(Site::CollectBeforeRemove).and_then(|()| {
            if leftover.path.is_dir() {
                disk::remove_dir_all(&leftover.path)
            } else {
                disk::remove_file(&leftover.path)
            }
        });
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(MediumError::new("remove", &leftover.path, source).into());
            }
            _ => bytes += leftover.bytes,
        }
    }
    reach(Site::CollectBeforeSync).map_err(|source| MediumError::new("remove", Path::new(""), source))?;
    let folders: BTreeSet<&Path> = leftovers.iter().filter_map(|leftover| leftover.path.parent()).collect();
    folders.into_iter().try_for_each(medium::sync_folder)?;
    Ok(bytes)
}

/// Bytes of a file, or of all files below a folder; 0 for what cannot be looked at.
fn bytes_below(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let entries = fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| bytes_below(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}
