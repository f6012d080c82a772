//! How much memory does each component take: by formula, as allocated, as resident? Nothing of it is in this build; see the list of benches.

use std::process::ExitCode;

fn main() -> ExitCode {
    promptc_benches::recorder::absent("memory")
}
