//! Scratch stores: copied, emptied of results, removed. All of them are closed while this happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::EngineError;

/// Folders of a store whose entries are results of runs; the rest is the row cache and the ledger.
const RESULTS: [&str; 3] = ["flows", "text", "vectors"];

/// Removes a folder with its content, if it is there.
pub(super) fn clear(dir: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fault(dir, &error)),
        _ => Ok(()),
    }
}

/// Copies a folder with its content.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), EngineError> {
    let mut open = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from, to)) = open.pop() {
        std::fs::create_dir_all(&to).map_err(|error| fault(&to, &error))?;
        for entry in entries(&from)? {
            let target = to.join(entry.file_name().unwrap_or_default());
            if entry.is_dir() {
                open.push((entry, target));
            } else {
                std::fs::copy(&entry, &target).map_err(|error| fault(&target, &error))?;
            }
        }
    }
    Ok(())
}

/// Names of streams and indexes in a store, relative to it.
pub(super) fn results(dir: &Path) -> Result<BTreeSet<PathBuf>, EngineError> {
    let mut found = BTreeSet::new();
    for folder in RESULTS {
        let all = entries(&dir.join(folder))?;
        found.extend(all.iter().filter_map(|path| path.strip_prefix(dir).ok().map(Path::to_path_buf)));
    }
    Ok(found)
}

/// Removes the streams and indexes of a store, except those of `kept`.
pub(super) fn remove_results(dir: &Path, kept: &BTreeSet<PathBuf>) -> Result<(), EngineError> {
    for name in results(dir)?.difference(kept) {
        let path = dir.join(name);
        let removed =
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(|error| fault(&path, &error))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    read().map_err(|error| fault(dir, &error))
}

fn fault(path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::Store {
        code: "E1004",
        message: format!("scratch folder {}: {error}", path.display()),
        help: Some("set TMPDIR to a folder with room".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_loses_its_results_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        for name in ["flows", "kv", "text/i"] {
            std::fs::create_dir_all(from.join(name)).unwrap();
            std::fs::write(from.join(name).join("x"), name).unwrap();
        }
        let kept = results(&from).unwrap();
        assert_eq!(kept.len(), 2);
        copy(&from, &to).unwrap();
        std::fs::write(to.join("flows/new"), "").unwrap();
        std::fs::create_dir_all(to.join("vectors/v.lance")).unwrap();
        remove_results(&to, &kept).unwrap();
        assert_eq!(results(&to).unwrap(), kept);
        assert!(to.join("kv/x").exists());
        clear(&to).unwrap();
        clear(&to).unwrap();
        assert!(!to.exists() && from.join("text/i/x").exists());
    }
}
