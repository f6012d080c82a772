//! The `promptc` command: the only place of the project that prints, reads the environment and picks exit codes.
//!
//! Data goes to standard output, everything else to standard error. Each verb has a file in `cli/`.

mod cli;
mod exit;
mod pages;
mod show;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
