//! Exit codes, and how an error is shown.

use std::process::ExitCode;

use promptc_engine::error::EngineError;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok,
    /// The program text has errors, or is not formatted.
    Program,
    /// The command line is wrong.
    Usage,
    /// A gate, a test, `verify` or `doctor` did not hold.
    Failed,
    /// Input, output, store or limit.
    Run,
    /// A gate could not decide: more measurements are needed.
    Undecided,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Program => 1,
            Exit::Usage => 2,
            Exit::Failed => 3,
            Exit::Run => 4,
            Exit::Undecided => 5,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}

/// Prints an error of the engine and says how to end.
pub(crate) fn report(error: &EngineError) -> Exit {
    if let EngineError::Interrupted = error {
        eprintln!("{error}");
        return Exit::Interrupted;
    }
    // Whoever read the output has seen enough, as `head` does.
    if error.to_string().contains("Broken pipe") {
        return Exit::Ok;
    }
    eprintln!("error[{}]: {error}", error.code());
    if let Some(help) = error.help() {
        eprintln!("  = help: {help}");
    }
    match error {
        EngineError::Unknown(_) | EngineError::Program { .. } => Exit::Usage,
        _ => Exit::Run,
    }
}
