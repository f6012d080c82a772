//! Files of a source: what they are, their content hash, and their bytes after decompression.
//!
//! # Decisions
//! *A thousand unchanged files cost a thousand `stat` calls and no reading.* A file's hash is remembered under its path,
//! with size, time of change of content and of inode, and inode number. A file that changed within the last two seconds
//! is hashed but not remembered: it could change again within the resolution of its clock.

use super::SourceError;
use crate::kv::Ledger;
use crate::medium::disk::File;
use std::fs::{self, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Threads that hash; more do not help one disk.
const THREADS_MAX: usize = 8;
/// Files that changed later than this before now are not remembered.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// Largest window that a zstd file may ask for: 2^27 bytes, the limit of the `zstd` tool.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// One file of a source, as it was when the pattern was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Path to open.
    pub path: PathBuf,
    /// Path from the first wildcard on, `/`-separated; the file's name for a path without wildcard.
    pub name: String,
    /// Size on disk.
    pub bytes: u64,
    /// Time of the last change of content.
    pub modified: SystemTime,
    /// Inode number and time of its last change in nanoseconds: with size and time of change they tell whether a
    /// remembered hash still holds.
    inode: (u64, i128),
}

impl FileEntry {
    /// Looks at `path`, which must lead to a regular file. Errors: E2101.
    pub fn look(path: PathBuf, name: String) -> Result<Self, SourceError> {
        let metadata = fs::metadata(&path).map_err(|source| unreadable(&path, source))?;
        if !metadata.is_file() {
            return Err(SourceError::NotAFile { found: kind_of(&metadata), path });
        }
        Self::from_metadata(path, name, &metadata)
    }

    pub(super) fn from_metadata(
        path: PathBuf,
        name: String,
        metadata: &Metadata,
    ) -> Result<Self, SourceError> {
        let modified = metadata.modified().map_err(|source| unreadable(&path, source))?;
        let changed_ns = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        Ok(Self { path, name, bytes: metadata.len(), modified, inode: (metadata.ino(), changed_ns) })
    }

    /// Microseconds from 1970 to the last change of content, rounded down.
    pub(super) fn modified_us(&self) -> i64 {
        match self.modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos().div_ceil(1_000)).map_or(i64::MIN, |us| -us)
            }
        }
    }

    /// Errors with E2101 if `metadata` is not that of the file which was resolved and hashed.
    fn check_unchanged(&self, metadata: &Metadata) -> Result<(), SourceError> {
        let is_same = metadata.len() == self.bytes && metadata.modified().ok() == Some(self.modified);
        if is_same { Ok(()) } else { Err(SourceError::Changed { path: self.path.clone() }) }
    }

    /// Opens the file for reading as it is on disk.
    pub(super) fn open_raw(&self) -> Result<File, SourceError> {
        let file = File::open(&self.path).map_err(|source| unreadable(&self.path, source))?;
        let metadata = file.metadata().map_err(|source| unreadable(&self.path, source))?;
        self.check_unchanged(&metadata)?;
        Ok(file)
    }

    /// Opens the file, decompressed if its name ends in `.gz` or `.zst`.
    pub(super) fn open(&self) -> Result<Box<dyn BufRead + Send>, SourceError> {
        let file = self.open_raw()?;
        match self.path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => {
                let decoder =
                    flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(READ_BYTES, file));
                Ok(Box::new(BufReader::with_capacity(READ_BYTES, decoder)))
            }
            Some("zst") => {
                let mut decoder = zstd::stream::read::Decoder::new(file)
                    .map_err(|source| SourceError::reading(&self.path, source))?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(|source| SourceError::reading(&self.path, source))?;
                Ok(Box::new(BufReader::with_capacity(READ_BYTES, decoder)))
            }
            _ => Ok(Box::new(BufReader::with_capacity(READ_BYTES, file))),
        }
    }

    /// Errors with E2101 if the file was written since it was resolved. Called when a file has been read to its end.
    pub(super) fn check_still(&self) -> Result<(), SourceError> {
        let metadata = fs::metadata(&self.path).map_err(|source| unreadable(&self.path, source))?;
        self.check_unchanged(&metadata)
    }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::Unreadable { path: path.to_path_buf(), source }
}

pub(super) fn kind_of(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() { "a folder" } else { "a pipe, socket or device" }
}

/// The content hash of a source and that of each of its files, in the order of `files`.
///
/// The first is blake3 over, for each file: length of its name (u64 little-endian), name, size (u64 little-endian), blake3
/// of its content. With `memo`, files that did not change since an earlier call are not read. Reads in parallel. Errors:
/// E2101 for a file that cannot be read or changed meanwhile.
pub fn content_hash(
    files: &[FileEntry],
    memo: Option<&Ledger>,
) -> Result<([u8; 32], Vec<[u8; 32]>), SourceError> {
    let mut hashes: Vec<Option<[u8; 32]>> = match memo {
        Some(ledger) => recall(ledger, files),
        None => vec![None; files.len()],
    };
    let missing: Vec<usize> = (0..files.len()).filter(|idx| hashes[*idx].is_none()).collect();
    let computed = hash_all(files, &missing)?;
    if let Some(ledger) = memo {
        remember(ledger, files, &missing, &computed);
    }
    for (idx, hash) in missing.into_iter().zip(computed) {
        hashes[idx] = Some(hash);
    }
    let hashes: Vec<[u8; 32]> =
        hashes.into_iter().map(|hash| hash.expect("invariant: every missing hash was computed")).collect();
    let mut hasher = blake3::Hasher::new();
    for (file, hash) in files.iter().zip(&hashes) {
        hasher.update(&(file.name.len() as u64).to_le_bytes()).update(file.name.as_bytes());
        hasher.update(&file.bytes.to_le_bytes()).update(hash);
    }
    Ok((*hasher.finalize().as_bytes(), hashes))
}

/// Hashes of the files at the positions `chosen`, in that order.
fn hash_all(files: &[FileEntry], chosen: &[usize]) -> Result<Vec<[u8; 32]>, SourceError> {
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX).min(chosen.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; READ_BYTES];
        let mut found = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(idx) = chosen.get(at) else { return found };
            found.push((at, hash_one(&files[*idx], &mut buffer)));
        }
    };
    let mut hashes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    // In file order, so that of several unreadable files always the first is named.
    hashes.sort_by_key(|(at, _)| *at);
    hashes.into_iter().map(|(_, hash)| hash).collect()
}

fn hash_one(entry: &FileEntry, buffer: &mut [u8]) -> Result<[u8; 32], SourceError> {
    let mut file = entry.open_raw()?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(unreadable(&entry.path, source)),
        }
    }
    if bytes != entry.bytes {
        return Err(SourceError::Changed { path: entry.path.clone() });
    }
    Ok(*hasher.finalize().as_bytes())
}

fn memo_name(file: &FileEntry) -> String {
    // The path is hashed: it may be long, and need not be text.
    format!("hash/{}", blake3::hash(file.path.as_os_str().as_encoded_bytes()).to_hex())
}

/// Everything about a file that must be equal for its remembered hash to hold.
fn identity(file: &FileEntry) -> Vec<u8> {
    let mut identity = Vec::with_capacity(56);
    identity.extend_from_slice(&file.bytes.to_le_bytes());
    let modified = match file.modified.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    identity.extend_from_slice(&modified.to_le_bytes());
    identity.extend_from_slice(&file.inode.0.to_le_bytes());
    identity.extend_from_slice(&file.inode.1.to_le_bytes());
    identity
}

fn recall(ledger: &Ledger, files: &[FileEntry]) -> Vec<Option<[u8; 32]>> {
    let names: Vec<String> = files.iter().map(memo_name).collect();
    let found = ledger.get_memos(&names);
    let hash = |(file, memo): (&FileEntry, Option<Vec<u8>>)| {
        let memo = memo?;
        memo.strip_prefix(identity(file).as_slice())?.try_into().ok()
    };
    files.iter().zip(found).map(hash).collect()
}

/// Best effort: a store that cannot be written says so elsewhere, here it only costs the next run its time.
fn remember(ledger: &Ledger, files: &[FileEntry], chosen: &[usize], hashes: &[[u8; 32]]) {
    let now = SystemTime::now();
    let is_settled =
        |file: &FileEntry| now.duration_since(file.modified).is_ok_and(|age| age > SETTLED_AFTER);
    let memos: Vec<(String, Vec<u8>)> = chosen
        .iter()
        .zip(hashes)
        .filter(|(idx, _)| is_settled(&files[**idx]))
        .map(|(idx, hash)| (memo_name(&files[*idx]), [identity(&files[*idx]).as_slice(), hash].concat()))
        .collect();
    let entries: Vec<(&str, &[u8])> =
        memos.iter().map(|(name, memo)| (name.as_str(), memo.as_slice())).collect();
    if !entries.is_empty() {
        let _ = ledger.put_memos(&entries);
    }
}
