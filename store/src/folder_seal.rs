//! The seal of a folder: which files a library left in it, and their hashes.
//!
//! ```text
//! promptc-seal 2
//! <blake3 of the content, 64 digits> <name, `/`-separated, relative to the folder>      sorted by name
//! ```
//!
//! Lance checks neither length nor checksum of most of its files, and a checksum inside a file of Tantivy does not tell one
//! segment's file from another's. So an index writes a seal as the last step of an update and removes it as the first of the
//! next: what differs from a seal was changed by somebody else. An update that was interrupted leaves no seal.
//!
//! Does not know what the files mean.

use crate::medium::{self, MediumError, disk};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Name of the seal in its folder.
const SEAL_NAME: &str = "promptc.seal";
/// First line. A seal without it is of the first kind: it lists the folder `_versions` alone, names without the folder.
const HEAD: &str = "promptc-seal 2";
/// Folder that a seal of the first kind is about.
const FIRST_KIND_FOLDER: &str = "_versions/";
/// Longest seal that is read: a million files.
const SEAL_BYTES_MAX: u64 = 128 << 20;

/// What the seal of a folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seal {
    /// No update of this folder was completed, or its seal is gone.
    Missing,
    /// The files are those of the last update.
    Whole,
    /// They are not: what differs first.
    Broken(String),
}

/// Compares the files that `is_compared` names with the seal in `dir`, and that all others are there. Cost: the former are read
/// once, by all threads.
pub(crate) fn check(dir: &Path, is_compared: impl Fn(&str) -> bool + Sync) -> io::Result<Seal> {
    let path = dir.join(SEAL_NAME);
    let text = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Seal::Missing),
        Err(error) => return Err(error),
        Ok(found) if found.len() > SEAL_BYTES_MAX => return Ok(Seal::Broken("its seal is too long".into())),
        Ok(_) => disk::read(&path)?,
    };
    let Some(stated) = std::str::from_utf8(&text).ok().and_then(parse) else {
        return Ok(Seal::Broken("its seal is not one".into()));
    };
    // A manifest that nobody sealed is of another writer, or of an interrupted one.
    let found = names(dir)?;
    let unknown =
        found.iter().find(|name| name.starts_with(FIRST_KIND_FOLDER) && !stated.contains_key(name.as_str()));
    if let Some(name) = unknown {
        return Ok(Seal::Broken(format!("`{name}` is there and was not written by promptc")));
    }
    let wrong = |(name, hash): (&String, &String)| -> io::Result<Option<String>> {
        let file = dir.join(name);
        if !is_compared(name) {
            return Ok((!file.is_file()).then(|| format!("`{name}` is missing")));
        }
        Ok(match disk::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("`{name}` is missing")),
            // Another user's file says nothing about what is in it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            Err(error) => Some(format!("`{name}`: {error}")),
            Ok(bytes) if blake3::hash(&bytes).to_hex().as_str() != hash => {
                Some(format!("`{name}` differs from what was written"))
            }
            Ok(_) => None,
        })
    };
    let found: Vec<Option<String>> = stated.par_iter().map(wrong).collect::<io::Result<_>>()?;
    Ok(found.into_iter().flatten().min().map_or(Seal::Whole, Seal::Broken))
}

/// Whether there is a seal, whatever it says.
pub(crate) fn is_there(dir: &Path) -> bool {
    dir.join(SEAL_NAME).exists()
}

/// Removes the seal, before anything else is changed.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match disk::remove_file(&dir.join(SEAL_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Seals the files in `dir` that `is_sealed` names; synced when it returns. They are on the disk already: a seal over bytes that
/// wait in memory would call them damaged after a power cut. Cost: they are read once, by all threads.
pub(crate) fn write(dir: &Path, is_sealed: impl Fn(&str) -> bool) -> Result<(), MediumError> {
    let fail = |source| MediumError::new("read", dir, source);
    let mut names = names(dir).map_err(fail)?;
    names.retain(|name| is_sealed(name));
    let hash = |name: &String| Ok(blake3::hash(&disk::read(&dir.join(name))?).to_hex());
    let hashes: Vec<_> = names.par_iter().map(hash).collect::<io::Result<_>>().map_err(fail)?;
    let mut text = format!("{HEAD}\n");
    for (name, hash) in names.iter().zip(hashes) {
        writeln!(text, "{hash} {name}").expect("invariant: a string takes any text");
    }
    medium::replace(&dir.join(SEAL_NAME), text.as_bytes())?;
    Ok(())
}

/// Names and hashes of a seal; `None` if it is not one.
fn parse(text: &str) -> Option<BTreeMap<String, String>> {
    let (folder, lines) = match text.strip_prefix(HEAD) {
        Some(rest) => ("", rest.strip_prefix('\n')?),
        None => (FIRST_KIND_FOLDER, text),
    };
    // A seal whose end is cut off must not pass for one of fewer files.
    lines.ends_with('\n').then_some(())?;
    let line = |line: &str| {
        let (hash, name) = line.split_once(' ')?;
        (hash.len() == 64 && !name.is_empty()).then(|| (format!("{folder}{name}"), hash.to_owned()))
    };
    lines.lines().map(line).collect()
}

/// The files below `dir`, sorted; not the seal, and not the locks and unfinished files that come and go.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in walkdir::WalkDir::new(dir) {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy();
        let is_passing = hidden.contains(".tmp-") || hidden.ends_with(".lock") || hidden == SEAL_NAME;
        if entry.file_type().is_file() && !is_passing {
            let relative = entry.path().strip_prefix(dir).map_err(io::Error::other)?;
            names.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("_versions")).unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("_versions/1.manifest"), "manifest").unwrap();
        fs::write(dir.path().join("data/a"), "rows").unwrap();
        dir
    }

    fn broken(dir: &Path) -> String {
        match check(dir, |_| true).unwrap() {
            Seal::Broken(what) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_differs_is_named() {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(check(dir.path(), |_| true).unwrap(), Seal::Missing);
        write(dir.path(), |_| true).unwrap();
        assert_eq!(check(dir.path(), |_| true).unwrap(), Seal::Whole);
        fs::write(at("data/a"), "rowz").unwrap();
        assert!(broken(dir.path()).contains("`data/a` differs"));
        assert_eq!(check(dir.path(), |name| !name.starts_with("data/")).unwrap(), Seal::Whole);
        fs::remove_file(at("data/a")).unwrap();
        assert!(broken(dir.path()).contains("`data/a` is missing"));
        assert!(check(dir.path(), |name| !name.starts_with("data/")).unwrap() != Seal::Whole);
        fs::write(at("data/a"), "rows").unwrap();
        fs::write(at("_versions/2.manifest"), "other").unwrap();
        assert!(broken(dir.path()).contains("`_versions/2.manifest` is there"));
        fs::remove_file(at("_versions/2.manifest")).unwrap();
        let text = fs::read(at(SEAL_NAME)).unwrap();
        for cut in [0, 1, 20, text.len() - 1] {
            fs::write(at(SEAL_NAME), &text[..cut]).unwrap();
            assert!(broken(dir.path()).contains("seal"), "cut at {cut}");
        }
        remove(dir.path()).unwrap();
        remove(dir.path()).unwrap();
        assert_eq!(check(dir.path(), |_| true).unwrap(), Seal::Missing);
    }

    #[test]
    fn a_seal_of_the_first_kind_covers_the_manifests() {
        let dir = folder();
        let hash = blake3::hash(b"manifest").to_hex();
        fs::write(dir.path().join(SEAL_NAME), format!("{hash} 1.manifest\n")).unwrap();
        assert_eq!(check(dir.path(), |_| true).unwrap(), Seal::Whole);
        fs::write(dir.path().join("_versions/1.manifest"), "manifesT").unwrap();
        assert!(broken(dir.path()).contains("1.manifest"));
    }
}
