//! `promptc gc`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::store::doctor::{CollectError, remove, unreferenced};
use promptc_engine::store::documents;
use promptc_engine::store_errors;

use super::{Common, Outcome};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct GcArgs {
    /// Folder of the programs whose data is cleaned
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Really remove; without it only list
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn gc(args: &GcArgs, common: &Common) -> Outcome {
    let dir = common.data_dir(&args.folder);
    if !dir.exists() {
        return Err(EngineError::Unknown(format!("there is no data directory {}", dir.display())));
    }
    // A full disk is what it is called for: opened for reading only, the store writes nothing, and no build can begin meanwhile.
    let (store, is_full) = match common.store(&args.folder) {
        Err(error) if error.code() == "E1004" => (common.store_to_read(&args.folder)?, true),
        store => (store?, false),
    };
    let leftovers = unreferenced(&store).map_err(fault)?;
    for leftover in &leftovers {
        println!("{}\t{} bytes", leftover.path.display(), leftover.bytes);
    }
    let bytes: u64 = leftovers.iter().map(|leftover| leftover.bytes).sum();
    if !args.yes {
        eprintln!("{} files or folders, {bytes} bytes; `--yes` removes them", leftovers.len());
        return Ok(Exit::Ok);
    }
    let freed = remove(&leftovers).map_err(fault)?;
    eprintln!("removed {} files or folders, {freed} bytes", leftovers.len());
    if is_full {
        eprintln!("the disk was full; run it again to trim the log as well");
        return Ok(Exit::Ok);
    }
    let trimmed = common.runtime()?.block_on(documents::trim(&store)).map_err(store_errors::documents)?;
    if trimmed > 0 {
        eprintln!("removed {trimmed} records of the log that every index has applied");
    }
    Ok(Exit::Ok)
}

fn fault(error: CollectError) -> EngineError {
    EngineError::Store { code: error.code(), message: error.to_string(), help: Some(error.help()) }
}
