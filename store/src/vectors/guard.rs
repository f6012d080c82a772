//! What keeps damaged files from ending the process, or from being believed.
//!
//! Lance checks neither the length nor a checksum of a manifest: bytes cut off or flipped make it panic. Those in a file of
//! an index change which candidates it names, and nobody notices. So all files but those of the rows are compared with their
//! seal before Lance sees them; the rows have a digest; and a panic is caught and told as damage all the same.
//!
//! The seal is written last, after an update is synced, and removed before the next one begins: an update that was
//! interrupted leaves none.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures::FutureExt;

use super::VectorError;
use crate::folder_seal;
pub(super) use crate::folder_seal::Seal;
use crate::medium::MediumError;

/// Lance's folder of rows.
const ROWS_FOLDER: &str = "data/";

/// Runs `work`, and makes an error of a panic of the library in it.
pub(super) async fn caught<T>(
    dir: &Path,
    work: impl Future<Output = Result<T, VectorError>>,
) -> Result<T, VectorError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        let detail = format!("the dataset library cannot read what is there ({said})");
        Err(VectorError::Damaged { dir: dir.to_owned(), detail })
    })
}

/// Compares the files in `dir` with their seal, but for the rows, whose digest is compared when they are read. Cost: manifests,
/// deletions and indexes are read once.
pub(super) fn check_seal(dir: &Path) -> Result<Seal, VectorError> {
    folder_seal::check(dir, |name| !name.starts_with(ROWS_FOLDER))
        .map_err(|error| VectorError::io(dir, error))
}

/// Compares all files in `dir` with their seal, for the doctor.
pub(super) fn check_whole_seal(dir: &Path) -> Result<Seal, VectorError> {
    folder_seal::check(dir, |_| true).map_err(|error| VectorError::io(dir, error))
}

/// Removes the seal, before anything else is changed.
pub(super) fn break_seal(dir: &Path) -> Result<(), VectorError> {
    folder_seal::remove(dir).map_err(|error| VectorError::io(dir, error))
}

/// Seals the files in `dir`; synced when it returns.
pub(super) fn write_seal(dir: &Path) -> Result<(), VectorError> {
    folder_seal::write(dir, |_| true).map_err(|error| match error {
        MediumError::Full { .. } => VectorError::DiskFull { dir: dir.to_owned() },
        MediumError::Io { source, .. } => VectorError::io(dir, source),
    })
}
