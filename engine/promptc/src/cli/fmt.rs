//! `promptc fmt`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::compiler::source::SourceId;
use promptc_engine::compiler::syntax::{format, parse};
use promptc_engine::error::EngineError;
use promptc_engine::store::medium::replace;
use promptc_engine::store_errors;

use super::Outcome;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct FmtArgs {
    /// Programs
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Change nothing; print what would change and exit with 1
    #[arg(long)]
    check: bool,
}

pub(super) fn fmt(args: &FmtArgs) -> Outcome {
    let mut exit = Exit::Ok;
    for file in &args.files {
        let text = std::fs::read_to_string(file)
            .map_err(|source| EngineError::Program { path: file.clone(), source })?;
        let mut diagnostics = Vec::new();
        let tree = parse(SourceId(0), &text, &mut diagnostics);
        let formatted = format(&tree, &text);
        if formatted == text {
            continue;
        }
        if args.check {
            exit = Exit::Program;
            let name = file.display().to_string();
            let diff = similar::TextDiff::from_lines(&text, &formatted);
            print!("{}", diff.unified_diff().header(&name, &name));
        } else {
            replace(file, formatted.as_bytes()).map_err(store_errors::medium)?;
            eprintln!("formatted {}", file.display());
        }
    }
    Ok(exit)
}
