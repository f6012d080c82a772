//! `promptc completions`.

use clap::Args;
use clap_complete::Shell;

use super::Outcome;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs, command: &mut clap::Command) -> Outcome {
    clap_complete::generate(args.shell, command, "promptc", &mut std::io::stdout());
    Ok(Exit::Ok)
}
