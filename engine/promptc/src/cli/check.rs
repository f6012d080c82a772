//! `promptc check` and `promptc lint`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::compiler::diagnostic::edits::{apply, machine_applicable};
use promptc_engine::compiler::op::Op;
use promptc_engine::compiler::source::SourceId;
use promptc_engine::program::load;
use promptc_engine::store::sources;
use promptc_engine::{ops, store_errors};

use super::{Common, Outcome, parse_set, print_diagnostics, settings};
use crate::exit::Exit;

/// Rounds of applying edits: an edit may uncover another finding.
const FIX_ROUNDS_MAX: usize = 8;

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Programs
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Value of a param, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Also list the files of every source and read its first rows
    #[arg(long)]
    data: bool,
    /// `--deny warnings` makes warnings errors
    #[arg(long, value_name = "WHAT", value_parser = ["warnings"])]
    deny: Option<String>,
}

#[derive(Args)]
pub(super) struct LintArgs {
    /// Programs
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Apply the edits that are safe to the files
    #[arg(long)]
    fix: bool,
}

pub(super) fn check(args: &CheckArgs, common: &Common) -> Outcome {
    let mut exit = Exit::Ok;
    for file in &args.files {
        let mut program = load(file, &settings(&args.set, args.deny.is_some()))?;
        if !program.checked.has_errors() && !program.checked.hir.gates.is_empty() {
            let faults = common.runtime()?.block_on(super::gate::unplannable(&program))?;
            program.checked.diagnostics.extend(faults);
        }
        print_diagnostics(&program, common);
        if program.checked.has_errors() {
            exit = Exit::Program;
        } else if args.data {
            for node in &program.checked.hir.graph.nodes {
                let Op::Scan(scan) = &node.op else { continue };
                let spec = ops::scan::spec(scan)?;
                let home = std::env::var_os("HOME").map(PathBuf::from);
                let files = sources::resolve(&spec, home.as_deref()).map_err(store_errors::source)?;
                if let Some(batch) = sources::read(&spec, &files[..1], 16).next() {
                    batch.map_err(store_errors::source)?;
                }
            }
        }
    }
    Ok(exit)
}

pub(super) fn lint(args: &LintArgs, common: &Common) -> Outcome {
    let mut exit = Exit::Ok;
    for file in &args.files {
        let mut program = load(file, &settings(&[], false))?;
        for _ in 0..FIX_ROUNDS_MAX {
            let edits = machine_applicable(&program.checked.diagnostics, SourceId(0));
            if !args.fix || edits.is_empty() {
                break;
            }
            let text = apply(&program.checked.sources.get(SourceId(0)).text, &edits);
            promptc_engine::store::medium::replace(file, text.as_bytes())
                .map_err(promptc_engine::store_errors::medium)?;
            eprintln!("{}: {} edits applied", file.display(), edits.len());
            program = load(file, &settings(&[], false))?;
        }
        print_diagnostics(&program, common);
        if program.checked.has_errors() {
            exit = Exit::Program;
        }
    }
    Ok(exit)
}
