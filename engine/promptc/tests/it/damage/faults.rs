//! Kinds of files and kinds of damage.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::reference::Reference;
use crate::job::Random;

/// Bytes of a block that is zeroed: a sector.
const BLOCK_BYTES: usize = 512;

/// Kinds of files that a whole directory has.
pub(super) const KINDS: usize = 22;

/// What a file of the directory is; `None` for the program and its sources, which are not promptc's, and for texts for people.
pub(super) fn kind(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy().replace('\\', "/");
    let name = text.rsplit('/').next().unwrap_or_default();
    let is_in = |folder: &str| text.contains(folder);
    Some(match &*text {
        _ if text.starts_with("out/chunks.lance/") => "output Lance",
        _ if text.starts_with("out/") && name == ".promptc-files" => "output manifest",
        _ if text.starts_with("out/") => "output",
        _ if !text.starts_with(".promptc/") => return None,
        _ if name == "LOCK" || name == ".lock" => "LOCK",
        _ if is_in("/history/") => "history Parquet",
        _ if name == "FORMAT" => "FORMAT",
        _ if name == "promptc.seal" => "seal",
        _ if is_in("/kv/") => match name {
            "CURRENT" => "CURRENT",
            "IDENTITY" => "IDENTITY",
            "CLOSED" => "CLOSED",
            _ if name.starts_with("MANIFEST-") => "MANIFEST",
            _ if name.starts_with("OPTIONS-") => "OPTIONS",
            _ if name.ends_with(".sst") => "SST",
            _ if name.ends_with(".log") => "WAL",
            _ => return None,
        },
        _ if is_in("/flows/") => "flow Parquet",
        _ if is_in("/_versions/") => "Lance manifest",
        _ if is_in("/_deletions/") => "Lance deletion",
        _ if is_in("/_transactions/") => "Lance transaction",
        _ if is_in("/_indices/") => "Lance index",
        _ if is_in("/vectors/") => "Lance data",
        _ if is_in("/text/") && name.ends_with(".json") => "Tantivy meta",
        _ if is_in("/text/") && name.ends_with(".lock") => "LOCK",
        _ if is_in("/text/") => "Tantivy segment",
        _ => return None,
    })
}

/// Files by kind.
pub(super) fn by_kind<'a>(
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> BTreeMap<&'static str, Vec<PathBuf>> {
    let mut kinds: BTreeMap<&'static str, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        if let Some(kind) = kind(file) {
            kinds.entry(kind).or_default().push(file.clone());
        }
    }
    kinds
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Flip,
    Zero,
    Truncate,
    Extend,
    Swap,
    Delete,
}

impl Fault {
    pub(super) const ALL: [Self; 6] =
        [Self::Flip, Self::Zero, Self::Truncate, Self::Extend, Self::Swap, Self::Delete];
}

/// Damages one file of a fresh copy. `false` if the file is then as it was.
pub(super) fn damage(reference: &Reference, file: &Path, fault: Fault, random: &mut Random) -> bool {
    let path = reference.place().join(file);
    let good = fs::read(&path).unwrap();
    let below = |bound: usize, random: &mut Random| random.below(bound.max(1) as u64) as usize;
    let mut bytes = good.clone();
    match fault {
        Fault::Flip if !bytes.is_empty() => {
            let at = below(bytes.len(), random);
            bytes[at] ^= 1 << random.below(8);
        }
        Fault::Zero => {
            let block = below(bytes.len().div_ceil(BLOCK_BYTES), random) * BLOCK_BYTES;
            let end = bytes.len().min(block + BLOCK_BYTES);
            bytes[block..end].fill(0);
        }
        Fault::Truncate => bytes.truncate(below(good.len(), random)),
        Fault::Extend => {
            let added = 1 + below(2 * BLOCK_BYTES, random);
            bytes.extend((0..added).map(|_| random.below(256) as u8));
        }
        Fault::Swap => match another(reference, file, &good, random) {
            Some(other) => bytes = other,
            None => return false,
        },
        Fault::Flip | Fault::Delete => {}
    }
    if fault != Fault::Delete && bytes == good {
        return false;
    }
    // The bad block of a disk does not change the time of a file; whoever edits an output does.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    // Never through the hard link.
    fs::remove_file(&path).unwrap();
    if fault != Fault::Delete {
        fs::write(&path, bytes).unwrap();
        if !file.starts_with("out") {
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
    }
    true
}

/// The file's older version, or else another file of its kind in the same or an older place.
fn another(reference: &Reference, file: &Path, good: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    if let Ok(older) = fs::read(reference.older().join(file))
        && older != good
    {
        return Some(older);
    }
    let older = super::reference::list(&reference.older());
    let is_alike = |other: &&PathBuf| {
        kind(other) == kind(file) && other.extension() == file.extension() && *other != file
    };
    let here = reference.files.iter().filter(is_alike).map(|other| reference.good().join(other));
    let there = older.iter().filter(is_alike).map(|other| reference.older().join(other));
    let others: Vec<Vec<u8>> =
        here.chain(there).filter_map(|other| fs::read(other).ok()).filter(|other| other != good).collect();
    (!others.is_empty()).then(|| others[random.below(others.len() as u64) as usize].clone())
}
