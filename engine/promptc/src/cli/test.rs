//! `promptc test`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::program::load;
use promptc_engine::sql::run_test;

use super::{Common, Outcome, parse_set, print_diagnostics, settings};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct TestArgs {
    /// Programs
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Value of a param, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

pub(super) fn test(args: &TestArgs, common: &Common) -> Outcome {
    let runtime = common.runtime()?;
    let options = common.run_options(&[], false);
    let (mut passed, mut failed) = (0, 0);
    for file in &args.files {
        let program = load(file, &settings(&args.set, false))?;
        print_diagnostics(&program, common);
        if program.checked.has_errors() {
            return Ok(Exit::Program);
        }
        let is_wanted = |name: &str| args.filter.as_ref().is_none_or(|filter| name.contains(filter));
        for test in program.checked.hir.tests.iter().filter(|test| is_wanted(&test.name)) {
            let scratch = scratch_folder(&test.name)?;
            let report = runtime.block_on(run_test(&program.checked.hir, test, &scratch, &options));
            // What is left of a scratch folder harms nothing; the system clears it.
            let _ = std::fs::remove_dir_all(&scratch);
            // An interrupt ends everything; any other fault is of this test.
            let report = match report {
                Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
                Err(fault) => {
                    println!("test {}::{} ... FAILED", file.display(), test.name);
                    println!("  error[{}]: {}", fault.code(), fault.to_string().replace('\n', "\n  "));
                    common.note_fault(&fault);
                    failed += 1;
                    continue;
                }
                Ok(report) => report,
            };
            let verdict = if report.passed { "ok" } else { "FAILED" };
            println!("test {}::{} ... {verdict} ({:.0} ms)", file.display(), report.name, report.elapsed_ms);
            for failure in &report.failures {
                println!("  {}", failure.replace('\n', "\n  "));
            }
            if report.passed { passed += 1 } else { failed += 1 }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

fn scratch_folder(name: &str) -> Result<PathBuf, EngineError> {
    let path = std::env::temp_dir().join(format!("promptc-test-{}-{name}", std::process::id()));
    // A folder of the same name can only be left over from a process that is gone.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).map_err(|source| EngineError::Program { path: path.clone(), source })?;
    Ok(path)
}
