//! What keeps damaged files from ending the process, or from being believed.
//!
//! Lance checks neither the length nor a checksum of a manifest: bytes cut off or flipped make it panic. So a manifest is
//! compared with its hash before Lance sees it, and a panic over any other damaged file is caught and told as damage.
//!
//! The seal is written last, after an update is synced, and removed before the next one begins: an update that was
//! interrupted leaves none.

use std::fmt::Write as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures::FutureExt;

use super::VectorError;
use crate::medium::{self, MediumError, disk};

/// The seal inside the folder of the index: one line `<blake3> <name>` per file of `_versions`, sorted by name.
const SEAL_NAME: &str = "promptc.seal";
/// Lance's folder of manifests.
const VERSIONS_NAME: &str = "_versions";

/// What the seal of an index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// No update of this folder was completed.
    Missing,
    /// The manifests are those of the last update.
    Whole,
    /// They are not.
    Broken,
}

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

/// Compares the manifests in `dir` with their seal. Cost: they are read once.
pub(super) fn check_seal(dir: &Path) -> Result<Seal, VectorError> {
    let stated = match disk::read(&dir.join(SEAL_NAME)) {
        Ok(stated) => stated,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Seal::Missing),
        Err(error) => return Err(VectorError::io(dir, error)),
    };
    Ok(if stated == seal_text(dir)?.as_bytes() { Seal::Whole } else { Seal::Broken })
}

/// Removes the seal, before anything else is changed.
pub(super) fn break_seal(dir: &Path) -> Result<(), VectorError> {
    match disk::remove_file(&dir.join(SEAL_NAME)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(VectorError::io(dir, error)),
        _ => Ok(()),
    }
}

/// Seals the manifests in `dir`; synced when it returns.
pub(super) fn write_seal(dir: &Path) -> Result<(), VectorError> {
    let text = seal_text(dir)?;
    medium::replace(&dir.join(SEAL_NAME), text.as_bytes()).map(drop).map_err(|error| match error {
        MediumError::Full { .. } => VectorError::DiskFull { dir: dir.to_owned() },
        MediumError::Io { source, .. } => VectorError::io(dir, source),
    })
}

fn seal_text(dir: &Path) -> Result<String, VectorError> {
    let io = |error| VectorError::io(dir, error);
    let mut names = Vec::new();
    for entry in disk::read_dir(&dir.join(VERSIONS_NAME)).map_err(io)? {
        names.push(entry.map_err(io)?.file_name());
    }
    names.sort();
    let mut text = String::new();
    for name in names {
        let bytes = disk::read(&dir.join(VERSIONS_NAME).join(&name)).map_err(io)?;
        let hash = blake3::hash(&bytes).to_hex();
        writeln!(text, "{hash} {}", name.to_string_lossy()).expect("invariant: a string takes any text");
    }
    Ok(text)
}
