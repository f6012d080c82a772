//! Check of a store directory, its repair, and what garbage collection may remove.
//!
//! ```text
//! FORMAT, LOCK --> database, family by family --> ledger --> log against records --> files that builds stand on
//!      every finding: what is wrong, what is lost, what to do --repair--> quarantine/<number>/...   (nothing is deleted)
//! ```
//!
//! [`check`] opens nothing for writing and changes nothing. What a store computed from the sources is moved aside by
//! [`repair()`], and the next run makes it again. Records that applications put into it are never touched: what is wrong with
//! them is said, and what was lost.

mod repair;

use crate::documents::{self, Derived, Standing, derived_dir};
use crate::failpoint::{Site, reach};
use crate::flows::Flow;
use crate::kv::closed::Closed;
use crate::kv::synced;
use crate::kv::{DERIVED, Kv, KvError, Ledger, Records, Tuning};
use crate::medium::{self, MediumError, disk};
use crate::open::{DOCUMENTS_DIR, FORMAT_VERSION, Folder, OpenError, Store, enter_to_read};
use crate::{text, vectors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use repair::{Repaired, repair};

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

/// What [`repair()`] does about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Moves this file or folder into `quarantine/`; the next run makes it again.
    MoveAside(PathBuf),
    /// Removes these entries of the ledger: the builds that they record are done again.
    Forget(Vec<String>),
    /// Begins these families of the database anew; a copy of the database goes into `quarantine/`.
    BeginAnew(Vec<&'static str>),
    /// Writes `FORMAT` again, whose content another file of the store proves.
    WriteFormat,
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
    /// What is lost by it; empty for facts.
    pub lost: String,
    /// What to do; empty for facts.
    pub help: String,
    /// What [`repair()`] can do about it.
    pub remedy: Option<Remedy>,
}

/// Loss of what the next run computes again.
const LOST_TIME: &str = "nothing but time: it is made again from its inputs";

impl Finding {
    fn error(
        code: &'static str,
        subject: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (subject, message, help) = (subject.into(), message.into(), help.into());
        let (severity, lost) = (Severity::Error, String::new());
        Self { severity, code: Some(code), subject, message, lost, help, remedy: None }
    }

    fn info(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        let (lost, help) = (String::new(), String::new());
        Self { severity: Severity::Info, code: None, subject, message, lost, help, remedy: None }
    }

    fn warning(subject: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, help: help.into(), ..Self::info(subject, message) }
    }

    fn losing(self, lost: impl Into<String>) -> Self {
        Self { lost: lost.into(), ..self }
    }

    fn repaired_by(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    /// Whether the next run puts it right, and nothing else needs to be done.
    #[must_use]
    pub fn is_made_again(&self) -> bool {
        self.severity == Severity::Error && self.remedy.is_none() && self.lost == LOST_TIME
    }
}

/// Examines the store in `dir` without changing it: version, lock, database, ledger, the log and its records, and the files
/// that builds stand on. Findings in this order; the worst does not hide the rest where that can be helped.
///
/// Cost: the database is read once, the log and the records twice, and every flow file and index that a build stands on (about
/// 1 GB/s, 1 MiB of memory; the keys of the records).
pub fn check(dir: &Path) -> Vec<Finding> {
    let lock = match enter_to_read(dir) {
        Ok(lock) => lock,
        Err(error) => {
            let mut findings = vec![closed(dir, &error)];
            if !matches!(error, OpenError::Locked { .. } | OpenError::OtherVersion { .. }) {
                check_files(dir, BTreeMap::new(), &mut findings);
            }
            return findings;
        }
    };
    let mut findings = vec![Finding::info(dir.display().to_string(), "format and lock are in order")];
    if !dir.join("LOCK").exists() {
        let help = "the next run makes it; do not delete it while a process has the store open";
        findings.push(Finding::warning(dir.join("LOCK").display().to_string(), "is missing", help));
    }
    let database = dir.join("kv");
    match Kv::open_tuned(&database, true, Some(lock), &Tuning::STANDARD) {
        Ok(kv) => check_database(dir, &kv, &mut findings),
        Err(KvError::Damaged { .. }) if !database.exists() => {
            let help = if dir.join(DOCUMENTS_DIR).exists() {
                "restore it from a copy: `documents` has the indexes of records that were in it"
            } else {
                "run a program, which makes it anew"
            };
            findings.push(
                Finding::error("E1003", database.display().to_string(), "is missing", help)
                    .losing("computed rows and the memory of builds, which are made again; and records of applications, if there were any"),
            );
            check_files(dir, BTreeMap::new(), &mut findings);
        }
        Err(error) => {
            findings.push(unopened(&database, &error));
            check_files(dir, BTreeMap::new(), &mut findings);
        }
    }
    findings
}

/// What keeps the folder from being examined.
fn closed(dir: &Path, error: &OpenError) -> Finding {
    let subject = dir.display().to_string();
    let database = dir.join("kv");
    // A later version that has opened the database since may have changed its format.
    let marked = Closed::read(&database)
        .is_some_and(|closed| closed.format == FORMAT_VERSION && closed.is_latest(&database));
    let has_format = !matches!(error, OpenError::NotAStore { .. } | OpenError::Missing { .. });
    match error {
        OpenError::Locked { .. } => {
            let message = format!("{error}; it was not examined");
            let finding = Finding::warning(subject, message, "ask again when that process has ended");
            Finding { code: Some(error.code()), ..finding }
        }
        OpenError::DamagedFormat { .. } | OpenError::OtherVersion { .. } | OpenError::NotAStore { .. }
            if marked =>
        {
            let message = match has_format {
                true => format!("{error}; the database was written in format {FORMAT_VERSION}"),
                false => "is missing".to_owned(),
            };
            let help = "`promptc doctor --repair` writes it again";
            Finding::error("E1003", dir.join("FORMAT").display().to_string(), message, help)
                .losing("nothing, but without it nothing in the store is looked at")
                .repaired_by(Remedy::WriteFormat)
        }
        OpenError::NotAStore { .. } if dir.join("kv/CURRENT").exists() => {
            let help = format!(
                "if this is a store of this version, write the line `promptc-store {FORMAT_VERSION}` into it"
            );
            Finding::error("E1003", dir.join("FORMAT").display().to_string(), "is missing", help)
                .losing("nothing, but without it nothing in the store is looked at")
        }
        _ => Finding::error(error.code(), subject, error.to_string(), error.help()),
    }
}

/// A database that does not open. Without records of applications in it the next run makes another.
fn unopened(database: &Path, error: &KvError) -> Finding {
    let subject = database.display().to_string();
    let finding = |help: &str| Finding::error(error.code(), subject.clone(), error.to_string(), help);
    let marked = Closed::read(database).map(|closed| closed.last_sequence);
    let synced = Some(synced::read(database)).filter(|sequence| *sequence > 0);
    match marked.max(synced) {
        Some(0) => finding("`promptc doctor --repair` moves it aside; run the programs again")
            .losing("computed rows and the memory of builds, which are made again; it held no records of applications")
            .repaired_by(Remedy::MoveAside(database.to_path_buf())),
        Some(last) => finding(
            "restore it from a copy; or, to go on with what can still be read, remove the files `CLOSED` and \
             `SYNCED` in it, after copying it",
        )
        .losing(format!(
            "records of applications ({last} writes), in part or all; what programs computed is made again"
        )),
        None => finding(
            "restore it from a copy; or, if no application wrote records into this store (`promptc run` does not), move it \
             away and run again",
        )
        .losing("records of applications, if there were any; what programs computed is made again"),
    }
}

fn check_database(dir: &Path, kv: &Arc<Kv>, findings: &mut Vec<Finding>) {
    let database = dir.join("kv");
    let unreadable = kv.unreadable();
    let derived: Vec<&'static str> =
        unreadable.iter().map(|(name, _)| *name).filter(|name| DERIVED.contains(name)).collect();
    let are_records_whole = derived.len() == unreadable.len();
    for (name, error) in &unreadable {
        let subject = format!("{}, family `{name}`", database.display());
        let finding = Finding::error("E1003", subject, error.to_string(), "");
        findings.push(if !DERIVED.contains(name) {
            let help =
                "restore the database from a copy; the records that can still be read are read as before";
            Finding { help: help.into(), ..finding }.losing("records of applications in the damaged block")
        } else if are_records_whole {
            let help = "`promptc doctor --repair` begins the family anew";
            Finding { help: help.into(), ..finding }
                .losing("nothing but time: it is computed again")
                .repaired_by(Remedy::BeginAnew(derived.clone()))
        } else {
            let help = "restore the database from a copy: records of applications in it are damaged as well";
            Finding { help: help.into(), ..finding }.losing("nothing but time: it is computed again")
        });
    }
    let uses = if derived.is_empty() {
        let ledger = Ledger::open(kv.clone());
        check_ledger(&ledger, findings);
        ledger.uses().ok()
    } else {
        None
    };
    if are_records_whole {
        check_records(dir, kv, findings);
    }
    let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (program, path) in uses.iter().flatten() {
        programs.entry(path.clone()).or_default().push(format!("`{program}`"));
    }
    check_files(dir, programs, findings);
    if let Some(uses) = uses {
        check_unreferenced(dir, uses, findings);
    }
}

fn check_ledger(ledger: &Ledger, findings: &mut Vec<Finding>) {
    match ledger.damaged_names() {
        Ok(names) if names.is_empty() => {
            findings.push(Finding::info("ledger", "every entry has its checksum"))
        }
        Ok(names) => findings.extend(names.into_iter().map(|name| {
            let help = "`promptc doctor --repair` removes it";
            Finding::error("E1003", format!("ledger entry `{name}`"), "its checksum differs", help)
                .losing("the memory of that build, which is done again")
                .repaired_by(Remedy::Forget(vec![name]))
        })),
        Err(error) => {
            findings.push(Finding::error(error.code(), "ledger", error.to_string(), error.help()));
        }
    }
}

/// A store that has no records says nothing of them.
fn check_records(dir: &Path, kv: &Arc<Kv>, findings: &mut Vec<Finding>) {
    let records = Records::open(kv.clone(), &Tuning::STANDARD);
    let verified = records.and_then(|records| records.verify().map(|verified| (records, verified)));
    match verified {
        Ok((_, verified)) if verified.log_records == 0 => {}
        Ok((records, verified)) => {
            let said =
                format!("{} records are what {} writes of the log say", verified.keys, verified.log_records);
            findings.push(Finding::info("records", said));
            check_documents(dir, &records, findings);
        }
        Err(error) => findings.push(
            Finding::error(
                error.code(),
                "records",
                error.to_string(),
                format!(
                    "restore {} from a copy; the records that are not named are read as before",
                    dir.join("kv").display()
                ),
            )
            .losing("the record that is named; others may differ as well"),
        ),
    }
}

/// How far the indexes of documents have come, and whether their files are what was written. An index that is not is built anew when
/// its collection is opened.
fn check_documents(dir: &Path, records: &Records, findings: &mut Vec<Finding>) {
    match documents::standings(records) {
        Ok(standings) => {
            for Standing { collection, derived, watermark, newest } in standings {
                let said = format!("{} stands at write {watermark} of {newest}", derived.name());
                findings.push(Finding::info(format!("documents `{collection}`"), said));
                let folder = derived_dir(&dir.join(DOCUMENTS_DIR).join(&collection), derived);
                let problem = match derived {
                    _ if watermark > 0 && !folder.exists() => Some("is missing".to_owned()),
                    Derived::Text => text::problem(&folder),
                    Derived::Vectors => vectors::problem(&folder),
                };
                let help = "the next opening of the collection builds it again from the log";
                let finding = |problem| {
                    Finding::error("E1003", folder.display().to_string(), problem, help).losing(LOST_TIME)
                };
                findings.extend(problem.map(finding));
            }
        }
        Err(error) => findings.push(
            Finding::error(error.code(), "documents", error.to_string(), error.help())
                .losing("the collection that is named"),
        ),
    }
}

/// Compares flow files and indexes with their checksums: those that `programs` stand on, by path; all that are there if nothing
/// says so.
fn check_files(dir: &Path, mut programs: BTreeMap<String, Vec<String>>, findings: &mut Vec<Finding>) {
    if programs.is_empty() {
        for folder in Folder::ALL {
            for name in names_in(&dir.join(folder.name())) {
                programs.insert(format!("{}/{name}", folder.name()), Vec::new());
            }
        }
    }
    for (path, programs) in programs {
        let file = dir.join(&path);
        let programs = if programs.is_empty() { "the program".to_owned() } else { programs.join(", ") };
        let is_folder = !path.starts_with(Folder::Flows.name());
        let (problem, is_there) = match fs::metadata(&file) {
            Err(error) => (Some(format!("is missing: {error}")), false),
            Ok(metadata) if metadata.is_dir() != is_folder => {
                (Some("is not what the build left there".to_owned()), true)
            }
            Ok(_) if path.starts_with(Folder::Vectors.name()) => (vectors::problem(&file), true),
            Ok(_) if is_folder => (text::problem(&file), true),
            Ok(_) => (flow_problem(&file), true),
        };
        let Some(problem) = problem else { continue };
        let help = if is_there {
            format!("`promptc doctor --repair` moves it aside; run {programs} again, which makes it anew")
        } else {
            format!("run {programs} again, which makes it anew")
        };
        let finding = Finding::error("E1003", file.display().to_string(), problem, help).losing(LOST_TIME);
        findings.push(if is_there { finding.repaired_by(Remedy::MoveAside(file)) } else { finding });
    }
}

fn check_unreferenced(dir: &Path, uses: Vec<(String, String)>, findings: &mut Vec<Finding>) {
    match leftovers(dir, uses) {
        Ok(leftovers) if leftovers.is_empty() => {}
        Ok(leftovers) => {
            let bytes: u64 = leftovers.iter().map(|leftover| leftover.bytes).sum();
            let message = format!("{} files or folders ({bytes} bytes) belong to no build", leftovers.len());
            findings.push(Finding::warning(
                dir.display().to_string(),
                message,
                "`promptc gc --yes` removes them",
            ));
        }
        Err(error) => {
            findings.push(Finding::error("E1003", dir.display().to_string(), error.to_string(), error.help()))
        }
    }
}

/// What is in a folder, sorted; nothing if it cannot be read.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = disk::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
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
    leftovers(store.dir(), store.ledger().uses()?)
}

fn leftovers(store_dir: &Path, uses: Vec<(String, String)>) -> Result<Vec<Leftover>, CollectError> {
    let used: BTreeSet<String> = uses.into_iter().map(|(_, path)| path).collect();
    let mut leftovers = Vec::new();
    for folder in Folder::ALL {
        let dir = store_dir.join(folder.name());
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
            let entries = disk::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| bytes_below(&entry.path())).sum()
        }
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}
