//! `promptc diff`.

use std::path::{Path, PathBuf};

use clap::Args;
use promptc_engine::compiler::plan::{BuildRecord, lock};
use promptc_engine::error::EngineError;

use super::Outcome;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct DiffArgs {
    /// A lock file
    old: PathBuf,
    /// Another one
    new: PathBuf,
}

pub(super) fn diff(args: &DiffArgs) -> Outcome {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    for line in lock::diff(&old, &new) {
        println!("{line}");
    }
    Ok(Exit::Ok)
}

fn read(path: &Path) -> Result<BuildRecord, EngineError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| EngineError::Program { path: path.to_path_buf(), source })?;
    BuildRecord::parse(&text).map_err(|fault| EngineError::Unknown(format!("{}: {fault}", path.display())))
}
