//! `promptc plan`.

use clap::Args;
use promptc_engine::compiler::plan::{classes, show};
use promptc_engine::run::plan_program;

use super::{Common, Outcome, ProgramArgs};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    program: ProgramArgs,
    /// Outputs, streams or artifacts; default: every output
    targets: Vec<String>,
    /// Leave the optimizer's rules out
    #[arg(long)]
    no_optimize: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn plan(args: &PlanArgs, common: &Common) -> Outcome {
    let Some(program) = args.program.load(common)? else { return Ok(Exit::Program) };
    let store = common.store(program.folder())?;
    let options = common.run_options(&args.targets, args.no_optimize);
    let (plan, last) = plan_program(&program, &store, &options)?;
    if args.json {
        println!("{}", plan.to_json());
    } else {
        print!("{}", show::show(&plan, &classes(&plan, last.as_ref()), last.as_ref()));
    }
    Ok(Exit::Ok)
}
