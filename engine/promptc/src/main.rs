//! The `promptc` command: the only place of the project that prints, reads the environment and picks exit codes.
//!
//! Data goes to standard output, everything else to standard error. Each verb has a file in `cli/`.

mod cli;
mod exit;
mod pages;
mod report;
mod shipped;
mod show;

use std::process::ExitCode;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|fault| {
        let message = fault.payload_as_str().unwrap_or("no message");
        // Whoever read the output has seen enough, as `head` does.
        if message.contains("Broken pipe") {
            std::process::exit(0);
        }
        if message.starts_with("failed printing to stdout") {
            eprintln!("error[E1004]: {message}");
            std::process::exit(4);
        }
        // The store turns faults of this library on damaged files into errors of its own.
        if fault.location().is_some_and(|place| place.file().contains("/lance")) {
            return;
        }
        let place = fault.location().map_or_else(String::new, |place| format!(" at {place}"));
        eprintln!("error[E2001]: internal fault{place}: {message}");
        eprintln!("  = help: please report it with the program; outputs are untouched");
    }));
    if let Err(message) = promptc_engine::store::failpoint::arm(|name| std::env::var(name).ok()) {
        eprintln!("error[E2001]: {message}");
        return exit::Exit::Usage.into();
    }
    cli::main()
}
