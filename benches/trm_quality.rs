//! How many puzzles does recursive reasoning solve, and how large is it? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("trm_quality")
}
