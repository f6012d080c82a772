//! Files of results as texts, within a bound.

use super::super::Micros;
use super::IngestError;
use super::fault::Fault;
use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A file's text and when it was last written.
pub(super) struct TextFile {
    pub(super) text: String,
    pub(super) written_at: Micros,
    pub(super) modified: Option<SystemTime>,
}

/// The whole of a file, at most `bytes_max` bytes, without a byte order mark. A pipe or device is refused before it is
/// opened, since opening it could wait for ever.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<TextFile, IngestError> {
    let unreadable = |source| IngestError::Unreadable { path: path.to_path_buf(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a pipe or device" };
        return Err(IngestError::NotAFile { path: path.to_path_buf(), found });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(IngestError::TooLarge { path: path.to_path_buf(), bytes_max });
    }
    let text = String::from_utf8(bytes).map_err(|error| not_text(&error).at(path))?;
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    Ok(TextFile { text, written_at: written_at(&metadata), modified: metadata.modified().ok() })
}

/// The paths in the order given, each file once however it is spelt.
pub(super) fn distinct(paths: &[PathBuf]) -> Result<Vec<PathBuf>, IngestError> {
    let mut seen = BTreeSet::new();
    let mut distinct = Vec::new();
    for path in paths {
        let real = fs::canonicalize(path)
            .map_err(|source| IngestError::Unreadable { path: path.clone(), source })?;
        if seen.insert(real) {
            distinct.push(path.clone());
        }
    }
    Ok(distinct)
}

/// When a file was last written; 1970 where the file system does not say.
fn written_at(metadata: &Metadata) -> Micros {
    let since = metadata.modified().ok().and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| Micros::try_from(since.as_micros()).ok()).unwrap_or(0)
}

fn not_text(error: &std::string::FromUtf8Error) -> Fault {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count() as u64;
    Fault::new(Some(line), "bytes that are not UTF-8", "write the results again")
}
