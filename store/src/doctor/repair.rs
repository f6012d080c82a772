//! Repairing a store: moving aside what the next run makes again.

use super::{Finding, Remedy, check};
use crate::kv::{Kv, Ledger, Tuning};
use crate::medium::{self, MediumError, disk};
use crate::open::{OpenError, lock_to_write, write_format};
use std::path::{Path, PathBuf};

/// Code of a finding about a store that another process has open.
const IN_USE: &str = "E1001";
/// Folder inside the store that takes what is moved aside, in numbered folders.
const QUARANTINE: &str = "quarantine";
/// Most repairs that are kept; more means that something else is wrong, and the folder should be looked at.
const QUARANTINES_MAX: u32 = 10_000;

/// A finding that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What it was about.
    pub subject: String,
    /// What was done.
    pub done: String,
}

/// Examines the store in `dir` and repairs what [`Remedy`] names, which costs time in the next run and loses nothing: files are
/// moved into `quarantine/`, never deleted.
///
/// # Errors
/// E1001 another process has the store open; what the system says. What was repaired before stays so.
pub fn repair(dir: &Path) -> Result<Vec<Repaired>, OpenError> {
    let mut findings = check(dir);
    if findings.iter().any(|finding| finding.code == Some(IN_USE)) {
        // Nothing was examined; it is in use still, or it is examined now.
        drop(lock_to_write(dir)?);
        findings = check(dir);
    }
    let wanted: Vec<(Finding, Remedy)> = findings
        .into_iter()
        .filter_map(|finding| finding.remedy.clone().map(|remedy| (finding, remedy)))
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = lock_to_write(dir)?;
    let mut aside = Aside { dir, folder: None };
    let mut repaired: Vec<Repaired> = Vec::new();
    let mut is_database_anew = false;
    for (finding, remedy) in wanted {
        let done = match remedy {
            Remedy::MoveAside(path) => {
                let to = aside.take(&path)?;
                format!("moved to {}", to.display())
            }
            Remedy::WriteFormat => {
                if dir.join("FORMAT").exists() {
                    aside.take(&dir.join("FORMAT"))?;
                }
                write_format(dir)?;
                "written again".to_owned()
            }
            Remedy::Forget(names) => {
                let kv = Kv::open_tuned(&dir.join("kv"), false, None, &Tuning::STANDARD)?;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Ledger::open(kv).remove_all(&names)?;
                "removed".to_owned()
            }
            // One finding per family names all of them.
            Remedy::BeginAnew(_) if is_database_anew => "begun anew".to_owned(),
            Remedy::BeginAnew(families) => {
                let copy = aside.copy_files(&dir.join("kv"))?;
                Kv::begin_anew(&dir.join("kv"), &families)?;
                is_database_anew = true;
                format!("begun anew; the database as it was is in {}", copy.display())
            }
        };
        repaired.push(Repaired { subject: finding.subject, done });
    }
    Ok(repaired)
}

/// Where this repair moves things to.
struct Aside<'a> {
    dir: &'a Path,
    /// `quarantine/<number>`, once something was moved there.
    folder: Option<PathBuf>,
}

impl Aside<'_> {
    /// A new place for what is at `path`, under the same names as in the store.
    fn place(&mut self, path: &Path) -> Result<PathBuf, MediumError> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => {
                let root = self.dir.join(QUARANTINE);
                let free = (1..=QUARANTINES_MAX).map(|number| root.join(number.to_string()));
                let folder = free.into_iter().find(|folder| !folder.exists()).ok_or_else(|| {
                    let full = std::io::Error::other("holds too many repairs; look at it and remove it");
                    MediumError::new("make a folder in", &root, full)
                })?;
                disk::create_dir_all(&folder)
                    .map_err(|source| MediumError::new("make folder", &folder, source))?;
                self.folder.insert(folder).clone()
            }
        };
        let to = folder.join(path.strip_prefix(self.dir).unwrap_or(path));
        if let Some(parent) = to.parent() {
            disk::create_dir_all(parent).map_err(|source| MediumError::new("make folder", parent, source))?;
        }
        Ok(to)
    }

    /// Moves a file or folder of the store, and answers where it is now.
    fn take(&mut self, path: &Path) -> Result<PathBuf, MediumError> {
        let to = self.place(path)?;
        disk::rename(path, &to).map_err(|source| MediumError::new("move", path, source))?;
        for changed in [to.parent(), path.parent()].into_iter().flatten() {
            medium::sync_folder(changed)?;
        }
        Ok(to)
    }

    /// Copies the files of a folder, and answers where the copy is. Links would do for tables, which never change, but not for
    /// what else a database holds.
    fn copy_files(&mut self, from: &Path) -> Result<PathBuf, MediumError> {
        let to = self.place(from)?;
        let fail = |source| MediumError::new("copy", from, source);
        disk::create_dir_all(&to).map_err(fail)?;
        for entry in disk::read_dir(from).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let target = to.join(entry.file_name());
            let is_table = entry.path().extension().is_some_and(|ending| ending == "sst");
            if !is_table || disk::hard_link(&entry.path(), &target).is_err() {
                disk::copy(&entry.path(), &target).map_err(fail)?;
            }
        }
        medium::sync_folder(&to)?;
        Ok(to)
    }
}
