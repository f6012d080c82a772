//! `promptc new`.

use std::path::{Path, PathBuf};

use clap::Args;
use promptc_engine::error::EngineError;

use super::Outcome;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct NewArgs {
    /// Folder to make
    dir: PathBuf,
}

const NOTES: &str = r#"{"id": "cache", "text": "The cache holds 512 entries. Older entries are evicted first. Cats sleep most of the day."}
{"id": "index", "text": "The index is rebuilt when the embedder changes. A rebuild takes about a minute."}
"#;

const ASKS: &str = r#"{"qid": "q1", "question": "How many entries does the cache hold?"}
{"qid": "q2", "question": "When is the index rebuilt?"}
"#;

pub(super) fn new(args: &NewArgs) -> Outcome {
    let name = args.dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "hello".to_owned());
    let is_used = std::fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        return Err(EngineError::Unknown(format!("{} is not empty; name a new folder", args.dir.display())));
    }
    let program = args.dir.join(format!("{name}.promptc"));
    write(&args.dir.join("notes.jsonl"), NOTES)?;
    write(&args.dir.join("asks.jsonl"), ASKS)?;
    write(&program, include_str!("new.promptc"))?;
    println!("wrote {}", program.display());
    println!("next: promptc test {0} && promptc run {0} --yes", program.display());
    Ok(Exit::Ok)
}

fn write(path: &Path, text: &str) -> Result<(), EngineError> {
    let fault = |source| EngineError::Program { path: path.to_path_buf(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fault)?;
    }
    std::fs::write(path, text).map_err(fault)
}
