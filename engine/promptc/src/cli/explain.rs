//! `promptc explain`.

use std::path::PathBuf;

use clap::Args;
use promptc_engine::compiler::diagnostic::Code;
use promptc_engine::compiler::plan::explain as explain_node;
use promptc_engine::error::EngineError;
use promptc_engine::run::plan_program;

use super::{Common, Outcome, print_diagnostics, settings};
use crate::exit::Exit;
use crate::pages;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc explain E0503
  promptc explain corpus.chunks --program pipelines/crate_docs.promptc")]
pub(super) struct ExplainArgs {
    /// A diagnostic code, or a node of the plan
    what: String,
    /// The program whose node is meant
    #[arg(long, short, value_name = "FILE")]
    program: Option<PathBuf>,
}

pub(super) fn explain(args: &ExplainArgs, common: &Common) -> Outcome {
    if let Some(code) = Code::parse(&args.what) {
        println!("{}", pages::page(code));
        return Ok(Exit::Ok);
    }
    let Some(file) = &args.program else {
        let message = format!(
            "`{}` is no diagnostic code; for a node name its program with `--program FILE`",
            args.what
        );
        return Err(EngineError::Unknown(message));
    };
    let program = promptc_engine::program::load(file, &settings(&[], false))?;
    if program.checked.has_errors() {
        print_diagnostics(&program, common);
        return Ok(Exit::Program);
    }
    let store = common.store(program.folder())?;
    let (plan, last) = plan_program(&program, &store, &common.run_options(&[], false))?;
    match explain_node(&plan, last.as_ref(), &args.what) {
        Ok(explanation) => println!("{explanation}"),
        Err(names) => {
            let known = names.join(", ");
            return Err(EngineError::Unknown(format!("no node `{}`; the plan has {known}", args.what)));
        }
    }
    Ok(Exit::Ok)
}
