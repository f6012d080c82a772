//! `promptc verify`.

use clap::Args;
use promptc_engine::compiler::plan::BuildRecord;
use promptc_engine::error::EngineError;
use promptc_engine::run::plan_program;

use super::{Common, Outcome, ProgramArgs};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    program: ProgramArgs,
}

pub(super) fn verify(args: &VerifyArgs, common: &Common) -> Outcome {
    let Some(program) = args.program.load(common)? else { return Ok(Exit::Program) };
    let path = super::run::lock_path(&program);
    let text = std::fs::read_to_string(&path)
        .map_err(|source| EngineError::Program { path: path.clone(), source })?;
    let locked = BuildRecord::parse(&text).map_err(|fault| {
        EngineError::Unknown(format!("{}: {fault}; `promptc build` writes it anew", path.display()))
    })?;
    let store = common.store(program.folder())?;
    let (plan, _) = plan_program(&program, &store, &common.run_options(&[], false))?;
    let now = BuildRecord::of(&plan, &|_| None);
    match locked.first_difference(&now) {
        None => {
            println!("{} holds: plan {}", path.display(), locked.plan.short(12));
            Ok(Exit::Ok)
        }
        Some(difference) => {
            eprintln!("{} does not hold: {difference}", path.display());
            Ok(Exit::Failed)
        }
    }
}
